"""Checked rows of a table, by unit or as counts, to sums and exposure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from core.errors import InvalidInput
from experiments import sums
from experiments.analysed import BY_DAY, BY_STRATUM, ArmExposure, Exposure

MOST_VARIANTS: Final = 20  # a column with more values is no column of arms
ROW: Final = "@row"  # number of the row, from 1, below the names


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column is what. A unit is the values of all columns of `unit`; without any each row is one. `clustered`:
    rows of a unit depend on each other, but it was not what was randomised and may be in several arms. `weights`: each
    row stands for so many units, of which the outcome tells how many said yes (or their share, if no outcome is over
    1). `covariate`: from before."""

    variant: str
    outcomes: tuple[str, ...]
    unit: tuple[str, ...] = ()
    clustered: bool = False
    strata: tuple[str, ...] = ()
    covariate: str | None = None
    weights: str | None = None
    day: str | None = None

    @property
    def named(self) -> list[str]:
        """All of them, each once."""
        one = [*self.unit, self.variant, *self.outcomes, *self.strata, self.covariate, self.weights, self.day]
        return list(dict.fromkeys(name for name in one if name is not None))


@dataclass(frozen=True, kw_only=True)
class Table:
    """What was read: sums by metric, stratum, variant and day, who met what, which outcomes are all 0 or 1, and notes
    on what was left out."""

    sums: pl.DataFrame
    exposure: Exposure
    variants: tuple[str, ...]
    binary: Mapping[str, bool]
    n_rows: int
    notes: tuple[str, ...] = ()
    days: tuple[dt.date, ...] = ()


def _variants(names: Sequence[str], columns: Columns, arms: Sequence[str], n_multiple: int = 0) -> tuple[str, ...]:
    """The arms, sorted. Raises InvalidInput for fewer than two, for very many, for names that differ by case alone.
    `n_multiple` units are left out because they are in several."""
    without = f" once the {n_multiple:,} units in several arms are left out" if n_multiple else ""
    found = [one for one in sorted(names) if not arms or one in arms]
    absent = [one for one in arms if one not in found]
    if absent:
        raise InvalidInput(
            f"no row has {columns.variant} {', '.join(absent)}{without}; there is {', '.join(sorted(names)[:20])}",
            field="variant",
        )
    if len(found) < 2:
        raise InvalidInput(
            f"{columns.variant} has one value, {found[0] if found else 'none'}{without}: two arms are compared",
            field=columns.variant,
        )
    if len(found) > MOST_VARIANTS:
        raise InvalidInput(
            f"{columns.variant} has {len(found):,} values: a column of arms has a few", field=columns.variant
        )
    folded: dict[str, str] = {}
    for one in found:
        other = folded.setdefault(one.strip().casefold(), one)
        if other != one:
            raise InvalidInput(
                f"{columns.variant} has {other!r} and {one!r}: one arm written in two ways? Write it in one",
                field=columns.variant,
            )
    return tuple(found)


