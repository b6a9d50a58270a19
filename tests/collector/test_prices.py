"""Prices of models: public ones, and those invented for the simulated models, the same on both sides of the wire."""

from __future__ import annotations

import pytest

from agent_runtime.priced import SIMULATED_USD_PER_MTOK
from agent_runtime.simulation.provider.latency import PROFILES
from collector import usage
from collector.usage import LONGEST_NAME, SIMULATED, price_of


def test_every_simulated_model_has_a_price_and_the_agent_counts_with_the_same() -> None:
    assert set(SIMULATED) == set(SIMULATED_USD_PER_MTOK) == set(PROFILES)
    for model, (price_in, price_out) in SIMULATED_USD_PER_MTOK.items():
        found = price_of("openai", model)
        assert found is not None
        assert (found.input_pico, found.output_pico) == (int(price_in * 10**6), int(price_out * 10**6))


@pytest.mark.parametrize("model", ["sim-lm", "simulated", "sim-1-huge"])
def test_a_name_that_only_looks_simulated_has_none(model: str) -> None:
    assert price_of(None, model) is None


def test_a_name_that_is_too_long_for_a_model_has_none_and_is_not_remembered() -> None:
    usage._price_of.cache_clear()
    assert price_of("openai", "gpt-4o" + "x" * LONGEST_NAME) is None
    assert price_of("o" * LONGEST_NAME, "gpt-4o") is None
    assert usage._price_of.cache_info().currsize == 0
    assert price_of("openai", "gpt-4o") is not None
