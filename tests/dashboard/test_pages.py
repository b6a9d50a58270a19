"""What a person sees on the pages, in a browser, over the real collector, server and dashboard."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboard import traffic
from tests.dashboard.conftest import Shown
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import settled

pytestmark = pytest.mark.timeout(600)

_HEADER_PX = 36
_ROW_PX = 38


def grid_cells(page: Page, column: int) -> Locator:
    """The visible cells of a column of the grid, in its accessible table (the grid itself is a canvas)."""
    return page.locator(f'[data-testid="stDataFrame"] canvas td[aria-colindex="{column}"]')


def click_row(page: Page, text: str, column: int) -> None:
    """Clicks the row of the grid whose cell in `column` is `text`, once nothing moves the grid any more."""
    cells = grid_cells(page, column)
    expect(cells.filter(has_text=text).first).to_be_attached()
    settled(page)
    row = cells.all_text_contents().index(text)
    canvas = page.locator('[data-testid="stDataFrame"] canvas').first
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + _HEADER_PX + _ROW_PX * (row + 0.5))


def titles(page: Page) -> Locator:
    """The titles of the grid's columns, from left to right."""
    return page.locator('[data-testid="stDataFrame"] canvas th')


def tree(page: Page) -> Locator:
    return page.get_by_role("tree", name="Spans")


def metric(page: Page, name: str) -> Locator:
    return (
        page.get_by_test_id("stMetric").filter(has=page.get_by_text(name, exact=True)).get_by_test_id("stMetricValue")
    )


def test_overview_counts_turns_errors_and_tokens(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"?since=24h&app={traffic.APP}"))
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(metric(page, "Turns")).to_have_text("2")
    expect(metric(page, "Tokens")).to_have_text("2,560")
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(6)
    expect(page.get_by_test_id("stPlotlyChart").first.locator("svg.main-svg").first).to_be_visible()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    expect(page.get_by_text("Tenant: default")).to_be_visible()


def test_one_series_has_one_colour_in_all_charts(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"?since=24h&app={traffic.APP}"))
    colours = {}
    for name in ("calls", "failed"):
        chart = page.locator(f".st-key-assay-chart-{name}")
        chart.scroll_into_view_if_needed()
        expect(chart.locator(".legendtext").first).to_be_attached()
        drawn = "plot => plot.data.map(series => [series.name, series.marker.color])"
        colours[name] = of_plot(chart.locator(".js-plotly-plot"), drawn)
    assert [one[0] for one in colours["calls"]] == ["model calls", "tool calls"]
    assert colours["calls"] == colours["failed"]


def ends_of_axis(page: Page) -> list[list[str]]:
    """The ends of the x axis of every chart that is drawn (those out of view may wait), as plotly has them."""
    charts = page.get_by_test_id("stPlotlyChart").locator(".js-plotly-plot")
    expect(charts.first.locator(".xtick").first).to_be_attached()
    drawn = "all => all.filter(one => one._fullLayout?.xaxis).map(one => one._fullLayout.xaxis.range)"
    found: list[list[str]] = charts.evaluate_all(drawn)
    assert found
    return found


def test_charts_show_the_chosen_window_and_not_only_the_data(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"?since=7d&app={traffic.APP}"))
    for first, last in ends_of_axis(page):
        days = (datetime.fromisoformat(last) - datetime.fromisoformat(first)) / timedelta(days=1)
        assert 7 <= days <= 7.5
    latency = page.locator(".st-key-assay-chart-latency .ytick text")
    expect(latency.first).to_be_attached()
    assert set(latency.all_text_contents()) <= {"1 s", "2 s", "5 s", "10 s"}


def test_the_overview_compares_with_the_window_before(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"?since=24h&app={traffic.APP}"))
    expect(page.get_by_text("No turns in the 24 hours before: nothing to compare with.")).to_be_visible()
    page.goto(shown.url(f"?since=3650d&app={traffic.APP}"))
    expect(page.get_by_text("All time has nothing before it to compare with.")).to_be_visible()


