"""What model calls cost, by whom and for what: sums over the spans of calls, each call once, and what resolved sessions
cost.

A call is a model span whose usage counts. The collector leaves wrappers out that arrive with or after the call inside
them; here the whole window is seen, so those that came before it are left out as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import LAST_NS, Window
from store.engine import slot, table_of
from store.gateway_calls import HITS, plausible
from store.tenant import TenantStore, around

KEYS: Final = ("team", "app", "release", "variant", "model", "user", "key", "upstream", "day")
PRICED_BY: Final = ("provider", "model", "virtual_model")  # what the price of a call depends on, with its hour
TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
SUMS: Final = ("n_calls", "n_unpriced", "n_cache_hits", *TOKENS)
COUNTS: Final = ("n_sessions", "n_resolved", "n_unresolved", "n_unscored")
DEFAULT_OUTCOME: Final = "task_success"
_HOUR_NS: Final = 3600 * NS_PER_S
_MARGIN_S: Final = 3600  # how far after its wrapper's start a call can begin


@dataclass(frozen=True, kw_only=True)
class SpendAsked:
    """Calls that start in `window`, summed by the columns of `by`: of `app`, or of all but `without`. `outcome` is the
    evaluator whose scores of sessions say what was resolved. Raises InvalidInput for an unknown column."""

    window: Window
    by: tuple[str, ...] = ()
    app: str | None = None
    without: str | None = None
    outcome: str = DEFAULT_OUTCOME
    as_of_ns: int | None = None

    @property
    def which(self) -> str:
        """How apps are chosen."""
        return "app" if self.app is not None else "without" if self.without is not None else "all"

    def __post_init__(self) -> None:
        for name in self.by:
            if name not in KEYS:
                raise InvalidInput(f"by={name[:20]!r} is not one of {', '.join(KEYS)}", field="by")


def spend(store: TenantStore, asked: SpendAsked) -> pl.DataFrame:
    """One row per combination of `asked.by`, dearest first: the keys, SUMS, cost_usd (decimal, 0 where nothing is
    known), `saved_usd` (see gateway_calls.saved_usd), n_sessions, n_resolved, n_unresolved, n_unscored,
    scored_cost_usd and cost_per_resolved_usd. `day` is a text such as 2026-11-21.

    A session is resolved when its latest score of the outcome is above 0. `cost_per_resolved_usd` is what the scored
    sessions cost, resolved or not, for each resolved one; null when none is.
    """
    keys = tuple(name for name in KEYS if name in asked.by)
    sums = summed(calls(store, asked, (*keys, *PRICED_BY)), keys)
    told = sums.join(sessions(store, asked, keys), on=["tenant", *keys], how="left", nulls_equal=True)
    return told.drop("tenant").with_columns(pl.col(name).fill_null(0) for name in COUNTS)


def calls(store: TenantStore, asked: SpendAsked, keys: tuple[str, ...]) -> pl.DataFrame:
    """Sums of the calls by `keys` (of KEYS, PRICED_BY and "hour"), and by whether they were answered from the cache
    (`cached`) and had tokens (`used`): SUMS, n_priced and cost_usd, with the tenant."""
    names = tuple(sorted(set(keys)))
    return _shown(_frame(store, _calls(names, asked.which), asked))


def summed(fine: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Rows of `calls` added up by fewer keys, dearest first."""
    by = ["tenant", *keys]
    told = fine.group_by(by).agg(
        *(pl.col(name).sum() for name in SUMS), pl.col("cost_usd").fill_null(0).sum(), pl.col("cached").any()
    )
    if not told["cached"].any():
        told = told.with_columns(saved_usd=pl.lit(None, pl.Float64))
    else:
        told = told.join(_saved(fine, by), on=by, how="left", nulls_equal=True)
    return told.drop("cached").sort("cost_usd", "n_calls", *keys, descending=[True, True, *[False] * len(keys)])


def sessions(store: TenantStore, asked: SpendAsked, keys: tuple[str, ...]) -> pl.DataFrame:
    """By the same keys: sessions, how many were resolved, were not, are unscored, and what the scored ones cost."""
    window = asked.window
    windows = {
        "spans": around(window, _MARGIN_S),
        "scores": Window(start_ns=max(window.start_ns - _HOUR_NS, -(2**63)), end_ns=LAST_NS),
    }
    values = {"outcome": asked.outcome, **_values(asked)}
    found = store.frame(_sessions(keys, asked.which), windows, asked.as_of_ns, values=values)
    cost = pl.col("scored_cost_usd").cast(pl.Float64)
    found = found.with_columns(
        cost_per_resolved_usd=pl.when(pl.col("n_resolved") > 0).then(cost / pl.col("n_resolved"))
    )
    return _shown(found)


