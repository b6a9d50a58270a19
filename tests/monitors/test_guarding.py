"""What firing guardrails ask of a rollout, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitors.alert_records import AlertState, AlertStatus, Cause, Seen, Verdict
from monitors.guarding import Candidate, Guard, Guarded, asked

ROLLOUT = Candidate(rollout_id="r1", app="shop", candidate="v2", baseline="v1", since_ns=100)
SEEN = Seen(at_ns=200, verdict=Verdict.BREACH, side=-1, value=0.71, n=140, low=0.8, expected=0.87)
FIRING = AlertState(
    at_ns=300, known_ns=300, status=AlertStatus.FIRING, since_ns=150, fired_ns=200, cause=Cause.BREACH, seen=SEEN
)
RESOLUTION = Guarded(
    monitor="resolution", series="resolution", app="shop", guard=Guard.ROLL_BACK, state=FIRING, release="v2"
)


def test_the_candidates_own_alert_rolls_back_and_says_both_numbers() -> None:
    asking = asked(ROLLOUT, [RESOLUTION])
    assert asking is not None
    assert asking.guard is Guard.ROLL_BACK
    assert "resolution of v2 fires since 1970-01-01 00:00 UTC: 0.71 of 140, below 0.8" in asking.reasons[0]


@pytest.mark.parametrize(
    "other",
    [
        {"app": "other"},
        {"release": "v1"},
        {"release": "v0"},
        {"state": replace(FIRING, status=AlertStatus.PENDING)},
        {"state": replace(FIRING, status=AlertStatus.RESOLVED)},
    ],
)
def test_what_is_not_the_candidates_asks_nothing(other: dict[str, object]) -> None:
    assert asked(ROLLOUT, [replace(RESOLUTION, **other)]) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("guard", "wanted"),
    [
        (replace(RESOLUTION, guard=Guard.HOLD), "hold"),
        (replace(RESOLUTION, release=None), "roll_back"),
        (replace(RESOLUTION, release=None, state=replace(FIRING, since_ns=99)), "hold"),  # it was there before
        (replace(RESOLUTION, state=replace(FIRING, cause=Cause.NO_DATA)), "hold"),
        (replace(RESOLUTION, state=replace(FIRING, since_ns=None)), "roll_back"),
    ],
)
def test_a_roll_back_needs_harm_that_the_candidate_can_have_done(guard: Guarded, wanted: str) -> None:
    asking = asked(ROLLOUT, [guard])
    assert asking is not None
    assert asking.guard == wanted


def test_a_candidate_without_sessions_is_held() -> None:
    asking = asked(replace(ROLLOUT, since_ns=None), [replace(RESOLUTION, release=None)])
    assert asking is not None
    assert asking.guard is Guard.HOLD


def test_the_strongest_asking_holds_and_all_reasons_are_told_in_one_order() -> None:
    holding = replace(RESOLUTION, monitor="latency", guard=Guard.HOLD)
    both = [asked(ROLLOUT, some) for some in ([RESOLUTION, holding], [holding, RESOLUTION])]
    assert both[0] == both[1]
    assert both[0] is not None
    assert both[0].guard is Guard.ROLL_BACK
    assert [one.partition(" ")[0] for one in both[0].reasons] == ["resolution", "latency"]
    assert asked(ROLLOUT, []) is None
