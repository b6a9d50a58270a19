"""False alarms of the calibrated bands on ten thousand simulated series in which nothing happens: as many as chosen?

python -m benchmarks.monitors.calibration [--share 1.0] [--groups NAME ...]

Series are of all kinds, half of them and more with a daily and weekly season that the band has to learn, in buckets of
a quarter of an hour. k, limit and h come from `monitors.calibration` and `monitors.chart_lengths` for one false alarm
in 2,016 points, three weeks. Of EMA bands the alarms are the breaching points, as the table counts them; those at the k
of one in 20,160 are counted on the same pass. Of charts an alarm is the first breach since the chart was last in its
middle. Of seasonal series the last two weeks of four count, of the others both of two, from the warm-up on.
`times_chosen` is alarms over those that were chosen: 1 is right.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import ROOT, commit, machine
from monitors.bands.charts import CusumBand, CusumState, EwmaBand
from monitors.bands.ema import EmaBand
from monitors.bands.seasonal import Season
from monitors.calibration import k_for
from monitors.chart_lengths import cusum_limit, ewma_limit
from monitors.records import Judged, Kind, Points, Status

RESULT: Final = ROOT / "benchmarks" / "results" / "monitor_calibration.json"
STEP_S: Final = 900
WEEK: Final = 7 * 24 * 3600 // STEP_S
BEGAN: Final = datetime(2026, 3, 9, tzinfo=UTC)  # a Monday; Berlin's clocks change on the 29th, the end of week three
ARL0: Final = 2016.0
SELDOM: Final = 20_160.0
ALPHA: Final = 0.05
CHUNK: Final = 1000

Floats = NDArray[np.float64]
Told = dict[str, Any]
Draw = Callable[[np.random.Generator, float, int], tuple[Floats, Floats | None]]
"""Values and numbers behind them, of so many series, where the season stands at such a height (about -1 to 1)."""


def _level(chance: np.random.Generator, season: float, s: int) -> tuple[Floats, None]:
    return chance.normal(10 + 2 * season, 1.0, s), None


def _rate(chance: np.random.Generator, season: float, s: int) -> tuple[Floats, Floats]:
    return chance.binomial(200, 0.85 + 0.05 * season, s) / 200, np.full(s, 200.0)


def _latency(chance: np.random.Generator, season: float, s: int) -> tuple[Floats, None]:
    return np.exp(chance.normal(7 + 0.4 * season, 0.3, s)), None


def _count(chance: np.random.Generator, season: float, s: int) -> tuple[Floats, None]:
    return chance.poisson(300 * np.exp(0.5 * season), s).astype(np.float64), None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Series of one sort."""

    n: int
    draw: Draw
    kind: Kind = Kind.LEVEL
    season: Season | None = None
    clock: str = "UTC"
    """By whose clock the season goes."""
    lost: float = 0.0
    """The share of points that are missing; with it the second Wednesday too."""
    weeks: int = 4


SEASON: Final = Season(step_s=STEP_S)
BERLIN: Final = Season(step_s=STEP_S, tz="Europe/Berlin")
GROUPS: Final = {
    "level": Group(n=1500, draw=_level, weeks=2),
    "rate of 200": Group(n=1000, draw=_rate, kind=Kind.RATE, weeks=2),
    "level, seasonal": Group(n=2500, draw=_level, season=SEASON),
    "rate of 200, seasonal": Group(n=1500, draw=_rate, kind=Kind.RATE, season=SEASON),
    "latency, seasonal": Group(n=1500, draw=_latency, kind=Kind.POSITIVE, season=SEASON),
    "count, seasonal": Group(n=1000, draw=_count, kind=Kind.COUNT, season=SEASON),
    "level, seasonal, clocks change, points lost": Group(
        n=500, draw=_level, season=BERLIN, clock="Europe/Berlin", lost=0.03
    ),
    "the same, the band by UTC": Group(n=500, draw=_level, season=SEASON, clock="Europe/Berlin", lost=0.03),
}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of each group's series")
    parser.add_argument("--groups", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    began = time.process_time()
    told: dict[str, Told] = {}
    for seed, name in enumerate(args.groups):
        told[name] = of_group(GROUPS[name], args.share, seed)
        print(name, json.dumps(told[name]), flush=True)
    result: Told = {
        "what": "false alarms of the calibrated bands on simulated series in which nothing happens",
        "command": "python -m benchmarks.monitors.calibration" + (f" --share {args.share}" if args.share != 1 else ""),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "series": sum(one["series"] for one in told.values()),
        "alpha": ALPHA,
        "chosen_arl0": ARL0,
        "k": round(k_for(ALPHA, ARL0), 4),
        "groups": told,
        "all": together(list(told.values())),
        "charts": {name: of_chart(name, args.share) for name in ("ewma", "cusum")},
        "cpu_s": round(time.process_time() - began),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("all", "charts", "cpu_s")}, indent=1))