def by_unit(rows: pl.DataFrame, columns: Columns, today: dt.date, arms: Sequence[str], notes: list[str]) -> Table:
    """A table of outcomes: its rows are observations of units. Raises InvalidInput as `_variants` does, and where every
    unit is in several arms."""
    n_rows = rows.height
    several = pl.col("@variant").n_unique().over("@unit") > 1
    n_multiple = 0
    if columns.clustered:
        rows = rows.with_columns(pl.concat_str([pl.col("@unit"), pl.col("@variant")], separator=sums.JOIN))
    elif columns.unit:
        n_multiple = rows.filter(several)["@unit"].n_unique()
        rows = rows.filter(~several)
        if rows.is_empty():
            raise InvalidInput(
                f"every {'+'.join(columns.unit)} is in several arms: it was not what was randomised. If its rows "
                "depend on each other name it as a cluster, else leave it out",
                field="unit",
            )
    rows, renamed, variants = _arms(rows, columns, arms, n_multiple)
    units = _units(rows, columns)
    levels = {f"={name}": name for name in columns.strata}  # a stratum may be called as one of our columns is
    keys: list[pl.Expr | str] = [pl.col("@unit").alias("unit"), "variant", "day", "x", *levels]
    found = [
        units.select(
            *keys, pl.lit(name).alias("metric"), pl.col(f"y {name}").alias("y"), pl.col(f"s {name}").alias("s")
        )
        for name in columns.outcomes
    ]
    met = units.with_columns(pl.lit(1, pl.Int64).alias("n"), (pl.col(f"s {columns.outcomes[0]}") == 0).alias("lost"))
    summed = sums.added(*(sums.of_units(one, list(levels)) for one in found))
    return Table(
        sums=summed.with_columns(pl.col("attribute").replace(levels)),
        exposure=_exposure(met, columns, variants, today, n_multiple, renamed),
        variants=variants,
        binary={name: bool(rows[f"#{name}"].drop_nulls().is_in([0.0, 1.0]).all()) for name in columns.outcomes},
        n_rows=n_rows,
        notes=tuple(notes),
        days=tuple(units["day"].unique().sort().to_list()),
    )


