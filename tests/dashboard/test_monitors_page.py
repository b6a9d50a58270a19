"""The pages Monitors and Monitor in a browser, over a real server that watched an app for a day."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboard.text import inert
from tests.dashboard.monitored import APP, UNWATCHED, Monitored, monitored_dashboard
from tests.dashboard.plots import of_plot
from tests.dashboard.test_gates_page import ATTACK
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_judges_page import cells
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def watched(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    with monitored_dashboard(tmp_path_factory.mktemp("monitors-page")) as made:
        yield made


@pytest.fixture
def page(visits: Visits, watched: Monitored, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(watched.url, watched.viewer_url, height=1800, picture=request.node.name) as opened:
        yield opened


def at(watched: Monitored, name: str, view: str = "course", **more: str) -> str:
    asked = "".join(f"&{key}={value}" for key, value in more.items())
    return f"{watched.url}/monitor?name={name}&view={view}{asked}"


def drawn(page: Page, key: str) -> Locator:
    plot = page.locator(f".st-key-assay-chart-{key} .js-plotly-plot")
    expect(plot).to_be_visible()
    return plot


def lines(plot: Locator) -> dict[str, int]:
    """By name, how many points each trace of a chart has."""
    found: dict[str, int] = of_plot(plot, "plot => Object.fromEntries(plot.data.map(one => [one.name, one.x.length]))")
    return found


def allow(watched: Monitored, app: str | None, pages: float | None) -> None:
    """Sets a budget, or takes it back."""
    body = {"app": app, "false_pages_per_week": pages}
    watched.shell.client.put("/api/v1/monitors/budget", json=body, headers=watched.headers).raise_for_status()


def marks(page: Page) -> list[float]:
    """The budgets that are marked."""
    found: list[float] = of_plot(
        drawn(page, "monitors-budget"), "plot => plot.data.find(one => one.name === 'allowed').x"
    )
    return found


def values(plot: Locator) -> int:
    """How many points of its series a chart draws."""
    script = "plot => plot.data?.find(one => one.name === 'value').y.filter(y => y !== null).length ?? -1"
    found: int = of_plot(plot, script)
    return found


def test_the_list_has_what_fires_first_and_a_click_opens_it(page: Page, watched: Monitored) -> None:
    page.goto(f"{watched.url}/monitors")
    for name, n in (("Firing", "1"), ("No data", "1"), ("Off", "1"), ("Silenced", "1")):
        expect(metric(page, name)).to_have_text(n)
    for text in ("firing", "silenced", "no data", "oncall", "nobody", "worst of 2"):
        cells(page, "monitors-list", text)
    box = page.locator(".st-key-monitors-list canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 220, box["y"] + 40 + 20)
    expect(page).to_have_url(re.compile("name=resolution"))
    expect(page.locator(".st-key-assay-monitor-head")).to_contain_text("firing")
    harmless(page)


def test_the_list_is_searched_and_an_app_chosen(page: Page, watched: Monitored) -> None:
    page.goto(f"{watched.url}/monitors?app={APP}&q=latency")
    cells(page, "monitors-list", "slow")
    expect(page.locator(".st-key-monitors-list canvas td").filter(has_text="resolution")).to_have_count(0)
    page.get_by_placeholder("Name, series, owner, channel").fill("nothing like it")
    page.get_by_placeholder("Name, series, owner, channel").press("Enter")
    expect(page.get_by_text("No monitor has “nothing like it”")).to_be_visible()


def test_a_course_draws_band_breaches_alerts_silences_and_releases(page: Page, watched: Monitored) -> None:
    told = watched.get("/monitors/resolution/course", since="24h")
    breaches = told["chart"]["verdict"].count("breach")
    assert breaches >= 6
    page.goto(at(watched, "resolution", since="24h"))
    plot = drawn(page, "monitor-course")
    found = lines(plot)
    assert found["breach"] == breaches
    assert found["value"] == len(told["chart"]["at"])
    assert found["band"] > 10
    strips = of_plot(plot, "plot => plot.data.filter(one => one.yaxis === 'y2').map(one => [one.name, one.text])")
    assert [name for name, _ in strips].count("alerts") == len(told["alerts"]) == 2
    assert any(name == "silences" and "deploy" in text[0] for name, text in strips)
    assert any(name == "changes" and "release v3" in text[0] for name, text in strips)
    cells(page, "assay-grid-monitor-alerts", "firing")
    cells(page, "assay-grid-monitor-alerts", "resolved")
    expect(metric(page, "Sigmas off")).to_contain_text("-")


def test_a_level_that_was_adopted_is_marked(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "slow", since="7d"))
    assert lines(drawn(page, "monitor-course"))["new level adopted"] >= 1
    expect(page.locator(".st-key-assay-monitor-head")).to_contain_text("silenced until")


def test_a_split_monitor_shows_the_series_that_is_chosen(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "by-release", since="7d"))
    drawn(page, "monitor-course")
    page.locator(".st-key-monitor-series-by-release").get_by_role("combobox").click()
    page.get_by_role("option", name="error_rate{release=v1}").click()
    told = watched.get("/monitors/by-release/course", since="7d", series="error_rate{release=v1}")
    n = sum(one is not None for one in told["chart"]["value"])
    wait_until(lambda: values(drawn(page, "monitor-course")) == n, 60, "the chart of the other release")


def test_it_leads_to_its_alerts_and_incidents_and_back(page: Page, watched: Monitored) -> None:
    incidents = {one["id"] for one in watched.get("/incidents", monitor="resolution")["items"]}
    newest = watched.get("/alerts", monitor="resolution")["items"][0]
    assert newest["incident"] in incidents
    page.goto(at(watched, "resolution"))
    cells(page, "assay-grid-monitor-alerts", newest["incident"])
    settled(page)
    page.get_by_role("button", name="All its alerts").click()
    expect(page).to_have_url(re.compile("/alerts.monitor=resolution"))
    firing = page.locator('[class*="st-key-assay-alert-card"]')
    expect(firing).to_have_count(1)
    firing.get_by_role("button", name="resolution").click()
    expect(page).to_have_url(re.compile("/monitor.name=resolution"))
    drawn(page, "monitor-course")
    settled(page)
    page.get_by_role("button", name="Its incidents").click()
    expect(page).to_have_url(re.compile("/incidents.monitor=resolution"))
    expect(metric(page, "Open")).to_have_text("1")
    page.goto(f"{watched.url}/incidents?monitor=asleep")
    expect(page.get_by_role("heading", name="No incident of these is open")).to_be_visible()
    page.goto(at(watched, "resolution"))
    canvas = page.locator(".st-key-assay-grid-monitor-alerts canvas").first
    canvas.scroll_into_view_if_needed()
    settled(page)
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 36 + 18)
    expect(page).to_have_url(re.compile(f"/incident.id={newest['incident']}$"))


def test_an_address_names_the_series_of_a_split_monitor(page: Page, watched: Monitored) -> None:
    name = "error_rate{release=v1}"
    told = watched.get("/monitors/by-release/course", since="7d", series=name)
    page.goto(at(watched, "by-release", since="7d", series="error_rate%7Brelease%3Dv1%7D"))
    expect(page.locator(".st-key-monitor-series-by-release").get_by_role("combobox")).to_have_value(name)
    n = sum(one is not None for one in told["chart"]["value"])
    wait_until(lambda: values(drawn(page, "monitor-course")) == n, 60, "the chart of this release")


def test_a_backtest_says_what_it_would_have_done_beside_its_budget(page: Page, watched: Monitored) -> None:
    answered = watched.shell.client.post(
        "/api/v1/monitors/resolution/backtest", json={"since": "3d"}, headers=watched.headers
    )  # fmt: skip
    told = answered.raise_for_status().json()
    page.goto(at(watched, "resolution", "backtest"))
    drawn(page, "monitor-backtest-chart")
    settled(page)
    page.get_by_role("radio", name="3 days").or_(page.get_by_role("button", name="3 days")).first.click()
    expect(metric(page, "Alerts")).to_have_text(str(len(told["alerts"])))
    expect(metric(page, "Budget a week")).to_have_text("0.1")
    expect(page.get_by_text("Expected: 0.1 a week (one in 10 weeks)")).to_be_visible()
    chart = drawn(page, "monitor-backtest-chart")
    wait_until(lambda: lines(chart).get("alerts") == 2, 60, "the chart of three days")


def test_editing_redraws_before_saving_and_saving_makes_a_version(page: Page, watched: Monitored) -> None:
    before = watched.get("/monitors/slow")
    page.goto(at(watched, "slow", "edit"))
    drawn(page, "monitor-edit-chart")
    expect(page.get_by_role("button", name="Nothing changed")).to_be_disabled()
    page.get_by_label("k (sigmas)", exact=True).fill("40")
    page.get_by_label("k (sigmas)", exact=True).press("Enter")
    changes = page.locator(".st-key-assay-monitor-changes")
    expect(changes).to_contain_text("What would change")
    cells(page, "assay-grid-monitor-changes", "k 40")
    expect(metric(page, "Alerts")).to_have_text("0")
    expect(page.get_by_text("It would have raised no alert.")).to_be_visible()
    assert watched.get("/monitors/slow")["version"] == before["version"]
    page.get_by_role("button", name=f"Save as version {before['version'] + 1}").click()
    expect(page).to_have_url(re.compile("view=course"))
    after = watched.get("/monitors/slow")
    assert (after["version"], after["definition"]["band"]["k"]) == (before["version"] + 1, 40)
    page.goto(at(watched, "slow", "versions"))
    expect(page.locator(".st-key-assay-version-0")).to_contain_text("k 40")


def test_what_cannot_be_is_refused_in_words_and_not_saved(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "resolution", "edit"))
    drawn(page, "monitor-edit-chart")
    page.get_by_label("alpha", exact=True).fill("7")
    page.get_by_label("alpha", exact=True).press("Enter")
    expect(page.locator(".st-key-assay-monitor-refused")).to_contain_text("alpha")
    expect(page.get_by_role("button", name=re.compile("Save as version"))).to_have_count(0)


def test_it_is_silenced_with_a_reason_and_the_silence_ended(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "resolution"))
    page.get_by_role("button", name="Silence", exact=True).click()
    asked = page.get_by_label("Why (whoever misses a page asks)")
    expect(page.get_by_role("button", name="Silence it")).to_be_disabled()
    asked.fill("moving <b>house</b>")
    asked.press("Enter")
    page.get_by_role("button", name="Silence it").click()
    expect(page.locator(".st-key-assay-monitor-head")).to_contain_text("silenced until")
    silenced = watched.get("/monitors/resolution")["silenced"]
    assert silenced["why"] == "moving <b>house</b>"
    page.goto(at(watched, "resolution"))
    page.get_by_role("button", name="Silenced").click()
    expect(page.locator(".st-key-assay-silence-0")).to_contain_text("moving <b>house</b>")
    page.get_by_role("button", name="End it now").click()
    expect(page.locator(".st-key-assay-monitor-head")).not_to_contain_text("silenced until")
    assert watched.get("/monitors/resolution")["silenced"] is None


def test_a_test_of_its_channels_is_sent_and_followed(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "resolution"))
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("button", name="Send a test to each").click()
    expect(page.locator(".st-key-assay-tested-0")).to_contain_text("oncall")
    expect(page.locator(".st-key-assay-tested-0")).to_contain_text("on its way")
    (sent,) = [one for one in watched.get("/deliveries")["items"] if one["kind"] == "test"]
    assert sent["channel"] == "oncall"


def test_it_is_switched_off_and_on_after_a_question(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "by-release"))
    page.get_by_role("button", name="Switch off").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("by-release is looked at no more. Nothing of it fires now.")
    assert watched.get("/monitors/by-release")["status"] == "on"
    dialog.get_by_role("button", name="Switch off").click()
    expect(page.get_by_role("button", name="Switch on")).to_be_visible()
    assert watched.get("/monitors/by-release")["status"] == "off"
    expect(page.get_by_role("dialog")).to_have_count(0)
    settled(page)
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("button", name="Switch off")).to_be_visible()
    assert watched.get("/monitors/by-release")["status"] == "on"


def test_deleting_says_what_goes_first(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "asleep"))
    page.get_by_role("button", name="Delete").click()
    goes = page.locator(".st-key-assay-monitor-goes")
    expect(goes).to_contain_text("asleep (traffic of shop) would be watched no more.")
    expect(goes).to_contain_text("Stays: its 1 version, its alerts and incidents.")
    assert watched.get("/monitors/asleep")["name"] == "asleep"
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("/monitors"))
    assert "asleep" not in {one["name"] for one in watched.get("/monitors")["items"]}


def test_an_app_without_monitors_is_offered_some_and_one_press_makes_them(page: Page, watched: Monitored) -> None:
    page.goto(f"{watched.url}/monitors?app={UNWATCHED}")
    expect(page.get_by_role("heading", name="No monitors of this app yet")).to_be_visible()
    for text in ("grounding", "safety", "escalation", "p95_latency"):
        cells(page, "assay-grid-monitor-defaults", text)
    assert watched.get("/monitors", app=UNWATCHED)["items"] == []
    page.get_by_role("button", name=f"Watch these 6 of {UNWATCHED}").click()
    cells(page, "monitors-list", "not looked at yet")
    made = watched.get("/monitors", app=UNWATCHED)["items"]
    assert sorted(one["definition"]["series"] for one in made) == [
        "escalation", "grounding", "p95_latency", "resolution", "resolution", "safety",
    ]  # fmt: skip


def test_the_budget_is_drawn_against_what_is_used_and_set_after_its_forecast(page: Page, watched: Monitored) -> None:
    told = watched.get("/monitors/budget")
    assert told["budgets"] == []
    assert sum(one["pages"] for one in told["monitors"]) >= 1
    page.goto(f"{watched.url}/monitors")
    expect(metric(page, "Allowed altogether")).to_have_text("no budget")
    plot = drawn(page, "monitors-budget")
    bars = of_plot(plot, "plot => Object.fromEntries(plot.data.map(one => [one.name, one.x]))")
    assert bars["allowed"] == []
    assert bars["paged"][0] == pytest.approx(told["pages_per_week"])
    cells(page, "assay-grid-monitors-budget", "by-release")
    settled(page)
    page.get_by_role("button", name="Set the budget").click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label("False pages a week", exact=True)
    field.fill("0.05")
    field.press("Enter")
    cells(page, "assay-grid-monitors-budget-then", "resolution")
    assert watched.get("/monitors/budget")["budgets"] == []
    settled(page)
    dialog.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(metric(page, "Allowed altogether")).to_have_text("0.05 a week")
    after = watched.get("/monitors/budget")
    assert after["budgets"] == [{"app": None, "false_pages_per_week": 0.05}]
    settled(page)
    wait_until(lambda: marks(page) == [0.05], 60, "the mark of what is allowed")
    page.goto(f"{watched.viewer_url}/monitors?app={APP}")
    page.get_by_role("button", name="Set the budget").click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text(f"assay monitors budget --app {APP} --per-week")


def test_a_budget_that_cannot_be_kept_is_refused_in_words(page: Page, watched: Monitored) -> None:
    allow(watched, None, None)
    allow(watched, APP, 0.5)
    page.goto(f"{watched.url}/monitors")
    page.get_by_role("button", name="Set the budget").click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label("False pages a week", exact=True)
    field.fill("0.3")
    field.press("Enter")
    expect(page.locator(".st-key-assay-budget-refused")).to_contain_text("leave nothing for others")
    expect(dialog.get_by_role("button", name="Set it")).to_have_count(0)
    allow(watched, APP, None)


def test_a_new_monitor_is_made_beside_its_preview(page: Page, watched: Monitored) -> None:
    page.goto(f"{watched.url}/monitor?new=1&app={APP}")
    drawn(page, "monitor-new-chart")
    page.get_by_label("Name", exact=True).fill("resolution-too")
    page.get_by_label("Name", exact=True).press("Enter")
    settled(page)
    page.get_by_role("button", name="Watch it from now on").click()
    expect(page).to_have_url(re.compile("name=resolution-too"))
    assert watched.get("/monitors/resolution-too")["definition"]["app"] == APP


def test_a_viewer_sees_no_form_and_reads_the_commands(page: Page, watched: Monitored) -> None:
    page.goto(f"{watched.viewer_url}/monitor?name=resolution&view=edit")
    drawn(page, "monitor-course")
    for name in ("Edit", "Delete", "Switch off", "Test", "Silence"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
        expect(page.get_by_role("radio", name=name, exact=True)).to_have_count(0)
    page.get_by_role("button", name="Silence or change").click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text("assay silence resolution 2h --why deploy")
    page.goto(f"{watched.viewer_url}/monitor?new=1")
    expect(page.get_by_text("Making a monitor takes a key of role power_user")).to_be_visible()


def test_texts_of_people_stay_text(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "groundless"))
    expect(page.locator(".st-key-assay-facts-monitor")).to_contain_text(inert(ATTACK)[:40])
    expect(page.get_by_text("No value in this time")).to_be_visible()
    harmless(page)
    page.goto(at(watched, "slow"))
    page.get_by_role("button", name="Silenced").click()
    expect(page.locator(".st-key-assay-silence-0")).to_contain_text("<img src=x")
    harmless(page)


def test_narrow_screens_do_not_overflow(page: Page, watched: Monitored) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    for address in (f"{watched.url}/monitors", at(watched, "resolution"), at(watched, "resolution", "edit")):
        page.goto(address)
        expect(page.get_by_test_id("stPlotlyChart").or_(page.get_by_test_id("stDataFrame")).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_a_monitor_that_is_not_there_is_said(page: Page, watched: Monitored) -> None:
    page.goto(at(watched, "nobody"))
    expect(page.get_by_text("Nothing is stored under this id")).to_be_visible()
