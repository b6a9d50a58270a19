"""Sessions of an app as experiments and rollouts see them: which release and variant they met, what came of them, and
by which strata they are told apart. One row per session, made in the engine by one query.

What is no traffic is left out: the trials of evaluation runs, and sessions in which the caller chose the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.clock import NS_PER_S
from core.windows import LAST_NS, Window
from store import traces
from store.engine import slot, table_of
from store.experiment_levels import CALENDAR, OF_SCORES, levels_of, moved_by_key, wanted_keys
from store.experiment_scores import Scored, ScoreShape, by_session, given_of, shape_of
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around

GATEWAY_SCOPE: Final = "assay.gateway"
CHOSEN: Final = "assay.gateway.chosen"  # on the gateway's span of a session whose release the caller chose
OF_TURNS: Final = ("n_turns", "n_errors", "n_timed", "latency_ms", "tokens", "cost_usd")
ABOUT: Final = ("session_id", "user_id", "release", "variant", "environment", "start_ns", "end_ns", "first_trace")
_WANTED: Final = frozenset(
    {"app", "release", "variant", "environment", "session_id", "user_id", "status_code", "duration_ms"}
    | {"input_tokens", "output_tokens", "cost_usd"}
)


@dataclass(frozen=True, kw_only=True)
class FactsAsked:
    """Sessions of `app` that begin in `window`, up to now as long as they last.

    `figures` are told by scores. `attributes` are strata: `hour` and `weekday` (UTC), `environment`, `score:NAME` (the
    label of the session's newest score by whom `labels` has under that name), else an attribute of the spans of the
    session's first turn by that name, or `assay.` and that name. `runs` are the ids of evaluation
    runs, whose trials are no traffic. `latencies` adds the durations of all turns. Turns are read from `margin_s`
    before the window, so that a session that began earlier is not taken for one of the window's. `chosen` are the
    sessions of `chosen_sessions`, where they are known; None: they are looked for.
    """

    app: str
    window: Window
    figures: tuple[Scored, ...] = ()
    attributes: tuple[str, ...] = ()
    labels: tuple[Scored, ...] = ()
    runs: tuple[str, ...] = ()
    latencies: bool = False
    margin_s: int = MARGIN_S
    chosen: tuple[str, ...] | None = None
    as_of_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class FactsShape:
    """What the expression depends on beside values: figures, strata (with the columns into which each of their keys
    may have been moved), and what is left out."""

    scores: ScoreShape
    attributes: tuple[str, ...] = ()
    moved: tuple[tuple[tuple[str, ...], ...], ...] = ()
    runs: bool = False
    chosen: bool = False
    latencies: bool = False


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A query's shape with its values, tables and windows."""

    shape: FactsShape
    values: dict[str, object]
    given: dict[str, pa.Table]
    windows: dict[str, Window]


def session_facts(store: TenantStore, asked: FactsAsked) -> pl.DataFrame:
    """One row per session, in order of start: ABOUT (release and variant are the first that a turn of it names, user
    and environment those of its first turn), OF_TURNS (n_errors: turns that failed, but not those for which the
    gateway found no release; latency_ms: the sum over the n_timed turns whose duration is known; cost_usd, tokens:
    null where no call says), `told_ns` (when the first outcome was told); of every figure `value:NAME` (the mean
    of its observations; null: none) and `n:NAME` (their number); of every attribute `level:NAME` (null: unknown); with
    `latencies` the list `latencies_ms`, sorted. Two queries, three with attributes of spans that were not read yet."""
    bound = bind(store, asked)
    found = store.frame(_facts(bound.shape), bound.windows, asked.as_of_ns, values=bound.values, given=bound.given)
    figures = {
        f"value:{one.name}": pl.when(pl.col(f"s_{index}") > 0).then(pl.col(f"y_{index}") / pl.col(f"s_{index}"))
        for index, one in enumerate(asked.figures)
    }
    numbers = {f"n:{one.name}": pl.col(f"s_{index}") for index, one in enumerate(asked.figures)}
    levels = {f"level:{name}": pl.col(f"level_{index}") for index, name in enumerate(asked.attributes)}
    lists = ["latencies_ms"] if asked.latencies else []
    shown = [*ABOUT, *OF_TURNS, "told_ns", *lists]
    return found.sort("start_ns", "session_id").select(*shown, **figures, **numbers, **levels)


def bind(store: TenantStore, asked: FactsAsked) -> Bound:
    """What the queries over these facts are run with. One query, where it is not known which sessions chose their
    release."""
    window = asked.window
    keys = [wanted_keys(name) for name in asked.attributes]
    near = around(window, asked.margin_s)
    until_now = Window(start_ns=near.start_ns, end_ns=LAST_NS)
    moved = store.moved_columns([key for each in keys for key in each], near)
    chosen = asked.chosen
    if chosen is None:
        chosen = tuple(chosen_sessions(store, asked.app, until_now, asked.as_of_ns))
    known = {one.name: one for one in asked.labels}
    labels = [known.get(name, Scored(name=name, told=())) for name in asked.attributes if name.startswith(OF_SCORES)]
    shape = FactsShape(
        scores=shape_of(asked.figures, labels),
        attributes=asked.attributes,
        moved=moved_by_key(keys, moved),
        runs=bool(asked.runs),
        chosen=bool(chosen),
        latencies=asked.latencies,
    )
    values: dict[str, object] = {"app": asked.app, "from_ns": window.start_ns, "until_ns": window.end_ns}
    for i, each in enumerate(keys):
        for j, key in enumerate(each):
            values |= {f"key_{i}_{j}": key, f"moved_{i}_{j}": f"\n{key}="}
    given = {
        **given_of(asked.figures, labels),
        "runs": pa.table({"run_id": pa.array(asked.runs, pa.string())}),
        "chosen": pa.table({"session_id": pa.array(chosen, pa.string())}),
    }
    windows = dict.fromkeys(("turns", "scores", "spans"), until_now)  # a score that is older than its session is told
    return Bound(shape=shape, values=values, given=given, windows=windows)


def chosen_sessions(store: TenantStore, app: str, window: Window, as_of_ns: int | None = None) -> list[str]:
    """The sessions of the app in which a caller chose the release at the gateway's door, which are no traffic."""
    values = {"door": f"session {app}", "chosen_key": CHOSEN}
    found: Sequence[str] = store.frame(_chosen(), window, as_of_ns, values=values)["session_id"].to_list()
    return sorted(found)


def facts(shape: FactsShape) -> ir.Table:
    """The expression: one row per session with ABOUT, OF_TURNS, told_ns, y_0, s_0, ... of the figures and level_0, ...
    of the attributes. Slots and tables are those of `bind`."""
    turns = traces.merged(table_of("turns"), _WANTED)
    turns = turns.filter(turns.session_id.notnull())
    rows = traffic(shape, _sessions(turns, shape.latencies))
    rows = rows.filter(
        rows.app == slot("app", "string"),
        rows.start_ns >= slot("from_ns", "int64"),
        rows.start_ns < slot("until_ns", "int64"),
    ).drop("app")
    rows = _scored(shape.scores, rows, turns)
    return _levelled(shape, rows)


def hour_ns(of: ir.IntegerColumn, hours: int = 1) -> ir.IntegerColumn:
    """How many times so many hours lie between 1970 and a time in ns. Exact: no division of floats."""
    length = hours * 3600 * NS_PER_S
    return (of - of % length) // length


def _sessions(turns: ir.Table, latencies: bool) -> ir.Table:
    key = ibis.struct({"at": turns.start_ns, "id": turns.trace_id})
    named = turns.release.notnull() | turns.variant.notnull()
    first = {name: turns[name] for name in ("app", "user_id", "environment", "trace_id")}
    arm = {name: turns[name] for name in ("release", "variant")}
    rows = turns.group_by("session_id").agg(
        tenant=turns.tenant.max(),
        first=ibis.struct(first).argmin(key),
        arm=ibis.struct(arm).argmin(key, where=named),
        any_user=turns.user_id.min(),
        start_ns=turns.start_ns.min(),
        end_ns=turns.end_ns.max(),
        n_turns=turns.count(),
        n_errors=((turns.status_code == 2) & named).cast("int64").sum(),
        n_timed=turns.duration_ms.count(),
        latency_ms=turns.duration_ms.sum(),
        tokens=(turns.input_tokens.fill_null(0) + turns.output_tokens.fill_null(0)).sum(
            where=turns.input_tokens.notnull() | turns.output_tokens.notnull()
        ),
        cost_usd=turns.cost_usd.sum(),
        **({"latencies_ms": turns.duration_ms.collect(where=turns.duration_ms.notnull())} if latencies else {}),
    )
    told = {name: rows.arm[name] for name in arm}
    told |= {"app": rows.first["app"], "environment": rows.first["environment"], "first_trace": rows.first["trace_id"]}
    told["user_id"] = ibis.coalesce(rows.first["user_id"], rows.any_user)
    told |= {"cost_usd": rows.cost_usd.cast("float64")}
    told |= {"latencies_ms": rows.latencies_ms.sort()} if latencies else {}
    return rows.mutate(**told).drop("first", "arm", "any_user")


def traffic(shape: FactsShape, rows: ir.Table) -> ir.Table:
    """Rows with a session_id without the trials of runs, whose sessions are named RUN.EXAMPLE.TRIAL, and without chosen
    releases."""
    if shape.chosen:
        rows = rows.anti_join(ibis.table({"session_id": "string"}, name="chosen"), "session_id")
    return without_trials(rows) if shape.runs else rows


def without_trials(rows: ir.Table) -> ir.Table:
    """Rows with a session_id without the trials of the evaluation runs in the given table `runs` (run_id)."""
    dot = rows.session_id.find(".")
    rows = rows.mutate(run_id=ibis.ifelse(dot > 0, rows.session_id.substr(0, dot), rows.session_id))
    return rows.anti_join(ibis.table({"run_id": "string"}, name="runs"), "run_id").drop("run_id")


def _scored(shape: ScoreShape, rows: ir.Table, turns: ir.Table) -> ir.Table:
    """With the figures that scores tell; 0 of 0 observations where nobody said anything."""
    told_ns, nothing = ibis.null("int64"), ibis.literal(0.0)
    names = [f"{each}_{index}" for index in range(len(shape.folds)) for each in "ys"]
    labels = [f"label_{index}" for index in range(shape.n_labels)]
    if shape.empty:
        return rows.mutate(
            told_ns=told_ns, **dict.fromkeys(names, nothing), **dict.fromkeys(labels, ibis.null("string"))
        )
    said = by_session(shape, turns.select("trace_id", "session_id"))
    joined = rows.left_join(said, rows.session_id == said.of_session).drop("of_session")
    return joined.mutate(**{name: ibis.coalesce(joined[name], 0.0) for name in names})


def _levelled(shape: FactsShape, rows: ir.Table) -> ir.Table:
    """With the level of each attribute, and without the labels, which are levels by then."""
    told: dict[str, ir.Value] = {}
    labels = iter(range(shape.scores.n_labels))
    spans = [index for index, keys in enumerate(shape.moved) if keys]
    if spans:
        found = levels_of(shape.moved, rows.select("first_trace"))
        rows = rows.left_join(found, rows.first_trace == found.of_trace).drop("of_trace")
    for index, name in enumerate(shape.attributes):
        if index in spans:
            continue
        if name in CALENDAR:
            length = hour_ns(rows.start_ns, CALENDAR[name].hours)
            level = (length + CALENDAR[name].ahead) % CALENDAR[name].modulo
            told[f"level_{index}"] = level.cast("string").lpad(CALENDAR[name].digits, "0")
        elif name == "environment":
            told[f"level_{index}"] = rows.environment
        else:
            told[f"level_{index}"] = rows[f"label_{next(labels)}"]
    rows = rows.mutate(**told)
    return rows.drop(*[f"label_{index}" for index in range(shape.scores.n_labels)])


@lru_cache(maxsize=64)
def _facts(shape: FactsShape) -> ir.Table:
    return facts(shape)


@lru_cache(maxsize=1)
def _chosen() -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(
        spans.scope_name == GATEWAY_SCOPE,
        spans.name == slot("door", "string"),
        spans.session_id.notnull(),
        spans.attributes.get(slot("chosen_key", "string")) == "true",
    )
    return rows.group_by("session_id").agg(tenant=rows.tenant.max())
