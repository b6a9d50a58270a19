"""The page Judges in a browser, over a real server with verdicts, labels and calibrations in its databases."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.judged import CERTIFIED, HOSTILE, TAU2_JUDGES, UNLABELLED, Judged
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def page(visits: Visits, judged: Judged, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(judged.url, judged.bare_url, height=2200, picture=request.node.name) as opened:
        yield opened


def cells(page: Page, key: str, text: str | re.Pattern[str]) -> None:
    expect(page.locator(f".st-key-{key} canvas td").filter(has_text=text).first).to_be_attached()


def test_the_list_says_which_may_be_believed_and_a_click_opens_one(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges")
    states = [one["state"] for one in judged.calibrations.values()]
    expect(metric(page, "Certified")).to_have_text(str(states.count("certified")))
    expect(metric(page, "Failed")).to_have_text(str(states.count("failed")))
    expect(metric(page, "Undetermined")).to_have_text(str(states.count("undetermined") + 1))  # and the uncalibrated
    for text in (CERTIFIED, UNLABELLED, "calibrate it", "certified", "change the rubric or the model"):
        cells(page, "judges-list", text)
    canvas = page.locator(".st-key-judges-list canvas").first
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 38 + 19)
    expect(page).to_have_url(re.compile(rf"judge={HOSTILE}"))


def test_a_certified_judge_shows_both_numbers_and_what_they_come_from(page: Page, judged: Judged) -> None:
    told = judged.calibrations[CERTIFIED]
    page.goto(f"{judged.url}/judges?judge={CERTIFIED}")
    expect(page.locator(".st-key-assay-judge-head")).to_contain_text("certified")
    statement = page.locator(".st-key-assay-judge-statement")
    expect(statement).to_contain_text(f"Cohen's kappa is {told['kappa']:.2f} over 150 labels")
    expect(statement).to_contain_text("reaches the bar 0.7")
    expect(metric(page, "Bar to reach")).to_have_text("0.7")
    plot = page.locator(".st-key-assay-chart-judge-kappa .js-plotly-plot")
    expect(plot).to_be_visible()
    assert of_plot(plot, "plot => plot._fullLayout.shapes.map(s => s.y0)")[0] == 0.7
    heat = page.locator(".st-key-assay-chart-judge-confusion .js-plotly-plot")
    counts = of_plot(heat, "plot => plot.data[0].text.map(row => row.map(Number))")
    assert counts == told["report"]["agreement"]["counts"]
    for text in ("Gwet's AC1", "Krippendorff's alpha"):
        cells(page, "assay-grid-judge-beside", text)
    cells(page, "assay-grid-judge-labels", re.compile(r"[0-9.]+% \([0-9.]+% to [0-9.]+%\)"))


def test_canaries_and_biases_are_tables(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge={CERTIFIED}&view=biases")
    for text in ("constant", "empty", "shuffled", "stood"):
        cells(page, "assay-grid-judge-canaries", text)
    cells(page, "assay-grid-judge-biases", re.compile("another verdict when asked again"))
    expect(page.locator(".st-key-assay-canaries-injected")).to_contain_text("the score rose in")


def test_the_stored_judges_of_tau2_are_told_as_they_are(page: Page, judged: Judged) -> None:
    if not judged.has_tau2:
        pytest.skip("the public data sets are not beside the checkout")
    triage = judged.calibrations["quick_triage_v1"]
    page.goto(f"{judged.url}/judges?judge=quick_triage_v1")
    expect(page.get_by_text(re.compile("It passes nearly everything: [0-9]+% of its verdicts pass"))).to_be_visible()
    expect(page.locator(".st-key-assay-judge-statement")).to_contain_text(f"{triage['kappa']:.2f} over {triage['n']}")
    page.goto(f"{judged.url}/judges?judge=quick_triage_v1&view=biases")
    expect(page.locator(".st-key-assay-canaries-none")).to_contain_text("verdicts came from elsewhere")
    for name in TAU2_JUDGES:
        assert judged.calibrations[name]["state"] != "certified"


def test_disagreements_are_read_side_by_side_with_the_conversation(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge={CERTIFIED}&view=disagreements")
    answer = judged.shell.client.get(f"/api/v1/judges/{CERTIFIED}/disagreements", headers=judged.shell.headers())
    sessions = [one["session_id"] for one in answer.json()["items"]]
    row, session = next((at, one) for at, one in enumerate(sessions) if int(one[1:]) < 30)  # whose spans are stored
    cells(page, "disagreements-list", "because ")
    box = page.locator(".st-key-disagreements-list canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + 38 + 38 * row + 19)
    expect(page.locator(".st-key-assay-said-judge")).to_contain_text(f"because {session[1:]}")
    expect(page.locator(".st-key-assay-said-people")).to_contain_text(f"we saw {session[1:]}")
    talk = page.locator(".st-key-assay-disagreement-conversation")
    expect(talk).to_contain_text(f"question {int(session[1:]) + 1}")
    said = [page.locator(f".st-key-assay-said-{who}").inner_text() for who in ("judge", "people")]
    assert ("pass" in said[0]) != ("pass" in said[1])
    page.get_by_role("button", name="Open session").click()
    expect(page).to_have_url(re.compile(rf"/session\?session_id={session}$"))


def test_raw_is_never_shown_alone(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge={CERTIFIED}&view=rate")
    expect(metric(page, "Corrected")).to_have_text(re.compile("%"))
    expect(metric(page, "Raw, the judge alone")).to_have_text(re.compile("%"))
    expect(page.locator(".st-key-assay-chart-judge-bars .js-plotly-plot")).to_be_visible()
    page.goto(f"{judged.url}/judges?judge={UNLABELLED}&view=rate")
    expect(page.locator(".st-key-assay-corrected-refused-judge")).to_contain_text("No rate is shown")
    expect(page.locator(".st-key-assay-corrected-refused-judge")).to_contain_text("assay labels create")
    assert metric(page, "Raw, the judge alone").count() == 0


def test_what_was_never_calibrated_says_what_to_do(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge={UNLABELLED}")
    expect(page.locator(".st-key-assay-judge-statement")).to_contain_text("it was never calibrated")
    expect(page.locator(".st-key-assay-empty-calibration")).to_contain_text("assay judges calibrate fresh")
    page.goto(f"{judged.url}/judges?judge={UNLABELLED}&view=runs")
    expect(page.locator(".st-key-assay-empty-judge-runs")).to_contain_text("--dry-run")
    expect(page.locator(".st-key-assay-empty-judge-schedule")).to_contain_text("assay judges watch fresh")
    page.goto(f"{judged.url}/judges?judge={UNLABELLED}&view=disagreements")
    expect(page.locator(".st-key-assay-empty-disagreements")).to_contain_text("Nobody labelled")


def test_a_calibration_is_foreseen_and_then_made(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge={CERTIFIED}")
    page.get_by_role("button", name="Calibrate", exact=True).click()
    page.get_by_role("button", name="What would it take?").click()
    expect(page.get_by_text(re.compile("150 labels beside 150 verdicts; [0-9]+ canaries"))).to_be_visible()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Calibrate", exact=True).click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.st-key-assay-chart-judge-kappa .js-plotly-plot')]"
        ".some(plot => plot.data && plot.data[plot.data.length - 1].x.length > 1)"
    )
    expect(page.locator(".st-key-assay-judge-statement").first).to_contain_text("over 150 labels")
    answer = judged.shell.client.get(f"/api/v1/judges/{CERTIFIED}/calibrations", headers=judged.shell.headers())
    assert len(answer.json()["items"]) == 2


def test_a_run_begins_after_its_forecast(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge={CERTIFIED}&view=runs")
    page.get_by_role("button", name="Let it judge").click()
    body = page.get_by_test_id("stPopoverBody")
    box = body.get_by_label("Budget in dollars (0: none)")
    box.fill("0")
    box.press("Enter")
    body.get_by_label("Sessions of the").click()
    page.get_by_role("option", name="all time").click()
    body.get_by_role("button", name="What would it take?").click()
    expect(body.get_by_text(re.compile("of 30 targets, 0 judged already"))).to_be_visible()
    body.get_by_role("button", name="Start").click()
    cells(page, "assay-grid-judge-runs", "waiting")
    expect(page.get_by_text(re.compile("0 of [0-9]+ judged"))).to_be_visible()
    headers = judged.shell.headers()
    (job,) = judged.shell.client.get(f"/api/v1/judges/{CERTIFIED}/runs", headers=headers).json()["items"]
    judged.shell.client.post(f"/api/v1/judges/{CERTIFIED}/runs/{job['job_id']}/cancel", headers=headers)


@pytest.mark.parametrize("view", ["agreement", "rate", "biases", "disagreements", "runs"])
def test_text_from_elsewhere_stays_text(page: Page, judged: Judged, view: str) -> None:
    page.goto(f"{judged.url}/judges?judge={HOSTILE}&view={view}")
    expect(page.locator(".st-key-assay-judge-head")).to_contain_text(HOSTILE)
    if view == "disagreements":
        expect(page.locator(".st-key-assay-said-judge")).to_contain_text("<img src=x")
    settled(page)
    harmless(page)


@pytest.mark.parametrize("address", ["", f"?judge={CERTIFIED}", f"?judge={CERTIFIED}&view=biases"])
def test_narrow_screens_do_not_overflow(page: Page, judged: Judged, address: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{judged.url}/judges{address}")
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_an_unknown_judge_is_said(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/judges?judge=nobody")
    expect(page.get_by_text("there is no judge")).to_be_visible()


def test_without_judges_the_page_says_how_to_make_one(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.bare_url}/judges")
    expect(page.locator(".st-key-assay-empty-judges")).to_contain_text("assay judges create")
