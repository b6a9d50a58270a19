"""What one turn has spent, and the limits it is held to: steps, tokens, dollars, seconds, repeated calls."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from pydantic_ai.messages import ModelResponse

from agent_runtime.errors import LimitReached
from agent_runtime.records import Limits
from agent_runtime.settings import Settings


class Spending:
    """Counts of one turn, kept across a restart by `as_json`; seconds start anew in a resumed process."""

    def __init__(self, limits: Limits, settings: Settings) -> None:
        self.limits = limits
        self._prices = (settings.input_usd_per_mtok, settings.output_usd_per_mtok)
        self.n_steps = 0
        self.n_reasoned = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd: Decimal | None = None
        self._calls: Counter[str] = Counter()

    def step(self) -> int:
        """Counts a step and gives its number, from 1. Raises LimitReached before a step too many."""
        limits, spent = self.limits, self.cost_usd or Decimal(0)
        if self.n_steps >= limits.steps:
            raise LimitReached("steps", f"the turn took {self.n_steps} steps, the most allowed")
        if self.input_tokens + self.output_tokens >= limits.tokens:
            used = self.input_tokens + self.output_tokens
            raise LimitReached("tokens", f"the turn used {used} of {limits.tokens} tokens")
        if spent >= limits.dollars:
            raise LimitReached("dollars", f"the turn cost {spent} of {limits.dollars} USD")
        self.n_steps += 1
        return self.n_steps

    def reasoned(self) -> int:
        """The number, from 1, of the step that now begins as its span says it: routing and planning have none."""
        self.n_reasoned += 1
        return self.n_reasoned

    def answered(self, response: ModelResponse) -> None:
        """Adds a model answer's tokens and cost."""
        usage = response.usage
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        cost = usage.cost
        price_in, price_out = self._prices
        if cost is None and price_in is not None and price_out is not None:
            cost = (usage.input_tokens * price_in + usage.output_tokens * price_out) / 1_000_000
        if cost is not None:
            self.cost_usd = (self.cost_usd or Decimal(0)) + cost

    def called(self, tool: str, args_hash: str) -> None:
        """Counts a tool call. Raises LimitReached when the same call comes once too often: it runs in circles."""
        call = f"{tool}:{args_hash}"
        if self._calls[call] >= self.limits.repeated_calls:
            raise LimitReached(
                "repeated_calls", f"{tool} was called {self._calls[call]} times with the same arguments already"
            )
        self._calls[call] += 1

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        cost = None if self.cost_usd is None else str(self.cost_usd)
        return {
            "n_steps": self.n_steps,
            "n_reasoned": self.n_reasoned,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": cost,
            "calls": dict(self._calls),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes up what `as_json` gave."""
        self.n_steps = int(saved["n_steps"])
        self.n_reasoned = int(saved.get("n_reasoned", saved["n_steps"]))
        self.input_tokens = int(saved["input_tokens"])
        self.output_tokens = int(saved["output_tokens"])
        self.cost_usd = None if saved["cost_usd"] is None else Decimal(saved["cost_usd"])
        self._calls = Counter({str(call): int(n) for call, n in saved["calls"].items()})
