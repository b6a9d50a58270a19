"""The page Scores in a browser, over a real server with scores of rules, judges and people."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from server.routes import score_analytics
from tests.dashboard.judged import CERTIFIED, HOSTILE, UNLABELLED, Judged
from tests.dashboard.plots import of_plot
from tests.dashboard.test_gates_page import ATTACK
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def page(visits: Visits, judged: Judged, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(judged.url, judged.bare_url, height=1600, picture=request.node.name) as opened:
        yield opened


def test_one_score_in_figures(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/scores?score=rule:session:brevity")
    card = page.locator(".st-key-assay-score-card-score-0")
    expect(card).to_contain_text("brevity")
    expect(card).to_contain_text("120 targets")
    expect(card).to_contain_text("Unscored: the agent said nothing (1)")
    bars = page.locator(".st-key-assay-chart-score-0-distribution .js-plotly-plot")
    expect(bars).to_be_visible()
    assert sum(of_plot(bars, "plot => plot.data[0].y")) == 120
    expect(page.locator(".st-key-assay-chart-score-0-time .js-plotly-plot")).to_be_visible()


def test_two_scores_agree_with_an_interval(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/scores?score=rule:session:answered&against=human:session:helped")
    told = page.locator(".st-key-assay-score-together")
    expect(told).to_contain_text(re.compile(r"Cohen's kappa\s*-?[0-9.]+ \(-?[0-9.]+ to -?[0-9.]+\), (slight|worse)"))
    expect(told).to_contain_text("120 targets with both")
    heat = page.locator(".st-key-assay-chart-scores-heat .js-plotly-plot")
    expect(heat).to_be_visible()
    assert of_plot(heat, "plot => plot.data[0].text.flat().map(Number).reduce((a, b) => a + b)") == 120


def test_a_number_beside_labels_has_correlations(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/scores?score=rule:session:brevity&against=rule:session:answered")
    told = page.locator(".st-key-assay-score-together")
    expect(told).to_contain_text("they do not choose from the same labels")
    expect(told).to_contain_text(re.compile(r"Spearman\s*-?[0-9.]+ \("))


def test_a_judged_score_stands_beside_its_corrected_rate_or_not_at_all(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.url}/scores?score=judge:session:{CERTIFIED}&since=all")
    expect(metric(page, "Corrected")).to_have_text(re.compile("%"))
    expect(metric(page, "Raw, the judge alone")).to_have_text(re.compile("%"))
    expect(page.locator(".st-key-assay-chart-score-0-distribution .js-plotly-plot")).to_be_visible()
    page.goto(f"{judged.url}/scores?score=judge:session:{UNLABELLED}&since=all")
    expect(page.locator(".st-key-assay-corrected-refused-score-0")).to_contain_text("No rate is shown")
    assert metric(page, "Raw, the judge alone").count() == 0
    assert page.locator(".st-key-assay-chart-score-0-distribution").count() == 0
    page.get_by_role("button", name="Open the judge").click()
    expect(page).to_have_url(re.compile(rf"/judges\?judge={UNLABELLED}"))


def test_a_sample_is_called_one(page: Page, judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_analytics, "MOST_READ", 60)
    page.goto(f"{judged.url}/scores?score=rule:session:answered&since=7d")
    expect(page.locator(".st-key-assay-score-sample")).to_contain_text(
        "Of 120 scores those of one target in 2 are read"
    )


@pytest.mark.parametrize("against", ["", f"&against=judge:session:{HOSTILE}"])
def test_text_from_elsewhere_stays_text(page: Page, judged: Judged, against: str) -> None:
    page.goto(f"{judged.url}/scores")
    page.goto(f"{judged.url}/scores?score=rule:session:{ATTACK.replace('&', '%26').replace('#', '%23')}{against}")
    expect(page.locator(".st-key-assay-score-card-score-0")).to_contain_text("<img src=x")
    settled(page)
    harmless(page)


def test_narrow_screens_do_not_overflow(page: Page, judged: Judged) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{judged.url}/scores?score=rule:session:answered&against=human:session:helped")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_without_scores_the_page_says_how_to_get_some(page: Page, judged: Judged) -> None:
    page.goto(f"{judged.bare_url}/scores")
    expect(page.get_by_text("assay judges run NAME")).to_be_visible()
