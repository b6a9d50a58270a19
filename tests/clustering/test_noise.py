"""Noise that jumps from one run to the next is said; what moves a little, or is seen for the first time, is not."""

from __future__ import annotations

import pytest

from clustering.noise import jumped, says


@pytest.mark.parametrize(
    ("shares", "usual"),
    [
        ([0.1, 0.12, 0.11, 0.4], 0.11),
        ([0.1, 0.9, 0.11, 0.12, 0.4], 0.115),  # one odd run before moves nothing
        ([0.5] * 30 + [0.1] * 10 + [0.3], 0.1),  # long ago counts no more
        ([0.1, 0.1, 0.1, 0.19], None),  # not a tenth of the sessions more
        ([0.4, 0.4, 0.4, 0.55], None),  # not half as much again
        ([0.1, 0.1, 0.6], None),  # too few runs before
        ([], None),
        ([0.0, 0.0, 0.0, 0.1], 0.0),
    ],
)
def test_a_jump_is_far_above_the_median_of_the_runs_before(shares: list[float], usual: float | None) -> None:
    found = jumped(shares)
    assert found is None if usual is None else found == pytest.approx(usual)


def test_a_jump_is_said_with_both_shares() -> None:
    (said,) = says([0.1, 0.1, 0.1, 0.42])
    assert "42%" in said
    assert "10%" in said
    assert says([0.1, 0.1, 0.1, 0.1]) == []
