"""What a model's answer cost: as the settings say, as invented for the simulated models, else from the public price
list. Spans and limits see the same sum."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.wrapper import WrapperModel

from agent_runtime.settings import Settings

# Invented, since a simulated model costs nothing: USD per million tokens of input and of output. The collector has the
# same numbers for those who send its spans without a cost.
SIMULATED_USD_PER_MTOK: Final[Mapping[str, tuple[Decimal, Decimal]]] = {
    "sim-1": (Decimal("0.40"), Decimal("1.60")),
    "sim-1-mini": (Decimal("0.10"), Decimal("0.40")),
    "sim-1-large": (Decimal("2.00"), Decimal("8.00")),
    "sim-2": (Decimal("0.50"), Decimal("2.00")),
    "sim-judge": (Decimal("0.40"), Decimal("1.60")),
    "sim-judge-weak": (Decimal("0.10"), Decimal("0.40")),
    "sim-embed": (Decimal("0.02"), Decimal(0)),
}


class PricedModel(WrapperModel):
    """A model whose answers carry their cost in USD where somebody knows the price."""

    def __init__(self, wrapped: Model, settings: Settings) -> None:
        super().__init__(wrapped)
        self._prices = (settings.input_usd_per_mtok, settings.output_usd_per_mtok)

    async def request(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """Asks the model and notes the cost on its answer."""
        response = await super().request(*args, **kwargs)
        if response.usage.cost is None:
            response.usage.cost = self._cost(response)
        return response

    def _cost(self, response: ModelResponse) -> Decimal | None:
        price_in, price_out = self._prices
        if price_in is None or price_out is None:
            price_in, price_out = SIMULATED_USD_PER_MTOK.get(response.model_name or "", (None, None))
        if price_in is not None and price_out is not None:
            return (response.usage.input_tokens * price_in + response.usage.output_tokens * price_out) / 1_000_000
        try:
            return response.cost().total_price
        except (LookupError, ValueError, AssertionError):  # not on the list, or the answer names no model or no usage
            return None
