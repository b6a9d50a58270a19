"""Spend as a file for chargeback: the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

https://focus.finops.org/focus-specification/v1-2/. A row is what one kind of token cost on one day, by team, app,
release, model and upstream. A call's cost is one amount: it is divided over its kinds of tokens as the public prices
are, and evenly over tokens where there are none; the parts sum to the amount exactly.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import TenantId
from core.windows import Window
from gateway.prices import NANO, Price, listed

BY: Final = ("day", "team", "app", "release", "provider", "model", "upstream")
COLUMNS: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId",
    "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId",
    "SkuMeter", "SkuPriceId", "SubAccountId", "SubAccountName", "Tags",
    "x_App", "x_CallCount", "x_Release", "x_TokenKind", "x_UnpricedCallCount", "x_Upstream",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_YEARS: Final = (1970, 2200)  # an int64 of nanoseconds ends in 2262
_NO_TEAM: Final = "(no team)"


@dataclass(frozen=True, kw_only=True)
class Month:
    """A calendar month in UTC: a billing period."""

    first: date

    @classmethod
    def of(cls, text: str) -> Month:
        """The month of a text such as 2026-11. Raises InvalidInput."""
        try:
            first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
            if len(text) != 7 or not _YEARS[0] <= first.year <= _YEARS[1]:
                raise ValueError
            return cls(first=first)
        except ValueError:
            raise InvalidInput(f"month={text[:20]!r} is no month; write it as 2026-11", field="month") from None

    @property
    def after(self) -> date:
        """The first day of the next month."""
        return (self.first + timedelta(days=31)).replace(day=1)

    def window(self) -> Window:
        """From the month's first moment up to the next month's."""
        return Window(start_ns=_moment_ns(self.first), end_ns=_moment_ns(self.after))


def focus_csv(fine: pl.DataFrame, tenant: TenantId, month: Month) -> str:
    """The file: `fine` are rows of store.spend.calls by BY."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in focus_rows(fine, tenant, month):
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def focus_rows(fine: pl.DataFrame, tenant: TenantId, month: Month) -> Iterator[dict[str, Any]]:
    """The rows, by day and dearest first. The sum of BilledCost is that of `fine`'s cost_usd, exactly."""
    sums = ("n_calls", "n_unpriced", "input_tokens", "output_tokens", "cache_read_tokens", "cost_usd")
    whole = fine.group_by(BY).agg(pl.col(name).sum() for name in sums)
    ordered = whole.sort("day", "cost_usd", *BY[1:], descending=[False, True, *[False] * (len(BY) - 1)])
    for group in ordered.iter_rows(named=True):
        yield from _of_group(group, tenant, month)


def _of_group(group: Mapping[str, Any], tenant: TenantId, month: Month) -> Iterator[dict[str, Any]]:
    day = date.fromisoformat(group["day"])
    price = listed(group["provider"] or "", group["model"] or "", _moment_ns(day) // (3600 * NS_PER_S))
    cached = min(group["cache_read_tokens"], group["input_tokens"])
    quantities = {
        "input": group["input_tokens"] - cached,
        "cached input": cached,
        "output": group["output_tokens"],
    }
    nano = int((group["cost_usd"] or Decimal(0)) * NANO)
    if not any(quantities.values()):
        if nano:
            yield _row(group, tenant, month, "call", group["n_calls"], nano, None, n_calls=group["n_calls"])
        return
    prices = _per_kind(price)
    n_calls = group["n_calls"]
    for kind, part in zip(quantities, divided(nano, list(quantities.values()), list(prices.values())), strict=True):
        if quantities[kind] or part:
            list_pico = None if price is None else prices[kind]
            yield _row(group, tenant, month, kind, quantities[kind], part, list_pico, n_calls=n_calls)
            n_calls = 0  # so that they sum


def _per_kind(price: Price | None) -> dict[str, int]:
    """Pico-dollars per token of each kind; one each where nobody knows."""
    if price is None:
        return {"input": 1, "cached input": 1, "output": 1}
    return {"input": price.input_pico, "cached input": price.cached_pico, "output": price.output_pico}


def divided(nano: int, quantities: Sequence[int], prices: Sequence[int]) -> list[int]:
    """Nano-dollars in parts as quantity times price is, or as quantity is where no price is above 0: whole numbers that
    sum to `nano`. What is left of rounding goes to the largest remainders."""
    weights = [quantity * price for quantity, price in zip(quantities, prices, strict=True)]
    if not any(weights):
        weights = list(quantities)
    total = sum(weights)
    parts = [nano * weight // total for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(nano * weights[i] % total), i))
    for i in remainders[: nano - sum(parts)]:
        parts[i] += 1
    return parts


def _row(
    group: Mapping[str, Any], tenant: TenantId, month: Month, kind: str, quantity: int, nano: int,
    list_pico: int | None, *, n_calls: int,
) -> dict[str, Any]:  # fmt: skip
    day = date.fromisoformat(group["day"])
    unit = "Calls" if kind == "call" else "Tokens"
    model, provider = group["model"] or "unknown model", group["provider"] or "unknown provider"
    billed = Decimal(nano) / NANO
    unit_price = None if list_pico is None else Decimal(list_pico) / 10**12
    team = group["team"] or _NO_TEAM
    tags = {name: group[name] for name in ("team", "app", "release", "upstream") if group[name]}
    return {
        "BilledCost": billed,
        "BillingAccountId": str(tenant),
        "BillingAccountName": str(tenant),
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _at(month.after),
        "BillingPeriodStart": _at(month.first),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{model}: {kind if kind == 'call' else kind + ' tokens'}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _at(day + timedelta(days=1)),
        "ChargePeriodStart": _at(day),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ContractedCost": billed,
        "EffectiveCost": billed,
        "InvoiceIssuerName": provider,
        "ListCost": billed if unit_price is None else unit_price * quantity,
        "ListUnitPrice": unit_price,
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ProviderName": provider,
        "PublisherName": provider,
        "RegionId": None,
        "ResourceId": model,
        "ResourceName": model,
        "ResourceType": "Model",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"Model calls to {group['upstream'] or provider}",
        "ServiceSubcategory": "Generative AI",
        "SkuId": f"{provider}/{model}",
        "SkuMeter": kind,
        "SkuPriceId": None if unit_price is None else f"{provider}/{model}/{kind}",
        "SubAccountId": team,
        "SubAccountName": team,
        "Tags": json.dumps(tags, ensure_ascii=False, sort_keys=True),
        "x_App": group["app"],
        "x_CallCount": n_calls,
        "x_Release": group["release"],
        "x_TokenKind": kind,
        "x_UnpricedCallCount": group["n_unpriced"] if n_calls else 0,
        "x_Upstream": group["upstream"],
    }


def _cell(value: object) -> str:
    """Text of traces is untrusted: a spreadsheet takes what begins like a formula for one."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value).replace("\0", "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _at(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _moment_ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S
