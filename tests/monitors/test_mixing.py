"""A mix against the week before."""

from __future__ import annotations

import numpy as np

from core.clock import NS_PER_S
from core.windows import Window
from monitors.mixing import LARGEST, MixWindows, edge_of, mix_rows

HOUR = 3600 * NS_PER_S
WINDOWS = MixWindows(window_s=6 * 3600, reference_s=48 * 3600, least=0.1)


def counts(hours: int, share_of: dict[int, float], n: int = 200) -> list[tuple[int, str, float]]:
    chance = np.random.default_rng(3)
    told = []
    for hour in range(hours):
        new = float(chance.binomial(n, share_of.get(hour, 0.2)))
        told += [(hour * HOUR, "v1", n - new), (hour * HOUR, "v2", new)]
    return told


def test_a_mix_that_moves_passes_the_edge_within_its_window_and_one_that_does_not_stays_below() -> None:
    moved = counts(80, dict.fromkeys(range(74, 80), 0.6))
    rows = mix_rows("mix:release", moved, Window(start_ns=60 * HOUR, end_ns=80 * HOUR), 3600, WINDOWS)
    by_hour = {one.at_ns // HOUR: one for one in rows}
    assert sorted(by_hour) == list(range(60, 80))
    assert all(by_hour[hour].x < edge_of(1e-3) for hour in range(60, 74))
    assert by_hour[77].x > edge_of(1e-6)
    assert by_hour[77].x <= LARGEST
    assert by_hour[77].n == 6 * 200


def test_a_trifle_is_none_however_sure() -> None:
    slight = counts(80, dict.fromkeys(range(74, 80), 0.23), n=20_000)
    rows = mix_rows("mix:release", slight, Window(start_ns=79 * HOUR, end_ns=80 * HOUR), 3600, WINDOWS)
    assert [one.x for one in rows] == [0.0]


def test_too_little_is_missing() -> None:
    window = Window(start_ns=0, end_ns=3 * HOUR)
    assert mix_rows("mix:release", [], window, 3600, WINDOWS) == []
    assert mix_rows("mix:release", counts(3, {}, n=2), window, 3600, WINDOWS) == []
