"""Sums of an experiment, made in the store: units from the sessions that they were exposed in, then one row per arm,
day and combination of levels. One query reads everything, and what comes back are sums, which add.

A unit is exposed from its first session in an arm on. Its day and its levels are those of that session; all its
exposed sessions add to its y and s, the time before it (the covariate) to its x. Where a hash assigns, a unit counts in
the arm that it was assigned to, whatever it met (intention to treat); else in the one that it met. Who met several arms
counts in none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.clock import NS_PER_S
from core.windows import FIRST_NS, LAST_NS, Window
from store import experiment_arms
from store.engine import slot
from store.experiment_arms import Arms, ArmsShape
from store.experiment_scores import Scored
from store.experiment_units import Bound, FactsAsked, FactsShape, bind, facts, hour_ns
from store.tenant import TenantStore

SKEW_S: Final = 60  # so far may a clock be ahead, or an outcome be older than its session
MOST_UNITS: Final = 200_000  # rows of units that are handed on; of more, those of a sample
COUNTED: Final = ("n_units", "n_sessions", "n_crossed", "n_early", "n_ahead")
KEYS: Final = ("state", "arm", "day", "said")
_SAMPLED: Final = 8  # hexadecimal digits of the hash that draws


class Measure(StrEnum):
    """What turns alone tell of a session: whether any failed, its US dollars, the milliseconds of its turns (per turn),
    its tokens, its turns."""

    ERRORS = "errors"
    COST_USD = "cost_usd"
    LATENCY_MS = "latency_ms"
    TOKENS = "tokens"
    TURNS = "turns"


class State(StrEnum):
    """What a unit is: exposed in an arm; in several of them; in none of the arms though it names a variant; a tester;
    without a name of the kind that is randomised; beginning after now, by a clock that is ahead; or never reached by
    any release."""

    EXPOSED = "exposed"
    MULTIPLE = "multiple"
    ELSEWHERE = "elsewhere"
    TESTER = "tester"
    NAMELESS = "nameless"
    AHEAD = "ahead"
    UNREACHED = "unreached"


@dataclass(frozen=True, kw_only=True)
class MetricAsked:
    """A metric: what turns tell, or a figure of scores. Of one that is told late, sessions count from `mature_s` after
    they began."""

    name: str
    of: Measure | Scored
    mature_s: int = 0


@dataclass(frozen=True, kw_only=True)
class UnitsAsked:
    """Units of `app` exposed in [started_ns, until_ns), by what is known at `now_ns`. `by_user`: units are users, else
    sessions. `covariate_days` before a user's first exposure make x. For the rest see FactsAsked."""

    app: str
    arms: Arms
    metrics: tuple[MetricAsked, ...]
    by_user: bool
    started_ns: int
    until_ns: int
    now_ns: int
    attributes: tuple[str, ...] = ()
    labels: tuple[Scored, ...] = ()
    covariate_days: int = 0
    runs: tuple[str, ...] = ()
    chosen: tuple[str, ...] | None = None
    as_of_ns: int | None = None

    @property
    def figures(self) -> tuple[Scored, ...]:
        """The metrics that scores tell."""
        return tuple(one.of for one in self.metrics if isinstance(one.of, Scored))


@dataclass(frozen=True, kw_only=True)
class UnitsShape:
    """What the expressions depend on beside values."""

    facts: FactsShape
    arms: ArmsShape
    measures: tuple[str, ...]  # a Measure, or the number of a figure
    by_user: bool
    past: bool
    sampled: bool = False


def cells(store: TenantStore, asked: UnitsAsked) -> pl.DataFrame:
    """One row per state, arm (its number; null: none), day (UTC, of the first exposure), `said` (the variant that the
    first session named) and combination of level_0, ...: COUNTED, and for each metric by its number n_0, n_missing_0,
    y_0, s_0, x_0 and the squares and products of experiments/sums.py; they are those of an arm where the state is
    `exposed`. Two queries."""
    bound, shape = bound_units(store, asked)
    found = store.frame(_cells(shape), bound.windows, asked.as_of_ns, values=bound.values, given=bound.given)
    return found.drop("tenant").with_columns(_day()).sort(*KEYS, nulls_last=True)


def unit_rows(store: TenantStore, asked: UnitsAsked, *, one_in: int = 1) -> pl.DataFrame:
    """One row per exposed unit of a sample of one in so many, drawn by the MD5 of its name: unit, arm, day, said,
    start_ns (of the first exposure), level_0, ..., and per metric y_0, s_0, mature_0 (sessions old enough to have it),
    x_0 (null: no past)."""
    bound, shape = bound_units(store, asked, one_in=one_in)
    found = store.frame(_rows(shape), bound.windows, asked.as_of_ns, values=bound.values, given=bound.given)
    return found.drop("tenant").with_columns(_day()).sort("start_ns", "unit")


