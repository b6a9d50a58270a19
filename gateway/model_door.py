"""The model door: one call from its request to its span.

Every call that could be read ends in `Parts.end` exactly once, whether it was answered, refused, failed or given up by
its caller; a call is ended before its caller gets the last byte.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from core.clock import Clock
from gateway import explained
from gateway.chain import Chain
from gateway.errors import CallFailed, Refused
from gateway.http import EVENTS, Request, Send, error_headers, header_pairs, send_json
from gateway.records import Answer, Call
from gateway.streams import DONE, Assembly, Filters, chunks_of, error_event
from gateway.upstreams.wire import Upstreams

_LOG = logging.getLogger("assay.gateway")


@dataclass(kw_only=True, slots=True)
class Tracing:
    """What the end of the call before cost, in milliseconds: a span cannot hold the time that it took to write it."""

    ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ModelDoor:
    """What calls pass. `price` fills in the cost of a call that is over; `finish` writes its span."""

    chain: Chain
    upstreams: Upstreams
    clock: Clock
    price: Callable[[Call], None]
    finish: Callable[[Call], None]
    send_timeout_s: float = 60.0
    tracing: Tracing = field(default_factory=Tracing)

    async def serve(self, call: Call, request: Request, send: Send) -> None:
        """Answers one call. Never raises but for a stop of the process."""
        task = asyncio.current_task()
        assert task is not None
        if explained.ASKED in request.headers:
            explained.ask(call)
        exchange = _Exchange(self, call, send)
        watch = asyncio.get_running_loop().create_task(request.until_gone())
        watch.add_done_callback(lambda _: exchange.caller_left(task))
        try:
            await exchange.run()
        finally:
            exchange.over = True
            watch.cancel()

    def refuse(self, call: Call, error: CallFailed) -> None:
        """Ends a call that was refused before it was read: it has a span, and passed no policy."""
        call.status, call.error, call.error_message, call.refused = error.status, error.code, error.message, error.code
        call.ended_ns = self.clock()
        try:
            self.finish(call)
        except Exception:
            _LOG.exception("the span of call %s could not be written", call.id)


class _Exchange:
    """One call under way."""

    def __init__(self, door: ModelDoor, call: Call, send: Send) -> None:
        self._door, self._call, self._send = door, call, send
        self._began = False  # the head of the answer was sent
        self._ended = False
        self._left = False
        self.over = False

    def caller_left(self, task: asyncio.Task[Any]) -> None:
        """The connection was closed: what is under way for nobody is given up."""
        if not self.over:
            self._left = True
            task.cancel()

    async def run(self) -> None:
        """The call's life."""
        try:
            await (self._stream() if self._call.streamed else self._answer())
        except CallFailed as error:
            await self._fail(error)
        except asyncio.CancelledError:
            self._call.aborted = True
            self._end(499, "aborted", "the caller went away" if self._left else "the gateway was stopped")
            if not self._left:
                raise
        except Exception:
            _LOG.exception("call %s ended in a defect", self._call.id)
            said = "something went wrong in the gateway; its log says what"
            await self._fail(CallFailed(said, code="gateway_defect"))
        finally:
            if not self._ended:
                self._end(500, "gateway_defect", "the call ended without an answer")

    async def _answer(self) -> None:
        call, door = self._call, self._door
        answer = door.chain.before(call) or await door.upstreams.ask(call)
        self._note(answer)
        door.chain.after(call, answer)
        self._end(200)
        await send_json(self._send, 200, answer.body, self._headers(whole=True))

    def _note(self, answer: Answer) -> None:
        """What the span says of the answer: before anything masked is restored."""
        call = self._call
        call.response_id = str(answer.body.get("id") or "")
        call.response_model = str(answer.body.get("model") or "")
        choices = answer.body.get("choices") or ()
        call.finish_reasons = [str(choice.get("finish_reason") or "") for choice in choices]
        # `after` makes new texts in place of the masked ones: messages and their calls are copied as they are now.
        call.output = [_copied(choice.get("message") or {}) for choice in choices]

    async def _stream(self) -> None:
        call, door = self._call, self._door
        cached = door.chain.before(call)
        if cached is not None:
            await self._replay(cached)
            return
        stream = await door.upstreams.open(call)
        assembly = Assembly()
        try:
            filters = Filters(door.chain.streams(call), call.state["wants_usage"], call.policy_ms)
            try:
                async for chunks in stream:
                    for some in _first_alone(chunks, call.first_token_ns == 0):
                        call.first_token_ns = call.first_token_ns or door.clock()
                        for chunk in some:
                            assembly.add(chunk)
                        await self._send_events(filters.feed(some))
                tail = filters.end()
            finally:
                self._note_stream(assembly)
        finally:
            await stream.close()
        self._end(200)
        await self._send_events(tail + explained.comment(call) + DONE, last=True)

    async def _replay(self, answer: Answer) -> None:
        call = self._call
        self._note(answer)
        call.first_token_ns = self._door.clock()
        filters = Filters(self._door.chain.streams(call), call.state["wants_usage"], call.policy_ms)
        events = filters.feed(chunks_of(answer.body)) + filters.end()
        self._end(200)
        await self._send_events(events + explained.comment(call) + DONE, last=True)

    def _note_stream(self, assembly: Assembly) -> None:
        call = self._call
        call.response_id, call.response_model = assembly.id, assembly.model
        call.finish_reasons, call.output = assembly.finish_reasons, assembly.messages()

    async def _send_events(self, events: bytes, *, last: bool = False) -> None:
        if not self._began:
            self._began = True
            head = [(b"content-type", EVENTS), (b"cache-control", b"no-cache"), *header_pairs(self._headers())]
            await self._send({"type": "http.response.start", "status": 200, "headers": head})
        if events or last:
            try:
                async with asyncio.timeout(self._door.send_timeout_s):
                    await self._send({"type": "http.response.body", "body": events, "more_body": not last})
            except TimeoutError:
                self._left = True  # it reads nothing: what is under way for it keeps others waiting
                raise asyncio.CancelledError from None

    async def _fail(self, error: CallFailed) -> None:
        if isinstance(error, Refused):
            self._call.refused = error.code
        self._end(error.status, error.code, error.message)
        if self._began:
            await self._send({"type": "http.response.body", "body": error_event(error), "more_body": False})
            return
        await send_json(self._send, error.status, error.body(), {**self._headers(), **error_headers(error)})

    def _end(self, status: int, error: str = "", message: str = "") -> None:
        """Ends the call, once: what it cost, its policies, its span."""
        if self._ended:
            return
        self._ended = True
        call, door = self._call, self._door
        call.status, call.error, call.error_message = status, error, message
        call.ended_ns = door.clock()
        for step in (door.price, door.chain.done, self._trace):
            try:
                step(call)
            except Exception:
                _LOG.exception("the end of call %s could not be written", call.id)

    def _trace(self, call: Call) -> None:
        tracing = self._door.tracing
        call.policy_ms["tracing"] = tracing.ms
        began = perf_counter_ns()
        self._door.finish(call)
        tracing.ms = (perf_counter_ns() - began) / 1e6

    def _headers(self, *, whole: bool = False) -> dict[str, str]:
        call = self._call
        found: dict[str, str] = {"x-assay-call-id": call.id, "x-assay-cache": call.cache.value}
        if call.answered_by is not None:
            found["x-assay-upstream"] = call.answered_by.upstream
            found["x-assay-model"] = call.answered_by.model
        if call.flags:
            found["x-assay-flags"] = ",".join(call.flags)[:1000]
        if call.simulated:
            found["x-assay-simulated"] = "true"
        if whole:
            found["x-assay-overhead-ms"] = f"{(call.ended_ns - call.started_ns - call.upstream_ns) / 1e6:.3f}"
            if call.cost_usd is not None:
                found["x-assay-cost-usd"] = f"{call.cost_usd:.9f}"
        if call.ended_ns and explained.is_asked(call):
            found[explained.HEADER] = explained.header(call)
        return {**found, **call.state.get("headers", {})}


def _first_alone(chunks: list[dict[str, Any]], is_first: bool) -> tuple[list[dict[str, Any]], ...]:
    """The caller gets a stream's first chunk before the others that came with it are looked at."""
    return (chunks[:1], chunks[1:]) if is_first and len(chunks) > 1 else (chunks,)


def _copied(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return dict(message)
    return {**message, "tool_calls": [{**each, "function": dict(each.get("function") or {})} for each in calls]}
