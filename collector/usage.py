"""Tokens, cost and time to first token of decoded spans: whole columns at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from collector import dialects

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?\Z")
_MOST_USD: Final = 10**9
NANO: Final = 10**9
# Provider names of the GenAI conventions -> ids of genai-prices, where they differ.
_PRICE_PROVIDERS: Final = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
}


@dataclass(kw_only=True)
class Tokens:
    """Token columns: `values[name]` int64 and `known[name]` bool, each of one entry per span."""

    values: dict[str, Ints]
    known: dict[str, Flags]

    def settle(self, exclusive: Flags) -> Flags:
        """Makes input tokens inclusive where they are `exclusive`, derives missing totals, and says which spans
        contradict themselves (reported total, cached above input, reasoning above output)."""
        zero = {name: np.where(self.known[name], self.values[name], 0) for name in self.values}
        known_in, known_out = self.known["input_tokens"], self.known["output_tokens"]
        cached = zero["cache_read_tokens"] + zero["cache_write_tokens"]
        total_in = zero["input_tokens"] + np.where(exclusive & known_in, cached, 0)
        self.values["input_tokens"] = total_in
        both = total_in + zero["output_tokens"]
        wrong: Flags = known_in & known_out & self.known["total_tokens"] & (zero["total_tokens"] != both)
        wrong |= known_in & (cached > total_in)
        wrong |= known_out & (zero["reasoning_tokens"] > zero["output_tokens"])
        derive = ~self.known["total_tokens"] & (known_in | known_out)
        self.values["total_tokens"] = np.where(derive, both, self.values["total_tokens"])
        self.known["total_tokens"] = self.known["total_tokens"] | derive
        return wrong


def nano_usd(text: str) -> int | None:
    """Nano-dollars of a decimal text, half-even; None when it is no amount from 0 to below a billion."""
    if not _NUMBER.match(text):
        return None
    amount = Decimal(text)
    if amount >= _MOST_USD:
        return None
    if amount.adjusted() < -20:
        return 0
    return int((amount * NANO).quantize(Decimal(1), ROUND_HALF_EVEN))


def milliseconds(text: str, factor: float) -> float | None:
    """A duration text times its factor, None when it is no finite number."""
    if not _NUMBER.match(text):
        return None
    value = float(text) * factor
    return value if np.isfinite(value) else None


def is_exclusive(scope: str | None, provider: str | None) -> bool:
    """Whether this instrumentation's input tokens leave out those of the cache (dialects.EXCLUSIVE_CACHE)."""
    return any(
        rule.scope == scope and (not rule.providers or provider in rule.providers) for rule in dialects.EXCLUSIVE_CACHE
    )


@dataclass(frozen=True, kw_only=True)
class Price:
    """Pico-dollars per token (1e-12 USD); whole numbers, so that sums are exact."""

    input_pico: int
    output_pico: int
    cache_read_pico: int
    cache_write_pico: int


def _simulated(input_usd: str, output_usd: str) -> Price:
    """Of a model that nobody pays for; dollars per million tokens."""
    whole = int(Decimal(input_usd) * 10**6)
    out = int(Decimal(output_usd) * 10**6)
    return Price(input_pico=whole, output_pico=out, cache_read_pico=whole, cache_write_pico=whole)


# The simulated models of the reference agent (docs/simulated-provider.md): invented prices, on no public list.
SIMULATED: Final[Mapping[str, Price]] = {
    "sim-1": _simulated("0.40", "1.60"),
    "sim-1-mini": _simulated("0.10", "0.40"),
    "sim-1-large": _simulated("2.00", "8.00"),
    "sim-2": _simulated("0.50", "2.00"),
    "sim-judge": _simulated("0.40", "1.60"),
    "sim-judge-weak": _simulated("0.10", "0.40"),
    "sim-embed": _simulated("0.02", "0"),
}


LONGEST_NAME: Final = 256  # of a model with its provider; longer ones are on no list


def price_of(provider: str | None, model: str) -> Price | None:
    """What genai-prices says for a model today, tiers at their base price; for simulated models what is invented here;
    None for others."""
    return _price_of(provider, model) if len(provider or "") + len(model) <= LONGEST_NAME else None


@lru_cache(maxsize=4096)
def _price_of(provider: str | None, model: str) -> Price | None:
    if model in SIMULATED:
        return SIMULATED[model]
    found = _lookup(provider, model)
    if found is None:
        return None
    base = _pico(getattr(found, "input_mtok", None))
    out = _pico(getattr(found, "output_mtok", None))
    read = getattr(found, "cache_read_mtok", None)
    write = getattr(found, "cache_write_mtok", None)
    return Price(
        input_pico=base,
        output_pico=out,
        cache_read_pico=base if read is None else _pico(read),
        cache_write_pico=base if write is None else _pico(write),
    )


def _lookup(provider: str | None, model: str) -> object | None:
    from genai_prices.data_snapshot import get_snapshot

    for name in dict.fromkeys((_PRICE_PROVIDERS.get(provider or "", provider), None)):
        try:
            _, known = get_snapshot().find_provider_model(model, None, name, None)
        except LookupError:
            continue
        return known.get_prices(datetime.now(UTC))
    return None


def _pico(per_million: object) -> int:
    """Pico-dollars per token from dollars per million tokens (a Decimal, or tiers with a `base`)."""
    if per_million is None:
        return 0
    return int(Decimal(str(getattr(per_million, "base", per_million))) * 10**6)


def computed_cost(price: Price, tokens: dict[str, Ints]) -> Ints:
    """Nano-dollars, half-even, of spans of one model: cached tokens at their own price, the rest at input's.

    `tokens` holds input_tokens (inclusive), output_tokens, cache_read_tokens, cache_write_tokens, 0 where unknown.
    """
    read = np.minimum(tokens["cache_read_tokens"], tokens["input_tokens"])
    write = np.minimum(tokens["cache_write_tokens"], tokens["input_tokens"] - read)
    fresh = tokens["input_tokens"] - read - write
    pico = (
        fresh * price.input_pico
        + read * price.cache_read_pico
        + write * price.cache_write_pico
        + tokens["output_tokens"] * price.output_pico
    )
    nano, rest = np.divmod(pico, 1000)
    whole: Ints = nano + ((rest > 500) | ((rest == 500) & (nano % 2 == 1)))
    return whole
