"""What a judge's call costs in US dollars, before it is made and after; None where no price is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from genai_prices import Usage as Tokens
from genai_prices import calc_price
from pydantic_ai.messages import ModelResponse

from judges.records import ModelRef

MOST_TOKENS: Final = 100_000_000  # of one answer; a server that says more miscounts
MOST_USD: Final = 10_000.0
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
    """The cost of an answer, cached tokens at their own price; of a model that answers under a name that is not on the
    list, at the price of the one that was asked. What is no amount of money is not believed."""
    tokens = tokens_of(response)
    if ref.provider == "simulated":
        return _simulated(ref.model, *tokens)
    told = response.usage.cost
    if told is not None and 0 <= told <= MOST_USD:  # NaN neither
        return float(told)
    try:
        found = float(response.cost().total_price)
    except (LookupError, ValueError, ArithmeticError, AssertionError):  # not listed, or it names no model or no usage
        return price_usd(ref, *tokens)
    return found if 0 <= found <= MOST_USD else price_usd(ref, *tokens)


def tokens_of(response: ModelResponse) -> tuple[int, int]:
    """Tokens of input and output, as far as a server may have counted them."""
    usage = response.usage
    return min(max(usage.input_tokens, 0), MOST_TOKENS), min(max(usage.output_tokens, 0), MOST_TOKENS)


def _simulated(model: str, input_tokens: int, output_tokens: int) -> float | None:
    prices = SIMULATED_USD_PER_MTOK.get(model)
    return None if prices is None else (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6
