"""What the pages say of alerts and incidents: pure, and never a number that is not known."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.parts import alert_words as words
from dashboard.parts import incident_series
from dashboard.parts.looked import Looked, looked

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CHANGE = {
    "series": "resolution", "kind": "rate", "before": 0.87, "now": 0.302, "effect": -0.568, "low": -0.621,
    "high": -0.514, "z": -12.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p95_latency", "p95 latency"),
        ("resolution{release=v2}", "resolution (release v2)"),
        ("tool_errors:search", "tool errors of search"),
        ("ttft_p95", "time to first token p95"),
        ("score:politeness", "score politeness"),
        ("resolution{release=a=b}", "resolution (release a=b)"),
        ("", ""),
    ],
)
def test_a_series_is_told_in_words(name: str, said: str) -> None:
    assert words.series(name) == said


def test_a_value_stands_beside_its_band_in_its_unit() -> None:
    now = {"value": 0.31, "n": 12.0, "low": 0.721, "high": 0.98, "expected": 0.87, "breach": -1, "status": "ok"}
    assert words.against(now, "share") == "31.0% of 12, below the band 72.1% to 98.0%, expected 87.0%"
    one_sided = {**now, "value": 1900.0, "low": None, "high": 1500.0, "expected": 900.0, "breach": 1}
    assert words.against(one_sided, "ms") == "1.9 s of 12, above 1.5 s, expected 900 ms"
    learning = {**now, "status": "warming_up", "low": None, "high": None, "expected": None, "breach": 0}
    assert words.against(learning, "share") == "31.0% of 12, the band is still learning"
    assert words.against(None, "share") == "no newest value is known"
    assert words.value(math.nan, "ms") == words.value(None, "usd") == "–"


def test_a_change_has_both_figures_and_its_interval() -> None:
    assert words.change(CHANGE) == "87.0% → 30.2%, −56.8 points (−62.1 to −51.4)"
    dearer = {"series": "cost_per_session", "kind": "positive", "before": 0.02, "now": 0.05, "effect": 1.5}
    assert words.change(dearer) == "$0.0200 → $0.0500, +150%"
    assert words.change({"kind": "rate", "unknown": "there is nothing since the onset"}) == (
        "there is nothing since the onset"
    )
    assert words.change({"kind": "level", "said": "other models came"}) != words.change(None) == "not known"


def test_the_headline_says_what_moved_and_before_a_diagnosis_which_alert() -> None:
    alerts = [{"series": "resolution"}, {"series": "p95_latency"}]
    seen = {"sign": "quality", "words": "resolution", "move": "down", "change": CHANGE}
    cost = {**CHANGE, "series": "cost_per_session", "kind": "positive", "effect": 0.4, "before": 0.1, "now": 0.14}
    more = {"sign": "cost", "words": "cost per session", "move": "up", "change": cost}
    diagnosis = {"lead": {"series": "resolution{release=v2}"}, "moved": [more, seen]}
    incident: dict[str, Any] = {"alerts": alerts, "diagnosis": diagnosis}
    assert words.headline(incident) == "resolution fell from 87.0% to 30.2%"
    scored = {**seen, "change": {**CHANGE, "series": "score:task_success"}}  # the sign's strongest series is another
    assert words.headline({**incident, "diagnosis": {**diagnosis, "moved": [more, scored]}}) == (
        "resolution (task_success) fell from 87.0% to 30.2%"
    )
    assert words.others(incident) == [f"cost per session: {words.change(cost)}"]
    assert words.headline({"alerts": alerts, "diagnosis": None}) == "resolution, p95 latency left their bands"
    assert words.headline({"alerts": alerts[:1], "diagnosis": {"moved": []}}) == "resolution left its band"


def test_the_axis_holds_every_value_and_cuts_a_band_that_dwarfs_them() -> None:
    chart = {
        "value": [0.9, None, 0.3], "expected": [0.87, 0.87, 0.87], "low": [0.7, -9.0, 0.7], "high": [1.0, 9.0, None],
        "unit": "share",
    }  # fmt: skip
    low, high = incident_series.axis(chart)
    assert low < 0.3
    assert 0.9 < high <= 1.03
    assert low >= -0.03
    wide = {**chart, "unit": "ms", "value": [900.0, 950.0, 2000.0], "expected": [900.0] * 3, "low": [1.0] * 3,
            "high": [90_000.0] * 3}  # fmt: skip
    assert incident_series.axis(wide)[1] < 4000
    constant = {**chart, "value": [5.0], "expected": [5.0], "low": [None], "high": [None], "unit": "count"}
    assert incident_series.axis(constant)[0] < 5.0 < incident_series.axis(constant)[1]
    assert incident_series.axis({**chart, "value": [None], "expected": [None]}) == (0.0, 1.0)


def monitor(**given: Any) -> dict[str, Any]:
    return {"name": "resolution", "status": "on", "n_series": 2, "changed_at": ago(3600), **given}


def job(**given: Any) -> dict[str, Any]:
    usual = {"name": "monitors", "state": "succeeded", "due": ago(-37), "tries": 0, "error": None, "told": {}}
    return {**usual, "started_at": ago(24), "succeeded_at": ago(23), **given}


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def seen(*, monitors: list[dict[str, Any]] | None = None, jobs: list[dict[str, Any]]) -> Looked:
    return looked([monitor()] if monitors is None else monitors, jobs, NOW)


def test_who_looks_says_how_many_and_when() -> None:
    found = seen(jobs=[job(told={"failed": {"old": "no such series"}})])
    assert found.problem is None
    assert found.words(NOW) == "1 monitor with 2 series was looked at 23 s ago"
    assert found.failed == ["old: no such series"]


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([job(succeeded_at=ago(9000), due=ago(8940))], "The last look was 2.5 h ago. The next was due 2.5 h ago"),
        ([job(state="dead", tries=5, error="no disk")], "given up after 5 tries: no disk"),
        ([job(state="retrying", succeeded_at=ago(600), error="locked")], "It fails: locked"),
        ([job(state="running", started_at=ago(3000), succeeded_at=ago(3100))], "began 50 min ago and does not end"),
        ([], "No server has looked at them"),
    ],
)
def test_nobody_looking_is_a_problem_that_says_since_when_and_why(jobs: list[dict[str, Any]], said: str) -> None:
    problem = seen(jobs=jobs).problem
    assert problem is not None
    assert said in problem


def test_a_look_that_is_late_for_a_moment_or_has_nothing_to_look_at_is_none() -> None:
    assert seen(jobs=[job(due=ago(60), succeeded_at=ago(120))]).problem is None
    assert seen(monitors=[monitor(changed_at=ago(30))], jobs=[]).problem is None
    assert seen(monitors=[monitor(status="off")], jobs=[]).problem is None
    assert seen(monitors=[], jobs=[job(due=ago(9000))]).n_on == 0