def _saved(fine: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """What hits saved: each as much as the calls of its model in the whole window cost on average."""
    model = ["virtual_model", "model"]
    cost = pl.col("cost_usd").cast(pl.Float64).filter(~pl.col("cached")).sum()
    mean = fine.group_by(model).agg(mean=cost / pl.col("n_priced").filter(~pl.col("cached")).sum())
    hits = fine.filter("cached").join(mean, on=model, how="left", nulls_equal=True).filter(pl.col("mean").is_finite())
    return hits.group_by(by).agg(saved_usd=(pl.col("n_calls") * pl.col("mean")).sum())


def _frame(store: TenantStore, expr: ir.Table, asked: SpendAsked) -> pl.DataFrame:
    return store.frame(expr, around(asked.window, _MARGIN_S), asked.as_of_ns, values=_values(asked))


def _values(asked: SpendAsked) -> dict[str, object]:
    times: dict[str, object] = {"from_ns": asked.window.start_ns, "until_ns": asked.window.end_ns}
    return times | ({} if asked.which == "all" else {"app": asked.app or asked.without})


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Days as texts."""
    if "day" not in frame.columns:
        return frame
    return frame.with_columns(day=pl.from_epoch("day", time_unit="d").cast(pl.Date).cast(pl.String))


def _counted(which: str) -> ir.Table:
    """The calls of the window with their keys: model spans that are no wrapper of another."""
    spans = table_of("spans")
    model = spans.filter(spans.usage_counted.fill_null(False))
    measured = model.input_tokens.notnull() | model.output_tokens.notnull()
    inside = model.filter(model.parent_span_id.notnull()).mutate(measured=measured)
    inside = inside.group_by(inner_trace=inside.trace_id, outer_span=inside.parent_span_id).agg(
        any_measured=inside.measured.max()
    )
    rows = model.filter(
        model.start_ns >= slot("from_ns", "int64"),
        model.start_ns < slot("until_ns", "int64"),
        *_chosen(model, which),
    )
    rows = rows.left_join(inside, [rows.trace_id == inside.inner_trace, rows.span_id == inside.outer_span])
    is_measured = rows.input_tokens.notnull() | rows.output_tokens.notnull()
    wraps = rows.outer_span.notnull() & (rows.any_measured.fill_null(False) | ~is_measured)
    return _keyed(rows.filter(~wraps))


def _chosen(model: ir.Table, which: str) -> list[ir.BooleanValue]:
    match which:
        case "app":
            return [model.app == slot("app", "string")]
        case "without":
            return [model.app.isnull() | (model.app != slot("app", "string"))]
        case _:
            return []


def _keyed(rows: ir.Table) -> ir.Table:
    said = {
        name: rows.attributes.get(f"assay.gateway.{attribute}").nullif("")
        for name, attribute in (
            *(("team", "team"), ("key", "key_id"), ("upstream", "upstream")),
            *(("virtual_model", "virtual_model"), ("cache", "cache")),
        )
    }
    return rows.mutate(
        **said,
        model=ibis.coalesce(rows.model_response, rows.model_request),
        user=rows.user_id,
        day=(rows.start_ns // (86_400 * NS_PER_S)).cast("int32"),
        hour=rows.start_ns // _HOUR_NS,
    )


@lru_cache(maxsize=256)
def _calls(keys: tuple[str, ...], which: str) -> ir.Table:
    rows = _counted(which)
    rows = rows.mutate(cached=rows["cache"].isin(HITS).fill_null(False))
    rows = rows.mutate(used=(rows.input_tokens.fill_null(0) > 0) | (rows.output_tokens.fill_null(0) > 0))
    return rows.group_by("tenant", *keys, "cached", "used").agg(
        n_calls=rows.count(),
        n_priced=rows.cost_usd.count(),
        n_unpriced=(rows.cost_usd.isnull() & rows.used).sum(),
        n_cache_hits=rows.cached.sum(),
        **{name: plausible(rows[name]).sum() for name in TOKENS},
        cost_usd=rows.cost_usd.sum(),
    )


@lru_cache(maxsize=256)
def _sessions(keys: tuple[str, ...], which: str) -> ir.Table:
    rows = _counted(which)
    rows = rows.filter(rows.session_id.notnull())
    by_session = rows.group_by("tenant", *keys, "session_id").agg(cost_usd=rows.cost_usd.sum())
    scores = table_of("scores")
    told = scores.filter(scores.target == "session", scores.evaluator == slot("outcome", "string"))
    latest = told.group_by(scored_session=told.session_id).agg(
        value=ibis.coalesce(told.value, float("nan")).argmax(ibis.struct({"at": told.at_ns, "seq": told.seq}))
    )
    rows = by_session.left_join(latest, by_session.session_id == latest.scored_session)
    scored = rows.value.notnull() & ~rows.value.isnan() & ~rows.value.isinf()
    rows = rows.mutate(scored=scored, resolved=scored & (rows.value > 0))
    return rows.group_by("tenant", *keys).agg(
        n_sessions=rows.count(),
        n_resolved=rows.resolved.sum(),
        n_unresolved=(rows.scored & ~rows.resolved).sum(),
        n_unscored=(~rows.scored).sum(),
        scored_cost_usd=ibis.ifelse(rows.scored, rows.cost_usd, ibis.null("decimal(38, 9)")).sum(),
    )
