"""The simulated provider's server: no request makes it fail, faults are planted by session, waiting follows speed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, WithJsonSchema

from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.provider.__main__ import main
from agent_runtime.simulation.provider.latency import timing
from agent_runtime.simulation.provider.planted import altering, planted_faults
from agent_runtime.simulation.provider.server import Provider
from agent_runtime.simulation.seed import open_world
from tests.agent_runtime.providing import serving
from tests.stack import REPOSITORY
from tests.thorough import often

CANCEL = {
    "model": "sim-1",
    "messages": [
        {"role": "system", "content": "Agent: order"},
        {"role": "user", "content": "Where is my order LK-1023145?"},
    ],
    "tools": [{"type": "function", "function": {"name": "get_order", "parameters": {"type": "object"}}}],
}


def _post(provider: Provider, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Any:
    return provider.respond("POST", path, headers, orjson.dumps(body))


def test_the_session_of_the_baggage_decides_the_faults() -> None:
    asked: list[str] = []

    def faults_of(session_id: str) -> tuple[str, ...]:
        asked.append(session_id)
        return ("silent_model_change", "latency_spike") if session_id == "s 1" else ()

    provider = Provider(alter=altering(faults_of))
    baggage = "assay.release=v2, session.id=s%201;sampled=1"
    changed = _post(provider, CANCEL, baggage=baggage)
    plain = _post(provider, CANCEL, baggage="session.id=other")
    assert asked == ["s 1", "other"]
    assert orjson.loads(plain.body)["model"] == "sim-1"
    assert orjson.loads(changed.body)["model"] != "sim-1"
    assert orjson.loads(changed.body)["model"].startswith("sim-")
    slow, fast = (float(a.headers["x-assay-simulated-latency-ms"]) for a in (changed, plain))
    assert slow > fast
    assert changed.wait_s == 0, "max does not wait, whatever is simulated"


def test_the_release_of_the_baggage_is_told_to_the_fault() -> None:
    told: list[tuple[str, str]] = []

    def alter(proposal: Proposal, situation: Situation, release: str) -> Proposal:
        told.append((situation.session_id, release))
        return proposal

    _post(Provider(alter=alter), CANCEL, baggage="session.id=a,assay.release=v2")
    assert told == [("a", "v2")]


def test_a_world_without_the_session_plants_nothing(tmp_path: Path) -> None:
    world = open_world(tmp_path / "world.db")
    altered = _post(Provider(alter=planted_faults(world)), CANCEL, baggage="session.id=nobody")
    assert (
        altered.body.partition(b'"created"')[0]
        == _post(Provider(), CANCEL, baggage="session.id=nobody").body.partition(b'"created"')[0]
    )
    world.close()


def test_waiting_is_what_the_model_would_take_divided_by_speed() -> None:
    whole = _post(Provider(speed=1.0), CANCEL)
    planned_s = float(whole.headers["x-assay-simulated-latency-ms"]) / 1000
    assert whole.wait_s == pytest.approx(planned_s, abs=1e-3)
    assert _post(Provider(speed=10.0), CANCEL).wait_s == pytest.approx(planned_s / 10, abs=1e-3)
    streamed = _post(Provider(speed=1.0), {**CANCEL, "stream": True})
    assert 0 < streamed.wait_s < planned_s
    assert streamed.per_token_s > 0


def test_times_to_the_first_token_are_lognormal_about_their_median() -> None:
    drawn = sorted(timing("sim-1", 7, str(number)).first_token_ms for number in range(4000))
    assert drawn[2000] == pytest.approx(350, rel=0.05)
    assert drawn[int(4000 * 0.975)] / drawn[2000] == pytest.approx(2.718281828 ** (0.45 * 1.96), rel=0.1)
    assert timing("sim-1", 7, "a") == timing("sim-1", 7, "a") != timing("sim-1", 8, "a")


def test_a_body_too_large_is_refused() -> None:
    with serving(Provider()) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", content=b" " * (9 * 2**20), timeout=60)
        assert answer.status_code == 413
        assert httpx.get(f"{url}/healthz").json()["simulated"] is True


class Deeper(BaseModel):
    """Reached by a reference."""

    kind: Literal["a", "b"]


class Bounded(BaseModel):
    """Every bound that a schema of structured output may have, but for patterns."""

    long: str = Field(min_length=12)
    short: str = Field(max_length=3)
    time: datetime
    mail: Annotated[str, WithJsonSchema({"type": "string", "format": "email"})] = Field(pattern="@")
    above: int = Field(gt=5)
    below: int = Field(le=-5)
    half: float = Field(ge=1, multiple_of=0.5)
    narrow: float = Field(gt=0, lt=0.05)
    pair: list[int] = Field(min_length=2, max_length=3)
    none: list[int] = Field(max_length=0)
    maybe: str | None
    deeper: Deeper
    large: Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1e300})]  # a bound beyond 2^53 is not read


@pytest.mark.parametrize("seed", range(20))
def test_structured_output_keeps_to_the_bounds_of_its_schema(seed: int) -> None:
    schema = Bounded.model_json_schema()
    wanted = {"type": "json_schema", "json_schema": {"name": "bounded", "strict": True, "schema": schema}}
    body = {"model": "sim-1", "messages": [{"role": "user", "content": "Fill this."}], "response_format": wanted}
    answer = orjson.loads(_post(Provider(seed=seed), body).body)
    Bounded.model_validate_json(answer["choices"][0]["message"]["content"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "robot"])
PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "tool_use", "tool_result", "image", "x"])},
        optional={
            "text": JSON,
            "id": JSON,
            "name": JSON,
            "input": JSON,
            "tool_use_id": JSON,
            "content": JSON,
        },
    ),
    max_size=3,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"id": JSON, "function": JSON | st.fixed_dictionaries({"name": st.text(), "arguments": JSON})}
    ),
    max_size=2,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES | JSON, "content": JSON | PARTS}, optional={"tool_calls": JSON | CALLS, "tool_call_id": JSON}
    ),
    max_size=4,
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": "string"}, {"enum": [1]}, {"$ref": "#"}, {"type": ["null"]}, {"type": "integer", "minimum": 5}]
    ),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.text(max_size=5), inner, max_size=2)}
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    ),
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("sim-1") | JSON, "messages": MESSAGES | JSON},
    optional={
        "tools": JSON
        | st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("function"),
                    "name": st.text(),
                    "input_schema": SCHEMAS,
                    "function": st.fixed_dictionaries({"name": st.text(), "parameters": SCHEMAS}),
                }
            ),
            max_size=2,
        ),
        "tool_choice": JSON
        | st.sampled_from(["auto", "required", "none", {"type": "any"}, {"type": "tool", "name": "x"}]),
        "response_format": JSON
        | st.fixed_dictionaries(
            {
                "type": st.just("json_schema"),
                "json_schema": st.fixed_dictionaries({"name": st.just("n"), "schema": SCHEMAS}),
            }
        ),
        "max_tokens": JSON | st.just(100),
        "stream": st.booleans() | JSON,
        "input": JSON | st.text() | st.lists(st.text() | st.integers(-9, 2**53)),
        "system": JSON | PARTS,
    },
)

DOORS = ["/v1/chat/completions", "/v1/embeddings", "/v1/messages", "/v1/messages/count_tokens"]


@settings(max_examples=often(500, 125), deadline=None)
@given(BODIES | JSON, st.sampled_from(DOORS))
def test_no_body_makes_it_fail(body: Any, path: str) -> None:
    answer = _post(Provider(), body, path)
    assert answer.status < 500
    if answer.events is None:
        assert isinstance(orjson.loads(answer.body), dict)
        return
    assert all(event.endswith(b"\n\n") for event, _ in answer.events)


def test_the_command_says_where_it_listens_and_when_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "agent_runtime.simulation.provider", "--port", "0", "--speed", "max"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        try:
            assert httpx.get(f"{url}/v1/models", timeout=30).headers["x-assay-simulated"] == "true"
            assert main(["--port", url.rpartition(":")[2]]) == 2
        finally:
            process.terminate()
    assert "choose another --port" in capsys.readouterr().err


def test_many_requests_at_once_are_all_answered() -> None:
    async def ask_all(url: str) -> list[int]:
        async with httpx.AsyncClient(timeout=60) as client:
            asked = [client.post(f"{url}/v1/chat/completions", json=CANCEL) for _ in range(200)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    provider = Provider()
    with serving(provider) as url:
        assert asyncio.run(ask_all(url)) == [200] * 200
    assert provider.n_answered == 200
