"""Rollups merged into buckets of time: counts, errors, tokens, cost and quantiles from added sketches.

Buckets of whole hours are made of hours where these are packed (store/hours.py), and of minutes at the window's ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from store import sketch
from store.engine import slot, table_of
from store.hours import NS_PER_HOUR, OF_HOURS, OF_MINUTES
from store.spans import started_at
from store.tenant import TenantStore

GROUPS: Final = ("app", "release", "variant", "model")
WHOLE: Final = "all"  # one bucket, which starts where the window does; longer than any time an int64 of ns can say
BUCKETS_S: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21_600, "1d": 86_400, WHOLE: 9_000_000_000}
LATENCY_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
TTFT_QUANTILES: Final = {"p50": 0.5, "p95": 0.95}
MOST_BUCKETS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class RollupsAsked:
    """Cells of `level` ("turn" or a span kind) in `window`, by buckets of `bucket` and the columns of `group_by`.

    `equal` keeps cells whose app, release, variant or model is the value. Raises InvalidInput for an unknown bucket or
    column, or a window of more than 20,000 buckets.
    """

    window: Window
    bucket: str = "1h"
    level: str = "turn"
    group_by: tuple[str, ...] = ()
    equal: tuple[tuple[str, str], ...] = ()
    as_of_ns: int | None = None

    def __post_init__(self) -> None:
        if "/" in self.level:  # how packed rows are told apart
            raise InvalidInput(f"level={self.level[:20]!r} is not a level of rollups", field="level")
        if self.bucket not in BUCKETS_S:
            raise InvalidInput(f"bucket={self.bucket[:20]!r} is not one of {', '.join(BUCKETS_S)}", field="bucket")
        for name in self.group_by:
            if name not in GROUPS:
                raise InvalidInput(f"group_by={name[:20]!r} is not one of {', '.join(GROUPS)}", field="group_by")
        for name, _ in self.equal:
            if name not in GROUPS:
                raise InvalidInput(f"rollups cannot be filtered by {name[:20]!r}", field=name)
        if (self.window.end_ns - self.window.start_ns) / (self.bucket_s * NS_PER_S) > MOST_BUCKETS:
            raise InvalidInput(f"the window has more than {MOST_BUCKETS:,} buckets; take larger ones", field="bucket")

    @property
    def bucket_s(self) -> int:
        """The bucket's length in seconds."""
        return BUCKETS_S[self.bucket]


def rollups(store: TenantStore, asked: RollupsAsked) -> pl.DataFrame:
    """One row per bucket and group, in order of time: bucket_ns, bucket_at, the groups, n, n_errors, error_rate (null
    without requests), tokens, cost_usd, `latency_ms` and `ttft_ms` (structs of quantiles; null where nothing was
    measured).
    """
    groups = tuple(name for name in GROUPS if name in asked.group_by)
    names = tuple(name for name, _ in asked.equal)
    found = store.frame(_cells(groups, names), asked.window, asked.as_of_ns, values=_values(asked))
    cells = found.filter(pl.col("measure") == "")
    keys = ["bucket_ns", *groups]
    for measure, wanted in (("latency", LATENCY_QUANTILES), ("ttft", TTFT_QUANTILES)):
        counts = found.filter(pl.col("measure") == measure).select(*keys, "bucket", "count")
        quantiles = quantiles_by(counts, keys, wanted, f"{measure}_ms")
        cells = cells.join(quantiles, on=keys, how="left", nulls_equal=True)
    if asked.bucket == WHOLE:
        cells = cells.with_columns(bucket_ns=pl.lit(asked.window.start_ns, dtype=pl.Int64))
    cells = cells.with_columns(
        bucket_at=started_at("bucket_ns"),
        error_rate=pl.when(pl.col("n") > 0).then(pl.col("n_errors") / pl.col("n")),
        cost_usd=pl.col("cost_usd").cast(pl.Float64),
    ).sort(*keys, nulls_last=True)
    sums = ("n", "n_errors", "error_rate", "input_tokens", "output_tokens", "cost_usd")
    return cells.select("bucket_ns", "bucket_at", *groups, *sums, "latency_ms", "ttft_ms")


