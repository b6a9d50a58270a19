"""What the calls through the gateway say of it: outcomes over time, latency and overhead, cache, upstreams, masked
values, refusals. One span is one call; how it is written is in docs/gateway-spans.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_S
from core.windows import Window
from store import sketch
from store.engine import slot, table_of
from store.rollups import BUCKETS_S, WHOLE, RollupsAsked, quantiles_by
from store.spans import started_at
from store.tenant import TenantStore

SCOPE: Final = "assay.gateway"
OUTCOMES: Final = ("ok", "error", "refused", "aborted")
HITS: Final = ("exact", "semantic")
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MOST_EXAMPLES: Final = 20
_MOST_CELLS: Final = 120  # of the chart over time
_LOOKED_UP: Final = ("miss", *HITS)
_POLICY: Final = "assay.gateway.policy_ms."
_OVERHEAD: Final = "assay.gateway.overhead_ms"
_MASKED: Final = "assay.gateway.masked."
_LATENCY: Final = "latency"
_LN_GAMMA: Final = math.log(sketch.GAMMA)
_SAID: Final = ("call_id", "upstream", "virtual_model", "cache", "fallback_reason", "refused", "aborted", "n_attempts")


@dataclass(frozen=True, kw_only=True)
class CallsAsked:
    """Calls that start in `window`, of one app or of all; `bucket` (of store.rollups) None: see `bucket_for`. Raises
    InvalidInput for an unknown bucket, or a window of too many."""

    window: Window
    app: str | None = None
    bucket: str | None = None
    as_of_ns: int | None = None

    def __post_init__(self) -> None:
        if self.bucket is not None:
            RollupsAsked(window=self.window, bucket=self.bucket)

    @property
    def bucket_s(self) -> int:
        """The bucket's length in seconds."""
        return bucket_for(self.window) if self.bucket is None else BUCKETS_S[self.bucket]


def gateway_summary(store: TenantStore, asked: CallsAsked) -> dict[str, Any]:
    """Everything at once, as `GET /api/v1/gateway/summary` answers it; counts are 0 and shares None without calls."""
    bucket_s = asked.bucket_s
    over_time = _frame(store, _over_time(asked.app is not None), asked, {"bucket_ns": bucket_s * NS_PER_S})
    kinds = _frame(store, _kinds(asked.app is not None), asked)
    durations = _durations(_frame(store, _measured(asked.app is not None), asked))
    return {
        "n_calls": int(kinds["n"].sum()),
        "outcomes": _by_outcome(kinds),
        "cost_usd": _money(kinds),
        "input_tokens": int(kinds["input_tokens"].sum()),
        "output_tokens": int(kinds["output_tokens"].sum()),
        "bucket_s": bucket_s,
        "series": _series(over_time),
        "latency_ms": durations.get(_LATENCY),
        "overhead_ms": durations.get(_OVERHEAD),
        "policies": [
            {"policy": name.removeprefix(_POLICY), **told}
            for name, told in sorted(durations.items())
            if name.startswith(_POLICY)
        ],
        "cache": _cache(kinds),
        "upstreams": _upstreams(_frame(store, _requests(asked.app is not None), asked), kinds),
        "masked": _frame(store, _masked(asked.app is not None), asked).select("entity", "n").to_dicts(),
        "refused": _refused(kinds, _frame(store, _examples(asked.app is not None), asked)),
    }


def bucket_for(window: Window) -> int:
    """Seconds of the smallest bucket that cuts a window into few enough cells; a day for the longest."""
    length_s = (window.end_ns - window.start_ns) / NS_PER_S
    lengths = sorted(length for name, length in BUCKETS_S.items() if name != WHOLE)
    return next((length for length in lengths if length_s / length <= _MOST_CELLS), lengths[-1])


def _frame(
    store: TenantStore, expr: ir.Table, asked: CallsAsked, values: Mapping[str, object] | None = None
) -> pl.DataFrame:
    bound = {"app": asked.app, **(values or {})}
    return store.frame(expr, asked.window, asked.as_of_ns, values=bound)


def _by_outcome(kinds: pl.DataFrame) -> dict[str, int]:
    counts = dict(kinds.group_by("outcome").agg(pl.col("n").sum()).iter_rows())
    return {name: int(counts.get(name, 0)) for name in OUTCOMES}


def _money(frame: pl.DataFrame) -> float | None:
    known = frame["cost_usd"].drop_nulls()
    return float(known.sum()) if len(known) else None


