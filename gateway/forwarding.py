"""One request passed on to a release, and its answer passed back, both as they come.

What is of one connection only stays on it (RFC 9110, section 7.6.1); the caller's credentials and cookies are for the
gateway and go no further. Baggage and traceparent are ours from here on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from core.pii.find import find
from gateway.baggage import stamped
from gateway.config import SessionsConfig
from gateway.errors import BadCall, CallFailed
from gateway.http import Gone, Receive, Request, Send, too_large
from gateway.spans import Passage

_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade"}
)  # fmt: skip
_NOT_SENT: Final = _HOP | {
    "host", "authorization", "x-api-key", "api-key", "cookie", "baggage", "traceparent", "tracestate", "expect",
    "x-assay-app", "x-assay-session", "x-assay-release", "x-assay-variant", "content-length",
    "x-assay-choose-release",
}  # fmt: skip
_NOT_RETURNED: Final = _HOP | {"date", "server", "x-assay-release", "x-assay-variant"}
_UNSAID: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # that aiohttp would add
_MOST_READ: Final = 64 << 10  # bytes of a body that are looked at for its text
_MOST_TEXT: Final = 8 << 10  # characters of a text on the span
_READ_WITHIN_S: Final = 2.0  # a body that no release gets


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A release and where it is; `address` None: nobody said. `key` is shown to it."""

    release: str
    variant: str
    address: str | None
    key: str = ""


class _Unreachable(Exception):
    """Nothing was sent: no connection could be made."""


class _Cut(Exception):
    """The release broke off in the middle of an answer."""


