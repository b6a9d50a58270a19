"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC

import pytest

from dashboard import human


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.42, "0.42 ms"),
        (4.25, "4.2 ms"),
        (340, "340 ms"),
        (999.7, "1.0 s"),
        (1_240, "1.2 s"),
        (59_960, "1 m 00 s"),
        (125_000, "2 m 05 s"),
        (3_840_000, "1 h 04 m"),
        (400_000_000, "4 d 15 h"),
    ],
)
def test_durations(ms: float | None, said: str) -> None:
    assert human.duration(ms) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0, "$0"), (0.00001, "<$0.0001"), (0.01234, "$0.0123"), (12.5, "$12.50"), (15_300, "$15.3k")],
)
def test_money(value: float | None, said: str) -> None:
    assert human.usd(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0, "0 tok"), (850, "850 tok"), (3_412, "3.4k tok"), (1_000, "1k tok"), (999_999, "1M tok")],
)
def test_tokens(value: float | None, said: str) -> None:
    assert human.tokens(value) == said


@pytest.mark.parametrize(("value", "said"), [(950, "950"), (3_412, "3,412"), (34_120, "34.1k"), (2_000_000, "2M")])
def test_counts(value: float, said: str) -> None:
    assert human.count(value) == said


def test_a_share_of_nothing_is_unknown() -> None:
    assert human.share(0, 0) == "–"
    assert human.share(2, 50) == "4.0%"


def test_times_are_exact_and_beyond_the_calendar_unknown() -> None:
    assert human.clock(1_795_269_802_418_000_000, UTC) == "21 Nov 2026, 14:03:22.418"
    assert human.clock(2**63 - 1, UTC).startswith("11 Apr 2262")
    assert human.clock(10**30, UTC) == "–"
    assert human.clock(None, UTC) == "–"
    assert human.zone("no/such") is UTC