@pytest.mark.parametrize("path", ["", "traces", "sessions"])
def test_lists_say_their_time_zone(page: Page, shown: Shown, path: str) -> None:
    page.goto(shown.url(f"{path}?since=24h"))
    expect(page.get_by_text("times in Europe/Berlin (UTC+")).to_be_visible()


def test_a_length_of_time_that_is_not_listed_is_shown_and_nonsense_is_named(page: Page, shown: Shown) -> None:
    page.goto(shown.url("traces?since=3d"))
    expect(page.get_by_role("combobox", name="Time range")).to_have_value("Last 3 days")
    expect(page.get_by_text("traces in the last 3 days")).to_be_visible()
    page.goto(shown.url("traces?since=banana"))
    expect(page.get_by_text("since=banana in the address is not a range of time")).to_be_visible()
    expect(page.get_by_text("in the last 24 hours ·")).to_be_visible()


def test_an_app_that_was_quiet_says_when_it_was_last_seen(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"traces?since=1m&app={traffic.APP}"))
    expect(page.get_by_role("heading", name="No traces here")).to_be_visible()
    expect(page.get_by_text(re.compile(f"The app {traffic.APP} was last seen on .* UTC"))).to_be_visible()
    page.get_by_role("button", name="Show all time").click()
    expect(page.get_by_text("2 traces of all time · 1 error")).to_be_visible()
    expect(page).to_have_url(re.compile("since=all"))


def test_an_app_that_never_was_is_said_to_be_unknown_and_not_quiet(page: Page, shown: Shown) -> None:
    page.goto(shown.url("traces?since=all&app=no-such-app"))
    expect(page.get_by_text("No app named no-such-app has ever sent anything.")).to_be_visible()
    expect(page.get_by_text("in this time range")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Time range")).to_have_value("All time")


def test_refreshing_can_be_switched_off(page: Page, shown: Shown) -> None:
    page.goto(shown.url("?since=24h"))
    switch = page.get_by_role("switch", name="Live").or_(page.get_by_role("checkbox", name="Live"))
    expect(switch).to_be_checked()
    page.get_by_text("Live", exact=True).click()
    expect(switch).not_to_be_checked()


def test_traces_are_listed_newest_first_and_open_a_peek(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"traces?since=24h&app={traffic.APP}"))
    expect(page.get_by_text("2 traces in the last 24 hours · 1 error")).to_be_visible()
    expect(page.get_by_placeholder("Search traces")).to_be_visible()
    for place, title in enumerate(("Started", "Status", "Input", "Output", "Latency", "Cost", "App", "Release")):
        expect(titles(page).nth(place)).to_have_text(title)
    click_row(page, "Book it for two.", 3)
    peek = page.locator(".st-key-assay-peek")
    expect(peek.get_by_text("I could not book it: the seats are gone.")).to_be_visible()
    expect(grid_cells(page, 3)).to_have_text(["Book it for two.", "Is there a night train to Lisbon?"])
    expect(titles(page)).to_have_text(["Started", "Status", "Input"])  # the rest is in the peek
    peek.get_by_role("button", name="Down").click()
    expect(peek.get_by_text("Yes, it leaves Hendaye at 18:35.")).to_be_visible()
    peek.get_by_role("button", name="Open trace").click()
    expect(page).to_have_url(re.compile(f"trace_id={shown.turns[0]}"))
    expect(tree(page).get_by_role("treeitem")).to_have_count(3)


