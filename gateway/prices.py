"""What calls cost: as the configuration says, as invented for the simulated models, else as the public price list says.

Amounts are whole pico-dollars per token and whole nano-dollars per call, so that sums are exact. The collector prices
spans that come without a cost by the same rules (collector/usage.py); a test holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from core.clock import NS_PER_S, Clock, system_clock
from gateway.config import PriceConfig, WireName
from gateway.records import Call, Target, Usage, VirtualModel

NANO: Final = 10**9
_HOUR_NS: Final = 3600 * NS_PER_S
_LONGEST_NAME: Final = 200  # longer names are on no list, and are not remembered
# Provider names of the GenAI conventions -> ids of genai-prices, where they differ.
LISTED_AS: Final[Mapping[str, str]] = {
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
PROVIDER_OF: Final[Mapping[WireName, str]] = {
    WireName.OPENAI: "openai",
    WireName.AZURE: "azure.ai.openai",
    WireName.ANTHROPIC: "anthropic",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Pico-dollars per token (1e-12 USD)."""

    input_pico: int
    output_pico: int
    cached_pico: int

    def nano_usd(self, usage: Usage) -> int:
        """Nano-dollars, half-even: cached input at its own price, the rest of it at input's."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        pico = fresh * self.input_pico + cached * self.cached_pico + usage.output_tokens * self.output_pico
        nano, rest = divmod(pico, 1000)
        return nano + (rest > 500 or (rest == 500 and nano % 2 == 1))


def _pico(usd_per_mtok: object) -> int:
    return int(Decimal(str(usd_per_mtok)) * 10**6)


def _price(input_usd: object, output_usd: object, cached_usd: object | None = None) -> Price:
    whole = _pico(input_usd)
    cached = whole if cached_usd is None else _pico(cached_usd)
    return Price(input_pico=whole, output_pico=_pico(output_usd), cached_pico=cached)


# Invented, since a simulated model costs nothing: USD per million tokens. The agent and the collector have the same.
SIMULATED: Final[Mapping[str, Price]] = {
    "sim-1": _price("0.40", "1.60"),
    "sim-1-mini": _price("0.10", "0.40"),
    "sim-1-large": _price("2.00", "8.00"),
    "sim-2": _price("0.50", "2.00"),
    "sim-judge": _price("0.40", "1.60"),
    "sim-judge-weak": _price("0.10", "0.40"),
    "sim-embed": _price("0.02", "0"),
}


class Prices:
    """The prices of one configuration. `local`: glob of a model's name -> price; `providers`: an upstream's name -> its
    provider in the GenAI conventions."""

    def __init__(
        self,
        local: Mapping[str, PriceConfig] | None = None,
        providers: Mapping[str, str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        by_name = sorted((local or {}).items(), key=lambda each: _breadth(each[0]))
        self._local = [
            (glob, _price(p.input_usd_per_mtok, p.output_usd_per_mtok, p.cached_usd_per_mtok)) for glob, p in by_name
        ]
        self._providers = dict(providers or {})
        self._clock = clock
        self._overrides: dict[tuple[str, str], Price | None] = {}
        self._billed: dict[Target, Price] = {}  # by what a call was priced, of targets that are on no list
        self._dearest: dict[str, tuple[int, Price | None]] = {}  # in which hour, and what

    def warm(self, models: Iterable[VirtualModel]) -> None:
        """Looks up every target once, so that no call waits for the public list to be read (0.3 s)."""
        for model in models:
            self.dearest(model)

    def of(self, provider: str, model: str, virtual: str = "", at_ns: int | None = None) -> Price | None:
        """The price of a model at a moment (now): the configuration's for its own name, else for the virtual one, else
        the list's. None: nobody knows."""
        found = self._override(model, virtual)
        if found is None:
            found = listed(provider, model, (self._clock() if at_ns is None else at_ns) // _HOUR_NS)
        return found

    def price(self, call: Call) -> None:
        """Fills in what all attempts of a call that is over cost together; flags `price_unknown` when nobody knows."""
        nano = self._cost(call)
        call.cost_usd = None if nano is None else nano / NANO
        if nano is None:
            call.flags.append("price_unknown")

    def _cost(self, call: Call) -> int | None:
        total: int | None = 0
        for attempt in call.attempts:
            usage, target = attempt.usage, attempt.target
            if usage is None or not (usage.input_tokens or usage.output_tokens):
                continue
            found = self._of_target(target, call.model.name)
            if found is None and target == call.answered_by and call.response_model:
                # A deployment has a name of its own, on no list; its answers say which model it is.
                found = self.of(self._provider(target), call.response_model)
                if found is not None:
                    self._billed[target] = found
                    self._dearest.clear()
            total = None if found is None or total is None else total + found.nano_usd(usage)
        return total

    def dearest(self, model: VirtualModel) -> Price | None:
        """At least the price of every target of `model` whose price is known; None: no price is. Models are told apart
        by name."""
        hour = self._clock() // _HOUR_NS
        remembered = self._dearest.get(model.name)
        if remembered is None or remembered[0] != hour:
            remembered = self._dearest[model.name] = (hour, self._dearest_of(model))
        return remembered[1]

    def _dearest_of(self, model: VirtualModel) -> Price | None:
        known = [found for target in model.targets if (found := self._of_target(target, model.name)) is not None]
        if len(known) < 2:
            return known[0] if known else None
        return Price(
            input_pico=max(each.input_pico for each in known),
            output_pico=max(each.output_pico for each in known),
            cached_pico=max(each.cached_pico for each in known),
        )

    def _of_target(self, target: Target, virtual: str) -> Price | None:
        found = self.of(self._provider(target), target.model, virtual)
        return self._billed.get(target) if found is None else found

    def _provider(self, target: Target) -> str:
        return self._providers.get(target.upstream, "")

    def _override(self, model: str, virtual: str) -> Price | None:
        if not self._local:
            return None
        names = (model, virtual)
        if names not in self._overrides:
            if len(self._overrides) >= 4096:
                self._overrides.clear()
            self._overrides[names] = next((p for name in names if name for p in self._matching(name)), None)
        return self._overrides[names]

    def _matching(self, name: str) -> Iterable[Price]:
        return (price for glob, price in self._local if glob == name or fnmatchcase(name, glob))


def _breadth(glob: str) -> tuple[bool, int, str]:
    """Sorts names before globs, and among globs those that say most first."""
    wild = sum(glob.count(sign) for sign in "*?[")
    return (wild > 0, wild - len(glob), glob)


def listed(provider: str, model: str, hour: int) -> Price | None:
    """What the public list said of a model `hour` hours after the epoch, tiers at their base price; what is invented
    for simulated ones. `provider` is named as the GenAI conventions do; "" or an unknown one: any provider's."""
    if model in SIMULATED:
        return SIMULATED[model]
    return _listed(provider, model, hour) if len(model) <= _LONGEST_NAME else None


@lru_cache(maxsize=4096)
def _listed(provider: str, model: str, hour: int) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot

    for name in dict.fromkeys((LISTED_AS.get(provider, provider) or None, None)):
        try:
            _, known = get_snapshot().find_provider_model(model, None, name, None)
        except LookupError:
            continue
        return _read(known.get_prices(datetime.fromtimestamp(hour * 3600, UTC)))
    return None


def _read(found: object) -> Price:
    def usd(name: str) -> object | None:
        given = getattr(found, name, None)
        return getattr(given, "base", given)

    return _price(usd("input_mtok") or 0, usd("output_mtok") or 0, usd("cache_read_mtok"))
