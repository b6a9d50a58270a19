"""What the calls through the gateway say of it: outcomes over time, latency and overhead, cache, upstreams, masked
values, refusals. One span is one call; how it is written is in docs/gateway-spans.md.
"""

from __future__ import annotations

import math
import re
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
_ATTEMPT: Final = "attempt"  # one request of a call with several
_UNASKED: Final = ("breaker_open", "busy", "gone", "unsupported")  # why an upstream was passed over without a request
_MOST_MS: Final = 1e9  # eleven days: no call's time
_MOST_TOKENS: Final = 10**12
_LN_GAMMA: Final = math.log(sketch.GAMMA)
_SAID: Final = ("call_id", "upstream", "virtual_model", "cache", "fallback_reason", "refused", "aborted", "n_attempts")
_CONTENT_FLAG: Final = re.compile(r'"content:([\w.:@-]{1,100})"')  # in a JSON list of texts
_BUDGET: Final = re.compile(r"the budget ([\w.:@-]{1,100}) ")


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
    by_app = asked.app is not None
    spans = _frame(store, _kinds(by_app), asked)
    kinds = spans.filter(pl.col("outcome") != _ATTEMPT)
    measured = _frame(store, _measured(by_app), asked)
    durations = _durations(measured.filter(~pl.col("measure").str.starts_with(_MASKED)))
    outcomes = _by_outcome(kinds)
    return {
        "n_calls": int(kinds["n"].sum()),
        "outcomes": outcomes,
        "cost_usd": _money(kinds),
        "input_tokens": int(kinds["input_tokens"].sum()),
        "output_tokens": int(kinds["output_tokens"].sum()),
        "bucket_s": asked.bucket_s,
        "series": _series(kinds),
        "latency_ms": durations.get(_LATENCY),
        "overhead_ms": durations.get(_OVERHEAD),
        "policies": [
            {"policy": name.removeprefix(_POLICY), **told}
            for name, told in sorted(durations.items(), key=lambda one: (-one[1]["mean_ms"], one[0]))
            if name.startswith(_POLICY)
        ],
        "cache": _cache(kinds),
        "upstreams": _upstreams(spans),
        "masked": _masked(measured),
        "refused": _refused(kinds, _frame(store, _examples(by_app), asked)) if outcomes["refused"] else [],
    }


def bucket_for(window: Window) -> int:
    """Seconds of the smallest bucket that cuts a window into few enough cells; a day for the longest."""
    length_s = (window.end_ns - window.start_ns) / NS_PER_S
    lengths = sorted(length for name, length in BUCKETS_S.items() if name != WHOLE)
    return next((length for length in lengths if length_s / length <= _MOST_CELLS), lengths[-1])


def _frame(store: TenantStore, expr: ir.Table, asked: CallsAsked) -> pl.DataFrame:
    values: dict[str, object] = {"app": asked.app, "bucket_ns": asked.bucket_s * NS_PER_S}
    return store.frame(expr, asked.window, asked.as_of_ns, values=values)


