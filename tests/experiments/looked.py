"""Experiments with outcomes that were drawn, for tests of the analysis: units, their sums, their exposure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from experiments import sums
from experiments.analysed import BY_DAY, BY_STRATUM, ArmExposure, Exposure, Looked

START = dt.date(2026, 11, 1)


def days(n: int) -> tuple[dt.date, ...]:
    """n days from START."""
    return tuple(START + dt.timedelta(days=one) for one in range(n))


def drawn(
    n: int,
    *,
    lift: float = 0.0,
    base: float = 0.7,
    n_days: int = 14,
    arms: Sequence[str] = ("control", "treatment"),
    metric: str = "resolution",
    seed: int = 1,
    per_unit: int = 1,
) -> pl.DataFrame:
    """UNIT_ROWS of n units over the days, with a column tier; all arms but the first have `lift`."""
    chance = np.random.default_rng(seed)
    arm = chance.integers(0, len(arms), n)
    tier = chance.random(n) < 0.3
    rate = np.clip(base + lift * (arm > 0) + 0.1 * tier, 0, 1)
    return pl.DataFrame(
        {
            "unit": [f"u{one}" for one in range(n)],
            "variant": np.array(arms)[arm],
            "day": [START + dt.timedelta(days=int(one)) for one in chance.integers(0, n_days, n)],
            "metric": [metric] * n,
            "y": chance.binomial(per_unit, rate).astype(np.float64),
            "s": np.full(n, float(per_unit)),
            "x": np.zeros(n),
            "tier": np.where(tier, "pro", "free"),
        }
    )


def exposure(rows: pl.DataFrame, **changed: Any) -> Exposure:
    """Of one metric's unit rows, all mature."""
    counted = rows.group_by("day", "variant").agg(pl.len().cast(pl.Int64).alias("n_units"))
    by_tier = rows.group_by("tier", "variant").agg(pl.len().cast(pl.Int64).alias("n_units"))
    arms = tuple(
        ArmExposure(
            variant=str(name),
            n_units=part.height,
            n_sessions=part.height,
            n_mature=part.height,
            n_without=part.filter(pl.col("s") == 0).height,
        )
        for (name,), part in sorted(rows.group_by("variant"), key=lambda one: str(one[0]))
    )
    given: dict[str, Any] = {
        "arms": arms,
        "by_day": counted.select(list(BY_DAY)),
        "by_stratum": by_tier.select(
            pl.lit("tier").alias("attribute"), pl.col("tier").alias("level"), "variant", "n_units"
        ).select(list(BY_STRATUM)),
    }
    return Exposure(**(given | changed))


def looked(rows: pl.DataFrame, n_days: int = 14, **changed: Any) -> Looked:
    """After n_days complete days."""
    given: dict[str, Any] = {
        "at_ns": 10**18,
        "started_at_ns": 10**18 - 1,
        "days": days(n_days),
        "exposure": exposure(rows),
    }
    return Looked(**(given | changed))


def summed(*rows: pl.DataFrame) -> pl.DataFrame:
    """Sums by tier of several metrics' rows."""
    return sums.added(*(sums.of_units(one, ["tier"]) for one in rows))
