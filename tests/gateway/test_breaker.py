"""The circuit breaker, second by second."""

from __future__ import annotations

import pytest

from gateway.config import BreakerConfig
from gateway.upstreams.breaker import Breaker, BreakerState

CONFIG = BreakerConfig(failures=3, window_s=10, open_s=5)


def opened(at: float = 2) -> Breaker:
    """Opened by three failures, the last of them at `at`."""
    breaker = Breaker(CONFIG)
    assert [breaker.failed(at - 2), breaker.failed(at - 1), breaker.failed(at)] == [False, False, True]
    return breaker


def test_it_opens_when_enough_calls_failed_within_the_window() -> None:
    breaker = opened()
    assert breaker.state(2) is BreakerState.OPEN
    assert not breaker.allow(6.9)
    assert breaker.wait_s(3) == 4


def test_failures_further_apart_than_the_window_do_not_open_it() -> None:
    breaker = Breaker(CONFIG)
    assert not any(breaker.failed(float(at)) for at in range(0, 60, 6))
    assert breaker.state(60) is BreakerState.CLOSED


def test_successes_in_between_do_not_hide_failures() -> None:
    breaker = Breaker(CONFIG)
    for at in (0.0, 1.0):
        breaker.failed(at)
        breaker.succeeded(at)
    assert breaker.failed(2)


def test_one_call_tries_the_upstream_after_a_while() -> None:
    breaker = opened()
    assert breaker.state(7) is BreakerState.HALF_OPEN
    assert [breaker.allow(7), breaker.allow(7), breaker.allow(8)] == [True, False, False]


def test_the_probes_success_closes_it() -> None:
    breaker = opened()
    assert breaker.allow(7)
    breaker.succeeded(7.5)
    assert breaker.state(7.5) is BreakerState.CLOSED
    assert breaker.allow(7.5)
    assert not breaker.failed(8), "earlier failures are forgotten"


def test_the_probes_failure_opens_it_again_for_as_long() -> None:
    breaker = opened()
    assert breaker.allow(7)
    assert breaker.failed(7.5)
    assert breaker.state(12.4) is BreakerState.OPEN
    assert breaker.allow(12.5)


def test_a_probe_that_came_to_nothing_lets_the_next_call_be_one() -> None:
    breaker = opened()
    assert breaker.allow(7)
    breaker.dropped()
    assert breaker.allow(7)


@pytest.mark.parametrize("late", [2.5, 6.9])
def test_what_calls_from_before_it_opened_report_changes_nothing(late: float) -> None:
    breaker = opened()
    breaker.succeeded(late)
    assert not breaker.failed(late)
    assert breaker.state(late) is BreakerState.OPEN
    assert breaker.state(7) is BreakerState.HALF_OPEN
