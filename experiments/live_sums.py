"""From what the store counted of live traffic to the sums and the exposure that an analysis reads. Pure.

The store gives one row per arm, day and combination of levels, which adds: the sums over all units, by each stratum and
by all registered ones together are made here, of few rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from experiments import sums
from experiments.analysed import BY_DAY, BY_STRATUM, ArmExposure, Exposure
from experiments.records import AssignedBy, Definition, MetricKind
from store.experiment_moments import State

OTHER: Final = "(other)"  # the levels beyond the MOST_LEVELS with most units
MOST_LEVELS: Final = 30
MOST_JOINED: Final = 100


def metrics_of(definition: Definition, judged: Sequence[str]) -> list[str]:
    """The metrics of which there are sums, the primary first: means that no judge tells."""
    of_sums = [one for one in definition.metrics if one.kind is MetricKind.MEAN and one.name not in judged]
    return [one.name for one in sorted(of_sums, key=lambda one: one is not definition.primary)]


def levelled(cells: pl.DataFrame, attributes: Sequence[str], joined: Sequence[str]) -> pl.DataFrame:
    """Cells with a column per attribute, named as it is, and where several are registered `joined` with all
    of these. Null becomes
    UNKNOWN; what lies beyond the MOST_LEVELS largest levels, OTHER. An attribute that no unit has is left out."""
    frame = cells.rename({f"level_{index}": _column(name) for index, name in enumerate(attributes)})
    for name in attributes:
        column = _column(name)
        if frame[column].null_count() == frame.height:
            frame = frame.drop(column)
            continue
        frame = _largest(frame.with_columns(pl.col(column).fill_null(sums.UNKNOWN)), column, MOST_LEVELS)
    parts = [_column(name) for name in joined if _column(name) in frame.columns]
    if len(parts) > 1:
        frame = frame.with_columns(pl.concat_str(parts, separator=sums.JOIN).alias(_column(sums.JOINED)))
        frame = _largest(frame, _column(sums.JOINED), MOST_JOINED)
    return frame


def sums_of(frame: pl.DataFrame, definition: Definition, metrics: Sequence[str]) -> pl.DataFrame:
    """The sums of the units that count, of `levelled` cells whose figures are numbered as `metrics`."""
    frame = _exposed(frame, definition)
    found = []
    for index, metric in enumerate(metrics):
        figures = {name: pl.col(f"{name}_{index}") for name in (*sums.COUNTS, *sums.FIGURES)}
        for attribute, level in _attributes(frame).items():
            keys = {"metric": pl.lit(metric), "attribute": pl.lit(attribute), "level": level}
            found.append(frame.select("variant", "day", **keys, **figures))
    return sums.added(*found) if found else sums.no_sums()


def ages_of(frame: pl.DataFrame, definition: Definition, metric: str, day: object) -> pl.DataFrame:
    """Sums by the days since the unit's first exposure, as rows of the attribute AGE and of one `day`."""
    figures = {name: pl.col(f"{name}_0") for name in (*sums.COUNTS, *sums.FIGURES)}
    keys = {"metric": pl.lit(metric), "attribute": pl.lit(sums.AGE), "level": pl.col("age").cast(pl.String())}
    named = _named(frame, definition)
    return sums.added(named.select("variant", **keys, day=pl.lit(day, dtype=pl.Date()), **figures))


def exposure_of(frame: pl.DataFrame, sent: pl.DataFrame, definition: Definition, metrics: Sequence[str]) -> Exposure:
    """Who met which variant, of `levelled` cells and what the gateway sent and lost by arm."""
    exposed = _exposed(frame, definition)
    counted = {state: _count(frame, state) for state in State}
    hashed = definition.assigned_by is AssignedBy.GATEWAY
    return Exposure(
        arms=tuple(_arm(exposed, sent, definition, number, metrics) for number in range(len(definition.arms))),
        by_day=exposed.group_by("day", "variant").agg(pl.col("n_units").sum()).select(list(BY_DAY)).sort(list(BY_DAY)),
        by_stratum=_by_stratum(exposed),
        n_multiple=counted[State.MULTIPLE],
        n_crossed=int(exposed["n_crossed"].sum()) if hashed else None,
        n_before_exposure=int(exposed["n_early"].sum()),
        n_skewed=counted[State.AHEAD] + int(exposed["n_ahead"].sum()),
        n_overrides=counted[State.TESTER],
        renamed=_renamed(frame, definition),
    )