def of_group(group: Group, share: float, seed: int) -> Told:
    """Alarms and judged points by week, in chunks that fit the processor's cache."""
    n = max(round(group.n * share), 1)
    counts = np.zeros((group.weeks, 3))
    for first in range(0, n, CHUNK):
        counts += watched(group, min(CHUNK, n - first), np.random.default_rng((seed, first)))
    settled = counts[-2:] if group.season else counts
    return {
        "series": n,
        "weeks": group.weeks,
        "times_chosen": ratio(settled.sum(axis=0), ARL0, 1),
        "times_chosen_of_20160": ratio(settled.sum(axis=0), SELDOM, 2),
        "alarms": int(settled[:, 1].sum()),
        "points": int(settled[:, 0].sum()),
        "alarms_of_20160": int(settled[:, 2].sum()),
        "times_chosen_by_week": [ratio(one, ARL0, 1) for one in counts],
    }


def watched(group: Group, s: int, chance: np.random.Generator) -> Floats:
    """(weeks, 3): judged points, those beyond the chosen k, those beyond that of one in 20,160."""
    band = EmaBand(alpha=ALPHA, k=k_for(ALPHA, ARL0), season=group.season)
    seldom = k_for(ALPHA, SELDOM)
    state = band.start(s)
    counts = np.zeros((group.weeks, 3))
    for t in range(group.weeks * WEEK):
        x, n = group.draw(chance, height(t, group.clock) if group.season else 0.0, s)
        if group.lost:
            gone = (t // (WEEK // 7) == 9) | (chance.random(s) < group.lost)
            x = np.where(gone, np.nan, x)
        state, judged = band.step(state, Points.of(_at_ns(t), x, n=n, kinds=group.kind))
        known = judged.status % 3 == Status.OK
        z = np.abs(np.nan_to_num(judged.z))
        counts[t // WEEK] += (known.sum(), (judged.breach != 0).sum(), (z > seldom).sum())
    return counts


def height(t: int, clock: str) -> float:
    """The season: a wave over the day, and weekends lower."""
    local = datetime.fromtimestamp(_at_ns(t) / 1e9, ZoneInfo(clock))
    day = np.sin(2 * np.pi * (local.hour + local.minute / 60 - 8) / 24)
    return float(0.8 * day - 0.4 * (local.weekday() >= 5) + 0.2)


def of_chart(name: str, share: float) -> Told:
    """Two thousand series of a level, two weeks from the end of the reference's warm-up on."""
    limit = ewma_limit(0.1, ARL0) if name == "ewma" else cusum_limit(0.5, ARL0)
    band = EwmaBand(limit=limit) if name == "ewma" else CusumBand(h=limit)
    alarms, points = 0, 0
    n = max(round(2000 * share), 1)
    for first in range(0, n, CHUNK):
        chance = np.random.default_rng((100, first))
        s = min(CHUNK, n - first)
        state: Any = band.start(s)
        armed, before = np.ones(s, dtype=np.bool_), np.zeros(s)
        for t in range(band.reference.points_before + 2 * WEEK):
            state, judged = band.step(state, Points.of(_at_ns(t), chance.normal(10, 1, s)))
            new = armed & (judged.breach != 0)
            middle, before = _in_the_middle(state, judged, before)
            armed = (armed & ~new) | middle
            alarms, points = alarms + int(new.sum()), points + int((judged.status == Status.OK).sum())
    told = ratio(np.array([points, alarms]), ARL0, 1)
    return {"series": n, "limit": round(limit, 4), "times_chosen": told, "alarms": alarms, "points": points}


def _in_the_middle(state: Any, judged: Judged, before: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which charts stand where they began: an EWMA that crosses its middle, a CUSUM whose sums are both zero."""
    if isinstance(state, CusumState):
        return (state.up == 0) & (state.down == 0), before
    return (state.value * before <= 0) & (judged.breach == 0), state.value


def ratio(counts: Floats, arl0: float, column: int) -> float | None:
    """Alarms over those that were chosen."""
    return round(float(counts[column] * arl0 / counts[0]), 3) if counts[0] else None


def together(groups: list[Told]) -> Told:
    """All series, each group by its points."""
    points, alarms, seldom = (sum(one[key] for one in groups) for key in ("points", "alarms", "alarms_of_20160"))
    counts = np.array([points, alarms, seldom], dtype=np.float64)
    return {
        "times_chosen": ratio(counts, ARL0, 1), "times_chosen_of_20160": ratio(counts, SELDOM, 2), "alarms": alarms,
        "points": points, "furthest_group": max((one["times_chosen"] for one in groups), key=lambda x: abs(x - 1)),
    }  # fmt: skip


def _at_ns(t: int) -> int:
    return int(BEGAN.timestamp() + t * STEP_S) * 10**9


if __name__ == "__main__":
    main()
