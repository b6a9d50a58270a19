"""Model servers of four providers on loopback: their paths, keys and error shapes before the simulated provider."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit
from zlib import crc32

from agent_runtime.simulation.provider.server import Provider
from tests.loopback import listening

KEY = "sk-fronts-0123456789abcdef"
EVENT_STREAM = "application/vnd.amazon.eventstream"
Reply = tuple[int, str, bytes]


@dataclass
class Front:
    """What the server does: `models` it knows, `garbage` it answers instead, `silent` it takes and says nothing."""

    protocol: str
    models: frozenset[str]
    garbage: tuple[str, bytes] | None = None
    silent: bool = False
    url: str = ""
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    provider: Provider = field(default_factory=lambda: Provider(seed=7))

    def reply(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Status, content type and body."""
        self.seen.append((path, headers))
        if self.silent:
            self.ended.wait(60)
        if self.garbage is not None:
            return 200, *self.garbage
        shown = _shown(self.protocol, headers)
        if shown != KEY:
            return _refused(self.protocol, shown)
        model = _model(self.protocol, path, body)
        if model not in self.models:
            return _unknown(self.protocol, model)
        return self._answer(path, headers, body)

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        given = json.loads(body)
        door = "/v1/chat/completions" if self.protocol in ("openai", "azure") else "/v1/messages"
        asked = _messages(given) if self.protocol == "bedrock" else given
        found = self.provider.respond("POST", door, headers, json.dumps({**asked, "model": "sim-1"}).encode())
        if self.protocol != "bedrock" or found.status != 200:
            content = found.body if found.events is None else b"".join(event for event, _ in found.events)
            return found.status, "application/json" if found.events is None else "text/event-stream", content
        said = json.loads(found.body)
        if path.endswith("/converse-stream"):
            return 200, EVENT_STREAM, b"".join(_event(kind, event) for kind, event in _streamed(said))
        return 200, "application/json", json.dumps(_conversed(said)).encode()


@contextmanager
def front(protocol: str, *models: str, **more: Any) -> Iterator[Front]:
    """Serves until the block ends."""
    made = Front(protocol=protocol, models=frozenset(models), **more)

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, kind, answer = made.reply(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            if status in (400, 403) and protocol == "bedrock":
                self.send_header("x-amzn-errortype", json.loads(answer)["__type"])
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError):
                return  # the client gave up

    with listening(Door) as made.url:
        try:
            yield made
        finally:
            made.ended.set()


def _shown(protocol: str, headers: dict[str, str]) -> str:
    if protocol == "bedrock":
        return headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
    own = {"azure": "api-key", "anthropic": "x-api-key"}.get(protocol, "")
    return headers.get(own) or headers.get("authorization", "").removeprefix("Bearer ")


def _model(protocol: str, path: str, body: bytes) -> str:
    parts = urlsplit(path)
    match protocol:
        case "azure":
            assert "api-version=" in parts.query
            return unquote(parts.path.split("/")[3])
        case "bedrock":
            return unquote(parts.path.split("/")[2])
    return str(json.loads(body)["model"])


def _refused(protocol: str, shown: str) -> Reply:
    """As a careless server would: it quotes the key."""
    said = f"Incorrect API key provided: {shown}"
    if protocol == "bedrock":
        return 403, "application/json", json.dumps({"__type": "UnrecognizedClientException", "message": said}).encode()
    if protocol == "anthropic":
        error = {"type": "error", "error": {"type": "authentication_error", "message": said}}
        return 401, "application/json", json.dumps(error).encode()
    return 401, "application/json", json.dumps({"error": {"message": said, "code": "invalid_api_key"}}).encode()


def _unknown(protocol: str, model: str) -> Reply:
    if protocol == "bedrock":
        said = {"__type": "ValidationException", "message": "The provided model identifier is invalid."}
        return 400, "application/json", json.dumps(said).encode()
    if protocol == "anthropic":
        error = {"type": "error", "error": {"type": "not_found_error", "message": f"model: {model}"}}
        return 404, "application/json", json.dumps(error).encode()
    code = "DeploymentNotFound" if protocol == "azure" else "model_not_found"
    return 404, "application/json", json.dumps({"error": {"message": f"no {model}", "code": code}}).encode()


def _messages(converse: dict[str, Any]) -> dict[str, Any]:
    """A Converse request as the Anthropic messages that it resembles."""
    tools = [each["toolSpec"] for each in converse.get("toolConfig", {}).get("tools", ())]
    found: dict[str, Any] = {
        "max_tokens": converse.get("inferenceConfig", {}).get("maxTokens", 4096),
        "system": "\n\n".join(each["text"] for each in converse.get("system", ()) if "text" in each),
        "messages": [
            {"role": each["role"], "content": [_block(block) for block in each["content"]]}
            for each in converse["messages"]
        ],
        "tools": [{"name": each["name"], "input_schema": each["inputSchema"]["json"]} for each in tools],
    }
    choice = converse.get("toolConfig", {}).get("toolChoice")
    if choice:
        ((kind, named),) = choice.items()
        found["tool_choice"] = {"type": kind, **named}
    return found


def _block(block: dict[str, Any]) -> dict[str, Any]:
    if "toolUse" in block:
        use = block["toolUse"]
        return {"type": "tool_use", "id": use["toolUseId"], "name": use["name"], "input": use["input"]}
    if "toolResult" in block:
        result = block["toolResult"]
        texts = [each.get("text") or json.dumps(each.get("json")) for each in result["content"]]
        content = [{"type": "text", "text": text} for text in texts]
        return {"type": "tool_result", "tool_use_id": result["toolUseId"], "content": content}
    return {"type": "text", "text": block["text"]}


def _conversed(said: dict[str, Any]) -> dict[str, Any]:
    content = [
        {"text": each["text"]}
        if each["type"] == "text"
        else {"toolUse": {"toolUseId": each["id"], "name": each["name"], "input": each["input"]}}
        for each in said["content"]
    ]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": said["stop_reason"],
        "usage": _usage(said),
        "metrics": {"latencyMs": 1},
    }


def _usage(said: dict[str, Any]) -> dict[str, int]:
    read, written = said["usage"]["input_tokens"], said["usage"]["output_tokens"]
    return {"inputTokens": read, "outputTokens": written, "totalTokens": read + written}


def _streamed(said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(_conversed(said)["output"]["message"]["content"]):
        delta: dict[str, Any] = {"text": block.get("text")}
        if "toolUse" in block:
            use = block["toolUse"]
            delta = {"toolUse": {"input": json.dumps(use.pop("input"))}}
            yield "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}}
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", {"stopReason": said["stop_reason"]}
    yield "metadata", {"usage": _usage(said), "metrics": {"latencyMs": 1}}


def _event(kind: str, event: dict[str, Any]) -> bytes:
    """One message of the AWS event stream encoding."""
    named = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in named.items()
    )
    payload = json.dumps(event).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return whole + struct.pack(">I", crc32(whole))
