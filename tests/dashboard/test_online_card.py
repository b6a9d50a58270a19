"""What the card of online evaluation says."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.parts.online_card import choice_line, status_line

STATUS: dict[str, Any] = {"interval_s": 10.0, "n_sessions": 1234, "n_waiting": 0, "lag_ms": None}


def test_a_choice_in_one_line() -> None:
    names = [f"rule_{n}" for n in range(8)]
    some = {"app": "desk", "evaluators": names[:2], "share": 1.0}
    assert choice_line(some) == "desk: rule_0, rule_1"
    assert choice_line(some | {"app": "*", "share": 0.125}).endswith("rule_1  ·  12.5% of sessions")
    assert choice_line(some | {"evaluators": names}).endswith("rule_5 and 2 more")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "1,234 sessions scored"),
        ({"n_waiting": 3, "lag_ms": 42_000.0}, "1,234 sessions scored  ·  3 open or waiting  ·  scored within 42"),
        ({"interval_s": 0.0}, "This server does not look: online_interval_s is 0."),
    ],
)
def test_how_far_behind(status: dict[str, Any], said: str) -> None:
    assert status_line(STATUS | status).startswith(said)