def _units(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """One row per unit: variant, day, strata (=name) of its first row, n_sessions, x, and of each outcome y and s."""
    covariate = pl.col(f"#{columns.covariate}").mean() if columns.covariate else pl.lit(None, pl.Float64)
    order = ["@day", ROW] if columns.day else [ROW]
    return (
        rows.sort(order)
        .group_by("@unit", maintain_order=True)
        .agg(
            pl.col("@variant").first().alias("variant"),
            pl.col("@day").first().alias("day"),
            pl.len().cast(pl.Int64).alias("n_sessions"),
            covariate.alias("x"),
            *(pl.col(f"={name}").first() for name in columns.strata),
            *(pl.col(f"#{name}").sum().alias(f"y {name}") for name in columns.outcomes),
            *(pl.col(f"#{name}").count().cast(pl.Float64).alias(f"s {name}") for name in columns.outcomes),
        )
    )


def counted(rows: pl.DataFrame, columns: Columns, today: dt.date, arms: Sequence[str], notes: list[str]) -> Table:
    """A table of counts: each row is `weights` units, and so many of them said yes as the outcome tells."""
    weight = f"#{columns.weights}"
    n = rows[weight]
    if n.null_count() or not (n >= 0).all() or not (n == n.round()).all():
        raise InvalidInput(
            f"{columns.weights} counts units: whole numbers from 0 up in every row", field=columns.weights
        )
    if columns.unit or columns.covariate:
        raise InvalidInput("a table of counts has no units to name and no covariate of them", field="weights")
    n_rows = int(n.sum())
    rows, renamed, variants = _arms(rows, columns, arms)
    frames = [
        _count_sums(rows, name, _successes(rows, name, columns, notes), pl.col(weight), columns.strata)
        for name in columns.outcomes
    ]
    met = rows.select(
        pl.col("@variant").alias("variant"),
        pl.col("@day").alias("day"),
        pl.col(weight).cast(pl.Int64).alias("n"),
        pl.col(weight).cast(pl.Int64).alias("n_sessions"),
        pl.col(f"#{columns.outcomes[0]}").is_null().alias("lost"),
        *(f"={name}" for name in columns.strata),
    )
    return Table(
        sums=sums.added(*frames),
        exposure=_exposure(met, columns, variants, today, 0, renamed),
        variants=variants,
        binary=dict.fromkeys(columns.outcomes, True),
        n_rows=n_rows,
        notes=tuple(notes),
        days=tuple(met["day"].unique().sort().to_list()),
    )


def _successes(rows: pl.DataFrame, name: str, columns: Columns, notes: list[str]) -> pl.Expr:
    """How many units of each row said yes; a note where that was taken to be told as a share."""
    value, weight = pl.col(f"#{name}"), pl.col(f"#{columns.weights}")
    share = (rows[f"#{name}"].max() or 0.0) <= 1.0  # type: ignore[operator]
    if share and (rows[f"#{columns.weights}"] > 1).any():
        notes.append(f"{name} is from 0 to 1 in every row: read as the share of {columns.weights} that said yes")
    successes = value * weight if share else value
    wrong = rows.filter((value < 0) | (successes > weight))
    if not wrong.is_empty():
        raise InvalidInput(
            f"{name} in row {wrong.row(0, named=True)[ROW]} is not from 0 to {columns.weights}: it says how many of "
            "them said yes",
            field=name,
        )
    return successes


def _count_sums(rows: pl.DataFrame, metric: str, successes: pl.Expr, n: pl.Expr, strata: Sequence[str]) -> pl.DataFrame:
    """Sums of units of one observation of 0 or 1 each."""
    there = successes.is_not_null()
    zero = pl.lit(0.0)
    y, s = successes.fill_null(0.0), pl.when(there).then(n).otherwise(0.0)
    figures = {"y": y, "s": s, "x": zero, "yy": y, "ss": s, "xx": zero, "sy": y, "xy": zero, "xs": zero}
    figures |= {"w": zero, "wy": zero, "ws": zero}
    cells = [(sums.ALL, pl.lit(sums.ALL)), *((name, pl.col(f"={name}")) for name in strata)]
    if strata:
        cells.append((sums.JOINED, pl.concat_str([pl.col(f"={name}") for name in strata], separator=sums.JOIN)))
    return sums.added(
        *(
            rows.select(
                pl.lit(metric).alias("metric"),
                pl.lit(attribute).alias("attribute"),
                level.alias("level"),
                pl.col("@variant").alias("variant"),
                pl.col("@day").alias("day"),
                s.cast(pl.Int64).alias("n"),
                (n - s).cast(pl.Int64).alias("n_missing"),
                *(one.alias(name) for name, one in figures.items()),
            )
            for attribute, level in cells
        )
    )


def _arms(
    rows: pl.DataFrame, columns: Columns, arms: Sequence[str], n_multiple: int = 0
) -> tuple[pl.DataFrame, dict[str, int], tuple[str, ...]]:
    """Rows of the arms, units seen under other names, and the arms."""
    variants = _variants(rows["@variant"].unique().to_list(), columns, arms, n_multiple)
    others = rows.filter(~pl.col("@variant").is_in(variants))
    renamed = {name: part["@unit"].n_unique() for (name,), part in others.group_by("@variant")}
    return rows.filter(pl.col("@variant").is_in(variants)), {str(name): n for name, n in renamed.items()}, variants


def _exposure(
    met: pl.DataFrame,
    columns: Columns,
    variants: Sequence[str],
    today: dt.date,
    n_multiple: int,
    renamed: Mapping[str, int],
) -> Exposure:
    """`met`: variant, day, n, n_sessions, lost and the strata (=name)."""
    arms = []
    for variant in variants:
        of_arm = met.filter(pl.col("variant") == variant)
        n = int(of_arm["n"].sum())
        arms.append(
            ArmExposure(
                variant=variant,
                n_units=n,
                n_sessions=int(of_arm["n_sessions"].sum()),
                n_mature=n,
                n_without=int(of_arm.filter(pl.col("lost"))["n"].sum()),
            )
        )
    total = pl.col("n").sum().cast(pl.Int64).alias("n_units")
    strata = [
        met.group_by(pl.col(f"={name}").alias("level"), "variant")
        .agg(total)
        .select(pl.lit(name).alias("attribute"), "level", "variant", "n_units")
        for name in columns.strata
    ]
    return Exposure(
        arms=tuple(arms),
        by_day=met.group_by("day", "variant").agg(total).select(list(BY_DAY)).sort("day", "variant"),
        by_stratum=pl.concat([pl.DataFrame(schema=BY_STRATUM), *strata]).sort("attribute", "level", "variant"),
        n_multiple=n_multiple,
        n_skewed=int(met.filter(pl.col("day") > today)["n"].sum()),
        renamed=renamed,
    )