def plausible(count: ir.Value) -> ir.Value:
    """A count as somebody claimed it, between 0 and what can be true, so that sums stay within int64; null is 0."""
    return count.fill_null(0).clip(0, _MOST_TOKENS)


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
    sums = counts.group_by("measure").agg(pl.col("n").sum(), pl.col("total").sum())
    rows = sums.join(found, on="measure").iter_rows(named=True)
    return {
        row["measure"]: {"n": row["n"], "mean_ms": float(row["total"]) / row["n"] / 1e6}
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


def _upstreams(spans: pl.DataFrame) -> list[dict[str, Any]]:
    """Requests and errors count each attempt: those of a call with several have spans of their own. `fallbacks` are
    calls that went on to this upstream, with why."""
    known = spans.filter(pl.col("upstream").is_not_null())
    reasons = known.drop_nulls("fallback_reason").group_by("upstream", "fallback_reason").agg(pl.col("n").sum())
    reasons = reasons.sort("n", "fallback_reason", descending=[True, False])
    is_request = (pl.col("outcome") == _ATTEMPT) | pl.col("single")
    found = known.group_by("upstream").agg(
        n_requests=pl.col("n").filter(is_request).sum(),
        n_errors=pl.col("n").filter(is_request & pl.col("failed")).sum(),
        cost_usd=pl.col("cost_usd").cast(pl.Float64).sum(),
    )
    found = found.filter(pl.col("n_requests") > 0).sort("n_requests", "upstream", descending=[True, False])
    return [
        {
            **row,
            "error_rate": row["n_errors"] / row["n_requests"],
            "fallbacks": [
                {"reason": reason, "n": n} for name, reason, n in reasons.iter_rows() if name == row["upstream"]
            ],
        }
        for row in found.iter_rows(named=True)
    ]


def _masked(measured: pl.DataFrame) -> list[dict[str, Any]]:
    """How many values of each kind, most first."""
    named = measured.filter(pl.col("measure").str.starts_with(_MASKED))
    told = named.select(entity=pl.col("measure").str.strip_prefix(_MASKED), n=pl.col("total").cast(pl.Int64))
    return told.sort("n", "entity", descending=[True, False]).to_dicts()


def _refused(kinds: pl.DataFrame, examples: pl.DataFrame) -> list[dict[str, Any]]:
    """By reason, most frequent first, with the latest of each."""
    counts = kinds.filter(pl.col("outcome") == "refused").group_by("refused").agg(pl.col("n").sum())
    shown = examples.with_columns(started_at=started_at("start_ns")).drop("start_ns").to_dicts()
    shown = [{**one, "rule": _rule(one["code"], one.pop("flags"), one["why"])} for one in shown]
    return [
        {"code": code, "n": n, "examples": [one for one in shown if one["code"] == code]}
        for code, n in counts.sort("n", "refused", descending=[True, False]).iter_rows()
    ]


def _rule(code: str, flags: str | None, why: str | None) -> str | None:
    """The content rule or the budget that refused a call, by its name; None of anything else."""
    if code == "content":
        found = _CONTENT_FLAG.findall(flags or "")
        return str(found[-1]) if found else None
    named = _BUDGET.match(why or "") if code == "budget" else None
    return named[1] if named else None


def _spans(by_app: bool) -> ir.Table:
    """Calls and attempts, with what the gateway said of them."""
    spans = table_of("spans")
    wanted = [spans.scope_name == SCOPE, *([spans.app == slot("app", "string")] if by_app else [])]
    rows = spans.filter(*wanted)
    said = {name: rows.attributes.get(f"assay.gateway.{name}").nullif("") for name in _SAID}
    return rows.mutate(**said)


def _calls(by_app: bool) -> ir.Table:
    spans = _spans(by_app)
    return spans.filter(spans.call_id.notnull())


@lru_cache(maxsize=2)
def _kinds(by_app: bool) -> ir.Table:
    """Calls over time by everything that is said of them in a word; attempts likewise, with an outcome of their own."""
    rows = _with_fallbacks(_spans(by_app))
    length = slot("bucket_ns", "int64")
    outcome = ibis.cases(
        (rows.call_id.isnull(), _ATTEMPT),
        (rows.refused.notnull(), "refused"),
        (rows.aborted == "true", "aborted"),
        (rows.status_code == 2, "error"),
        else_="ok",
    )
    single = (rows.call_id.notnull() & (rows.n_attempts == "1")).fill_null(False)
    rows = rows.mutate(
        outcome=outcome,
        failed=(rows.status_code == 2).fill_null(False),
        single=single,
        bucket_ns=(rows.start_ns // length) * length,
    )
    said = ("cache", "upstream", "virtual_model", "fallback_reason", "refused")
    return rows.group_by("bucket_ns", "outcome", "failed", "single", *said).agg(
        tenant=rows.tenant.max(),
        n=rows.count(),
        n_priced=rows.cost_usd.count(),
        cost_usd=rows.cost_usd.sum(),
        **{name: plausible(rows[name]).sum() for name in ("input_tokens", "output_tokens")},
    )


def _with_fallbacks(rows: ir.Table) -> ir.Table:
    """Spans whose `fallback_reason` is null where the call stayed at its upstream: the gateway writes the first thing
    that went wrong, also when no other upstream was there to go to.

    A call moved when one of its attempts was at another upstream than the last; with a single request, when that one
    succeeded, or what went wrong before it is nothing that comes of a request.
    """
    tried = rows.filter(rows.call_id.isnull(), rows.parent_span_id.notnull())
    tried = tried.group_by(tried_trace=tried.trace_id, tried_span=tried.parent_span_id).agg(
        first_name=tried.upstream.min(), last_name=tried.upstream.max()
    )
    rows = rows.left_join(tried, [rows.trace_id == tried.tried_trace, rows.span_id == tried.tried_span])
    elsewhere = (rows.first_name != rows.upstream) | (rows.last_name != rows.upstream)
    passed_over = (rows.n_attempts == "1") & (
        (rows.status_code != 2).fill_null(True) | rows.fallback_reason.isin(_UNASKED)
    )
    moved = elsewhere.fill_null(False) | passed_over.fill_null(False)
    return rows.mutate(fallback_reason=ibis.ifelse(moved, rows.fallback_reason, ibis.null("string")))


@lru_cache(maxsize=2)
def _measured(by_app: bool) -> ir.Table:
    """Counts by bucket of a sketch of every measure (latency, overhead, each policy's time), with their nanoseconds in
    all; and of masked values, with their number."""
    calls = _calls(by_app)
    said = _attributes(calls)
    masked = said.filter(said.name.startswith(_MASKED))
    masked = masked.select(
        "tenant",
        measure=masked.name,
        bucket=ibis.literal(0, "int32"),
        amount=plausible(masked.value.try_cast("int64")),
    )
    said = said.filter(said.name.startswith(_POLICY) | (said.name == _OVERHEAD))
    whole = calls.select("tenant", measure=ibis.literal(_LATENCY), ms=calls.duration_ms)
    rows = ibis.union(said.select("tenant", measure=said.name, ms=said.value.try_cast("float64")), whole)
    rows = rows.filter(rows.ms.notnull(), rows.ms >= 0, rows.ms < _MOST_MS)  # NaN neither
    safe = ibis.greatest(rows.ms, sketch.SMALLEST)
    index = ibis.ifelse(rows.ms >= sketch.SMALLEST, (safe.ln() / _LN_GAMMA).ceil().cast("int64"), sketch.ZERO_BUCKET)
    rows = rows.select("tenant", "measure", bucket=index.cast("int32"), amount=(rows.ms * 1e6).round().cast("int64"))
    both = ibis.union(rows, masked.filter(masked.amount.notnull()).select(rows.columns))
    total = both.amount.cast("decimal(38, 0)").sum()  # of many absurd ones no int64 holds the sum
    return both.group_by("measure", "bucket").agg(tenant=both.tenant.max(), n=both.count(), total=total)


@lru_cache(maxsize=2)
def _examples(by_app: bool) -> ir.Table:
    rows = _calls(by_app)
    rows = rows.filter(rows.refused.notnull())
    shown = rows.select(
        *("trace_id", "span_id", "start_ns", "app"),
        code=rows.refused, model=ibis.coalesce(rows.virtual_model, rows.model_request), why=rows.status_message,
        flags=rows.attributes.get("assay.gateway.flags"),
    )  # fmt: skip
    rank = ibis.row_number().over(group_by="code", order_by=[ibis.desc("start_ns"), "span_id"])
    shown = shown.mutate(rank=rank)
    return shown.filter(shown["rank"] < MOST_EXAMPLES).order_by(ibis.desc("start_ns"), "span_id").drop("rank")


def _attributes(calls: ir.Table) -> ir.Table:
    """A row per attribute of each call."""
    names = calls.attributes.keys().unnest().cast("string")
    return calls.select("tenant", name=names, value=calls.attributes.values().unnest())