def test_filters_show_counts_and_narrow_the_list(page: Page, shown: Shown) -> None:
    page.goto(shown.url("traces?since=24h"))
    everything = page.get_by_text(re.compile(r"^\d+ traces in the last 24 hours")).inner_text()
    page.get_by_role("combobox", name=re.compile("App")).click()
    page.get_by_role("option", name=f"{traffic.APP} · 2").click()
    expect(page.get_by_text("2 traces in the last 24 hours")).to_be_visible()
    expect(page).to_have_url(re.compile(f"app={traffic.APP}"))
    page.get_by_role("textbox", name="Search").fill("night train")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.get_by_text("1 trace in the last 24 hours")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text(everything, exact=True)).to_be_visible()


def test_a_search_shows_where_the_text_was_found(page: Page, shown: Shown) -> None:
    page.goto(shown.url("traces?since=24h&q=sud+express"))
    expect(page.get_by_text("2 traces in the last 24 hours")).to_be_visible()
    click_row(page, "Book it for two.", 3)
    peek = page.locator(".st-key-assay-peek")
    expect(peek.get_by_text("Found in the output of a span")).to_be_visible()
    expect(peek.get_by_text("Sud Express")).to_be_visible()
    page.goto(shown.url("traces?since=24h&q=plan+journeys"))  # system instructions are not searched
    expect(page.get_by_role("heading", name="No traces here")).to_be_visible()


def test_an_attribute_filter_of_the_address_is_obeyed(page: Page, shown: Shown) -> None:
    page.goto(shown.url("traces?since=24h&attr=gen_ai.tool.name%3Dfind_trains"))
    expect(page.get_by_text("2 traces in the last 24 hours")).to_be_visible()
    page.goto(shown.url("traces?since=24h&attr=gen_ai.tool.name%3Dnothing"))
    expect(page.get_by_role("heading", name="No traces here")).to_be_visible()


def test_a_trace_shows_tree_detail_and_scores(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"trace?trace_id={shown.turns[0]}"))
    rows = tree(page).get_by_role("treeitem")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("chat gpt-4.1-mini")
    expect(rows.nth(1)).to_contain_text("1.3k tok")
    expect(rows.nth(1)).to_contain_text("1.9 s")
    expect(page.get_by_text("warm · 0.875")).to_be_visible()
    expect(page.get_by_text("unscored: no retrieval in this turn")).to_be_visible()
    rows.nth(1).click()
    detail = page.locator(".st-key-assay-detail")
    expect(detail.get_by_text("You plan journeys.", exact=True)).to_be_visible()
    said = detail.get_by_test_id("stChatMessage")
    expect(said.nth(0)).to_contain_text("System")
    expect(said.nth(1)).to_contain_text("Is there a night train to Lisbon?")
    expect(detail.get_by_text("find_trains").first).to_be_visible()
    expect(page).to_have_url(re.compile("span_id="))
    detail.get_by_role("tab", name="Attributes").click()
    expect(detail.get_by_text(re.compile(r"^Attributes \(\d+\)"))).to_be_visible()


def test_a_trace_as_waterfall_and_log(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"trace?trace_id={shown.turns[1]}"))
    page.get_by_role("button", name="Waterfall").click()
    expect(tree(page).locator(".fill")).to_have_count(3)
    page.get_by_role("button", name="Log").click()
    expect(tree(page).get_by_role("treeitem").nth(2)).to_contain_text("no seats left")
    page.get_by_role("button", name="Next error (2)").click()
    detail = page.locator(".st-key-assay-detail")
    expect(detail.locator(".st-key-assay-error-text")).to_contain_text("no seats left")
    detail.get_by_role("tab", name="Events 1").click()
    expect(detail.get_by_text("exception.message", exact=True)).to_be_visible()


def test_keys_move_through_the_spans(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"trace?trace_id={shown.turns[0]}"))
    rows = tree(page).get_by_role("treeitem")
    rows.first.click()
    tree(page).press("j")
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    tree(page).press("k")
    tree(page).press("ArrowLeft")
    expect(rows).to_have_count(1)


