"""The pages Clusters, Cluster and Emerging in a browser, over a real server and what a real run wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.dashboard.clustered import APP, FEW, Clustered, clustered_dashboard
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_judges_page import cells
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def clustered(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    with clustered_dashboard(tmp_path_factory.mktemp("clusters-page")) as made:
        yield made


@pytest.fixture
def page(visits: Visits, clustered: Clustered, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(clustered.url, clustered.bare_url, height=2400, picture=request.node.name) as opened:
        yield opened


def the_map(page: Page) -> Locator:
    """The canvas, once it has painted its points."""
    canvas = page.locator(".st-key-clusters-map canvas")
    expect(canvas).to_have_attribute("data-points", re.compile("^[1-9]"))
    return canvas


def card(page: Page, cluster_id: str) -> Locator:
    return page.locator(f'.st-key-clusters-cards a[data-cluster="{cluster_id}"]')


def lasso(page: Page, canvas: Locator) -> None:
    """Around everything that is shown, once the page has come to rest: while it is drawn the map may still move."""
    page.locator(".st-key-clusters-map").get_by_role("button", name="Lasso").click()
    settled(page)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    x0, y0, x1, y1 = box["x"] + 3, box["y"] + 3, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    page.mouse.move(x0, y0)
    page.mouse.down()
    for x, y in ((x1, y0), (x1, y1), (x0, y1), (x0, y0 + 5)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    assert canvas.bounding_box() == box


def test_what_hurts_most_stands_first_and_a_card_opens_it(page: Page, clustered: Clustered) -> None:
    first = clustered.clusters[0]
    page.goto(f"{clustered.url}/clusters?app={APP}")
    expect(metric(page, "Clusters")).to_have_text(str(len(clustered.clusters)))
    cards = page.locator(".st-key-clusters-cards a")
    expect(cards).to_have_count(len(clustered.clusters))
    expect(cards.first).to_have_attribute("data-cluster", first["id"])
    expect(cards.first).to_contain_text(f"{100 * first['failure_rate']:.1f}% fail")
    expect(cards.first).to_contain_text(f"others {100 * first['rest_rate']:.1f}%")
    cells(page, "clusters-list-0", first["id"])
    settled(page)
    harmless(page)
    card(page, first["id"]).click()
    expect(page).to_have_url(re.compile(f"/cluster.id={first['id']}$"))
    expect(page.locator(".st-key-assay-facts-cluster")).to_contain_text(first["id"])


def test_the_map_is_zoomed_coloured_and_its_lasso_gives_a_list(page: Page, clustered: Clustered) -> None:
    told = clustered.get("/clusters/map", app=APP)
    page.goto(f"{clustered.url}/clusters?app={APP}")
    canvas = the_map(page)
    expect(canvas).to_have_attribute("data-points", str(told["n_shown"]))
    expect(page.get_by_text("Distances on this map are not distances in meaning")).to_be_visible()
    own = page.locator(".st-key-clusters-map")
    own.get_by_role("button", name="Failure rate").click()
    expect(own.locator(".key")).to_contain_text("% fail")
    own.get_by_role("button", name="State").click()
    expect(own.locator(".key")).to_contain_text("born")
    own.get_by_role("button", name="Zoom in").click()
    expect(canvas).to_have_attribute("data-zoom", "1.60")
    own.get_by_role("button", name="Show the whole map").click()
    expect(canvas).to_have_attribute("data-zoom", "1.00")
    lasso(page, canvas)
    expect(canvas).to_have_attribute("data-chosen", str(told["n_shown"]))
    held = page.locator(".st-key-assay-lasso")
    failed = sum(one is True for one in told["points"]["failed"])
    expect(held).to_contain_text(f"{told['n_shown']} sessions chosen: {failed} failed")
    cells(page, "assay-grid-lasso", "failed")
    cells(page, "assay-grid-lasso", re.compile("refund|coupon|money"))
    held.get_by_role("button", name="Let go").click()
    expect(held).to_have_count(0)
    expect(canvas).to_have_attribute("data-chosen", "0")


def test_one_cluster_shows_transcripts_figures_and_where_it_goes_wrong(page: Page, clustered: Clustered) -> None:
    told = clustered.about("money")
    page.goto(f"{clustered.url}/cluster?id={told['id']}")
    expect(metric(page, "Sessions")).to_have_text(str(told["n_sessions"]))
    expect(metric(page, "Fail")).to_have_text(f"{100 * told['failure_rate']:.1f}%")
    exemplars = page.locator('[class*="st-key-assay-exemplar"]')
    expect(exemplars.first).to_contain_text("the refund could not be booked")
    wrong = page.locator(".st-key-assay-chart-cluster-wrong .js-plotly-plot")
    expect(wrong).to_be_visible()
    drawn = of_plot(wrong, "plot => [plot.layout.annotations[0].text, plot.data[0].x[0]]")
    assert "book_refund" in drawn[0]
    assert drawn[1] == pytest.approx(100 * told["wrong_at"][0]["share"])
    expect(page.locator(".st-key-assay-timeline")).to_contain_text("born")
    expect(page.locator(".st-key-assay-chart-cluster-days .js-plotly-plot")).to_be_visible()
    exemplars.first.get_by_role("button", name="Open session").click()
    expect(page).to_have_url(re.compile(f"session_id={APP}-"))


def test_a_cluster_is_frozen_after_its_forecast_and_watched(page: Page, clustered: Clustered) -> None:
    told = clustered.about("log in")
    page.goto(f"{clustered.url}/cluster?id={told['id']}")
    page.get_by_role("button", name="Freeze").click()
    popover = page.get_by_test_id("stPopoverBody")
    popover.get_by_role("button", name="What would it do?").click()
    expect(popover).to_contain_text(f"It would add {told['n_sessions']} examples")
    assert clustered.get("/datasets")["items"] == []
    popover.get_by_role("button", name="Freeze").click()
    expect(popover).to_contain_text(f"Added {told['n_sessions']} examples: version 1.")
    (dataset,) = clustered.get("/datasets")["items"]
    assert dataset["name"] == f"{APP}-{told['id'].lower()}"
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("Watch$")).click()
    popover.get_by_role("button", name=re.compile("Watch$")).click()
    expect(page.get_by_role("button", name=re.compile("Watched$"))).to_be_visible()
    (watch,) = clustered.get("/clusters/watches")["items"]
    assert watch["cluster"]["id"] == told["id"]
    page.goto(f"{clustered.url}/cluster?id={told['id']}")  # where the list of buttons is closed
    page.get_by_role("button", name=re.compile("Watched$")).click()
    popover.get_by_role("button", name="Stop watching").click()
    expect(popover.get_by_role("button", name=re.compile("Watch$"))).to_be_visible()  # it may be watched again
    expect(page.get_by_test_id("stPopoverButton").filter(has_text="Watched")).to_have_count(0)
    assert clustered.get("/clusters/watches")["items"] == []


def test_what_emerged_says_how_sure_it_is_and_what_changed(page: Page, clustered: Clustered) -> None:
    feed = clustered.get("/clusters/emerging", app=APP, since="7d")
    coupon = clustered.about("coupon")
    at = next(at for at, one in enumerate(feed["items"]) if one["cluster"]["id"] == coupon["id"])
    finding = feed["items"][at]
    page.goto(f"{clustered.url}/emerging?app={APP}")
    shown = page.locator(f".st-key-assay-finding-{at}")
    expect(shown).to_contain_text(f"{finding['n']}")
    expect(shown).to_contain_text("(q)")
    expect(shown).to_contain_text(f"×{finding['low']:.1f}")
    changes = shown.locator(f".st-key-assay-changes-{at}")
    expect(changes).to_contain_text("<img src=x")
    settled(page)
    harmless(page)
    shown.locator(f".st-key-finding-open-{at} button").click()
    expect(page).to_have_url(re.compile(f"/cluster.id={coupon['id']}$"))


def test_a_group_that_an_attacker_spelled_is_shown_letter_by_letter(page: Page, clustered: Clustered) -> None:
    told = clustered.about("newsletter")
    page.goto(f"{clustered.url}/cluster?id={told['id']}")
    expect(page.locator('[class*="st-key-assay-exemplar"]').first).to_contain_text("<img src=x")
    settled(page)
    harmless(page)
    assert page.title() != "1"


def test_where_there_is_nothing_the_page_says_what_comes_first(page: Page, clustered: Clustered) -> None:
    page.goto(f"{clustered.bare_url}/clusters?app={FEW}")
    empty = page.locator(".st-key-assay-empty-clusters")
    expect(empty).to_contain_text("No clusters yet")
    expect(empty).to_contain_text(f"assay clusters run --app {FEW} --since 7d")
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)  # of role viewer
    page.goto(f"{clustered.bare_url}/emerging")
    expect(page.locator(".st-key-assay-empty-emerging")).to_contain_text("Nothing was looked at yet")


def test_a_run_from_the_page_ends_with_why_it_found_nothing(page: Page, clustered: Clustered) -> None:
    page.goto(f"{clustered.url}/clusters?app={FEW}")
    page.get_by_role("button", name="Run now over the last 7 days").click()
    empty = page.locator(".st-key-assay-empty-clusters")
    expect(empty).to_contain_text("found no group of sessions", timeout=300_000)


def test_narrow_screens_do_not_overflow(page: Page, clustered: Clustered) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    for path, ready in (
        (f"clusters?app={APP}", ".st-key-clusters-map canvas"),
        (f"cluster?id={clustered.clusters[0]['id']}", ".st-key-assay-timeline"),
        (f"emerging?app={APP}", ".st-key-assay-finding-0"),
    ):
        page.goto(f"{clustered.url}/{path}")
        expect(page.locator(ready)).to_be_visible()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, path
