"""What calls cost: the configuration's prices, the invented ones, the public list; the same as the collector says."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.priced import SIMULATED_USD_PER_MTOK
from collector import usage as collector
from core.clock import to_ns
from gateway import prices
from gateway.config import PriceConfig
from gateway.prices import Price, Prices, listed
from gateway.records import Attempt, CallKind, Target, Usage, VirtualModel
from tests.gateway.spent_calls import answer, call_of

_PROVIDERS = {"azure": "azure.ai.openai", "aws": "aws.bedrock", "x-ai": "x_ai"}


def _hour() -> int:
    return int(datetime.now(UTC).timestamp()) // 3600


def _same(ours: Price | None, theirs: collector.Price | None) -> bool:
    if ours is None or theirs is None:
        return ours is None and theirs is None
    wanted = (theirs.input_pico, theirs.output_pico, theirs.cache_read_pico)
    return (ours.input_pico, ours.output_pico, ours.cached_pico) == wanted


def test_every_model_of_the_list_costs_what_the_collector_says() -> None:
    n_known = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            named = _PROVIDERS.get(provider.id, provider.id)
            found = listed(named, model.id, _hour())
            assert _same(found, collector.price_of(named, model.id)), (named, model.id)
            n_known += found is not None
    assert n_known > 1000


@pytest.mark.parametrize("model", sorted(prices.SIMULATED))
def test_invented_prices_are_those_of_the_collector_and_the_agent(model: str) -> None:
    assert _same(prices.SIMULATED[model], collector.SIMULATED[model])
    dollars = SIMULATED_USD_PER_MTOK[model]
    pico = prices.SIMULATED[model]
    assert [pico.input_pico, pico.output_pico] == [int(each * 10**6) for each in dollars]
    assert prices.SIMULATED.keys() == collector.SIMULATED.keys() == SIMULATED_USD_PER_MTOK.keys()


@given(n_in=st.integers(0, 10**7), n_cached=st.integers(0, 10**7), n_out=st.integers(0, 10**7))
def test_a_usage_costs_what_the_collector_says(n_in: int, n_cached: int, n_out: int) -> None:
    tokens = {"input_tokens": n_in, "output_tokens": n_out, "cache_read_tokens": n_cached, "cache_write_tokens": 0}
    for model in ("gpt-4o-mini", "sim-1"):
        theirs = collector.price_of("openai", model)
        ours = listed("openai", model, _hour())
        assert theirs is not None
        assert ours is not None
        wanted = collector.computed_cost(theirs, {name: np.array([n]) for name, n in tokens.items()})[0]
        usage = Usage(input_tokens=n_in, output_tokens=n_out, cached_tokens=n_cached)
        assert ours.nano_usd(usage) == wanted


def _usd(usd: float) -> PriceConfig:
    return PriceConfig(input_usd_per_mtok=usd, output_usd_per_mtok=2 * usd, cached_usd_per_mtok=usd / 2)


def test_the_most_specific_local_price_wins_and_the_models_own_name_before_the_virtual_one() -> None:
    known = Prices({"*": _usd(1), "sim-*": _usd(2), "sim-1-*": _usd(3), "sim-1-mini": _usd(4), "fast": _usd(5)})

    def usd(model: str, virtual: str = "") -> float:
        found = known.of("openai", model, virtual)
        assert found is not None
        return found.input_pico / 10**6

    assert usd("sim-1-mini", "fast") == 4
    assert usd("sim-1-large") == 3
    assert usd("sim-2") == 2
    assert usd("gpt-4o") == 1
    assert Prices({"fast": _usd(5)}).of("openai", "gpt-4o", "fast") == Price(
        input_pico=5 * 10**6, output_pico=10 * 10**6, cached_pico=25 * 10**5
    )


def test_a_name_that_looks_like_a_glob_means_itself_too() -> None:
    found = Prices({"odd[1]": _usd(7)}).of("openai", "odd[1]")
    assert found is not None
    assert found.input_pico == 7 * 10**6


def test_nobody_knows_is_flagged_and_is_not_zero() -> None:
    call = answer(call_of("odd"))
    assert call.cost_usd is None
    assert call.flags == ["price_unknown"]


def test_a_call_that_nobody_billed_cost_nothing() -> None:
    call = call_of("odd")
    call.attempts.append(Attempt(target=call.model.targets[0], started_ns=0, status=500))
    Prices().price(call)
    assert call.cost_usd == 0
    assert call.flags == []


def test_every_billed_attempt_counts_at_the_price_of_its_target() -> None:
    call = call_of("large")
    broke = Usage(input_tokens=1000, output_tokens=10)
    other = Target(upstream="two", model="sim-1-mini")
    call.attempts.append(Attempt(target=call.model.targets[0], started_ns=0, status=200, error="closed", usage=broke))
    call.attempts.append(Attempt(target=other, started_ns=0, status=200, usage=Usage(input_tokens=1000)))
    call.answered_by = other
    Prices().price(call)
    assert call.cost_usd == pytest.approx((1000 * 2 + 10 * 8 + 1000 * 0.1) / 10**6, rel=1e-12)


def test_a_deployment_on_no_list_is_priced_by_the_model_that_its_answers_name_and_reserved_so_from_then_on() -> None:
    target = Target(upstream="azure", model="our-deployment")
    model = VirtualModel(name="ours", kind=CallKind.CHAT, targets=(target,))
    known = Prices(providers={"azure": "azure.ai.openai"})
    assert known.dearest(model) is None
    call = call_of("large")
    call.model, call.answered_by, call.response_model = model, target, "gpt-4o-2024-08-06"
    call.attempts.append(Attempt(target=target, started_ns=0, status=200, usage=Usage(input_tokens=1_000_000)))
    known.price(call)
    assert call.cost_usd == 2.5
    assert known.dearest(model) == listed("azure.ai.openai", "gpt-4o-2024-08-06", _hour())


def test_the_dearest_is_at_least_each_target() -> None:
    both = (Target(upstream="one", model="sim-1-large"), Target(upstream="one", model="sim-2"))
    found = Prices().dearest(VirtualModel(name="m", kind=CallKind.CHAT, targets=both))
    assert found == prices.SIMULATED["sim-1-large"]


def test_history_is_priced_as_of_its_time_and_by_local_prices_where_there_are() -> None:
    at_ns = to_ns(datetime(2026, 3, 1, tzinfo=UTC))
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    rows = [("openai", "gpt-4o-mini", at_ns, usage), ("openai", "mine", at_ns, usage), ("", "nobodys", at_ns, usage)]
    known = Prices({"mine": _usd(3)})
    found = [known.of(provider, model, at_ns=when) for provider, model, when, _ in rows]
    nano = [None if price is None else price.nano_usd(usage) for price in found]
    assert nano == [150_000_000, 3_000_000_000, None]


def test_names_as_long_as_one_likes_are_known_to_nobody_and_not_remembered() -> None:
    before = prices._listed.cache_info().currsize
    assert listed("openai", "x" * 100_000, _hour()) is None
    assert listed("openai", "a\0b é 漢", _hour()) is None
    assert prices._listed.cache_info().currsize <= before + 1