def quantiles_by(counts: pl.DataFrame, keys: Sequence[str], wanted: dict[str, float], name: str) -> pl.DataFrame:
    """The quantiles of many sketches at once, as a struct column `name` per combination of `keys`.

    `counts` holds keys, `bucket` and `count`. The same rank rule as store.sketch.quantile: the bucket that holds the
    value of rank floor(q (n - 1)).
    """
    ordered = counts.sort(*keys, "bucket").with_columns(
        end=pl.col("count").cum_sum().over(keys), total=pl.col("count").sum().over(keys)
    )
    at = [
        pl.col("bucket")
        .filter(pl.col("end") > (pl.col("total") - 1).cast(pl.Float64).mul(q).floor())
        .first()
        .alias(label)
        for label, q in wanted.items()
    ]
    found = ordered.group_by(keys).agg(*at)
    to_ms = [
        pl.col(label).map_elements(sketch.bucket_value, return_dtype=pl.Float64, skip_nulls=True) for label in wanted
    ]
    return found.select(*keys, pl.struct(to_ms).alias(name))


def _values(asked: RollupsAsked) -> dict[str, object]:
    start = end = asked.window.start_ns
    if asked.bucket_s * NS_PER_S % NS_PER_HOUR == 0:
        start = min(-(-start // NS_PER_HOUR) * NS_PER_HOUR, 2**63 - 1)
        end = asked.window.end_ns // NS_PER_HOUR * NS_PER_HOUR
    levels = {"level": asked.level, "hours": asked.level + OF_HOURS, "minutes": asked.level + OF_MINUTES}
    spans = {"first_hour": start, "after_hours": max(start, end), "bucket_ns": asked.bucket_s * NS_PER_S}
    return {**levels, **spans, **dict(asked.equal)}


def _chosen(names: tuple[str, ...]) -> ir.Table:
    """The plain rows, the hours that lie in the window, and the minutes of what is left of it."""
    rollups = table_of("rollups")
    first, after = slot("first_hour", "int64"), slot("after_hours", "int64")
    equal = [rollups[name] == slot(name, "string") for name in names]
    parts = (
        [rollups.level == slot("level", "string")],
        [rollups.level == slot("hours", "string"), rollups.minute_ns >= first, rollups.minute_ns < after],
        [rollups.level == slot("minutes", "string"), (rollups.minute_ns < first) | (rollups.minute_ns >= after)],
    )
    rows = ibis.union(*[rollups.filter(*part, *equal) for part in parts])
    length = slot("bucket_ns", "int64")
    return rows.mutate(bucket_ns=(rows.minute_ns // length) * length)


@lru_cache(maxsize=128)
def _cells(groups: tuple[str, ...], names: tuple[str, ...]) -> ir.Table:
    """A row of sums per cell (`measure` is empty), and the sketches of the cells as rows of bucket and count."""
    rows = _chosen(names)
    sums = ("n", "n_errors", "input_tokens", "output_tokens", "cost_usd")
    cells = rows.group_by("bucket_ns", *groups).agg(tenant=rows.tenant.max(), **{n: rows[n].sum() for n in sums})
    cells = cells.mutate(measure=ibis.literal(""), bucket=ibis.null("int32"), count=ibis.null("int64"))
    nulls = {name: ibis.null(cells[name].type()) for name in sums}
    parts = [_counts(rows, groups, measure).mutate(**nulls).select(cells.columns) for measure in ("latency", "ttft")]
    return ibis.union(cells, *parts)


def _counts(rows: ir.Table, groups: tuple[str, ...], measure: str) -> ir.Table:
    pairs = rows[f"{measure}_sketch"]
    told = rows.select(
        "tenant", "bucket_ns", *groups, bucket=pairs.keys().unnest().cast("int32"), count=pairs.values().unnest()
    )
    counted = told.group_by("bucket_ns", *groups, "bucket").agg(tenant=told.tenant.max(), count=told["count"].sum())
    return counted.mutate(measure=ibis.literal(measure))
