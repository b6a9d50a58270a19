"""How long to wait before the next attempt."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.upstreams.retries import MOST_REST_S, MOST_S, backoff_s, pause_s, retry_after_s

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_pauses_double_up_to_a_bound_and_half_of_each_is_chance() -> None:
    assert [backoff_s(n, lambda: 1.0) for n in range(1, 5)] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert backoff_s(1, lambda: 0.0) == pytest.approx(0.1)
    assert backoff_s(10_000, lambda: 1.0) == MOST_S


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, MOST_REST_S),
        ({"retry-after": "\u0663"}, 3),
        ({"retry-after": "Sat, 99 Nov 2026 12:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


def test_an_upstream_is_waited_for_as_long_as_it_asks() -> None:
    assert pause_s(4.0, 1, lambda: 0.0, left_s=30) == 4.0


@pytest.mark.parametrize(("asked", "left"), [(10.1, 60), (4.0, 3.9), (None, 0.05)])
def test_longer_than_ten_seconds_or_than_what_is_left_is_not_waited(asked: float | None, left: float) -> None:
    assert pause_s(asked, 1, lambda: 0.0, left_s=left) is None
