"""The page Experiments in a browser, over a real server with a week of traffic in its databases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from server.cli.main import main
from tests.dashboard.experimented import DRAFT, REVERSED, SHIP, UNDER_WAY, UNSEEN, Experimented, experimented_dashboard
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_judges_page import cells
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Look, Visits
from tests.evaluators.recorded import DATA
from tests.experiments.statistics.stratified import KIDNEY, UCB
from tests.server.test_cli_analyze import written

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def experimented(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experimented]:
    with experimented_dashboard(tmp_path_factory.mktemp("experiments-page")) as made:
        yield made


@pytest.fixture(scope="module")
def look(visits: Visits, experimented: Experimented) -> Iterator[Look]:
    """One visit for the tests that only look. After the last: no error on the console, no foreign request."""
    with visits.page(experimented.url, height=4200) as opened:
        yield Look(opened)


@pytest.fixture
def page(visits: Visits, experimented: Experimented, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(experimented.url, experimented.bare_url, height=4200, picture=request.node.name) as opened:
        yield opened


def word(page: Page, said: str) -> None:
    """The verdict as people read it: in letters, beside its icon."""
    heading = page.locator(".st-key-assay-verdict-experiment h2")
    expect(heading).to_contain_text(said)
    expect(heading.locator("[data-testid=stIconMaterial], span[role=img]").first).to_be_attached()


def primary_of(told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The primary metric and its only treatment."""
    found = next(one for one in told["metrics"] if one["role"] == "primary")
    return found, found["variants"][0]


def drawn(page: Page, key: str, script: str) -> Any:
    plot = page.locator(f".st-key-assay-chart-{key} .js-plotly-plot")
    expect(plot).to_be_visible()
    return of_plot(plot, script)


def test_a_winner_is_told_large_with_both_numbers_and_its_caution(look: Look, experimented: Experimented) -> None:
    told = experimented.analysis(SHIP)
    assert told["decision"]["word"] == "ship"
    page = look(f"{experimented.url}/experiments?experiment={SHIP}")
    word(page, "Ship")
    verdict = page.locator(".st-key-assay-experiment-verdict")
    _, variant = primary_of(told)
    effect = variant["effect"]
    expect(verdict).to_contain_text(f"{100 * effect['treatment']:.1f}% against {100 * effect['control']:.1f}%")
    expect(page.locator(".st-key-assay-experiment-caution")).to_contain_text(told["decision"]["caution"])
    for text in ("better", "not worse", f"+{100 * effect['estimate']:.1f} points"):
        cells(page, "assay-grid-experiment-metrics", text)
    expect(page.locator(".st-key-assay-quiet-no-estimate")).to_contain_text("latency: All units of both arms")


def test_intervals_are_drawn_look_by_look_and_z_against_its_boundary(look: Look, experimented: Experimented) -> None:
    told = experimented.analysis(SHIP)
    looks = [one for one in told["sequence"] if one["metric"] == "resolution"]
    assert len(looks) > 4
    page = look(f"{experimented.url}/experiments?experiment={SHIP}")
    line = drawn(page, "experiment-looks-interval", "plot => plot.data[plot.data.length - 1].y")
    assert line == pytest.approx([100 * one["estimate"] for one in looks])
    band = drawn(page, "experiment-looks-interval", "plot => plot.data[0].y")
    assert band == pytest.approx(
        [*(100 * one["high"] for one in looks), *(100 * one["low"] for one in reversed(looks))]
    )  # fmt: skip
    upper, lower, z = drawn(page, "experiment-looks-boundary", "plot => plot.data.map(line => line.y)")
    assert upper == pytest.approx([one["boundary"] for one in looks])
    assert lower == pytest.approx([-one["boundary"] for one in looks])
    assert z == pytest.approx([one["z"] for one in looks])


