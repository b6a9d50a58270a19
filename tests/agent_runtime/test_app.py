"""The HTTP door and the terminal, on the simulated model and shop."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from rich.console import Console

from agent_runtime.app import MOST_BODY, make_app
from agent_runtime.chat import Read, _approve, _shown, chat
from agent_runtime.compose import Running
from agent_runtime.errors import InvalidInput
from agent_runtime.settings import Settings
from tests.agent_runtime.scripted import routes, stand, thinking
from tests.agent_runtime.test_approval import brain, until_it_waits


@pytest.fixture(autouse=True)
def _no_model_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def typing(*lines: str) -> Read:
    """A person who types these lines, then nothing."""
    left = iter(lines)

    async def read(prompt: str) -> str:
        return next(left, "")

    return read


def test_a_turn_over_http_and_being_forgotten(tmp_path: Path) -> None:
    with TestClient(make_app(Settings(data=tmp_path))) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        body = {"user_id": "u-1", "text": "hello", "message_id": "m1"}
        first = client.post("/v1/sessions/s1/turns", json=body)
        assert first.status_code == 200
        assert first.json()["status"] == "answered"
        assert client.post("/v1/sessions/s1/turns", json=body).json() == first.json()
        deleted = client.delete("/v1/users/u-1").json()["deleted"]
        assert deleted["turns"] == 1


def test_a_topic_is_forgotten_and_another_tenant_has_no_shop(tmp_path: Path) -> None:
    with TestClient(make_app(Settings(data=tmp_path, tenant="one"))) as client:
        body = {"user_id": "u-1", "text": "I live in Bend. Where is my order?"}
        assert client.post("/v1/sessions/s1/turns", json=body).status_code == 200
        gone = client.delete("/v1/users/u-1", params={"topic": "place"}).json()["deleted"]
        assert gone["memory_facts"] == 1
        refused = client.post("/v1/sessions/s2/turns", json={**body, "tenant": "two"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_input")


def test_a_defect_is_told_in_the_same_shape_and_without_what_it_is_about(tmp_path: Path) -> None:
    made = stand(tmp_path, thinking(brain))

    async def broken(*_: object) -> None:
        raise ValueError("annSECRET")

    made.runtime.forget = broken  # type: ignore[assignment]
    client = TestClient(make_app(Settings(data=tmp_path), made.runtime), raise_server_exceptions=False)
    with client:
        answer = client.delete("/v1/users/ann")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
    assert "SECRET" not in answer.text
    made.state.close()


def test_the_terminal_shows_what_is_written_and_obeys_none_of_it() -> None:
    assert _shown("\x1b[2Jpaid \u202e[red]00.5$\nok") == "\ufffd[2Jpaid \ufffd\\[red]00.5$\nok"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/sessions/s1/turns", {"user_id": "u", "text": " "}, 422, "invalid_input"),
        ("/v1/sessions/s1/turns", {"text": "hello"}, 422, "invalid_input"),
        ("/v1/sessions/s1/turns", {"user_id": "u", "text": "x" * 20_001}, 422, "invalid_input"),
        ("/v1/sessions/s1/approvals", {"approval_id": "x", "approved": True, "by": "kim"}, 404, "not_found"),
    ],
)
def test_bad_requests_have_one_shape(
    tmp_path: Path, path: str, body: dict[str, object], status: int, code: str
) -> None:
    with TestClient(make_app(Settings(data=tmp_path))) as client:
        answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_body_has_a_limit_and_the_longest_message_fits(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (b" " * 4096 for _ in range(MOST_BODY // 4096 + 1))

    with TestClient(make_app(Settings(data=tmp_path))) as client:
        for content in (b" " * (MOST_BODY + 1), pieces()):  # with a Content-Length, and in chunks without one
            answer = client.post("/v1/sessions/s1/turns", content=content)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        longest = json.dumps({"user_id": "u", "text": "\U0001f3d5" * 20_000})
        kind = {"content-type": "application/json"}
        assert client.post("/v1/sessions/s1/turns", content=longest, headers=kind).status_code == 200


def test_a_key_is_asked_for_and_needed_beyond_loopback(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="AGENT_API_KEY"):
        make_app(Settings(data=tmp_path, host="0.0.0.0"))
    with TestClient(make_app(Settings(data=tmp_path, api_key=SecretStr("k")))) as client:
        assert client.delete("/v1/users/u").status_code == 401
        assert client.delete("/v1/users/u", headers={"authorization": "Bearer k"}).status_code == 200


def test_the_terminal_talks_and_acts(tmp_path: Path) -> None:
    out = io.StringIO()
    typed = typing("I want to cancel the boots order", "yes")
    assert asyncio.run(chat(Settings(data=tmp_path), Console(file=out, width=200), typed))
    assert "Shall I cancel order" in out.getvalue()
    assert "cancel_order: done" in out.getvalue()


def spoken(folder: Path, *lines: str) -> str:
    """What the terminal shows the demo customer who types these lines."""
    out = io.StringIO()
    assert asyncio.run(chat(Settings(data=folder), Console(file=out, width=400), typing(*lines)))
    return out.getvalue()


@pytest.mark.parametrize(("answer", "says"), [("y", "refund_order: done"), ("n", "did not approve")])
def test_what_the_greeting_says_to_type_leads_to_an_approval(tmp_path: Path, answer: str, says: str) -> None:
    shown = spoken(tmp_path, "Please refund my Summit Lite watch", "yes", answer)
    assert 'Try "Please refund my Summit Lite watch", then "yes": a refund above $120' in shown
    assert "Shall I refund" in shown
    assert "above $120" in shown.partition("Shall I refund")[2]
    assert says in shown


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("Hello",), "help you|can I do for you"),
        (("yes",), "What would you like to do"),
        (("What is the boiling point of mercury?", "Hello"), "help you|can I do for you"),
        (("what orders do I have?",), "Your orders: LK-.*Summit Lite watch"),
        (("do I have any orders?",), "Your orders: LK-"),
        (("Please refund my headlamp", "No, refund 150 dollars for it"), r"I cannot refund \$150.00 .* is \$77.00"),
        (("Please refund the headlamp order", "No, refund 500 dollars for it"), "a person of our team"),
    ],
)
def test_a_person_at_the_terminal_is_not_left_without_an_answer(
    tmp_path: Path, lines: tuple[str, ...], says: str
) -> None:
    last = re.split(r"^\w+> ", spoken(tmp_path, *lines), flags=re.MULTILINE)[-1]
    assert re.search(says, last), last
    assert "I don't know" not in last


@pytest.mark.parametrize(("answer", "n"), [("y", 1), ("", 0)])
def test_the_terminal_asks_the_staff(tmp_path: Path, answer: str, n: int) -> None:
    made = stand(tmp_path, thinking(brain, routes("order", "refund")))
    console = Console(file=io.StringIO(), width=200)

    async def go() -> None:
        try:
            result = await until_it_waits(made)
            running = Running(runtime=made.runtime, demo_user="u1", simulated=True)
            await _approve(running, console, typing(answer), result)
        finally:
            await made.runtime.close()

    asyncio.run(go())
    assert len(made.shop.effects("refund_order")) == n