def by_age(store: TenantStore, asked: UnitsAsked) -> pl.DataFrame:
    """Sums of the first metric by `age`, the whole days since the unit's first exposure: arm, age, and n_0, y_0, ... as
    `cells` has them, of the units with an observation at that age. They do not add over ages. Two queries."""
    bound, shape = bound_units(
        store, replace(asked, metrics=asked.metrics[:1], attributes=(), labels=(), covariate_days=0)
    )
    found = store.frame(_ages(shape), bound.windows, asked.as_of_ns, values=bound.values, given=bound.given)
    return found.drop("tenant").sort("arm", "age")


def observations(store: TenantStore, asked: UnitsAsked, *, one_in: int = 1) -> pl.DataFrame:
    """Of a sample of units: unit, arm, session_id, start_ns, `latencies_ms` (of its turns), and y_0, s_0, ... of the
    metrics; one row per exposed session. Two queries."""
    bound, shape = bound_units(store, asked, one_in=one_in, latencies=True)
    found = store.frame(_sessions(shape), bound.windows, asked.as_of_ns, values=bound.values, given=bound.given)
    return found.drop("tenant").sort("start_ns", "session_id")


def _day() -> pl.Expr:
    return pl.col("day").cast(pl.Int32()).cast(pl.Date())


def bound_units(
    store: TenantStore, asked: UnitsAsked, *, one_in: int = 1, latencies: bool = False
) -> tuple[Bound, UnitsShape]:
    """What a query over units is run with, of a sample of one in so many. One query."""
    past = asked.by_user and asked.covariate_days > 0
    past_ns = asked.covariate_days * 86_400 * NS_PER_S if past else 0
    told = FactsAsked(
        app=asked.app,
        window=Window(start_ns=max(asked.started_ns - past_ns, FIRST_NS), end_ns=LAST_NS),
        figures=asked.figures,
        attributes=asked.attributes,
        labels=asked.labels,
        runs=asked.runs,
        latencies=latencies,
        chosen=asked.chosen,
        as_of_ns=asked.as_of_ns,
    )
    bound = bind(store, told)
    numbers = iter(range(len(asked.figures)))
    shape = UnitsShape(
        facts=bound.shape,
        arms=experiment_arms.shape_of(asked.arms),
        measures=tuple(str(next(numbers)) if isinstance(one.of, Scored) else one.of.value for one in asked.metrics),
        by_user=asked.by_user,
        past=past,
        sampled=one_in > 1,
    )
    values = bound.values | experiment_arms.values_of(asked.arms)
    values |= {"started_ns": asked.started_ns, "stopped_ns": asked.until_ns, "past_ns": past_ns}
    values |= {"ahead_ns": asked.now_ns + SKEW_S * NS_PER_S, "below": f"{16**_SAMPLED // one_in:0{_SAMPLED}x}"}
    values |= {f"mature_{i}": asked.now_ns - one.mature_s * NS_PER_S for i, one in enumerate(asked.metrics)}
    given: dict[str, pa.Table] = bound.given | experiment_arms.given_of(asked.arms)
    return Bound(shape=bound.shape, values=values, given=given, windows=bound.windows), shape


# -- expressions -------------------------------------------------------------------------------------------------------


def _with_arm(shape: UnitsShape) -> ir.Table:
    """Sessions with unit, arm, assigned, state, and day."""
    rows = facts(shape.facts)
    named = rows.user_id if shape.by_user else rows.session_id
    rows = rows.mutate(unit=ibis.coalesce(named, rows.session_id), nameless=named.isnull())
    if shape.sampled:
        rows = rows.filter(rows.unit.hexdigest("md5").substr(0, _SAMPLED) < slot("below", "string"))
    rows = experiment_arms.without_testers(shape.arms, rows)
    rows = rows.mutate(met=experiment_arms.observed(shape.arms, rows), given=experiment_arms.assigned(shape.arms, rows))
    rows = rows.mutate(arm=rows.given if shape.arms.hashed else rows.met)
    taking_part = experiment_arms.enrolled(shape.arms, rows)
    if not shape.arms.hashed:  # an app's other variants are none of the experiment's, unless they follow one of its
        taking_part = taking_part & (rows.variant.notnull() | rows.met.notnull())
    begun = (rows.start_ns >= slot("started_ns", "int64")) & taking_part
    ahead = rows.start_ns > slot("ahead_ns", "int64")
    state = ibis.cases(
        (~begun, ibis.null("string")),
        (ahead, State.AHEAD.value),
        (rows.start_ns >= slot("stopped_ns", "int64"), ibis.null("string")),
        (rows.nameless, State.NAMELESS.value),
        (rows.tester, State.TESTER.value),
        (rows.release.isnull() & rows.variant.isnull(), State.UNREACHED.value),
        (rows.arm.isnull(), State.ELSEWHERE.value),
        else_=State.EXPOSED.value,
    )
    return rows.mutate(state=state, day=hour_ns(rows.start_ns, 24))


