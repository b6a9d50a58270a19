"""Calls for the tests of limits, budgets, prices and the ledger, and a clock that a test turns."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from core.clock import NS_PER_S, to_ns
from core.ids import TenantId
from gateway.prices import Prices
from gateway.records import Attempt, Call, Caller, CallKind, Target, Usage, VirtualModel

LARGE = Target(upstream="one", model="sim-1-large")  # 2 USD in, 8 USD out per million tokens
MINI = Target(upstream="one", model="sim-1-mini")  # 0.1 USD, 0.4 USD
MODELS = {
    "large": VirtualModel(name="large", kind=CallKind.CHAT, targets=(LARGE,), cheaper="middle"),
    "middle": VirtualModel(
        name="middle", kind=CallKind.CHAT, targets=(Target(upstream="one", model="sim-1"),), cheaper="mini"
    ),
    "mini": VirtualModel(name="mini", kind=CallKind.CHAT, targets=(MINI,)),
    "embed": VirtualModel(name="embed", kind=CallKind.EMBEDDINGS, targets=(MINI,)),
    "odd": VirtualModel(name="odd", kind=CallKind.CHAT, targets=(Target(upstream="one", model="on-no-list"),)),
}
_numbers = itertools.count(1)


class Turned:
    """A clock in nanoseconds."""

    def __init__(self, moment: str = "2026-11-21T12:00:00") -> None:
        self.ns = 0
        self.to(moment)

    def __call__(self) -> int:
        return self.ns

    def to(self, moment: str) -> None:
        """Turns it to a moment, UTC."""
        self.ns = to_ns(datetime.fromisoformat(moment).replace(tzinfo=UTC))

    def on(self, seconds: float) -> None:
        """Turns it on."""
        self.ns += round(seconds * NS_PER_S)


def prices() -> Prices:
    """Prices without overrides."""
    return Prices(providers={"one": "openai", "two": "anthropic"})


def call_of(model: str = "large", *, n_input: int = 299, at_most: int | None = 100, **caller: Any) -> Call:
    """A call whose input is estimated as `(n_input + 1) / 3` tokens."""
    body: dict[str, Any] = {"model": model} | ({} if at_most is None else {"max_tokens": at_most})
    return Call(
        id=f"call_{next(_numbers):024x}",
        kind=MODELS[model].kind,
        caller=Caller(tenant=TenantId(caller.pop("tenant", "acme")), **caller),
        asked=model,
        model=MODELS[model],
        body=body,
        streamed=False,
        started_ns=0,
        n_input_characters=n_input,
    )


def answer(call: Call, n_input: int = 100, n_output: int = 100, **usage: Any) -> Call:
    """The upstream answered, and the call is priced."""
    target = call.model.targets[0]
    call.usage = Usage(input_tokens=n_input, output_tokens=n_output, **{"reported": True, **usage})
    call.attempts.append(Attempt(target=target, started_ns=0, ended_ns=1, status=200, usage=call.usage))
    call.answered_by, call.provider = target, "openai"
    prices().price(call)
    return call
