"""The pages Alerts, Incidents and Incident in a browser, over a real server, real looks and their diagnosis. The tests
follow an incident from its alerts to its end, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboard.parts import alert_words as words
from tests.dashboard.alerted import APP, TOOL, TROUBLE, Alerted, alerted_dashboard
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_judges_page import cells
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.server.shell import SHOP

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def made(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerted]:
    with alerted_dashboard(tmp_path_factory.mktemp("incidents-page")) as built:
        yield built


@pytest.fixture
def page(visits: Visits, made: Alerted, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(made.url, made.idle_url, height=2600, picture=request.node.name) as opened:
        yield opened


def card(page: Page, text: str) -> Locator:
    return page.locator('[class*="st-key-assay-alert-card"]').filter(has_text=text).first


def test_what_fires_stands_against_its_band_with_its_incident(page: Page, made: Alerted) -> None:
    firing = {one["monitor"]: one for one in made.get("/alerts", status="firing")["items"]}
    page.goto(f"{made.url}/alerts")
    expect(metric(page, "Firing")).to_have_text("2")
    expect(metric(page, "Pending")).to_have_text("1")
    loud = card(page, "resolution")
    told = firing["resolution"]
    expect(loud).to_contain_text("page")
    expect(loud).to_contain_text(words.against(told["now"], told["unit"]))
    expect(loud).to_contain_text(f"It fired with {told['text']}")
    silenced = page.locator('[class*="st-key-assay-alert-card-silenced"]')
    expect(silenced).to_contain_text(f"tool errors of {TOOL}")
    expect(silenced).to_contain_text("by user of airline until")
    expect(silenced).to_contain_text("the supplier knows <img src=x")
    expect(page.locator('[class*="st-key-assay-alert-card-pending"]')).to_contain_text("patient")
    assert page.locator(".st-key-assay-unhealthy-looked").count() == 0
    settled(page)
    harmless(page)
    loud.get_by_role("button", name="I-1").click()
    expect(page).to_have_url(re.compile("/incident.id=I-1$"))


def test_alerts_are_filtered_by_what_the_address_says(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/alerts?severity=ticket&state=silenced")
    expect(page.locator('[class*="st-key-assay-alert-card"]')).to_have_count(1)
    expect(card(page, "orders")).to_be_visible()
    page.goto(f"{made.url}/alerts?monitor=speed")
    expect(page.locator(".st-key-assay-empty-alerts")).to_contain_text("Nothing of this fires")
    expect(page.locator('[class*="st-key-assay-alert-card"]')).to_have_count(0)


def test_a_silence_is_made_for_an_alert_and_ended(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/alerts?monitor=resolution&severity=page")
    card(page, "resolution").get_by_role("button", name="Silence").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Silence", exact=True).click()
    expect(dialog).to_contain_text("why")
    dialog.get_by_label("Why (whoever misses a page asks)").fill("deploy <b>x</b>")
    dialog.get_by_label("Why (whoever misses a page asks)").press("Enter")
    settled(page)
    dialog.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator('[class*="st-key-assay-alert-card-silenced"]')).to_contain_text("deploy <b>x</b>")
    (silence,) = [one for one in made.get("/silences")["items"] if one["why"].startswith("deploy")]
    assert silence["matcher"] == {"app": APP, "monitor": "resolution"}
    row = page.locator('[class*="st-key-assay-silence-"]').filter(has_text="deploy <b>x</b>").first
    settled(page)
    row.get_by_role("button", name="End it").click()
    expect(page.locator('[class*="st-key-assay-alert-card-page"]')).to_be_visible()
    assert not any(one["active"] for one in made.get("/silences")["items"] if one["why"].startswith("deploy"))


def test_a_window_of_every_week_is_made_by_the_wall_of_a_zone(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/alerts")
    expect(page.locator(".st-key-assay-silences")).to_contain_text("sat, sun 23:00 to 01:00, Europe/Berlin")
    settled(page)
    page.get_by_role("button", name="New silence").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="Every week").click()
    expect(dialog.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    dialog.get_by_label("Time zone").fill("Europe/Nowhere")
    dialog.get_by_label("Time zone").press("Enter")
    dialog.get_by_label("Why (whoever misses a page asks)").fill("backups")
    dialog.get_by_label("Why (whoever misses a page asks)").press("Enter")
    settled(page)
    dialog.get_by_role("button", name="Silence", exact=True).click()
    expect(dialog).to_contain_text("is no time zone that is known here")
    dialog.get_by_label("Time zone").fill("America/New_York")
    dialog.get_by_label("Time zone").press("Enter")
    settled(page)
    dialog.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    (silence,) = [one for one in made.get("/silences")["items"] if one["why"] == "backups"]
    assert silence["weekly"] == {"days": ["sun"], "start": "02:00", "end": "04:00", "zone": "America/New_York"}
    assert silence["matcher"] == {}


def test_where_nobody_looks_it_is_said_in_red_and_a_viewer_finds_no_forms(page: Page, made: Alerted) -> None:
    page.goto(f"{made.idle_url}/alerts")
    box = page.locator(".st-key-assay-unhealthy-looked")
    expect(box).to_contain_text("nobody looks")
    expect(box).to_contain_text(re.compile(r"The last look was [0-9.]+ h ago\. The next was due"))
    expect(card(page, "resolution")).to_be_visible()
    settled(page)
    assert page.get_by_role("button", name="Silence", exact=True).count() == 0
    assert page.get_by_role("button", name="End it").count() == 0
    page.get_by_role("button", name="New silence").click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text("assay silence MONITOR 2h")
    (incident,) = made.get("/incidents", SHOP)["items"]
    page.goto(f"{made.idle_url}/incident?id={incident['id']}")
    expect(page.locator(".st-key-assay-verdict-incident")).to_contain_text("Open")
    assert page.get_by_role("button", name="Acknowledge", exact=True).count() == 0
    assert page.locator(".st-key-incident-note-text").count() == 0
    page.get_by_role("button", name="Acknowledge or close").click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text(f"assay incidents ack {incident['id']}")


def test_the_open_incident_is_first_and_says_what_it_is(page: Page, made: Alerted) -> None:
    (incident,) = made.get("/incidents")["items"]
    page.goto(f"{made.url}/incidents")
    expect(metric(page, "Open")).to_have_text("1")
    expect(card(page, "I-1")).to_contain_text(incident["why"])
    expect(card(page, "I-1")).to_contain_text("2 of 2")
    card(page, "I-1").get_by_role("button").first.click()
    expect(page).to_have_url(re.compile("/incident.id=I-1$"))


def test_an_incident_says_what_moved_by_how_much_and_what_to_do_first(page: Page, made: Alerted) -> None:
    told = made.get("/incidents/I-1")
    page.goto(f"{made.url}/incident?id=I-1")
    expect(page.locator('[class*="st-key-assay-heading-large-incident"]')).to_contain_text(words.headline(told))
    status = page.locator(".st-key-assay-incident-status")
    expect(status).to_contain_text(words.change(words.leading(told)["change"]))  # type: ignore[index]
    expect(status).to_contain_text(told["why"])
    assert told["first"]
    for step in told["first"]:
        expect(page.locator(".st-key-assay-beside-first")).to_contain_text(step)
    expect(page.locator(".st-key-assay-beside-first")).to_contain_text("https://runbooks.example/resolution <img")
    expect(page.locator(".st-key-assay-beside-before")).to_contain_text(told["diagnosis"]["nearest"]["said"])
    likeliest = told["diagnosis"]["causes"][0]
    expect(page.locator(".st-key-assay-cause-0")).to_contain_text(likeliest["title"])
    expect(page.locator(".st-key-assay-cause-0")).to_contain_text("to be checked first")
    for reason in likeliest["reasons"][:3]:
        expect(page.locator(".st-key-assay-cause-0")).to_contain_text(reason)
    settled(page)
    harmless(page)


def test_the_series_are_drawn_with_bands_breaches_and_deploys(page: Page, made: Alerted) -> None:
    told = made.get("/incidents/I-1/series")
    page.goto(f"{made.url}/incident?id=I-1")
    plots = page.locator(".st-key-assay-charts-incident .js-plotly-plot")
    expect(plots).to_have_count(len(told["charts"]))
    first = of_plot(
        plots.first, "plot => plot.data.map(one => [one.fill || '', one.x.length, one.marker?.symbol || ''])"
    )
    assert any(fill == "toself" for fill, _, _ in first)
    n_out = told["charts"][0]["verdict"].count("breach")
    assert n_out >= 3
    assert any(n == n_out and not fill and not symbol for fill, n, symbol in first)
    assert any(symbol == "triangle-down" and n == len(told["markers"]) for _, n, symbol in first)
    expect(page.locator(".st-key-assay-quiet-legend")).to_contain_text("release v2")


def test_alerts_charts_and_firings_lead_to_their_monitors(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/alerts")
    card(page, "resolution").get_by_role("button", name="resolution").click()
    expect(page).to_have_url(re.compile("/monitor.name=resolution&view=course"))
    expect(page.locator(".st-key-assay-monitor-head")).to_contain_text("firing")
    charts = made.get("/incidents/I-1/series")["charts"]
    watched = [one["monitor"] for one in charts if one["monitor"]]
    assert {"resolution", "orders"} <= set(watched)
    assert len(watched) < len(charts)
    page.goto(f"{made.url}/incident?id=I-1")
    ways = page.locator('.st-key-assay-charts-incident [class*="st-key-incident-monitor-"]')
    expect(ways).to_have_count(len(watched))
    ways.filter(has_text="orders").get_by_role("button").click()
    expect(page).to_have_url(re.compile("/monitor.name=orders&view=course"))
    page.goto(f"{made.url}/incident?id=I-1")
    cells(page, "assay-grid-incident-alerts", "resolution")
    settled(page)
    canvas = page.locator(".st-key-assay-grid-incident-alerts canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    first = made.get("/incidents/I-1")["alerts"][0]["monitor"]
    page.mouse.click(box["x"] + 300, box["y"] + 36 + 18)
    expect(page).to_have_url(re.compile(f"/monitor.name={first}&view=course"))


def test_where_it_happened_has_contributions_with_intervals(page: Page, made: Alerted) -> None:
    where = {one["dimension"]: one for one in made.get("/incidents/I-1")["diagnosis"]["where"]}
    lead = where["release"]["contributions"][0]
    assert lead["value"] == "v2"
    page.goto(f"{made.url}/incident?id=I-1")
    plot = page.locator(".st-key-assay-chart-incident-where-release .js-plotly-plot")
    expect(plot).to_be_visible()
    spans = of_plot(plot, "plot => plot.data.filter(one => one.mode === 'lines').map(one => one.x)")
    assert spans[0] == pytest.approx([100 * lead["total"]["low"], 100 * lead["total"]["high"]], abs=1e-6)


def test_example_sessions_are_shown_as_text_and_open(page: Page, made: Alerted) -> None:
    told = made.get("/incidents/I-1")
    assert len(told["examples"]) == 10
    page.goto(f"{made.url}/incident?id=I-1")
    cells(page, "assay-grid-incident-examples", told["examples"][0])
    settled(page)
    harmless(page)
    canvas = page.locator(".st-key-assay-grid-incident-examples canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + 38 + 19)
    expect(page).to_have_url(re.compile(f"/session.session_id={told['examples'][0]}$"))


def test_a_message_that_was_given_up_is_sent_again(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/incident?id=I-1")
    trouble = page.locator('[class*="st-key-assay-delivery-"]').filter(has_text="given up").first
    expect(trouble).to_contain_text("the receiver answered 422 <img src=x")
    settled(page)
    trouble.get_by_role("button", name="Send it again").click()
    expect(page.locator(".st-key-assay-deliveries-counts")).not_to_contain_text("given up")
    assert [one["state"] for one in made.get("/deliveries", incident=1)["items"]].count("dead") == 0


def test_it_is_acknowledged_given_to_somebody_and_noted(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/incident?id=I-1")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(page.locator(".st-key-assay-verdict-incident")).to_contain_text("Acknowledged")
    settled(page)
    page.get_by_role("button", name="Give to").click()
    page.get_by_label("Who looks after it").fill("bob <i>x</i>")
    page.get_by_label("Who looks after it").press("Enter")
    settled(page)
    page.get_by_role("button", name="Give it").click()
    expect(page.locator(".st-key-assay-facts-incident")).to_contain_text("bob <i>x</i>")
    settled(page)
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text("Alerts of it fire")
    page.get_by_label("What was found or done").fill("v2 asks the old search\n**not bold**")
    page.get_by_role("button", name="Write it into the timeline").click()
    timeline = page.locator(".st-key-assay-timeline")
    expect(timeline).to_contain_text("**not bold**")
    assert made.get("/incidents/I-1")["acknowledged_by"] == "power_user of airline"
    settled(page)
    harmless(page)


def test_narrow_screens_do_not_overflow(page: Page, made: Alerted) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    for path in ("alerts", "incidents", "incident?id=I-1"):
        page.goto(f"{made.url}/{path}")
        expect(page.get_by_role("heading", level=1).first).to_be_attached()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, path


def test_one_that_is_not_there_is_said(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/incident?id=I-99")
    expect(page.get_by_text("there is no incident I-99")).to_be_visible()


def test_when_it_is_over_it_says_so_and_is_closed_with_a_note_after_it(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/incident?id=I-1")
    expect(page.locator(".st-key-assay-verdict-incident")).to_contain_text("Acknowledged")
    made.look_after(TROUBLE + 4)
    expect(page.locator(".st-key-assay-facts-incident")).to_contain_text("0 of 2")
    expect(page.locator(".st-key-assay-timeline")).to_contain_text("back inside the band")
    settled(page)
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_label("What it was (kept in its timeline)").fill("v2 was rolled back")
    page.get_by_role("button", name="Close it").click()
    expect(page.locator(".st-key-assay-verdict-incident")).to_contain_text("Closed")
    page.get_by_label("What it was, what was done").fill("the old search is gone for good")
    page.get_by_role("button", name="Write it into the timeline").click()
    expect(page.locator(".st-key-assay-timeline")).to_contain_text("the old search is gone for good")
    told = made.get("/incidents/I-1")
    assert [one["kind"] for one in told["timeline"]][-2:] == ["closed", "note"]
    page.goto(f"{made.url}/incidents")
    cells(page, "assay-grid-incidents-closed", "I-1")


def test_nothing_fires_says_who_looked_and_when(page: Page, made: Alerted) -> None:
    page.goto(f"{made.url}/alerts")
    quiet = page.locator(".st-key-assay-empty-alerts")
    expect(quiet).to_contain_text("Nothing fires")
    expect(quiet).to_contain_text(re.compile("4 monitors with 4 series were looked at .* ago"))
    cells(page, "assay-grid-alerts-resolved", re.compile("back inside the band"))
