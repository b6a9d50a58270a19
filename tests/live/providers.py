"""Model providers on loopback: the outside world of the live programs, with replies and usage that are known.

Speaks OpenAI chat completions, OpenAI responses, OpenAI embeddings and Anthropic messages, each with and without
streaming. Every program gets its own path prefix (`/NAME/v1/...`), so that `Providers.calls(NAME)` is the ground
truth a test compares with what Assay stored. A conversation that ends with a user's message is answered with one
call of the first offered tool; one that ends with a tool's result, or offers no tool, with a text. A message that
contains `FAIL_WORDS` is refused with status 400.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final

from tests.live.replies import (
    Reply,
    Usage,
    anthropic_events,
    anthropic_reply,
    chat_chunks,
    chat_reply,
    embedding_reply,
    responses_events,
    responses_reply,
)

FAIL_WORDS: Final = "refuse this request"
TOOL_ARGUMENTS: Final = {"flight": "AS12"}
ANSWER: Final = "The seat on AS12 costs 129 dollars."
ASKING: Final = Usage(input_tokens=42, output_tokens=11, cached_tokens=8, reasoning_tokens=3)
ANSWERING: Final = Usage(input_tokens=67, output_tokens=9, cached_tokens=16, reasoning_tokens=0)
EMBEDDING: Final = Usage(input_tokens=5, output_tokens=0, cached_tokens=0, reasoning_tokens=0)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request a program made: what a trace of it has to say."""

    program: str
    endpoint: str
    model: str
    stream: bool
    status: int
    usage: Usage


def _text(content: object) -> str:
    """All text of a message's content, which is a string or a list of typed parts."""
    return content if isinstance(content, str) else json.dumps(content)


def _ends_with_tool_result(turns: list[dict[str, Any]]) -> bool:
    last = turns[-1]
    if last.get("role") == "tool" or last.get("type") == "function_call_output":
        return True
    content = last.get("content")
    return isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)


def _tool_name(tools: list[dict[str, Any]]) -> str:
    """The first offered tool, in any of the three protocols' spellings."""
    first = tools[0]
    return str(first.get("name") or first["function"]["name"])


def decide(request: dict[str, Any]) -> Reply:
    """What the model says to this request; a pure function."""
    turns = request.get("messages") or request.get("input") or []
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    tools = request.get("tools") or []
    if tools and not _ends_with_tool_result(turns):
        return Reply(model=request["model"], usage=ASKING, tool=_tool_name(tools), arguments=json.dumps(TOOL_ARGUMENTS))
    return Reply(model=request["model"], usage=ANSWERING, text=ANSWER)


def _refused(request: dict[str, Any]) -> bool:
    turns = request.get("messages") or request.get("input") or []
    asked = (
        turns if isinstance(turns, str) else "".join(_text(t.get("content", "")) for t in turns if isinstance(t, dict))
    )
    return FAIL_WORDS in asked


class _Door(BaseHTTPRequestHandler):
    """Answers one request; `server.calls` is the ledger."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Says nothing: the test's output is for the test."""

    def do_POST(self) -> None:
        """Routes `/PROGRAM/v1/ENDPOINT`."""
        program, _, endpoint = self.path.strip("/").partition("/v1/")
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stream = bool(request.get("stream"))
        if _refused(request):
            self._note(program, endpoint, request, stream, 400, Usage())
            self._send_json(
                400, {"type": "error", "error": {"type": "invalid_request_error", "message": "refused", "code": "bad"}}
            )
            return
        reply = decide(request)
        match endpoint, stream:
            case "embeddings", _:
                self._note(program, endpoint, request, stream, 200, EMBEDDING)
                self._send_json(200, embedding_reply(request, EMBEDDING))
                return
            case "chat/completions", False:
                self._send_json(200, chat_reply(reply))
            case "chat/completions", True:
                self._send_events(
                    chat_chunks(reply, with_usage=bool((request.get("stream_options") or {}).get("include_usage")))
                )
            case "responses", False:
                self._send_json(200, responses_reply(reply))
            case "responses", True:
                self._send_events(responses_events(reply))
            case "messages", False:
                self._send_json(200, anthropic_reply(reply))
            case "messages", True:
                self._send_events(anthropic_events(reply))
            case _:
                self._send_json(404, {"error": {"message": f"no such endpoint: {self.path}"}})
                return
        self._note(program, endpoint, request, stream, 200, reply.usage)

    def _note(
        self, program: str, endpoint: str, request: dict[str, Any], stream: bool, status: int, usage: Usage
    ) -> None:
        call = Call(
            program=program, endpoint=endpoint, model=request["model"], stream=stream, status=status, usage=usage
        )
        with self.server.lock:
            self.server.calls.append(call)

    def _send_json(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def _send_events(self, events: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(event.encode())
            self.wfile.flush()
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    """A threading server with the ledger of what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.lock = threading.Lock()
        self.calls: list[Call] = []


class Providers:
    """The running providers. A context manager; `url(program)` is the base for a client of that name."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, name="providers", daemon=True)

    def __enter__(self) -> Providers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, program: str) -> str:
        """The root for a program's clients; OpenAI's need `/v1` after it, Anthropic's add it themselves."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{program}"

    def calls(self, program: str) -> list[Call]:
        """What this program asked so far, in order of completion."""
        with self._server.lock:
            return [call for call in self._server.calls if call.program == program]
