"""What the page Jobs says of times and states: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.parts import job_words as words

NOW = datetime(2026, 9, 21, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("seconds", "said"), [(12, "in 12 s"), (-185, "3 m 05 s ago"), (0.4, "now"), (54_000, "in 15 h 00 m")]
)
def test_moments_are_told_from_now(seconds: float, said: str) -> None:
    assert words.apart(at(seconds), NOW) == said


def test_what_is_not_known_is_a_dash() -> None:
    assert words.apart(None, NOW) == "–"


@pytest.mark.parametrize(
    ("state", "due", "said"),
    [
        ("succeeded", 30, "in 30 s"),
        ("succeeded", -20, "when there is something to do"),
        ("succeeded", -600, "due 10 m 00 s ago"),
        ("queued", -1, "as soon as a server looks"),
        ("running", -900, "now"),
        ("dead", 840, "in 14 m 00 s"),
    ],
)
def test_when_a_job_is_next(state: str, due: float, said: str) -> None:
    assert words.following({"state": state, "due": at(due)}, NOW) == said


def test_a_job_that_no_server_begins_is_late() -> None:
    late: dict[str, Any] = {"state": "succeeded", "due": at(-301)}
    assert words.is_late(late, NOW)
    assert not words.is_late({**late, "state": "running"}, NOW)
    assert not words.is_late({**late, "due": at(-299)}, NOW)


def test_what_is_to_be_looked_at_comes_first() -> None:
    states = ["succeeded", "running", "failed", "dead", "retrying"]
    jobs = [{"state": state, "title": state} for state in states]
    assert [one["state"] for one in words.ranked(jobs)] == ["dead", "retrying", "failed", "running", "succeeded"]


def test_a_run_that_was_lost_has_no_length() -> None:
    runs = [{"took_ms": 1500.0}, {"took_ms": None}, {"took_ms": 20.0}]
    assert words.course({"runs": runs})[-3:] == [0.0, 1.5, 0.02]
    assert words.course({"runs": [{"took_ms": None}]}) == []
