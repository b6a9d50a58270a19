"""The benchmark's scorer: the published rules on sheets small enough to add up by hand; the whole, on the data."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nab import corpus, scorer
from benchmarks.nab.bands import Said, literal, rested
from benchmarks.nab.corpus import Costs, Series

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "nab.json"
FOLDER = ROOT.parent / "shared" / "data" / "nab"
STANDARD = Costs(found=1.0, false=0.11, missed=1.0)


def series(n: int = 200, windows: tuple[tuple[int, int], ...] = ((100, 119),)) -> Series:
    began = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    return Series(name="folder/one.csv", at_ns=began + np.arange(n) * 300 * 10**9, x=np.zeros(n), windows=windows)


def alarms(*at: int, n: int = 200) -> np.ndarray:
    scores = np.zeros(n)
    scores[list(at)] = 1.0
    return scores


def sigmoid(x: float) -> float:
    return 2 / (1 + math.exp(5 * x)) - 1


def raw(*at: int, one: Series | None = None) -> float:
    return scorer.at_threshold(scorer.sheet(one or series()), alarms(*at), STANDARD, 0.5).raw


def test_at_the_first_point_of_a_window_an_alarm_earns_all_and_silence_costs_all() -> None:
    assert raw(100) == pytest.approx(1.0)
    assert raw() == -1.0
    assert scorer.final(raw(100), 1, STANDARD) == pytest.approx(100.0)
    assert scorer.final(raw(), 1, STANDARD) == 0.0


def test_only_the_best_of_a_window_counts_and_a_later_one_is_worth_less() -> None:
    assert raw(100, 105, 119) == raw(100)
    assert raw(110) == pytest.approx(sigmoid(-0.5) / sigmoid(-1.0))
    assert raw(119) == pytest.approx(sigmoid(-1 / 20) / sigmoid(-1.0))


def test_false_alarms_cost_all_before_any_window_and_little_shortly_behind_one() -> None:
    assert raw(60) - raw() == pytest.approx(-0.11)
    assert raw(121) - raw() == pytest.approx(0.11 * sigmoid(2 / 19))
    assert raw(199) - raw() == pytest.approx(-0.11)
    assert raw(60, 61, 62) - raw() == pytest.approx(-0.33)


def test_the_first_points_are_probation() -> None:
    assert series().probation == 30
    assert raw(0, 10, 29) == raw()
    assert raw(30) < raw()
    assert series(n=20_000).probation == 750


def test_a_threshold_is_met_by_equal_scores_and_what_is_no_number_is_no_alarm() -> None:
    sheet = scorer.sheet(series())
    scores = np.full(200, np.nan)
    assert scorer.at_threshold(sheet, scores, STANDARD, 0.5).raw == -1.0
    scores[100] = 0.5
    assert scorer.at_threshold(sheet, scores, STANDARD, 0.5).raw == pytest.approx(1.0)


@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0, math.nan]), min_size=120, max_size=120),
    costs=st.sampled_from(
        [STANDARD, Costs(found=1.0, false=0.22, missed=1.0), Costs(found=1.0, false=0.11, missed=2.0)]
    ),
)
def test_the_best_threshold_is_the_best_of_all(scores: list[float], costs: Costs) -> None:
    sheet = scorer.sheet(series(n=120, windows=((30, 39), (70, 89))))
    given_scores = np.array(scores)
    tried = [scorer.at_threshold(sheet, given_scores, costs, t).raw for t in (0.0, 0.1, 0.2, 0.5, 0.9, 1.0, math.inf)]
    assert scorer.best_threshold(sheet, given_scores, costs).raw == pytest.approx(max(tried))


def test_files_joined_are_their_sum() -> None:
    files = [series(), series(windows=((50, 60), (150, 160)))]
    at = [alarms(100, 40), alarms(55)]
    whole = scorer.joined([scorer.sheet(one) for one in files])
    parts = [scorer.at_threshold(scorer.sheet(f), a, STANDARD, 0.5).raw for f, a in zip(files, at, strict=True)]
    assert scorer.at_threshold(whole, np.concatenate(at), STANDARD, 0.5).raw == pytest.approx(sum(parts))
    assert whole.n_windows == 3


def test_breaches_of_one_alert_page_once() -> None:
    paged = np.zeros(30)
    paged[[3, 4, 7, 20, 21]] = 1
    told = rested([Said(paged=paged, score=paged)], quiet=5)[0].paged
    assert np.flatnonzero(told).tolist() == [3, 20]


def test_the_literal_rule_fires_on_noise() -> None:
    one = Series(name="a/b", at_ns=np.arange(3000), x=np.random.default_rng(1).normal(size=3000), windows=())
    assert 15 < literal(one, 0.1).paged.sum() < 60


def test_what_is_stored_says_what_was_reproduced() -> None:
    """The stored detectors file by file to rounding, and the published final scores from the raw ones."""
    told = json.loads(RESULT.read_text())
    assert {one["files"] for one in told["reproduced"].values()} == {34}
    assert max(one["farthest_apart"] for one in told["reproduced"].values()) < 1e-9
    assert {"numenta", "ARTime", "null"} <= set(told["finals"]["equal_to_six_digits"])
    assert told["bands"]["novelty"]["kept"]["as_it_pages"]["standard"] > 60


@pytest.mark.skipif(not FOLDER.exists(), reason="the benchmark's data is not in ../shared/data")
def test_the_stored_detector_scores_as_published() -> None:
    files = corpus.read_series(FOLDER)[:12]
    profiles, thresholds = corpus.read_profiles(FOLDER), corpus.read_thresholds(FOLDER)
    published = {
        row.split(",")[0]: float(row.split(",")[1])
        for row in (ROOT / "benchmarks" / "nab" / "published_files.csv").read_text().splitlines()[1:]
    }
    at = thresholds["numenta"]["standard"]["threshold"]
    for one, scores in zip(files, corpus.read_scores(FOLDER, "numenta", files), strict=True):
        found = scorer.at_threshold(scorer.sheet(one), scores, profiles["standard"], at)
        assert found.raw == pytest.approx(published[one.name], abs=1e-9)
