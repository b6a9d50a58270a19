"""The provider as an ASGI application: its doors, the waiting that a real model would cause, and its labels.

Every answer carries `x-assay-simulated: true`; ids, fingerprints and model names say `sim` as well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from agent_runtime.simulation.provider import anthropic, embeddings, openai
from agent_runtime.simulation.provider.asked import Asked, RequestRefused
from agent_runtime.simulation.provider.drafted import Drafted
from agent_runtime.simulation.provider.drafting import Alter, draft
from agent_runtime.simulation.provider.latency import PROFILES, timing
from agent_runtime.simulation.provider.rate_limits import RateLimits

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BODY_BYTES: Final = 8 * 2**20
FAILING_MODEL: Final = "sim-fail-"  # sim-fail-503 answers 503: for tests of a client's retries
_CODES: Final = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_LOG = logging.getLogger(__name__)
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer: a whole body, or timed events with the tokens each carries."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: Iterator[tuple[bytes, int]] | None = None
    wait_s: float = 0.0
    per_token_s: float = 0.0


@dataclass(kw_only=True)
class Provider:
    """The ASGI application. `speed` divides all waiting, None is no wait at all; `alter` plants a release's faults."""

    seed: int = 0
    speed: float | None = None
    alter: Alter | None = None
    limits: RateLimits = field(default_factory=RateLimits)
    now: Callable[[], float] = time.time
    n_answered: int = 0

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one ASGI connection scope."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        body = await _read(receive)
        answer = self.respond(method, path, headers, body)
        self.n_answered += 1
        await _send(answer, send)

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Answers one request; header names are lower case, `body` None was too large. Never raises."""
        in_anthropic = path.startswith("/v1/messages")
        try:
            if body is None:
                raise RequestRefused(f"the body is larger than {MOST_BODY_BYTES} bytes", status=413)
            return self._route(method, path, headers, body)
        except RequestRefused as refused:
            return self._refused(refused, in_anthropic, body or b"")
        except Exception:
            _LOG.exception("the simulated provider failed on %s %s", method, path)
            failed = RequestRefused("the simulated provider failed; its log says why", status=500, kind="server_error")
            return self._refused(failed, in_anthropic, body or b"")

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        match method, path.rstrip("/"):
            case "POST", "/v1/chat/completions":
                asked = openai.read_request(body, *_who(headers))
                return self._answer(asked, headers, in_anthropic=False)
            case "POST", "/v1/embeddings":
                return self._embed(embeddings.read_request(body), headers)
            case "POST", "/v1/messages":
                asked = anthropic.read_request(body, *_who(headers))
                return self._answer(asked, headers, in_anthropic=True)
            case "POST", "/v1/messages/count_tokens":
                return Answer(
                    status=200, body=anthropic.token_count(anthropic.read_request(body, "", "", counting=True))
                )
            case "GET", "/v1/models":
                return Answer(status=200, body=openai.models(sorted(PROFILES)))
            case "GET", "/healthz":
                return Answer(status=200, body=b'{"status":"ok","simulated":true}')
        message = f"Unknown request URL: {method} {path:.200}"
        raise RequestRefused(message, status=404, code="unknown_url")

    def _answer(self, asked: Asked, headers: Mapping[str, str], *, in_anthropic: bool) -> Answer:
        _fail_on_request(asked.model)
        now = self.now()
        told = self._take(headers, asked.input_tokens(), now, in_anthropic=in_anthropic)
        drafted, proposal = draft(asked, self.seed, self.alter, int(now))
        drawn = timing(drafted.model, self.seed, drafted.digest)
        planned_ms = proposal.delay_ms + drawn.total_ms(drafted.output_tokens)
        told["x-assay-simulated-latency-ms"] = f"{planned_ms:.1f}"
        told["request-id" if in_anthropic else "x-request-id"] = f"req_sim_{drafted.digest}"
        first_ms = proposal.delay_ms + drawn.first_token_ms
        if not asked.stream:
            body = anthropic.answer(drafted) if in_anthropic else openai.answer(drafted)
            return Answer(status=200, headers=told, body=body, wait_s=self._wait_s(planned_ms))
        events = _events(drafted, asked, in_anthropic)
        pace = self._wait_s(drawn.per_token_ms)
        return Answer(status=200, headers=told, events=events, wait_s=self._wait_s(first_ms), per_token_s=pace)

    def _embed(self, asked: embeddings.Embedded, headers: Mapping[str, str]) -> Answer:
        _fail_on_request(asked.model)
        embeddings.check_model(asked)
        told = self._take(headers, asked.input_tokens(), self.now(), in_anthropic=False)
        digest = asked.digest()
        planned_ms = timing(asked.model, self.seed, digest).first_token_ms
        told |= {"x-assay-simulated-latency-ms": f"{planned_ms:.1f}", "x-request-id": f"req_sim_{digest}"}
        return Answer(status=200, headers=told, body=embeddings.answer(asked), wait_s=self._wait_s(planned_ms))

    def _take(self, headers: Mapping[str, str], tokens: int, now: float, *, in_anthropic: bool) -> dict[str, str]:
        """Takes a request from its key's limits and gives the headers that tell them. Raises RequestRefused."""
        key = headers.get("x-api-key") or headers.get("authorization", "")
        try:
            self.limits.take(key, tokens, now)
        except RequestRefused as refused:
            refused.headers |= self.limits.headers(key, now, anthropic=in_anthropic)
            raise
        return self.limits.headers(key, now, anthropic=in_anthropic)

    def _wait_s(self, simulated_ms: float) -> float:
        return 0.0 if self.speed is None else simulated_ms / 1000.0 / self.speed

    def _refused(self, refused: RequestRefused, in_anthropic: bool, body: bytes) -> Answer:
        rendered = anthropic.refusal(refused, f"req_sim_{len(body)}") if in_anthropic else openai.refusal(refused)
        return Answer(status=refused.status, headers=refused.headers, body=rendered)


