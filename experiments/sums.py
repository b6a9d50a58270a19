"""Sums by metric, stratum, variant and day: the frame that the lake or a file gives and every analysis reads.

One row per metric, attribute, level, variant and day. A unit is wholly in the day (UTC) of its first exposure and in
the level of its first session; what it does later adds to that row. Rows add: a new day needs no earlier unit again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import polars as pl

from core.errors import InvalidInput
from experiments.statistics.records import Moments

ALL: Final = ""  # attribute and level of the rows over all units
JOINED: Final = "*"  # attribute of the rows whose level is every stratum attribute's level at once
JOIN: Final = " · "  # between the parts of a joined level
AGE: Final = "@age"  # attribute of rows by days since the unit's first exposure ("0", "1", ...): they do not add
UNKNOWN: Final = "(none)"  # level of a unit whose attribute is not known

KEYS: Final = ("metric", "attribute", "level", "variant", "day")
COUNTS: Final = ("n", "n_missing")
FIGURES: Final = ("y", "s", "x", "yy", "ss", "xx", "sy", "xy", "xs", "w", "wy", "ws")

SUMS: Final[dict[str, pl.DataType]] = {
    "metric": pl.String(),
    "attribute": pl.String(),
    "level": pl.String(),
    "variant": pl.String(),
    "day": pl.Date(),
    **dict.fromkeys(COUNTS, pl.Int64()),
    **dict.fromkeys(FIGURES, pl.Float64()),
}
# One row per unit and metric; columns of levels, one per attribute, follow. `s` 0 is a unit without an observation,
# `x` null one without a past to have a covariate from.
UNIT_ROWS: Final[dict[str, pl.DataType]] = {
    "unit": pl.String(),
    "variant": pl.String(),
    "day": pl.Date(),
    "metric": pl.String(),
    "y": pl.Float64(),
    "s": pl.Float64(),
    "x": pl.Float64(),
}


def no_sums() -> pl.DataFrame:
    """A frame of sums without a row."""
    return pl.DataFrame(schema=SUMS)


def added(*frames: pl.DataFrame) -> pl.DataFrame:
    """The sums of all frames, one row per key, sorted. Raises InvalidInput where a frame lacks a column."""
    for frame in frames:
        lacking = [name for name in SUMS if name not in frame.columns]
        if lacking:
            raise InvalidInput(f"sums without the columns {', '.join(lacking)}", field="sums")
    whole = pl.concat(
        [no_sums(), *(frame.select(pl.col(name).cast(kind) for name, kind in SUMS.items()) for frame in frames)]
    )
    return whole.group_by(KEYS).agg(pl.col(*COUNTS, *FIGURES).sum()).sort(KEYS)


def of_units(rows: pl.DataFrame, attributes: Sequence[str] = ()) -> pl.DataFrame:
    """Sums of UNIT_ROWS: over all units, by each attribute (a column of `rows`), and by all attributes at once.

    Of units without an observation (`s` 0) only the number is kept.
    """
    seen = pl.col("s") > 0
    levels = {name: pl.col(name).cast(pl.String()).fill_null(UNKNOWN) for name in attributes}
    cells = [(ALL, pl.lit(ALL)), *levels.items()]
    if attributes:
        cells.append((JOINED, pl.concat_str(list(levels.values()), separator=JOIN)))
    past = pl.col("x").is_not_null().cast(pl.Float64())
    y, s, x, w = (one.filter(seen) for one in (pl.col("y"), pl.col("s"), pl.col("x").fill_null(0.0), past))
    figures = {"y": y, "s": s, "x": x, "yy": y * y, "ss": s * s, "xx": x * x, "sy": s * y, "xy": x * y, "xs": x * s}
    figures |= {"w": w, "wy": w * y, "ws": w * s}
    frames = [
        rows.with_columns(pl.lit(attribute).alias("attribute"), level.alias("level"))
        .group_by(KEYS)
        .agg(
            seen.sum().cast(pl.Int64()).alias("n"),
            (~seen).sum().cast(pl.Int64()).alias("n_missing"),
            *(one.sum().alias(name) for name, one in figures.items()),
        )
        .select(list(SUMS))
        for attribute, level in cells
    ]
    return added(*frames)


def cell(
    frame: pl.DataFrame,
    metric: str,
    *,
    attribute: str = ALL,
    level: str | None = None,
    variant: str | None = None,
    until: dt.date | None = None,
) -> pl.DataFrame:
    """The rows of a metric and attribute; of one level and variant where named, of first exposures up to and including
    the day `until`."""
    wanted = (pl.col("metric") == metric) & (pl.col("attribute") == attribute)
    if level is not None:
        wanted &= pl.col("level") == level
    if variant is not None:
        wanted &= pl.col("variant") == variant
    if until is not None:
        wanted &= pl.col("day") <= until
    return frame.filter(wanted)


def moments(
    frame: pl.DataFrame,
    metric: str,
    *,
    attribute: str = ALL,
    level: str | None = None,
    variant: str | None = None,
    until: dt.date | None = None,
) -> Moments:
    """The sums of a cell. Without a row: zeroes, which is what no unit adds up to."""
    rows = cell(frame, metric, attribute=attribute, level=level, variant=variant, until=until)
    return total(rows)


def total(rows: pl.DataFrame) -> Moments:
    """The sums over all given rows."""
    if rows.is_empty():
        return Moments()
    counts = rows.select(pl.col(*COUNTS).sum()).row(0)
    figures = rows.select(pl.col(*FIGURES).sum()).row(0)
    return Moments(**dict(zip(COUNTS, counts, strict=True)), **dict(zip(FIGURES, figures, strict=True)))


def by_level(
    frame: pl.DataFrame, metric: str, attribute: str, variant: str, *, until: dt.date | None = None
) -> dict[str, Moments]:
    """The sums of each level of an attribute in one variant, levels sorted."""
    rows = cell(frame, metric, attribute=attribute, variant=variant, until=until)
    summed = rows.group_by("level").agg(pl.col(*COUNTS, *FIGURES).sum()).sort("level")
    return {row["level"]: Moments(**{name: row[name] for name in (*COUNTS, *FIGURES)}) for row in summed.to_dicts()}


def attributes_of(frame: pl.DataFrame) -> list[str]:
    """The attributes by which there are levels, sorted; the joined one last, if it is there and there are several."""
    found = set(frame["attribute"].unique().to_list())
    named = sorted(found - {ALL, JOINED, AGE})
    return [*named, JOINED] if len(named) > 1 and JOINED in found else named


def days_of(frame: pl.DataFrame, metric: str) -> list[dt.date]:
    """The days on which a unit was first exposed, sorted."""
    found: list[dt.date] = cell(frame, metric)["day"].unique().sort().to_list()
    return found


def until_days(frame: pl.DataFrame, metric: str, variant: str, days: Sequence[dt.date]) -> list[Moments]:
    """The sums over all units of a variant first exposed up to and including each of the days, which are sorted."""
    rows = cell(frame, metric, variant=variant).sort("day")
    by_day = [(row["day"], Moments(**{name: row[name] for name in (*COUNTS, *FIGURES)})) for row in rows.to_dicts()]
    found, so_far, place = [], Moments(), 0
    for day in days:
        while place < len(by_day) and by_day[place][0] <= day:
            so_far, place = so_far + by_day[place][1], place + 1
        found.append(so_far)
    return found