def observations_of(rows: pl.DataFrame, definition: Definition, of_turns: bool, index: int) -> pl.DataFrame:
    """unit, variant, value: of the turns, or one per session of the figure of that number."""
    named = _named(rows, definition)
    if of_turns:
        values = named.select("unit", "variant", value=pl.col("latencies_ms")).explode("value")
        return values.drop_nulls("value")
    seen = named.filter(pl.col(f"s_{index}") > 0)
    return seen.select("unit", "variant", value=pl.col(f"y_{index}") / pl.col(f"s_{index}"))


def _column(attribute: str) -> str:
    return f"level:{attribute}"


def _attributes(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    """The expression of the level by attribute; all units first."""
    found: dict[str, pl.Expr] = {sums.ALL: pl.lit(sums.ALL)}
    return found | {one.removeprefix("level:"): pl.col(one) for one in frame.columns if one.startswith("level:")}


def _largest(frame: pl.DataFrame, column: str, most: int) -> pl.DataFrame:
    exposed = frame.filter(pl.col("state") == State.EXPOSED.value)
    sizes = exposed.group_by(column).agg(pl.col("n_units").sum()).sort("n_units", column, descending=[True, False])
    if sizes.height <= most:
        return frame
    kept = sizes[column].head(most).implode()
    return frame.with_columns(pl.when(pl.col(column).is_in(kept)).then(column).otherwise(pl.lit(OTHER)).alias(column))


def _named(frame: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    """With the variant of the arm's number."""
    names = pl.DataFrame(
        {"arm": range(len(definition.arms)), "variant": [one.variant for one in definition.arms]},
        schema={"arm": pl.Int64(), "variant": pl.String()},
    )
    return frame.join(names, on="arm")


def _exposed(frame: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    return _named(frame.filter(pl.col("state") == State.EXPOSED.value), definition)


def _count(frame: pl.DataFrame, state: State) -> int:
    return int(frame.filter(pl.col("state") == state.value)["n_units"].sum())


def _arm(
    exposed: pl.DataFrame, sent: pl.DataFrame, definition: Definition, number: int, metrics: Sequence[str]
) -> ArmExposure:
    own, mine = exposed.filter(pl.col("arm") == number), sent.filter(pl.col("arm") == number)
    told = bool(metrics) and metrics[0] == definition.primary.name
    without = int(own["n_missing_0"].sum()) if told else 0
    lost = (0, 0) if sent.height else (None, None)
    if mine.height:
        lost = (int(mine["n_sent"].sum()), int(mine["n_lost"].sum()))
    return ArmExposure(
        variant=definition.arms[number].variant,
        n_units=int(own["n_units"].sum()),
        n_sessions=int(own["n_sessions"].sum()),
        n_mature=int(own["n_0"].sum()) + without if told else 0,
        n_without=without,
        n_sent=lost[0],
        n_lost=lost[1],
    )


def _by_stratum(exposed: pl.DataFrame) -> pl.DataFrame:
    parts = [
        exposed.select("variant", "n_units", attribute=pl.lit(attribute), level=level)
        for attribute, level in _attributes(exposed).items()
        if attribute not in (sums.ALL, sums.JOINED)
    ]
    whole = pl.concat([pl.DataFrame(schema=BY_STRATUM), *(one.select(list(BY_STRATUM)) for one in parts)])
    keys = ["attribute", "level", "variant"]
    return whole.group_by(keys).agg(pl.col("n_units").sum()).sort(keys)


def _renamed(frame: pl.DataFrame, definition: Definition) -> dict[str, int]:
    """Variants that spans name and that are no arm's, with the units whose first session did."""
    seen = frame.filter(pl.col("state").is_in([State.EXPOSED.value, State.ELSEWHERE.value, State.MULTIPLE.value]))
    known = [one.variant for one in definition.arms]
    strange = seen.filter(pl.col("said").is_not_null() & ~pl.col("said").is_in(known))
    counted = strange.group_by("said").agg(pl.col("n_units").sum()).sort("n_units", "said", descending=[True, False])
    return dict(counted.head(20).rows())