def _measured(shape: UnitsShape, rows: ir.Table) -> ir.Table:
    """With y_m0, s_m0, ... of the metrics, per session."""
    told: dict[str, ir.Value] = {}
    for i, one in enumerate(shape.measures):
        y, s = _measure(rows, one)
        told |= {f"y_m{i}": ibis.coalesce(y.cast("float64"), 0.0), f"s_m{i}": s.cast("float64")}
    return rows.mutate(**told)


def _measure(rows: ir.Table, measure: str) -> tuple[ir.Value, ir.Value]:
    """Sum and number of a session's observations."""
    if measure.isdigit():
        return rows[f"y_{measure}"], rows[f"s_{measure}"]
    match Measure(measure):
        case Measure.ERRORS:
            return ibis.ifelse(rows.n_errors > 0, 1, 0), ibis.literal(1)
        case Measure.COST_USD:
            return rows.cost_usd, ibis.ifelse(rows.cost_usd.notnull(), 1, 0)
        case Measure.LATENCY_MS:
            return rows.latency_ms, rows.n_timed
        case Measure.TOKENS:
            return rows.tokens, ibis.ifelse(rows.tokens.notnull(), 1, 0)
        case Measure.TURNS:
            return rows.n_turns, ibis.literal(1)


def _levels(shape: UnitsShape) -> list[str]:
    return [f"level_{i}" for i in range(len(shape.facts.attributes))]


def _exposing(rows: ir.Table) -> ir.BooleanValue:
    """Whether a session is in an arm, or should be."""
    return rows.state.isin([State.EXPOSED.value, State.ELSEWHERE.value])


def _units(shape: UnitsShape) -> ir.Table:
    """One row per unit with a state: what its first such session says, and its sums."""
    rows = _measured(shape, _with_arm(shape))
    if not shape.past:
        rows = rows.filter(rows.state.notnull())
    rows = rows.mutate(exposing=_exposing(rows).fill_null(False))
    if shape.past:
        first = ibis.ifelse(rows.exposing, rows.start_ns, ibis.null("int64")).min().over(group_by=rows.unit)
        rows = rows.mutate(first_ns=first)
    first_key = ibis.struct({"not": ~rows.exposing, "at": rows.start_ns, "id": rows.session_id})
    told = ("state", "arm", "day", "variant", "start_ns", *_levels(shape))
    stated = rows.state.notnull()
    crossed = rows.exposing & (rows.given != ibis.coalesce(rows.met, -1))
    early = rows.exposing & (rows.told_ns < rows.start_ns - SKEW_S * NS_PER_S)
    known = rows.exposing & rows.met.notnull()
    sums: dict[str, ir.Value] = {}
    for i in range(len(shape.measures)):
        sums |= _of_metric(shape, rows, i)
    units = rows.group_by("unit", "nameless").agg(
        tenant=rows.tenant.max(),
        first=ibis.struct({name: rows[name] for name in told}).argmin(first_key, where=stated),
        n_stated=stated.cast("int64").sum(),
        n_exposing=rows.exposing.cast("int64").sum(),
        n_ahead=(rows.state == State.AHEAD.value).fill_null(False).cast("int64").max(),
        several=(rows.met.max(where=known) > rows.met.min(where=known)).fill_null(False),
        n_crossed=crossed.fill_null(False).cast("int64").max(),
        n_early=early.fill_null(False).cast("int64").max(),
        **sums,
    )
    units = units.filter(units.n_stated > 0)
    units = units.mutate(n_sessions=ibis.ifelse(units.n_exposing > 0, units.n_exposing, units.n_stated))
    said = {name: units.first[name] for name in told if name != "variant"} | {"said": units.first["variant"]}
    said["state"] = ibis.ifelse(units.several, State.MULTIPLE.value, units.first["state"])
    pasts = {}
    if shape.past:
        for i in range(len(shape.measures)):
            pasts[f"x_{i}"] = ibis.ifelse(units[f"w_{i}"] > 0, units[f"z_{i}"] / units[f"w_{i}"], ibis.null("float64"))
    else:
        pasts = {f"x_{i}": ibis.null("float64") for i in range(len(shape.measures))}
    return units.mutate(**said, **pasts)


