"""Embeddings through the gateway: OpenAI's client gets vectors, then from the cache; each call is one span."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import OpenAI

from tests.gateway.live import USER, live

MODELS = {"sim-embed": {"kind": "embeddings", "targets": [{"upstream": "sim", "model": "sim-embed"}]}}
TEXT = "Where is my order?"


def test_vectors_come_through_are_cached_and_counted(tmp_path: Path) -> None:
    with (
        live(tmp_path, models=MODELS, policies={"cache": {"exact": True}}) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=USER, max_retries=0) as client,
    ):
        asked = client.embeddings.with_raw_response
        fresh = asked.create(model="sim-embed", input=TEXT)  # the client asks for base64
        again = asked.create(model="sim-embed", input=TEXT)
        both = asked.create(model="sim-embed", input=[TEXT, "Thanks."], encoding_format="float", dimensions=32)
        told = gateway.calls(3)
    one, kept, two = (answer.parse() for answer in (fresh, again, both))
    assert (len(one.data[0].embedding), one.usage.prompt_tokens) == (256, 5)
    assert kept.data[0].embedding == one.data[0].embedding
    assert [len(each.embedding) for each in two.data] == [32, 32]
    calls = {call["assay.gateway.call_id"]: call for call in told}
    assert len(calls) == len(told) == 3, "one span for each"
    first, second, third = (calls[answer.headers["x-assay-call-id"]] for answer in (fresh, again, both))
    assert {call["name"] for call in told} == {"embeddings sim-embed"}
    assert [call["assay.gateway.cache"] for call in (first, second, third)] == ["miss", "exact", "miss"]
    assert (first["gen_ai.usage.input_tokens"], third["gen_ai.usage.input_tokens"]) == (5, 7)
    assert first["gen_ai.usage.cost"] == pytest.approx(5 * 0.02e-6)
    assert not second.get("gen_ai.usage.cost")
