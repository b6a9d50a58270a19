"""Spend at other prices: what the calls of the past would have cost; nothing that is stored changes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import polars as pl

from core.clock import NS_PER_S
from gateway.config import PriceConfig
from gateway.prices import NANO, Prices
from gateway.records import Usage

AS_PRICED: Final = ("provider", "model", "virtual_model", "hour")  # one price each
_HOUR_NS: Final = 3600 * NS_PER_S


def recomputed(fine: pl.DataFrame, prices: Mapping[str, PriceConfig], keys: tuple[str, ...]) -> pl.DataFrame:
    """By tenant and `keys`: `recomputed_usd`, and `n_as_reported`: calls whose price nobody knows, which stay at what
    was reported. `fine` are rows of store.spend.calls by `keys` and AS_PRICED.

    A call's price is that of `prices` (by glob of its model, or of the model it was asked for), else what genai-prices
    says of its hour.
    """
    list_of = Prices(prices)
    amounts, n_unknown = [], []
    for row in fine.iter_rows(named=True):
        amount = _amount(list_of, row) if row["used"] else None
        amounts.append(row["cost_usd"] or Decimal(0) if amount is None else amount)
        n_left = row["n_calls"] if row["used"] else row["n_priced"] if row["cost_usd"] else 0
        n_unknown.append(n_left if amount is None else 0)
    told = fine.select("tenant", *keys).with_columns(
        recomputed_usd=pl.Series(amounts, dtype=pl.Decimal(38, 9)), n_as_reported=pl.Series(n_unknown, dtype=pl.Int64)
    )
    return told.group_by("tenant", *keys).agg(pl.col("recomputed_usd").sum(), pl.col("n_as_reported").sum())


def _amount(prices: Prices, row: Mapping[str, object]) -> Decimal | None:
    def number(name: str) -> int:
        value = row[name]
        return value if isinstance(value, int) else 0

    usage = Usage(
        input_tokens=number("input_tokens"),
        output_tokens=number("output_tokens"),
        cached_tokens=number("cache_read_tokens"),
    )
    provider, model, virtual = (str(row[name] or "") for name in ("provider", "model", "virtual_model"))
    price = prices.of(provider, model, virtual, at_ns=number("hour") * _HOUR_NS) if model or virtual else None
    return None if price is None else Decimal(price.nano_usd(usage)) / NANO
