"""What a judge's call costs in US dollars, before it is made and after; None where no price is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from genai_prices import Usage as Tokens
from genai_prices import calc_price
from pydantic_ai.messages import ModelResponse

from judges.records import ModelRef

# Invented, as those of all simulated models: USD per million tokens of input and of output.
SIMULATED_USD_PER_MTOK: Final[Mapping[str, tuple[float, float]]] = {
    "sim-judge": (0.40, 1.60),
    "sim-judge-weak": (0.10, 0.40),
}


def price_usd(ref: ModelRef, input_tokens: int, output_tokens: int) -> float | None:
    """The cost of so many tokens by the price list, for a forecast."""
    if ref.provider == "simulated":
        return _simulated(ref.model, input_tokens, output_tokens)
    try:
        tokens = Tokens(input_tokens=input_tokens, output_tokens=output_tokens)
        provider = None if ref.url is not None else ref.provider
        return float(calc_price(tokens, model_ref=ref.model, provider_id=provider).total_price)
    except (LookupError, ValueError):
        return None


def cost_usd(ref: ModelRef, response: ModelResponse) -> float | None:
    """The cost of an answer, cached tokens at their own price."""
    if ref.provider == "simulated":
        return _simulated(ref.model, response.usage.input_tokens, response.usage.output_tokens)
    if response.usage.cost is not None:
        return float(response.usage.cost)
    try:
        return float(response.cost().total_price)
    except (LookupError, ValueError, AssertionError):  # not on the list, or the answer names no model or no usage
        return None


def _simulated(model: str, input_tokens: int, output_tokens: int) -> float | None:
    prices = SIMULATED_USD_PER_MTOK.get(model)
    return None if prices is None else (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6