def _events(drafted: Drafted, asked: Asked, in_anthropic: bool) -> Iterator[tuple[bytes, int]]:
    return anthropic.events(drafted) if in_anthropic else openai.events(drafted, asked.stream_usage)


def _fail_on_request(model: str) -> None:
    wanted = model.removeprefix(FAILING_MODEL)
    if wanted != model and wanted.isdecimal() and 400 <= int(wanted) <= 599:
        status = int(wanted)
        kind, code = ("server_error" if status >= 500 else "invalid_request_error"), _CODES.get(status)
        headers = {"retry-after": "1"} if status in (429, 503, 529) else {}
        raise RequestRefused(f"{model} always answers {status}", status=status, kind=kind, code=code, headers=headers)


def _who(headers: Mapping[str, str]) -> tuple[str, str]:
    """Session and release from W3C baggage: `key=value;property, key=value`, values percent-encoded."""
    found = {}
    for member in headers.get("baggage", "").split(","):
        name, _, value = member.partition(";")[0].partition("=")
        found[unquote(name.strip())] = unquote(value.strip())
    return found.get("session.id", ""), found.get("assay.release", "")


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is too large (the rest is read and dropped)."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        size += len(message.get("body", b""))
        if size <= MOST_BODY_BYTES:
            chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return b"".join(chunks) if size <= MOST_BODY_BYTES else None


async def _send(answer: Answer, send: Send) -> None:
    told = {**answer.headers, "content-type": _JSON if answer.events is None else _EVENTS, "x-assay-simulated": "true"}
    if answer.events is None:
        told["content-length"] = str(len(answer.body))
    if answer.wait_s > 0:
        await asyncio.sleep(answer.wait_s)
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if answer.events is None:
        await send({"type": "http.response.body", "body": answer.body})
        return
    if answer.per_token_s <= 0:
        await send({"type": "http.response.body", "body": b"".join(event for event, _ in answer.events)})
        return
    for event, n_tokens in answer.events:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(n_tokens * answer.per_token_s)
    await send({"type": "http.response.body", "body": b""})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
