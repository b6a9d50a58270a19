"""A whole turn through every provider's protocol, and what a turn says when the model server cannot be used."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from agent_runtime.app import make_app
from agent_runtime.errors import InvalidInput
from agent_runtime.records import TurnResult, TurnStatus
from agent_runtime.settings import Settings
from tests.agent_runtime.fronts import KEY, Front, front
from tests.agent_runtime.scripted import Stand, stand

WHERE = "Where is my order LK-1023145?"
WRONG = "sk-wrong-fedcba9876543210"
SECRET = "a-secret-that-signs"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to a model: its provider, the model's name there, and what the spans call the provider."""

    provider: str
    model: str
    span: str


WAYS = {
    "openai": Way(provider="openai", model="gpt-4o-mini", span="openai"),
    "azure": Way(provider="azure", model="support-agent", span="azure"),
    "anthropic": Way(provider="anthropic", model="claude-haiku-5-5", span="anthropic"),
    "bedrock": Way(provider="bedrock", model="amazon.nova-lite-v1:0", span="bedrock"),
    "bedrock-stream": Way(provider="bedrock", model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", span="bedrock"),
}
BOTO3 = ("boto3", "botocore.config", "pydantic_ai.models.bedrock", "pydantic_ai.providers.bedrock")


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "ANTHROPIC_API_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture(params=[name for name in WAYS if name != "bedrock-stream"])
def one_way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def settings(
    folder: Path, way: Way, url: str, monkeypatch: pytest.MonkeyPatch, key: str = KEY, **more: Any
) -> Settings:
    secret = SecretStr(key)
    match way.provider:
        case "openai":
            more |= {"openai_base_url": f"{url}/v1", "openai_api_key": secret}
        case "azure":
            more |= {"azure_endpoint": url, "azure_api_key": secret, "azure_api_version": "2024-10-21"}
        case "anthropic":
            more |= {"anthropic_base_url": url, "anthropic_api_key": secret}
        case _:
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            more |= {"aws_region": "eu-central-1"}
    return Settings(data=folder, provider=way.provider, model=way.model, **{"model_retries": 0, **more})


def told(made: Stand) -> TurnResult:
    async def go() -> TurnResult:
        try:
            return await made.say(WHERE)  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    return asyncio.run(go())


async def started(made: Stand) -> None:
    try:
        await made.runtime.start()
    finally:
        await made.runtime.close()


def spans_text(made: Stand) -> str:
    return "".join(span.to_json() for span in made.spans.get_finished_spans())


def test_a_whole_turn_with_a_tool_call(tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with front(way.provider, way.model) as server:
        made = stand(tmp_path, None, settings=settings(tmp_path, way, server.url, monkeypatch))
        result = told(made)
    assert result.status is TurnStatus.ANSWERED, spans_text(made)
    assert [each.tool for each in result.tools] == ["get_order"]
    assert "delivered" in result.reply
    assert result.input_tokens > result.output_tokens > 0
    chats = [span for span in made.spans.get_finished_spans() if span.name == f"chat {way.model}"]
    assert len(chats) == len(server.seen) == 3
    assert {(span.attributes or {})["gen_ai.provider.name"] for span in chats} == {way.span}
    _carries_where_it_belongs(server, result)
    assert KEY not in spans_text(made)


def _carries_where_it_belongs(server: Front, result: TurnResult) -> None:
    for _, headers in server.seen:
        assert headers["traceparent"].split("-")[1] == result.trace_id
        assert "session.id=s1" in headers["baggage"].split(",")


@pytest.mark.parametrize(("trusted", "is_told"), [("", False), ("gateway.example, models.example", True)])
def test_baggage_leaves_this_machine_for_trusted_hosts_alone(
    tmp_path: Path, one_way: Way, trusted: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server listens here, under a name that is not loopback's; names are resolved as a hosts file would."""
    resolved = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **named: Any) -> Any:
        return resolved("127.0.0.1" if host in ("models.example", b"models.example") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with front(one_way.provider, one_way.model) as server:
        url = server.url.replace("127.0.0.1", "models.example")
        given = settings(tmp_path, one_way, url, monkeypatch, model_baggage_hosts=trusted)
        result = told(stand(tmp_path, None, settings=given))
    assert result.status is TurnStatus.ANSWERED
    assert server.seen
    for _, headers in server.seen:
        assert headers["traceparent"].split("-")[1] == result.trace_id
        assert ("baggage" in headers) == is_told


def test_azure_is_asked_by_deployment_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = WAYS["azure"]
    with front("azure", way.model) as server:
        told(stand(tmp_path, None, settings=settings(tmp_path, way, server.url, monkeypatch)))
    assert {path for path, _ in server.seen} == {
        "/openai/deployments/support-agent/chat/completions?api-version=2024-10-21"
    }


def test_bedrock_signs_with_the_usual_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = WAYS["bedrock"]
    with front("bedrock", way.model) as server:
        made = stand(tmp_path, None, settings=settings(tmp_path, way, server.url, monkeypatch))
        told(made)
    for _, headers in server.seen:
        assert headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={KEY}/")
    assert SECRET not in spans_text(made)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address that refuses connections as long as the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def failed(folder: Path, given: Settings, error: str, caplog: pytest.LogCaptureFixture, *, never: str = KEY) -> Stand:
    """Plays a turn that has to fail with this error, told on the span and in the log, and never with the key."""
    made = stand(folder, None, settings=given)
    with caplog.at_level(logging.INFO):
        result = told(made)
    assert (result.status, result.error) == (TurnStatus.FAILED, error), spans_text(made)
    root = made.span("invoke_agent support")
    assert (root.attributes or {})["error.type"] == error
    assert root.status.description
    assert "the model server http://127.0.0.1:" in root.status.description
    assert root.status.description in caplog.text
    assert "127.0.0.1" not in result.reply  # the customer reads none of it
    assert never not in spans_text(made) + caplog.text + result.reply
    return made


def test_a_wrong_key(
    tmp_path: Path, one_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with front(one_way.provider, one_way.model) as server:
        given = settings(tmp_path, one_way, server.url, monkeypatch, key=WRONG)
        failed(tmp_path, given, "ModelNotAllowed", caplog, never=WRONG)
    assert len(server.seen) == 1  # asking again would change nothing


def test_a_model_that_does_not_exist(
    tmp_path: Path, one_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with front(one_way.provider, "another") as server:
        given = settings(tmp_path, one_way, server.url, monkeypatch)
        made = failed(tmp_path, given, "ModelNotFound", caplog)
    assert repr(one_way.model) in (made.span("invoke_agent support").status.description or "")


def test_a_server_that_is_not_there(
    tmp_path: Path,
    one_way: Way,
    closed_port: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed(tmp_path, settings(tmp_path, one_way, closed_port, monkeypatch), "ModelUnreachable", caplog)


def test_a_server_that_takes_the_request_and_says_nothing(
    tmp_path: Path, one_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with front(one_way.provider, one_way.model, silent=True) as server:
        given = settings(tmp_path, one_way, server.url, monkeypatch, model_timeout_s=0.3)
        failed(tmp_path, given, "ModelUnreachable", caplog)


GARBAGE = {
    "html": ("text/html", b"<html>nice to meet you</html>"),
    "half": ("application/json", b'{"choices": [{"mess'),
    "object": ("application/json", b"{}"),
    "list": ("application/json", b"[]"),
    "nothing": ("application/json", b""),
    "bytes": ("application/octet-stream", bytes(range(256))),
    "of-another": ("application/json", b'{"id": 7, "choices": "many", "content": 3, "output": [], "usage": "yes"}'),
    "with-the-key": ("text/plain", KEY.encode()),
}


@pytest.mark.parametrize("said", GARBAGE)
def test_a_server_that_answers_garbage(
    said: str, tmp_path: Path, one_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with front(one_way.provider, one_way.model, garbage=GARBAGE[said]) as server:
        failed(tmp_path, settings(tmp_path, one_way, server.url, monkeypatch), "ModelUnreadable", caplog)


@pytest.mark.parametrize("said", ["html", "bytes", "with-the-key"])
def test_a_stream_of_garbage(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    way = WAYS["bedrock-stream"]
    with front(way.provider, way.model, garbage=GARBAGE[said]) as server:
        failed(tmp_path, settings(tmp_path, way, server.url, monkeypatch), "ModelUnreadable", caplog)


def test_the_http_answer_names_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = WAYS["anthropic"]
    with front("anthropic", way.model) as server:
        given = settings(tmp_path, way, server.url, monkeypatch, key=WRONG)
        with TestClient(make_app(given)) as client:
            answer = client.post("/v1/sessions/s1/turns", json={"user_id": "u1", "text": WHERE})
    assert answer.status_code == 200  # the turn is over and answered; asking again with its message_id gives the same
    assert (answer.json()["status"], answer.json()["error"]) == ("failed", "ModelNotAllowed")
    assert server.url not in answer.text


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("openai2", "unknown provider 'openai2'"),
        ("azure", "AZURE_OPENAI_ENDPOINT"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("bedrock", "AWS_REGION"),
    ],
)
def test_a_provider_without_its_settings_is_told_at_the_start(provider: str, says: str, tmp_path: Path) -> None:
    made = stand(tmp_path, None, settings=Settings(data=tmp_path, provider=provider))

    with pytest.raises(InvalidInput, match=says):
        asyncio.run(started(made))


def test_bedrock_without_credentials_says_which_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    made = stand(tmp_path, None, settings=Settings(data=tmp_path, provider="bedrock", aws_region="eu-central-1"))

    with pytest.raises(InvalidInput, match="AWS_ACCESS_KEY_ID"):
        asyncio.run(started(made))


def test_bedrock_without_boto3_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BOTO3:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    made = stand(tmp_path, None, settings=Settings(data=tmp_path, provider="bedrock", aws_region="eu-central-1"))

    with pytest.raises(InvalidInput, match="pip install boto3"):
        asyncio.run(started(made))
