"""What traffic says of the releases of each app: turns, errors, latency, TTFT, tokens, cost, models, scores."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_S
from core.records import EvaluatorKind
from core.windows import LAST_NS, Window
from store import traces
from store.engine import slot, table_of
from store.rollups import WHOLE, RollupsAsked, rollups
from store.spans import started_at
from store.tenant import TenantStore

KEYS: Final = ["app", "release"]
MOST_LABELS: Final = 20
_Z: Final = 1.959964  # 95 %
_MINUTE_NS: Final = 60 * NS_PER_S  # rollups are kept by the minute
_WANTED: Final = frozenset(
    {"app", "release", "variant", "session_id", "models", "status_code", "input_tokens", "output_tokens", "cost_usd"}
)


def release_traffic(
    store: TenantStore, window: Window, *, app: str | None = None, as_of_ns: int | None = None
) -> list[dict[str, Any]]:
    """One dict per app and release that turns of `window` name, latest seen first: app, release, variants, models,
    n_turns, n_errors, error_rate, n_sessions, first_seen_at, last_seen_at, latency_ms and ttft_ms (quantiles or None),
    input_tokens, output_tokens, cost_usd, scores (see `interval`).

    Scores are those of the window's turns, their spans and their sessions, however late they were decided.
    """
    values: dict[str, object] = {"from_ns": window.start_ns, "until_ns": window.end_ns}
    seen = store.frame(_seen(), window, as_of_ns, values=values).drop_nulls(KEYS)
    for level, name in (("turn", "latency_ms"), ("LLM", "ttft_ms")):
        cells = rollups(
            store,
            RollupsAsked(
                window=Window(start_ns=window.start_ns // _MINUTE_NS * _MINUTE_NS, end_ns=window.end_ns),
                bucket=WHOLE,
                level=level,
                group_by=("app", "release"),
                equal=() if app is None else (("app", app),),
                as_of_ns=as_of_ns,
            ),
        )
        seen = seen.join(cells.select(*KEYS, name), on=KEYS, how="left")
    seen = seen if app is None else seen.filter(pl.col("app") == app)
    scores = _scores_by_release(store, window, as_of_ns)
    found = seen.sort("last_ns", descending=True).with_columns(
        error_rate=pl.col("n_errors") / pl.col("n_turns"),
        cost_usd=pl.col("cost_usd").cast(pl.Float64),
        first_seen_at=started_at("first_ns"),
        last_seen_at=started_at("last_ns"),
        models=pl.col("models").fill_null("").str.split(",").list.filter(pl.element() != "").list.unique().list.sort(),
        variants=pl.col("variants").fill_null([]).list.drop_nulls().list.sort(),
    )
    return [{**row, "scores": scores.get((row["app"], row["release"]), [])} for row in found.to_dicts()]


def interval(n: int, mean: float, sd: float, low: float, high: float) -> tuple[float, float]:
    """95 % interval of a mean of `n` values with standard deviation `sd`, all between `low` and `high`.

    Within 0 and 1 the mean is taken for a share: Wilson (1927), which holds for shares and is cautious for what lies
    between; else the normal approximation.
    """
    if low >= 0 and high <= 1:
        middle, square = mean + _Z**2 / (2 * n), _Z**2 / n
        half = _Z * math.sqrt(mean * (1 - mean) / n + square / (4 * n))
        ends = (middle - half) / (1 + square), (middle + half) / (1 + square)
        return max(0.0, min(ends[0], mean)), min(1.0, max(ends[1], mean))  # rounding stays outside of it
    half = _Z * sd / math.sqrt(n)
    return mean - half, mean + half


def _scores_by_release(
    store: TenantStore, window: Window, as_of_ns: int | None
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Per release and evaluator: n values, their mean with `low` and `high`, n_unscored, and how often each label.

    A judge's has no mean: what it is worth is told corrected for the judge's errors or not at all.
    """
    values: dict[str, object] = {"from_ns": window.start_ns, "until_ns": window.end_ns}
    # No score is older than its turn; a clock that is behind by an hour is forgiven.
    windows = {"turns": window, "scores": Window(start_ns=window.start_ns - 3600 * NS_PER_S, end_ns=LAST_NS)}
    found = store.frame(_scored(), windows, as_of_ns, values=values).drop_nulls(KEYS)
    by_release: dict[tuple[str, str], list[dict[str, Any]]] = {}
    by_evaluator = found.partition_by(*KEYS, "evaluator", "evaluator_kind", as_dict=True)
    for (app, release, evaluator, kind), rows in sorted(by_evaluator.items(), key=lambda one: tuple(map(str, one[0]))):
        told = {"evaluator": evaluator, "evaluator_kind": kind, **_summed(rows)}
        if kind == EvaluatorKind.JUDGE:
            told |= {"mean": None, "low": None, "high": None}
        by_release.setdefault((str(app), str(release)), []).append(told)
    return by_release