class Exchange:
    """One request under way. What came of it is in the passage."""

    def __init__(
        self,
        request: Request,
        receive: Receive,
        send: Send,
        passage: Passage,
        client: aiohttp.ClientSession,
        told: SessionsConfig,
        most_bytes: int,
        path: str,
        *,
        content: bool,
    ) -> None:
        self._request, self._send, self._passage = request, send, passage
        self._client, self._told, self._path = client, told, path
        self._body = _Body(request, receive, most_bytes)
        self._content = content
        self._began = self._over = self._left = False

    async def run(self, goals: Sequence[Goal]) -> None:
        """Asks the first of the goals that can be connected to. Raises CallFailed before an answer has begun."""
        task = asyncio.current_task()
        assert task is not None
        watch = asyncio.get_running_loop().create_task(self._body.until_gone())
        watch.add_done_callback(lambda _: self._caller_left(task))
        try:
            await self._first_of(goals)
        except CallFailed as error:
            self._note(error.status, error.code, error.message)
            if isinstance(error, BadCall):
                self._nobody()
            if not self._passage.release:
                await self._body.read_for(_READ_WITHIN_S)  # nobody asked for it, and the span is to have its text
            raise
        except _Cut:
            # The answer is left unfinished, so that the caller's client sees that it is.
            self._note(502, "release_broke_off", "the release broke off in the middle of its answer")
        except (asyncio.CancelledError, Gone):
            self._note(499, "aborted", "the caller went away" if self._left else "the gateway was stopped")
            if not self._left and not self._body.gone:
                raise
        finally:
            self._over = True
            watch.cancel()
            if self._content:
                kind = self._request.headers.get(b"content-type", b"")
                self._passage.said = _text_of(bytes(self._body.kept), kind, "text")

    def _caller_left(self, task: asyncio.Task[Any]) -> None:
        if not self._over:
            self._left = True
            task.cancel()

    def _note(self, status: int, error: str, message: str) -> None:
        passage = self._passage
        passage.status, passage.error, passage.error_message = status, error, message

    def _nobody(self) -> None:
        """What came of it is no release's doing."""
        self._passage.release = self._passage.variant = ""

    async def _first_of(self, goals: Sequence[Goal]) -> None:
        for goal in goals:
            if goal.address is None:
                said = (
                    f"nobody said where release {goal.release!r} is; register it with an endpoint, or name it in the "
                )
                raise _failed(503, "release_without_endpoint", said + "section sessions of the gateway's file")
            self._passage.release, self._passage.variant = goal.release, goal.variant
            try:
                await self._pass(goal, goal.address)
            except _Unreachable:
                self._nobody()
                continue
            return
        raise _failed(502, "release_unreachable", f"release {goals[-1].release!r} cannot be reached; is it running?")

    async def _pass(self, goal: Goal, address: str) -> None:
        request = self._request
        query = f"?{request.query.decode('latin-1')}" if request.query else ""
        url = URL(f"{address}{self._path}{query}", encoded=True)
        try:
            async with self._client.request(
                request.method, url, headers=self._headers(goal), data=self._body.sent(), allow_redirects=False,
                skip_auto_headers=_UNSAID, timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._told.connect_timeout_s, sock_read=self._told.timeout_s
                ),
            ) as answer:  # fmt: skip
                await self._return(answer, goal)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise _Unreachable from error
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            if self._body.gone:
                raise Gone from None
            if self._body.problem is not None:
                raise self._body.problem from None
            if self._began:
                raise _Cut from error
            if isinstance(error, TimeoutError):
                said = f"release {goal.release!r} did not answer within {self._told.timeout_s:g} s"
                raise _failed(504, "release_timeout", said) from error
            said = f"release {goal.release!r} broke off before it answered; try again"
            raise _failed(502, "release_failed", said) from error

    def _headers(self, goal: Goal) -> list[tuple[str, str]]:
        request, passage = self._request, self._passage
        dropped = {name.strip().lower() for name in request.joined(b"connection").decode("latin-1").split(",")}
        dropped |= _NOT_SENT
        headers = [
            (name.decode("latin-1"), value.decode("utf-8", "replace"))
            for name, value in request.pairs
            if name.decode("latin-1") not in dropped
        ]
        if request.declared_length() >= 0:
            headers.append(("content-length", str(request.declared_length())))
        headers.append(("traceparent", f"00-{passage.trace_id.hex()}-{passage.span_id.hex()}-01"))
        ours = {
            "session.id": passage.session,
            "assay.release": goal.release,
            "assay.variant": goal.variant,
            "assay.experiment": passage.experiment,
            "assay.app": passage.app,
            "user.id": passage.user,
        }
        headers.append(("baggage", stamped(request.joined(b"baggage"), ours)))
        if goal.key:
            headers.append(("authorization", f"Bearer {goal.key}"))
        return headers

    async def _return(self, answer: aiohttp.ClientResponse, goal: Goal) -> None:
        dropped = {name.strip().lower() for name in answer.headers.get("connection", "").split(",")}
        head = [
            (name.lower(), value)
            for name, value in answer.raw_headers
            if name.decode("latin-1").lower() not in _NOT_RETURNED and name.decode("latin-1").lower() not in dropped
        ]
        head.append((b"x-assay-release", _in_header(goal.release)))
        head.append((b"x-assay-variant", _in_header(goal.variant)))
        passage = self._passage
        passage.status = answer.status
        if answer.status >= 500:
            self._note(answer.status, str(answer.status), f"the release answered {answer.status}")
        self._began = True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": head})
        kept = bytearray()
        async for piece in answer.content.iter_any():
            if len(kept) <= _MOST_READ:
                kept += piece
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        if self._content:
            passage.replied = _text_of(bytes(kept), answer.headers.get("content-type", "").encode(), "reply")
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class _Body:
    """A request's body as it comes. `kept` is its beginning, `problem` why it could not be passed on."""

    def __init__(self, request: Request, receive: Receive, most: int) -> None:
        if request.declared_length() > most:
            raise too_large(most)
        self._receive, self._most = receive, most
        self._ended = asyncio.Event()
        self.kept = bytearray()
        self.gone = False
        self.problem: CallFailed | None = None
        self._is_there = request.declared_length() > 0 or b"transfer-encoding" in request.headers
        if not self._is_there:
            self._ended.set()

    def sent(self) -> AsyncIterator[bytes] | None:
        """What is sent on; None for a request without a body."""
        return self._pieces() if self._is_there else None

    async def _pieces(self) -> AsyncIterator[bytes]:
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                self.gone = True
                raise Gone
            piece, more = message.get("body", b""), message.get("more_body", False)
            size += len(piece)
            if size > self._most:
                self.problem = too_large(self._most)
                raise self.problem
            if len(self.kept) <= _MOST_READ:
                self.kept += piece
            if piece:
                yield piece
        self._ended.set()

    async def read_for(self, seconds: float) -> None:
        """Reads a body that was not sent on, for as long: what fits is in `kept`."""
        if self._ended.is_set() or self.gone or self.problem is not None:
            return
        with suppress(TimeoutError, Gone, CallFailed):
            async with asyncio.timeout(seconds):
                async for _ in self._pieces():
                    if len(self.kept) > _MOST_READ:
                        return

    async def until_gone(self) -> None:
        """Returns when the caller closed the connection, after the whole body was read."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _in_header(name: str) -> bytes:
    """A name that may have been chosen to end its line."""
    return "".join(each if each.isprintable() else "?" for each in name).encode("latin-1", "replace")


def _failed(status: int, code: str, said: str) -> CallFailed:
    return CallFailed(said, status=status, kind="release_error", code=code, retry_after_s=1 if status == 503 else None)


def _text_of(body: bytes, content_type: bytes, name: str) -> str:
    """The text of a turn's request or answer, as docs/agent.md has them, masked; empty where there is none."""
    if len(body) > _MOST_READ or not content_type.startswith(b"application/json"):
        return ""
    with suppress(orjson.JSONDecodeError):
        given = orjson.loads(body)
        text = given.get(name) if isinstance(given, dict) else None
        if isinstance(text, str):
            return _masked(text[:_MOST_TEXT])
    return ""


def _masked(text: str) -> str:
    for found in reversed(find(text)):
        text = f"{text[: found.start]}[{found.entity.value.upper()}]{text[found.end :]}"
    return text