def test_the_forest_has_every_stratum_and_both_wholes_and_names_stay_text(
    look: Look, experimented: Experimented
) -> None:
    told = experimented.analysis(SHIP)
    mine = next(one for one in told["strata"] if (one["attribute"], one["metric"]) == ("topic", "resolution"))
    page = look(f"{experimented.url}/experiments?experiment={SHIP}")
    points = drawn(page, "forest-experiment", "plot => plot.data[plot.data.length - 1].x")
    _, variant = primary_of(told)
    levels = [one["estimate"] for one in mine["levels"] if one["estimate"] is not None]
    assert len(levels) == 3
    wholes = [variant[name]["estimate"] for name in ("pooled", "stratified")]
    assert sorted(points) == pytest.approx(sorted(100 * one for one in [*levels, *wholes]))
    expect(page.locator(".st-key-assay-chart-forest-experiment")).to_contain_text("<img src=x")
    cells(page, "assay-grid-strata-experiment", re.compile("<img src=x"))
    expect(page.locator(".st-key-assay-quiet-tests-experiment")).to_contain_text("Mantel-Haenszel")
    expect(page.locator(".st-key-assay-quiet-hypothesis")).to_contain_text("**b**")
    settled(page)
    harmless(page)


def test_failed_checks_come_first_and_there_is_no_verdict_to_ship(look: Look, experimented: Experimented) -> None:
    told = experimented.analysis(REVERSED)
    failed = [one for one in told["health"] if one["status"] == "failed"]
    assert failed
    page = look(f"{experimented.url}/experiments?experiment={REVERSED}")
    word(page, "Unhealthy")
    first = page.locator(".st-key-assay-unhealthy-0")
    expect(first).to_contain_text(failed[0]["text"])
    place, below = first.bounding_box(), page.locator(".st-key-assay-experiment-verdict").bounding_box()
    assert place is not None
    assert below is not None
    assert place["y"] < below["y"]
    cells(page, "assay-grid-experiment-health", "failed")


def test_a_reversal_is_a_sentence_two_pictures_and_a_table(look: Look, experimented: Experimented) -> None:
    told = experimented.analysis(REVERSED)
    mine = next(one for one in told["strata"] if (one["attribute"], one["metric"]) == ("topic", "resolution"))
    assert mine["simpson"]["paradox"] == "reversed"
    page = look(f"{experimented.url}/experiments?experiment={REVERSED}")
    said = page.locator(".st-key-assay-simpson-0")
    expect(said).to_contain_text("Pooled and within topic they disagree")
    expect(said).to_contain_text(mine["sentence"])
    expect(metric(page, "As seen, pooled")).to_have_text(re.compile("^−"))
    expect(metric(page, "Stratified")).to_have_text(re.compile(r"^\+"))
    lines = drawn(page, "simpson-panels-0", "plot => plot.data.map(line => [line.xaxis, line.y[1] - line.y[0]])")
    assert [axis for axis, _ in lines] == ["x", "x2", "x2"]
    assert lines[0][1] < 0
    assert all(rise > 0 for _, rise in lines[1:])
    for text in ("easy", "80.0%", "20.0%"):
        cells(page, "assay-grid-simpson-mix-0", text)
    assert page.locator(".st-key-assay-simpson-1").count() == 0  # all strata together are the topic again
    page.get_by_text("Strata and the other metrics").click()  # nobody looks here after this
    others = [one for one in told["strata"] if (one["simpson"] or {}).get("flagged") and one["metric"] == "cost"]
    expect(page.locator(".st-key-assay-simpson-others")).to_contain_text(others[0]["sentence"][:60])


def test_one_under_way_says_how_long(look: Look, experimented: Experimented) -> None:
    told = experimented.analysis(UNDER_WAY)
    page = look(f"{experimented.url}/experiments?experiment={UNDER_WAY}")
    word(page, "Keep running")
    verdict = page.locator(".st-key-assay-experiment-verdict")
    expect(verdict).to_contain_text(f"about {told['decision']['days_left']} days left")
    expect(verdict).to_contain_text("240 of 5,000 units, 5% of the horizon")
    days = drawn(page, "experiment-exposure-days", "plot => plot.data.map(bars => bars.y.reduce((a, b) => a + b, 0))")
    assert days == [one["n_units"] for one in told["arms"]]


def test_a_draft_says_what_begins_it(page: Page, experimented: Experimented) -> None:
    page.goto(f"{experimented.url}/experiments?experiment={DRAFT}")
    word(page, "Not started")
    expect(page.get_by_text(f"assay experiments start {DRAFT}")).to_be_visible()