def test_a_link_to_a_span_selects_it(page: Page, shown: Shown) -> None:
    trace_id, span_id = shown.hostile
    page.goto(shown.url(f"trace?trace_id={trace_id}&span_id={span_id}"))
    expect(tree(page).locator(f'[data-span="{span_id}"]')).to_have_attribute("aria-selected", "true")
    expect(page.locator(".st-key-assay-detail").get_by_text(span_id, exact=True)).to_be_visible()


def test_a_trace_of_33_000_spans_opens_folded(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"trace?trace_id={shown.big[0]}"))
    expect(page.get_by_text("Showing the first 2,000 of 33,000 spans, in order of start.")).to_be_visible()
    rows = tree(page).get_by_role("treeitem")
    expect(rows.first).to_contain_text("re-index everything")
    assert rows.count() < 60  # only what is in view is drawn
    page.get_by_role("button", name="Load all").click()
    expect(page.get_by_text("33,000 spans · ")).to_be_visible(timeout=90_000)
    page.get_by_role("textbox", name="Find spans by name").fill("passage 999.30")
    expect(rows).to_have_count(1)
    rows.first.click()
    expect(page.locator(".st-key-assay-detail").get_by_text("passage 999.30", exact=True)).to_be_visible()


def test_a_link_into_the_depth_of_a_big_trace_finds_its_span(page: Page, shown: Shown) -> None:
    trace_id, span_id = shown.big
    page.goto(shown.url(f"trace?trace_id={trace_id}&span_id={span_id}"))
    row = tree(page).locator(f'[data-span="{span_id}"]')
    expect(row).to_have_attribute("aria-selected", "true")
    expect(row).to_have_attribute("aria-level", "3")
    expect(row).to_be_in_viewport()


def test_sessions_lead_to_the_transcript(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"sessions?since=24h&app={traffic.APP}"))
    click_row(page, "Is there a night train to Lisbon?", 2)
    expect(page).to_have_url(re.compile(f"session_id={traffic.SESSION}"))
    expect(page.get_by_text("Turn 2")).to_be_visible()


def test_all_of_time_has_a_short_name_in_the_address(page: Page, shown: Shown) -> None:
    page.goto(shown.url("sessions?since=all"))
    expect(page.get_by_text(re.compile("^[0-9]+ sessions? of all time"))).to_be_visible()
    expect(page).to_have_url(re.compile("since=all(&|$)"))


def test_a_session_is_a_transcript_with_costs_gaps_and_scores(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"session?session_id={traffic.SESSION}"))
    expect(page.get_by_role("heading", name="Session", exact=True)).to_be_visible()
    expect(page.get_by_text("trip_booked")).to_be_visible()
    expect(page.get_by_text("fail · 0")).to_be_visible()
    cards = page.locator('[class*="st-key-assay-turn-"]')
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("Is there a night train to Lisbon?")
    expect(cards.first).to_contain_text("Yes, it leaves Hendaye at 18:35.")
    expect(cards.first).to_contain_text("4.0 s")
    expect(cards.first).to_contain_text("1.3k tok")
    expect(cards.first).to_contain_text("warm · 0.875")
    expect(cards.nth(1)).to_contain_text("2 error spans")
    expect(cards.nth(1).locator('[class*="st-key-assay-error-text"]')).to_contain_text("the tool failed")
    expect(cards.first.locator('[class*="st-key-assay-error-text"]')).to_have_count(0)
    expect(page.get_by_text("idle for 1 m 35 s")).to_be_visible()
    cards.nth(1).get_by_role("button", name="Open trace").click()
    expect(page).to_have_url(re.compile(f"trace_id={shown.turns[1]}"))


def test_an_unknown_trace_says_so(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"trace?trace_id={'0' * 31}1"))
    expect(page.get_by_role("heading", name="Nothing is stored under this id")).to_be_visible()


def test_a_narrow_screen_shows_the_same(page: Page, shown: Shown) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(shown.url(f"trace?trace_id={shown.turns[0]}"))
    expect(tree(page).get_by_role("treeitem")).to_have_count(3)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
