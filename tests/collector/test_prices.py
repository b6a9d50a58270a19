"""Prices of models: public ones, and those invented for the simulated models, the same on both sides of the wire."""

from __future__ import annotations

import pytest

from agent_runtime.priced import SIMULATED_USD_PER_MTOK
from agent_runtime.simulation.provider.latency import PROFILES
from collector.usage import SIMULATED, price_of


def test_every_simulated_model_has_a_price_and_the_agent_counts_with_the_same() -> None:
    assert set(SIMULATED) == set(SIMULATED_USD_PER_MTOK) == set(PROFILES)
    for model, (price_in, price_out) in SIMULATED_USD_PER_MTOK.items():
        found = price_of("openai", model)
        assert found is not None
        assert (found.input_pico, found.output_pico) == (int(price_in * 10**6), int(price_out * 10**6))


@pytest.mark.parametrize("model", ["sim-lm", "simulated", "sim-1-huge"])
def test_a_name_that_only_looks_simulated_has_none(model: str) -> None:
    assert price_of(None, model) is None
