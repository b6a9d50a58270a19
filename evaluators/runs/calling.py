"""One turn asked of a release over HTTP, tried again where that is safe: each try has the same message id.

    POST ADDRESS/v1/sessions/SESSION/turns   {"user_id", "text", "message_id"}

An answer is a JSON object with `reply`; `status`, `input_tokens`, `output_tokens`, `cost_usd`, `trace_id` and `tools`
are read where they are told (docs/agent.md).
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from evaluators.runs.planning import Turn

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 60.0
MOST_ANSWER: Final = 4 << 20  # bytes
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NEW_KEY: Final = 401  # the gateway reads keys every two seconds
_KEY_TRIES: Final = 12


class CallFailed(Exception):
    """A turn got no answer, and why. `n_calls` requests were sent."""

    def __init__(self, reason: str, n_calls: int) -> None:
        super().__init__(reason)
        self.n_calls = n_calls


class Stopped(Exception):
    """The run was cancelled or the process ends: the turn is left as it is, neither failed nor done."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A turn's answer. None is what the release did not tell. `n_calls` counts requests, tries included."""

    text: str
    status: str = ""
    error: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    trace_id: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    latency_ms: float | None = None
    n_calls: int = 1
    release: str | None = None  # what the gateway says answered

    def json(self) -> dict[str, Any]:
        """As the trial keeps it."""
        told = {name: getattr(self, name) for name in ("text", "status", "error", "trace_id", "latency_ms")}
        usage = {name: getattr(self, name) for name in ("input_tokens", "output_tokens", "cost_usd")}
        return {**told, **usage, "tools": [dict(one) for one in self.tools]}


@dataclass(kw_only=True)
class Pace:
    """Lets `per_minute` calls a minute through, evenly; None lets all through. Thread-safe."""

    per_minute: float | None
    stopping: threading.Event
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Returns when the next call may go. Raises Stopped."""
        if self.per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + 60.0 / self.per_minute
        if self.stopping.wait(max(0.0, mine - now)):
            raise Stopped


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a release answers. `headers` are shown with every call. Thread-safe as httpx's client is."""

    client: httpx.Client
    address: str
    headers: Mapping[str, str]
    attempts: int
    pace: Pace
    stopping: threading.Event
    clock: Callable[[], float] = time.monotonic

    def ask(self, turn: Turn, until: float) -> Reply:
        """The answer to a turn. `until` is when the trial's time is over, by `clock`. Raises CallFailed, Stopped."""
        n, said = 0, ""
        while n < self.attempts or (said == "401" and n < _KEY_TRIES):
            self.pace.wait()
            if self.stopping.is_set():
                raise Stopped
            if (left := until - self.clock()) <= 0:
                raise CallFailed(f"timed out{f': the last try {said}' if said else ''}", n)
            n += 1
            started = self.clock()
            try:
                answer = self.client.post(self._url(turn), **_request(turn, self.headers), timeout=min(left, 300.0))
            except httpx.TimeoutException:
                said, wait = "got no answer in time", 0.0
            except httpx.HTTPError as error:
                said, wait = f"could not be made ({type(error).__name__}: {str(error)[:200]})", 0.0
            else:
                if answer.status_code < 300:
                    return _reply(answer, n, 1000 * (self.clock() - started))
                said, wait = _refused(answer, n)
            self._pause(max(wait, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (n - 1))), until)
        raise CallFailed(f"no answer after {n} tries: the last {_told(said)}", n)

    def _url(self, turn: Turn) -> str:
        return f"{self.address}/v1/sessions/{quote(turn.session_id, safe='')}/turns"

    def _pause(self, seconds: float, until: float) -> None:
        if self.stopping.wait(min(seconds, max(0.0, until - self.clock()))):
            raise Stopped


def _request(turn: Turn, headers: Mapping[str, str]) -> dict[str, Any]:
    baggage = ",".join(f"{name}={quote(value, safe='')}" for name, value in turn.baggage.items())
    ours = {"traceparent": turn.traceparent, "baggage": baggage, "idempotency-key": turn.message_id}
    body = {"user_id": turn.user_id, "text": turn.text, "message_id": turn.message_id}
    return {"json": body, "headers": {**headers, **ours, "x-assay-user": quote(turn.user_id, safe="")}}


def _refused(answer: httpx.Response, n: int) -> tuple[str, float]:
    """What is said of a refusal that may be tried again, and how long to wait at least. Raises CallFailed."""
    status = answer.status_code
    if status == _NEW_KEY:
        return "401", 1.0
    if status not in _AGAIN:
        raise CallFailed(f"answered {status}: {_words(answer)}", n)
    try:
        wait = float(answer.headers.get("retry-after", "0"))
    except ValueError:  # a date
        wait = 1.0
    return f"answered {status}: {_words(answer)}", wait if 0 <= wait <= 3600 else LONGEST_WAIT_S


def _told(said: str) -> str:
    return "answered 401: the key is not known there" if said == "401" else said


def _words(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        error = found.get("error", found) if isinstance(found, dict) else found
        words = error.get("message") or error.get("detail") if isinstance(error, dict) else error
        return str(words)[:300]
    except ValueError:
        return answer.text[:200]


def _reply(answer: httpx.Response, n: int, latency_ms: float) -> Reply:
    if len(answer.content) > MOST_ANSWER:
        raise CallFailed(f"the answer has {len(answer.content):,} bytes; at most {MOST_ANSWER:,}", n)
    try:
        said = answer.json()
    except ValueError:
        raise CallFailed("the answer is no JSON", n) from None
    text = said.get("reply") if isinstance(said, dict) else None
    if not isinstance(text, str):
        raise CallFailed("the answer has no text called reply", n)
    tools = said.get("tools")
    return Reply(
        text=text,
        status=str(said.get("status") or "")[:60],
        error=str(said.get("error") or "")[:200],
        input_tokens=count_of(said.get("input_tokens")),
        output_tokens=count_of(said.get("output_tokens")),
        cost_usd=amount_of(said.get("cost_usd")),
        trace_id=trace_id if isinstance(trace_id := said.get("trace_id"), str) and len(trace_id) == 32 else None,
        tools=tuple(one for one in tools if isinstance(one, dict)) if isinstance(tools, list) else (),
        latency_ms=latency_ms,
        n_calls=n,
        release=answer.headers.get("x-assay-release"),
    )


def count_of(value: object) -> int | None:
    """A number of tokens; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def amount_of(value: object) -> float | None:
    """Dollars or ms, told as number or text; None for what is none."""
    try:
        found = math.nan if isinstance(value, bool) else float(json.loads(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < 1e12 else None