def _series(cells: pl.DataFrame) -> list[dict[str, Any]]:
    counts = [pl.col("n").filter(pl.col("outcome") == name).sum().alias(name) for name in OUTCOMES]
    hits = pl.col("n").filter(pl.col("cache").is_in(HITS)).sum().alias("n_cache_hits")
    series = cells.group_by("bucket_ns").agg(*counts, hits).sort("bucket_ns")
    return series.with_columns(bucket_at=started_at("bucket_ns")).to_dicts()


def _durations(counts: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Per measure: n, mean_ms and its quantiles in ms."""
    found = quantiles_by(counts.rename({"n": "count"}), ["measure"], QUANTILES, "quantiles")
    sums = counts.group_by("measure").agg(pl.col("n").sum(), pl.col("total_ns").sum())
    rows = sums.join(found, on="measure").iter_rows(named=True)
    return {
        row["measure"]: {"n": row["n"], "mean_ms": row["total_ns"] / row["n"] / 1e6}
        | {f"{name}_ms": value for name, value in row["quantiles"].items()}
        for row in rows
    }


def _cache(kinds: pl.DataFrame) -> dict[str, Any]:
    counts = dict(kinds.group_by("cache").agg(pl.col("n").sum()).iter_rows())
    n_looked_up = sum(int(counts.get(name) or 0) for name in _LOOKED_UP)
    n_hits = sum(int(counts.get(name) or 0) for name in HITS)
    return {
        "n_looked_up": n_looked_up,
        **{f"n_{name}": int(counts.get(name) or 0) for name in HITS},
        "hit_rate": n_hits / n_looked_up if n_looked_up else None,
        "saved_usd": saved_usd(kinds, ["virtual_model"]),
    }


def saved_usd(kinds: pl.DataFrame, keys: list[str]) -> float | None:
    """What answers from the cache saved: for each, what a call with the same `keys` that was answered by an upstream
    cost on average. None when there were none, or none that can be told. Columns n, n_priced, cost_usd, cache."""
    hit = pl.col("cache").is_in(HITS).fill_null(False)
    cost = pl.col("cost_usd").cast(pl.Float64)
    by_key = kinds.group_by(keys).agg(
        hits=pl.col("n").filter(hit).sum(),
        n=pl.col("n_priced").filter(~hit).sum(),
        cost=cost.filter(~hit).sum(),
    )
    told = by_key.filter((pl.col("hits") > 0) & (pl.col("n") > 0))
    return float((told["hits"] * told["cost"] / told["n"]).sum()) if told.height else None


def _upstreams(requests: pl.DataFrame, kinds: pl.DataFrame) -> list[dict[str, Any]]:
    """Requests and errors count each attempt; `fallbacks` are calls that went on to this upstream, with why."""
    moved = kinds.filter(pl.col("fallback_reason").is_not_null() & pl.col("upstream").is_not_null())
    reasons = moved.group_by("upstream", "fallback_reason").agg(pl.col("n").sum()).sort("n", descending=True)
    costs = kinds.group_by("upstream").agg(cost_usd=pl.col("cost_usd").cast(pl.Float64).sum())
    found = requests.join(costs, on="upstream", how="left").sort("n_requests", "upstream", descending=[True, False])
    return [
        {
            **row,
            "error_rate": row["n_errors"] / row["n_requests"],
            "fallbacks": [
                {"reason": reason, "n": n} for name, reason, n in reasons.iter_rows() if name == row["upstream"]
            ],
        }
        for row in found.select("upstream", "n_requests", "n_errors", "cost_usd").iter_rows(named=True)
    ]


def _refused(kinds: pl.DataFrame, examples: pl.DataFrame) -> list[dict[str, Any]]:
    """By reason, most frequent first, with the latest of each."""
    counts = kinds.filter(pl.col("outcome") == "refused").group_by("refused").agg(pl.col("n").sum())
    shown = examples.with_columns(started_at=started_at("start_ns")).drop("start_ns").to_dicts()
    return [
        {"code": code, "n": n, "examples": [one for one in shown if one["code"] == code]}
        for code, n in counts.sort("n", "refused", descending=[True, False]).iter_rows()
    ]


def _spans(by_app: bool) -> ir.Table:
    """Calls and attempts, with what the gateway said of them."""
    spans = table_of("spans")
    wanted = [spans.scope_name == SCOPE, *([spans.app == slot("app", "string")] if by_app else [])]
    rows = spans.filter(*wanted)
    said = {name: rows.attributes.get(f"assay.gateway.{name}").nullif("") for name in _SAID}
    return rows.mutate(**said)


def _calls(by_app: bool) -> ir.Table:
    spans = _spans(by_app)
    rows = spans.filter(spans.call_id.notnull())
    outcome = ibis.cases(
        (rows.refused.notnull(), "refused"), (rows.aborted == "true", "aborted"), (rows.status_code == 2, "error"),
        else_="ok",
    )  # fmt: skip
    return rows.mutate(outcome=outcome)


@lru_cache(maxsize=2)
def _over_time(by_app: bool) -> ir.Table:
    rows = _calls(by_app)
    length = slot("bucket_ns", "int64")
    rows = rows.mutate(bucket_ns=(rows.start_ns // length) * length)
    return rows.group_by("bucket_ns", "outcome", "cache").agg(tenant=rows.tenant.max(), n=rows.count())


@lru_cache(maxsize=2)
def _kinds(by_app: bool) -> ir.Table:
    rows = _calls(by_app)
    keys = ("outcome", "cache", "upstream", "virtual_model", "fallback_reason", "refused")
    return rows.group_by(*keys).agg(
        tenant=rows.tenant.max(),
        n=rows.count(),
        n_priced=rows.cost_usd.count(),
        **{name: rows[name].sum() for name in ("cost_usd", "input_tokens", "output_tokens")},
    )


@lru_cache(maxsize=2)
def _requests(by_app: bool) -> ir.Table:
    """Each attempt once: those of a call with several have spans of their own."""
    rows = _spans(by_app)
    own = rows.filter(rows.upstream.notnull(), rows.call_id.isnull() | (rows.n_attempts == "1"))
    return own.group_by("upstream").agg(
        tenant=own.tenant.max(), n_requests=own.count(), n_errors=(own.status_code == 2).sum()
    )


@lru_cache(maxsize=2)
def _measured(by_app: bool) -> ir.Table:
    """Counts by bucket of a sketch of every measure: latency, overhead and each policy's time."""
    calls = _calls(by_app)
    said = _attributes(calls)
    said = said.filter(said.name.startswith(_POLICY) | (said.name == _OVERHEAD))
    whole = calls.select("tenant", measure=ibis.literal(_LATENCY), ms=calls.duration_ms)
    rows = ibis.union(said.select("tenant", measure=said.name, ms=said.value.try_cast("float64")), whole)
    rows = rows.filter(rows.ms.notnull(), rows.ms >= 0, rows.ms < 1e12)  # NaN neither
    safe = ibis.greatest(rows.ms, sketch.SMALLEST)
    index = ibis.ifelse(rows.ms >= sketch.SMALLEST, (safe.ln() / _LN_GAMMA).ceil().cast("int64"), sketch.ZERO_BUCKET)
    rows = rows.mutate(bucket=index.cast("int32"), ns=(rows.ms * 1e6).round().cast("int64"))
    return rows.group_by("measure", "bucket").agg(tenant=rows.tenant.max(), n=rows.count(), total_ns=rows.ns.sum())


@lru_cache(maxsize=2)
def _masked(by_app: bool) -> ir.Table:
    said = _attributes(_calls(by_app))
    said = said.filter(said.name.startswith(_MASKED))
    told = said.select("tenant", entity=said.name.substr(len(_MASKED)), n=said.value.try_cast("int64"))
    sums = told.group_by("entity").agg(tenant=told.tenant.max(), n=told.n.sum())
    return sums.order_by(ibis.desc("n"), "entity")


@lru_cache(maxsize=2)
def _examples(by_app: bool) -> ir.Table:
    rows = _calls(by_app)
    rows = rows.filter(rows.outcome == "refused")
    shown = rows.select(
        *("trace_id", "span_id", "start_ns", "app"),
        code=rows.refused, model=ibis.coalesce(rows.virtual_model, rows.model_request), why=rows.status_message,
    )  # fmt: skip
    rank = ibis.row_number().over(group_by="code", order_by=[ibis.desc("start_ns"), "span_id"])
    shown = shown.mutate(rank=rank)
    return shown.filter(shown["rank"] < MOST_EXAMPLES).order_by(ibis.desc("start_ns"), "span_id").drop("rank")


def _attributes(calls: ir.Table) -> ir.Table:
    """A row per attribute of each call."""
    names = calls.attributes.keys().unnest().cast("string")
    return calls.select("tenant", name=names, value=calls.attributes.values().unnest())