def _summed(rows: pl.DataFrame) -> dict[str, Any]:
    n, total = int(rows["n"].sum()), float(rows["total"].sum())
    labels = rows.drop_nulls("label").sort("n_rows", "label", descending=[True, False]).head(MOST_LABELS)
    told: dict[str, Any] = {
        "n": n,
        "mean": None,
        "low": None,
        "high": None,
        "n_unscored": int(rows["n_unscored"].sum()),
        "labels": dict(zip(labels["label"].to_list(), labels["n_rows"].to_list(), strict=True)),
    }
    if n:
        mean = total / n
        variance = max(0.0, float(rows["squares"].sum()) / n - mean**2) * n / max(1, n - 1)
        ends = interval(n, mean, math.sqrt(variance), _least(rows, "least"), -_least(rows, "most", -1))
        told |= {"mean": mean, "low": ends[0], "high": ends[1]}
    return told


def _least(rows: pl.DataFrame, name: str, sign: int = 1) -> float:
    return float(min(sign * value for value in rows[name].to_list() if value is not None))


def _turns() -> ir.Table:
    rows = traces.merged(table_of("turns"), _WANTED)
    return rows.filter(rows.start_ns >= slot("from_ns", "int64"), rows.start_ns < slot("until_ns", "int64"))


@lru_cache(maxsize=1)
def _seen() -> ir.Table:
    rows = _turns()
    return rows.group_by(*KEYS).agg(
        tenant=rows.tenant.max(),
        first_ns=rows.start_ns.min(),
        last_ns=rows.start_ns.max(),
        n_turns=rows.count(),
        n_errors=(rows.status_code == 2).sum(),
        n_sessions=rows.session_id.nunique(),
        **{name: rows[name].sum() for name in ("input_tokens", "output_tokens", "cost_usd")},
        variants=rows.variant.collect(distinct=True),
        models=rows.models.group_concat(","),
    )


@lru_cache(maxsize=1)
def _scored() -> ir.Table:
    """Sums of the scores of the window's turns and of its sessions; a session is of the release of its first turn."""
    turns, scores = _turns(), table_of("scores")
    whose = turns.select("trace_id", *KEYS)
    sessions = turns.filter(turns.session_id.notnull())
    first = ibis.struct({"at": sessions.start_ns, "id": sessions.trace_id})
    sessions = sessions.group_by("session_id").agg(
        app=sessions.app.argmin(first), release=sessions.release.argmin(first)
    )
    wanted = ("tenant", "evaluator", "evaluator_kind", "value", "label", "unscored")
    of_session = scores.target == "session"
    told = [
        part.inner_join(owners, by).select(*[part[name] for name in wanted], owners.app, owners.release)
        for part, owners, by in (
            (scores.filter(~of_session).drop("app", "session_id"), whose, "trace_id"),
            (scores.filter(of_session).drop("app", "trace_id"), sessions, "session_id"),
        )
    ]
    rows = ibis.union(*told)
    rows = rows.mutate(value=ibis.ifelse(rows.value.isinf() | rows.value.isnan(), ibis.null("float64"), rows.value))
    return rows.group_by(*KEYS, "evaluator", "evaluator_kind", "label").agg(
        tenant=rows.tenant.max(),
        n=rows.value.count(),
        n_rows=rows.count(),
        n_unscored=rows.unscored.count(),
        total=rows.value.sum().fill_null(0.0),
        squares=(rows.value * rows.value).sum().fill_null(0.0),
        least=rows.value.min(),
        most=rows.value.max(),
    )
