"""A model server on loopback that says what a test wants, over the wire of OpenAI and of Anthropic."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import listening


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer to one request: text, a call of `verdict`, or a body of its own."""

    text: str | None = None
    call: Mapping[str, Any] | None = None
    refusal: str | None = None
    finish: str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait: threading.Event | None = None


Script = Callable[[int, dict[str, Any]], Said]  # the number of the request from 0, and its body


@dataclass(kw_only=True)
class ModelServer:
    """What was asked, and where it listens."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, body: dict[str, Any], headers: dict[str, str]) -> int:
        with self._lock:
            self.asked.append(body)
            self.headers.append(headers)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            return len(self.asked) - 1

    def done(self) -> None:
        with self._lock:
            self._now -= 1

    def user_text(self, index: int) -> str:
        """The last user message of a request."""
        said = [one for one in self.asked[index]["messages"] if one["role"] == "user"][-1]["content"]
        return said if isinstance(said, str) else "".join(part.get("text", "") for part in said)


def verdict(label: object, **more: object) -> Said:
    """A reply as it should be."""
    return Said(text=json.dumps({"explanation": "as the rubric says", "label": label, "confidence": 0.9} | more))


@contextmanager
def model_server(script: Script | Said) -> Iterator[ModelServer]:
    """Runs one; `script` gives each request's answer."""
    state = ModelServer()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            index = state.note(body, {name.lower(): value for name, value in self.headers.items()})
            try:
                said = script(index, body) if callable(script) else script
                if said.wait is not None:
                    said.wait.wait(30)
                self._answer(said, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                state.done()

        def _answer(self, said: Said, body: dict[str, Any]) -> None:
            content = _body(said, body, anthropic=self.path.endswith("/messages")) if said.body is None else said.body
            self.send_response(said.status)
            for name, value in {"content-type": "application/json", **said.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    with listening(Door) as state.url:
        yield state


def _body(said: Said, asked: dict[str, Any], *, anthropic: bool) -> bytes:
    if said.status >= 400:
        return json.dumps({"error": {"message": said.text or "no", "type": "error", "code": None}}).encode()
    return json.dumps(_message(said, asked) if anthropic else _completion(said, asked)).encode()


def _completion(said: Said, asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.call is not None:
        function = {"name": "verdict", "arguments": json.dumps(said.call)}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": said.finish or ("tool_calls" if said.call else "stop")}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": asked["model"],
        "choices": [choice],
        "usage": usage,
    }


def _message(said: Said, asked: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
    if said.call is not None:
        content.append({"type": "tool_use", "id": "toolu_1", "name": "verdict", "input": said.call})
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": said.finish or ("tool_use" if said.call else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    }
