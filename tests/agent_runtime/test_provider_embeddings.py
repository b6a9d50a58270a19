"""The simulated provider's embeddings: OpenAI's client reads them, near texts are near, bad requests are refused."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NotFoundError, OpenAI

from agent_runtime.simulation.provider.embeddings import embedding
from agent_runtime.simulation.provider.rate_limits import RateLimits
from agent_runtime.simulation.provider.server import Provider
from tests.agent_runtime.providing import serving

ORDER, SAME, OTHER = "Where is my order 4711?", "where is my order now", "The weather in Oslo was fine yesterday"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A provider on loopback that does not wait."""
    with serving(Provider()) as served:
        yield served


@pytest.fixture
def client(url: str) -> OpenAI:
    """OpenAI's own client."""
    return OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def _asked(body: Any, **limits: Any) -> tuple[int, dict[str, Any]]:
    answer = Provider(limits=RateLimits(**limits)).respond("POST", "/v1/embeddings", {}, orjson.dumps(body))
    return answer.status, orjson.loads(answer.body)


def _nearness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_client_reads_one_text_and_several(client: OpenAI) -> None:
    one = client.embeddings.create(model="sim-embed", input=ORDER)  # the client asks for base64
    several = client.embeddings.create(model="sim-embed", input=[ORDER, SAME, OTHER], encoding_format="float")
    assert (one.model, one.usage.prompt_tokens, one.usage.total_tokens) == ("sim-embed", 6, 6)
    assert [each.index for each in several.data] == [0, 1, 2]
    assert one.data[0].embedding == pytest.approx(several.data[0].embedding, abs=1e-7)
    first, near, far = (each.embedding for each in several.data)
    assert _nearness(first, near) > 0.5 > 0.2 > _nearness(first, far)
    assert client.embeddings.create(model="sim-embed", input=ORDER, dimensions=64).data[0].embedding[63:]
    assert "sim-embed" in {model.id for model in client.models.list()}


def test_base64_is_little_endian_floats(url: str) -> None:
    body = {"model": "sim-embed", "input": ORDER, "encoding_format": "base64", "dimensions": 4}
    answer = httpx.post(f"{url}/v1/embeddings", json=body)
    raw = base64.b64decode(answer.json()["data"][0]["embedding"])
    assert struct.unpack("<4f", raw) == pytest.approx(embedding(ORDER, 4))
    assert answer.headers["x-assay-simulated"] == "true"


def test_token_ids_are_inputs_too() -> None:
    status, one = _asked({"model": "sim-embed", "input": [1, 2, 3]})
    _, two = _asked({"model": "sim-embed", "input": [[1, 2, 3], [9, 9]]})
    assert (status, len(one["data"]), one["usage"]["prompt_tokens"]) == (200, 1, 3)
    assert (len(two["data"]), two["usage"]["prompt_tokens"]) == (2, 5)
    assert two["data"][0]["embedding"] == one["data"][0]["embedding"] != two["data"][1]["embedding"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": ""}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a" * 40_000}, "input"),
        ({"input": ["a" * 32_000] * 40}, "input"),
        ({"dimensions": 1025}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"model": None}, "model"),
    ],
)
def test_a_malformed_request_is_refused_by_its_parameter(more: dict[str, Any], param: str) -> None:
    status, answer = _asked({"model": "sim-embed", "input": "a", **more})
    assert (status, answer["error"]["param"], answer["error"]["type"]) == (400, param, "invalid_request_error")


def test_what_is_no_embedding_model_is_not_found_and_no_chat_model_either(client: OpenAI) -> None:
    for model in ("sim-1", "sim-embed-2", "text-embedding-3-small"):
        with pytest.raises(NotFoundError) as refused:
            client.embeddings.create(model=model, input="a")
        assert refused.value.code == "model_not_found"
    with pytest.raises(NotFoundError, match="/v1/embeddings"):
        client.chat.completions.create(model="sim-embed", messages=[{"role": "user", "content": "a"}])
    assert _asked({"model": "sim-fail-503", "input": "a"})[0] == 503


def test_limits_of_a_key_count_here_too() -> None:
    provider = Provider(limits=RateLimits(requests_per_minute=1))
    body = orjson.dumps({"model": "sim-embed", "input": "a"})
    answers = [provider.respond("POST", "/v1/embeddings", {"authorization": "k"}, body) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert all("x-ratelimit-limit-requests" in answer.headers for answer in answers)


@given(text=st.text(min_size=1) | st.lists(st.integers(0), min_size=1).map(tuple), dimensions=st.integers(1, 1024))
def test_every_vector_has_length_one(text: str | tuple[int, ...], dimensions: int) -> None:
    vector = embedding(text, dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1)
    assert vector == embedding(text, dimensions)