def _of_metric(shape: UnitsShape, rows: ir.Table, i: int) -> dict[str, ir.Value]:
    """y, s and the number of mature sessions of a unit; of its past the sum z over w observations."""
    y, s = rows[f"y_m{i}"], rows[f"s_m{i}"]
    ripe = rows.exposing & (rows.start_ns <= slot(f"mature_{i}", "int64"))
    told: dict[str, ir.Value] = {
        f"y_{i}": ibis.coalesce(y.sum(where=ripe), 0.0),
        f"s_{i}": ibis.coalesce(s.sum(where=ripe), 0.0),
        f"mature_{i}": ripe.cast("int64").sum(),
    }
    if shape.past:
        before = (rows.start_ns < rows.first_ns) & (rows.start_ns >= rows.first_ns - slot("past_ns", "int64"))
        before = (before & rows.state.isnull()).fill_null(False)
        told |= {f"z_{i}": ibis.coalesce(y.sum(where=before), 0.0), f"w_{i}": ibis.coalesce(s.sum(where=before), 0.0)}
    return told


@lru_cache(maxsize=64)
def _cells(shape: UnitsShape) -> ir.Table:
    units = _units(shape)
    counts = {name: units[name].sum() for name in COUNTED if name != "n_units"}
    sums: dict[str, ir.Value] = {}
    for i in range(len(shape.measures)):
        sums |= _sums_of(units, i)
    rows = units.group_by(*KEYS, *_levels(shape)).agg(
        tenant=units.tenant.max(), n_units=units.count(), **counts, **sums
    )
    return rows.select("tenant", *KEYS, *_levels(shape), *COUNTED, *sums)


def _sums_of(units: ir.Table, i: int) -> dict[str, ir.Value]:
    """The sums of experiments/sums.py over units that have an observation."""
    y, s, ripe = units[f"y_{i}"], units[f"s_{i}"], units[f"mature_{i}"] > 0
    seen, missing = s > 0, ripe & (s == 0)
    w = ibis.ifelse(units[f"x_{i}"].notnull(), 1.0, 0.0)
    x = ibis.coalesce(units[f"x_{i}"], 0.0)
    products = {"y": y, "s": s, "x": x, "yy": y * y, "ss": s * s, "xx": x * x, "sy": s * y, "xy": x * y, "xs": x * s}
    products |= {"w": w, "wy": w * y, "ws": w * s}
    told: dict[str, ir.Value] = {
        f"n_{i}": seen.cast("int64").sum(), f"n_missing_{i}": missing.cast("int64").sum()
    }  # fmt: skip
    return told | {f"{name}_{i}": ibis.coalesce(one.sum(where=seen), 0.0) for name, one in products.items()}


@lru_cache(maxsize=32)
def _rows(shape: UnitsShape) -> ir.Table:
    units = _units(shape)
    kept = units.filter(units.state == State.EXPOSED.value)
    figures = [f"{name}_{i}" for i in range(len(shape.measures)) for name in ("y", "s", "mature", "x")]
    return kept.select("tenant", "unit", "arm", "day", "said", "start_ns", *_levels(shape), *figures)


def _exposed(shape: UnitsShape) -> ir.Table:
    """Sessions of the units that count, each with its unit's first moment."""
    rows = _measured(shape, _with_arm(shape))
    rows = rows.filter(rows.state == State.EXPOSED.value)
    first = rows.start_ns.min().over(group_by=rows.unit)
    least, most = (one.over(group_by=rows.unit) for one in (rows.met.min(), rows.met.max()))
    rows = rows.mutate(first_ns=first, several=(most > least).fill_null(False))
    return rows.filter(~rows.several)


@lru_cache(maxsize=32)
def _ages(shape: UnitsShape) -> ir.Table:
    rows = _exposed(shape)
    rows = rows.filter(rows.start_ns <= slot("mature_0", "int64"))
    rows = rows.mutate(since_ns=rows.start_ns - rows.first_ns)
    rows = rows.mutate(age=hour_ns(rows.since_ns, 24))
    units = rows.group_by("unit", "arm", "age").agg(
        tenant=rows.tenant.max(),
        y_0=rows.y_m0.sum(),
        s_0=rows.s_m0.sum(),
        mature_0=rows.count(),
        x_0=ibis.null("float64"),
    )
    return units.group_by("arm", "age").agg(tenant=units.tenant.max(), **_sums_of(units, 0))


@lru_cache(maxsize=32)
def _sessions(shape: UnitsShape) -> ir.Table:
    rows = _exposed(shape)
    figures = {f"{each}_{i}": rows[f"{each}_m{i}"] for i in range(len(shape.measures)) for each in "ys"}
    told = ("tenant", "unit", "arm", "session_id", "start_ns", "latencies_ms")
    return rows.select(*told, **figures)
