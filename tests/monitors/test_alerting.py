"""The life of an alert: every sequence of points gives a legal one, and a gap is a gap however it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.alert_records import AlertState, AlertStatus, Cause, NoData, Rules, Seen, Severity, Verdict, dedup_key
from monitors.alerting import VERDICTS, advance, calm_needed, gone_by, lived, seen_in, verdicts
from monitors.records import Direction, Judged

STEP = 60 * 10**9
LETTERS = {"x": Verdict.BREACH, ".": Verdict.CALM, "-": Verdict.BETWEEN, " ": Verdict.MISSING, "w": Verdict.WARMING_UP}
LETTERS["a"] = Verdict.ADOPTED
LEGAL = {
    (None, None), (None, "pending"), (None, "firing"), ("pending", None), ("pending", "pending"),
    ("pending", "firing"), ("firing", "firing"), ("firing", "resolved"), ("resolved", "resolved"),
    ("resolved", "pending"), ("resolved", "firing"),
}  # fmt: skip


def points(text: str, first: int = 1) -> list[Seen]:
    """One point a letter; '?' is a bucket that nobody tells of."""
    return [
        Seen(at_ns=(first + i) * STEP, verdict=LETTERS[c], value=None if c == " " else 0.7)
        for i, c in enumerate(text)
        if c != "?"
    ]


def last(text: str, rules: Rules, until: int | None = None) -> AlertState:
    """The state after these points."""
    end = (until if until is not None else len(text) + 1) * STEP
    return list(lived(None, points(text), rules, end))[-1]


def rules_of(**kw: object) -> Rules:
    return replace(Rules(step_s=60, for_points=2, clear_points=2), **kw)  # type: ignore[arg-type]


some_rules = st.builds(
    Rules,
    step_s=st.just(60), for_points=st.integers(1, 4), clear_points=st.integers(1, 4),
    no_data=st.sampled_from(NoData), vanish_s=st.integers(60, 1200), flap_window_s=st.integers(60, 3600),
    flap_limit=st.integers(2, 4),
)  # fmt: skip
some_text = st.text("x.- wa?", min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(some_text, some_rules)
def test_every_sequence_of_points_gives_a_legal_life(text: str, rules: Rules) -> None:
    states = list(lived(None, points(text), rules, (len(text) + 20) * STEP))
    assert all(before.at_ns < after.at_ns for before, after in pairwise(states))
    assert set(pairwise([None, *(one.status for one in states)])) <= LEGAL
    for after in states:
        assert (after.status is AlertStatus.FIRING) <= (after.fired_ns is not None and after.cause is not None)
        assert AlertState.from_json(json.loads(json.dumps(after.as_json()))) == after


@settings(max_examples=100, deadline=None)
@given(some_text, some_rules)
def test_it_fires_after_so_many_breaches_and_resolves_after_so_many_calm_points(text: str, rules: Rules) -> None:
    taken = {Verdict.MISSING: {NoData.OK: ".", NoData.ALERT: "x", NoData.KEEP: ""}[rules.no_data]}
    letters = {Verdict.BREACH: "x", Verdict.CALM: ".", Verdict.BETWEEN: "-", Verdict.ADOPTED: "a"} | taken
    said = ""
    state: AlertState | None = None
    for seen in points(text.replace("?", " ")):
        before, state = state, advance(state, seen, rules)
        said += letters.get(seen.verdict, "")
        was = before.status if before is not None else None
        if state.status is AlertStatus.FIRING and was is not AlertStatus.FIRING:
            assert said.endswith("x" * rules.for_points)
        if state.status is AlertStatus.RESOLVED and was is AlertStatus.FIRING and state.cause is Cause.CALM:
            assert before is not None
            assert said.endswith("." * calm_needed(before, rules))


@settings(max_examples=100, deadline=None)
@given(some_text, some_rules, st.integers(0, 5))
def test_a_gap_is_the_same_whether_its_buckets_are_told_or_not(text: str, rules: Rules, more: int) -> None:
    end = (len(text) + 2 + more) * STEP
    silent = list(lived(None, points("." + text.replace(" ", "?")), rules, end))[-1]
    told = list(lived(None, points("." + text.replace("?", " ")), rules, end))[-1]
    assert silent == told


@settings(max_examples=60, deadline=None)
@given(some_text, some_rules, st.lists(st.integers(0, 59), max_size=20))
def test_points_that_come_again_or_out_of_order_change_nothing(text: str, rules: Rules, again: list[int]) -> None:
    some = points(text)
    doubled = [one for i, seen in enumerate(some) for one in (seen, *(some[j] for j in again if j <= i))]
    assert list(lived(None, doubled, rules, 0))[-1:] == list(lived(None, some, rules, 0))[-1:]


@pytest.mark.parametrize(
    ("text", "status", "cause"),
    [
        ("..x", "pending", "breach"),
        ("..x.", None, None),
        ("..xx", "firing", "breach"),
        ("..x x", "firing", "breach"),  # a bucket without data breaks no row
        ("..xx..", "resolved", "calm"),
        ("..xx.-.", "firing", "breach"),  # between the edges is not calm
        ("..xx.x.", "firing", "breach"),
        ("..xxa", "resolved", "adopted"),
        ("..xxww", "firing", "breach"),
    ],
)
def test_a_life_in_a_few_points(text: str, status: str | None, cause: str | None) -> None:
    state = last(text, rules_of())
    assert (state.status, state.cause) == (status, cause)


@pytest.mark.parametrize(
    ("mode", "text", "until", "status", "cause"),
    [
        (NoData.KEEP, ".xx", 1000, "firing", "breach"),
        (NoData.KEEP, ".xx", 1444, "resolved", "vanished"),  # a day after the newest value
        (NoData.KEEP, ".x", 5, None, None),  # what was pending waits no longer than it takes to resolve
        (NoData.OK, ".xx", 6, "resolved", "no_data"),
        (NoData.OK, ".xx", 20_000, "resolved", "no_data"),
        (NoData.ALERT, "...", 5, "pending", "no_data"),
        (NoData.ALERT, "...", 6, "firing", "no_data"),
        (NoData.ALERT, "...", 20_000, "firing", "no_data"),
        (NoData.ALERT, "...???..", 8, "resolved", "calm"),
    ],
)
def test_a_series_that_falls_silent(mode: NoData, text: str, until: int, status: str | None, cause: str | None) -> None:
    state = last(text, rules_of(no_data=mode), until)
    assert (state.status, state.cause) == (status, cause)


@pytest.mark.parametrize("mode", NoData)
def test_a_gap_of_a_week_takes_few_steps(mode: NoData) -> None:
    state = last("..xx", rules_of(no_data=mode))
    steps = list(gone_by(state, state.at_ns + 7 * 1440 * STEP, rules_of(no_data=mode)))
    assert len(steps) < 10
    assert steps[-1].at_ns == state.at_ns + (7 * 1440 - 1) * STEP


def test_what_flaps_takes_ever_longer_to_resolve() -> None:
    rules = rules_of(for_points=1, clear_points=2, flap_limit=3)
    text = "x.." * 2
    assert calm_needed(last(text + "x", rules), rules) == 4
    assert last(text + "x..", rules).status is AlertStatus.FIRING
    assert last(text + "x....", rules).status is AlertStatus.RESOLVED
    assert calm_needed(last(text + "x....x", rules), rules) == 8
    assert calm_needed(last("x" + "." * 40 + "x", replace(rules, flap_window_s=600)), rules) == 2


def test_severity_only_rises_while_it_fires() -> None:
    rules = rules_of(for_points=1, severity=Severity.TICKET)
    state = None
    for i, severity in enumerate((Severity.TICKET, Severity.PAGE, Severity.TICKET)):
        state = advance(state, Seen(at_ns=i, verdict=Verdict.BREACH, severity=severity), rules)
    assert state is not None
    assert state.severity is Severity.PAGE


def _judged(seen: list[float], breach: list[int], status: list[int]) -> Judged:
    n = len(seen)
    return Judged(
        expected=np.full(n, 0.87), low=np.full(n, 0.77), high=np.full(n, 0.97), seen=np.array(seen), z=np.zeros(n),
        breach=np.array(breach, dtype=np.int8), status=np.array(status, dtype=np.int8),
    )  # fmt: skip


def test_verdicts_look_at_the_sides_that_are_asked_for_and_shrink_the_band() -> None:
    judged = _judged(
        [0.70, 0.78, 0.88, 0.96, 0.99, 0.7, np.nan, 0.7], [-1, 0, 0, 0, 1, 0, 0, -1], [0, 0, 0, 0, 0, 1, 2, 3]
    )
    named = {d: [VERDICTS[i].value for i in verdicts(judged, d, 0.8)] for d in Direction}
    rest = ["warming_up", "missing", "adopted"]
    assert named[Direction.DOWN] == ["breach", "between", "calm", "calm", "calm", *rest]
    assert named[Direction.UP] == ["calm", "calm", "calm", "between", "breach", *rest]
    assert named[Direction.BOTH] == ["breach", "between", "calm", "between", "breach", *rest]
    assert "between" not in [VERDICTS[i].value for i in verdicts(judged, Direction.BOTH, 1.0)]


def test_a_point_says_its_numbers() -> None:
    judged = _judged([0.712], [-1], [0])
    assert seen_in(0, judged, 0, Verdict.BREACH, 140.0).words() == "0.712 of 140, below 0.77 (expected 0.87)"
    assert seen_in(0, judged, 0, Verdict.CALM).words() == "0.712, between 0.77 and 0.97 (expected 0.87)"
    assert seen_in(0, judged, 0, Verdict.MISSING, 3.0).words() == "no data"


@pytest.mark.parametrize(
    "wrong",
    [
        {"for_points": 0}, {"clear_points": 0}, {"step_s": 0}, {"clear_share": 0.0}, {"clear_share": 1.1},
        {"renotify_s": 5}, {"vanish_s": 1}, {"flap_limit": 1}, {"silent_most_s": 0}, {"clear_share": float("nan")},
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput) as refused:
        rules_of(**wrong)
    assert refused.value.field in wrong


def test_the_names_of_alerts_outside_are_distinct() -> None:
    assert dedup_key("t", "a/b", "c", 1) != dedup_key("t", "a", "b/c", 1)
    assert dedup_key("t", "a", "b", 1) != dedup_key("t", "a", "b", 2)
