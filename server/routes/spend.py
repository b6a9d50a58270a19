"""Spend: what model calls cost, by whom and for what; at other prices; and as a file in FOCUS columns."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from evaluators.online.planning import OWN_APP
from gateway.config import PriceConfig
from server.focus import BY, Month, focus_csv
from server.policy import known_parameters_only, names_once
from server.repricing import AS_PRICED, recomputed
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf, Text, Times
from server.routes.scores import Name
from store.spend import COUNTS, DEFAULT_OUTCOME, KEYS, SUMS, SpendAsked, calls, spend

router = APIRouter(
    prefix="/api/v1/spend", tags=["spend"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

_MONEY = ("cost_usd", "recomputed_usd", "scored_cost_usd")
_FIGURES = (*SUMS, "cost_usd", "saved_usd", *COUNTS, "scored_cost_usd", "cost_per_resolved_usd")


class AskedSpend(Times):
    """`by` any of team, app, release, variant, model, user, key, upstream and day, separated by commas; `outcome` the
    evaluator whose scores of sessions say what was resolved."""

    by: Annotated[str, Field(max_length=100)] = ""
    app: Text = None
    outcome: Name = DEFAULT_OUTCOME
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000


class AskedAgain(AskedSpend):
    """The same at other prices: USD per million tokens by glob of a model's name. What no glob names is priced as
    genai-prices says of the call's hour, and stays as it was reported where that knows nothing."""

    model_config = ConfigDict(extra="forbid")

    prices: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=200)], PriceConfig], Field(max_length=500)
    ] = {}


class Spent(BaseModel):
    """What the calls of one combination of keys cost; a key that was not asked for is left out. `cost_usd` is 0 where
    no price is known (`n_unpriced` calls). `saved_usd`: what answers from the cache would have cost, estimated.
    `cost_per_resolved_usd`: the cost of scored sessions for each resolved one; null when none is."""

    model_config = ConfigDict(extra="allow")

    n_calls: int
    n_unpriced: int
    n_cache_hits: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float
    cost_usd_exact: str
    recomputed_usd: float | None = None
    n_as_reported: int | None = None
    saved_usd: float | None
    n_sessions: int
    n_resolved: int
    n_unresolved: int
    n_unscored: int
    scored_cost_usd: float | None
    cost_per_resolved_usd: float | None


class Spend(BaseModel):
    """The dearest `limit` of `n_groups` combinations of the keys, and all of them together. The calls of judges are in
    neither, unless their app `assay.judges` is asked for: `judges` has them apart, null where one app is."""

    by: list[str]
    outcome: str
    n_groups: int
    items: list[Spent]
    totals: Spent
    judges: Spent | None


class AskedFocus(BaseModel):
    """A calendar month in UTC, such as 2026-11."""

    model_config = ConfigDict(extra="forbid")

    month: Annotated[str, Field(max_length=20)]


@router.get("", response_model=Spend)
def read_spend(reading: ReadingOf, asked: Annotated[AskedSpend, Query()]) -> Response:
    """What the calls that start in the window cost."""
    wanted = _wanted(reading, asked)
    return _answer(reading, asked, wanted, spend(reading.store, wanted))


@router.post("/recompute", response_model=Spend)
def recompute_spend(reading: ReadingOf, asked: AskedAgain) -> Response:
    """The same with `recomputed_usd` beside what was reported; nothing that is stored changes."""
    wanted = _wanted(reading, asked)
    keys = tuple(name for name in KEYS if name in wanted.by)
    again = recomputed(calls(reading.store, wanted, (*keys, *AS_PRICED)), asked.prices, keys)
    sums = again.select(pl.col("recomputed_usd", "n_as_reported").sum())
    items = spend(reading.store, wanted)
    if not keys:
        return _answer(reading, asked, wanted, pl.concat([items, sums.head(items.height)], how="horizontal"), sums)
    joined = items.join(again.drop("tenant"), on=list(keys), how="left", nulls_equal=True)
    return _answer(reading, asked, wanted, joined, sums)


@router.get("/focus")
def export_focus(reading: ReadingOf, asked: Annotated[AskedFocus, Query()]) -> Response:
    """A month's spend as CSV in the columns of FOCUS 1.2."""
    month = Month.of(asked.month)
    fine = calls(reading.store, SpendAsked(window=month.window()), BY)
    text = focus_csv(fine, reading.caller.tenant, month)
    name = f"attachment; filename=focus-{month.first:%Y-%m}.csv"
    return Response(text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})


def _wanted(reading: Reading, asked: AskedSpend) -> SpendAsked:
    return SpendAsked(
        window=reading.window(asked),
        by=tuple(dict.fromkeys(name.strip() for name in asked.by.split(",") if name.strip())),
        app=asked.app,
        without=OWN_APP,
        outcome=asked.outcome,
        as_of_ns=reading.as_of_ns(asked),
    )


def _answer(
    reading: Reading, asked: AskedSpend, wanted: SpendAsked, items: pl.DataFrame, again: pl.DataFrame | None = None
) -> Response:
    totals = _whole(spend(reading.store, replace(wanted, by=())), again)
    judges = spend(reading.store, replace(wanted, by=(), app=OWN_APP)) if asked.app is None else None
    shown = [_shown(row) for row in items.head(asked.limit).iter_rows(named=True)]
    told = {"by": list(wanted.by), "outcome": asked.outcome, "n_groups": items.height}
    apart = None if judges is None else _shown(_whole(judges))
    return answer({**told, "items": shown, "totals": _shown(totals), "judges": apart})


def _whole(totals: pl.DataFrame, again: pl.DataFrame | None = None) -> dict[str, Any]:
    """The sums of all calls, where there are none too."""
    whole: dict[str, Any] = {
        name: None if name in ("saved_usd", "scored_cost_usd", "cost_per_resolved_usd") else 0 for name in _FIGURES
    }
    whole |= totals.row(0, named=True) if totals.height else {}
    return whole | ({} if again is None else again.row(0, named=True))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    exact = {"cost_usd_exact": f"{Decimal(row['cost_usd']):f}"}
    money = {name: float(row[name]) for name in _MONEY if row.get(name) is not None}
    return {**row, **money, **exact}