def test_the_list_has_what_each_says_and_a_click_opens_one(page: Page, experimented: Experimented) -> None:
    for name in (SHIP, UNDER_WAY, REVERSED):  # who looks keeps what was decided
        experimented.analysis(name)
    page.goto(f"{experimented.url}/experiments")
    expect(metric(page, "Running")).to_have_text("4")
    expect(metric(page, "Ship")).to_have_text("1")
    for text in ("Ship", "Keep running", "Unhealthy", "draft"):
        cells(page, "experiments-list", text)
    box = page.locator(".st-key-experiments-list canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 38 + 19)  # those that run by name
    expect(page).to_have_url(re.compile(f"experiment={REVERSED}"))


def test_one_that_nobody_looked_at_is_no_all_clear_and_is_looked_at_on_demand(
    page: Page, experimented: Experimented
) -> None:
    page.goto(f"{experimented.url}/experiments")
    cells(page, "experiments-list", "Not looked at")
    cells(page, "experiments-list", UNSEEN)
    page.get_by_role("button", name="Look now").click()
    expect(page.locator(".st-key-assay-not-looked-at")).to_have_count(0)
    cells(page, "experiments-list", "No unit has been exposed yet")
    expect(page.locator(".st-key-experiments-list canvas td").filter(has_text="Not looked at")).to_have_count(0)


def test_an_experiment_leads_to_the_sessions_of_an_arm_and_on_to_a_rollout(
    page: Page, experimented: Experimented
) -> None:
    told = experimented.analysis(SHIP)
    page.goto(f"{experimented.url}/experiments?experiment={SHIP}")
    onwards = page.locator(".st-key-assay-experiment-onwards")
    expect(onwards).to_contain_text("assay deploy shop v2 --canary 1,5,25,50,100")
    page.get_by_role("button", name="Sessions of treatment").click()
    expect(page).to_have_url(re.compile("/sessions.*variant=treatment"))
    n = next(one["n_sessions"] for one in told["arms"] if one["variant"] == "treatment")
    assert n > 100
    expect(page.get_by_text("The newest 100 sessions")).to_be_visible()
    cells(page, "sessions-grid-0", "v2")
    expect(page.locator(".st-key-sessions-grid-0 canvas td").filter(has_text="v1")).to_have_count(0)


def test_an_address_opens_the_metric_and_the_attribute_that_its_sender_saw(
    page: Page, experimented: Experimented
) -> None:
    told = experimented.analysis(SHIP)
    page.goto(f"{experimented.url}/experiments?experiment={SHIP}&metric=cost&by=hour")
    looks = [one for one in told["sequence"] if one["metric"] == "cost"]
    line = drawn(page, "experiment-looks-interval", "plot => plot.data[plot.data.length - 1].y")
    assert line == pytest.approx([one["estimate"] for one in looks])
    expect(page.locator(".st-key-assay-grid-strata-experiment canvas th").filter(has_text="hour")).to_be_attached()
    page.get_by_role("combobox", name="Metric").click()
    page.get_by_role("option", name="error_rate").click()
    expect(page).to_have_url(re.compile("metric=error_rate.*by=hour|by=hour.*metric=error_rate"))
    expect(page.locator(".st-key-assay-chart-none-experiment-looks")).to_contain_text("A secondary metric is told once")


def test_where_there_is_none_the_page_says_how_to_make_one(page: Page, experimented: Experimented) -> None:
    page.goto(f"{experimented.bare_url}/experiments")
    empty = page.locator(".st-key-assay-empty-experiments")
    for command in ("assay experiments plan", "assay experiments create", "assay experiments analyze"):
        expect(empty).to_contain_text(command)
    page.get_by_role("button", name="Plan one").click()
    expect(page).to_have_url(re.compile("/planner"))


def analyzed(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Path, dict[str, Any]]:
    """What the command writes of a table, and where."""
    capsys.readouterr()
    main(["experiments", "analyze", str(path), "--json", *words])
    said = capsys.readouterr().out
    out = path.with_suffix(".json")
    out.write_text(said)
    told: dict[str, Any] = json.loads(said)
    return out, told


def test_the_analysis_of_a_table_is_drawn_on_the_same_page(
    page: Page, experimented: Experimented, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kidney stones, of which the tests of the command hold the figures."""
    table = written(tmp_path / "stones.csv", KIDNEY, ("open", "percutaneous"))
    columns = ["--variant", "arm", "--outcome", "successes", "--weights", "n", "--strata", "stratum"]
    path, told = analyzed(table, capsys, *columns)
    assert told["strata"][0]["simpson"]["paradox"] == "reversed"
    page.goto(f"{experimented.url}/experiments?view=table")
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator(".st-key-assay-simpson-0")).to_contain_text(told["strata"][0]["sentence"])
    lines = drawn(page, "simpson-panels-0", "plot => plot.data.map(line => line.y[1] - line.y[0])")
    assert lines[0] * lines[1] < 0
    assert lines[0] * lines[2] < 0
    (tmp_path / "other.json").write_text('{"experiment": "x"}')
    page.goto(f"{experimented.url}/experiments?view=table")
    page.locator("input[type=file]").set_input_files(tmp_path / "other.json")
    expect(page.locator(".st-key-assay-table-refused")).to_contain_text("assay experiments analyze --json")


def test_the_ab_of_two_agents_is_real_and_none_in_retail(
    page: Page, experimented: Experimented, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = DATA / "ab_simpson" / "agent_ab_gpt41_base_vs_sft.csv"
    if not recorded.is_file():
        pytest.skip("the public data sets are not beside the checkout")
    table = tmp_path / "ab.csv"
    table.write_bytes(recorded.read_bytes())
    columns = ["--variant", "arm", "--outcome", "success", "--strata", "domain", "--cluster", "domain,task_id"]
    path, told = analyzed(table, capsys, *columns)
    page.goto(f"{experimented.url}/experiments?view=table")
    page.locator("input[type=file]").set_input_files(path)
    _, variant = primary_of(told)
    assert variant["pooled"]["low"] > 0
    retail = next(one for one in told["strata"][0]["levels"] if one["level"] == "retail")
    assert retail["low"] < 0 < retail["high"]
    expect(page.locator(".st-key-assay-strata-sentence-experiment")).to_contain_text("none is shown in retail")
    points = drawn(page, "forest-experiment", "plot => plot.data[plot.data.length - 1].x")
    assert 100 * retail["estimate"] in [pytest.approx(one) for one in points]
    cells(page, "assay-grid-strata-experiment", "retail")
    word(page, "Ship")
    uneven = page.locator('[class*="st-key-assay-experiment-uneven"]')
    expect(uneven).to_contain_text("shown in telecom")
    expect(uneven).to_contain_text("none is shown in retail")
    titles = page.locator(".st-key-assay-grid-strata-experiment canvas th")
    expect(
        titles.filter(has_text=re.compile("^A_base$"))
    ).to_be_attached()  # as it is spelled: a grid reads no Markdown


def test_berkeley_is_told_rightly_not_every_department_reverses(
    page: Page, experimented: Experimented, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = written(tmp_path / "ucb.csv", UCB, ("Female", "Male"))
    columns = ["--variant", "arm", "--outcome", "successes", "--weights", "n", "--strata", "stratum"]
    path, told = analyzed(table, capsys, *columns, "--control", "Female")
    page.goto(f"{experimented.url}/experiments?view=table")
    page.locator("input[type=file]").set_input_files(path)
    said = page.locator(".st-key-assay-simpson-0")
    expect(said).to_contain_text("in C, E it does not: not every one reverses")
    lines = drawn(page, "simpson-panels-0", "plot => plot.data.map(line => [line.name, line.y[1] - line.y[0]])")
    assert lines[0][1] > 0
    assert {name[0] for name, rise in lines[1:] if rise > 0} == {"C", "E"}
    assert told["decision"]["word"] == "unhealthy"
    expect(page.locator(".st-key-assay-heading-small-headline")).to_have_text(
        "Mix of strata. No figure decides until that is mended"
    )


def test_an_unknown_one_is_said(page: Page, experimented: Experimented) -> None:
    page.goto(f"{experimented.url}/experiments?experiment=nobody")
    expect(page.locator(".st-key-assay-failure")).to_contain_text("nobody")


def test_narrow_screens_do_not_overflow(page: Page, experimented: Experimented) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{experimented.url}/experiments?experiment={REVERSED}")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
