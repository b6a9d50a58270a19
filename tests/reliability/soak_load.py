"""Load of the soak and the noisy neighbour: spans numbered from one, sent by clients that behave as exporters do.

A span's id is its number times an odd constant modulo 2^64: it looks like chance, and the number comes back out of it.
So what must be in the lake is a byte per request, also after forty million spans. A client repeats what was refused
after the hint it was given, gives up after as long as the OpenTelemetry SDK does, and drops what waited too long for
its turn, as a full queue would. What it was never told to be kept may be missing; what was acknowledged may not.
"""

from __future__ import annotations

import http.client
import math
import random
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

SPREAD: Final = 0x9E3779B97F4A7C15  # odd, so that multiplication modulo 2^64 can be undone
GATHER: Final = pow(SPREAD, -1, 1 << 64)
SPANS_OF_A_TRACE: Final = 8
GIVE_UP_S: Final = 10.0  # the default timeout of the SDK's exporters
QUEUE_S: Final = 5.0  # what waits longer for its turn found the queue full
RETRYABLE: Final = frozenset({429, 502, 503, 504})
_WORDS: Final = (
    "agent",
    "tool",
    "answer",
    "customer",
    "order",
    "refund",
    "invoice",
    "search",
    "result",
    "policy",
    "why",
)
_U64: Final = np.uint64


class State(IntEnum):
    """What the client knows of a request."""

    UNDER_WAY = 0
    ACKED = 1
    REFUSED = 2  # given up: every answer said that nothing was kept
    UNSURE = 3  # given up, and at least one answer did not arrive: it may have been kept
    DROPPED = 4  # never sent: its turn came too late


class Template:
    """Requests alike in shape, each with ids, times and a session of its own."""

    def __init__(self, n_spans: int, *, seed: int = 1) -> None:
        self.n_spans = n_spans
        rng = random.Random(seed)
        spans = [_span(rng, i) for i in range(n_spans)]
        scoped = ScopeSpans(spans=spans)
        body = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scoped])]).SerializeToString()
        self._bytes = np.frombuffer(body, np.uint8)
        self._at = {name: _offsets(body, name, n_spans) for name in _PLACES}
        self._index = np.arange(n_spans, dtype=_U64)
        self._root = self._index - self._index % _U64(SPANS_OF_A_TRACE)

    def body(self, number: int, at_ns: int) -> bytes:
        """Request `number` (from 0), whose spans start at `at_ns` and one microsecond after each other."""
        made = self._bytes.copy()
        first = number * self.n_spans + 1
        own = (self._index + _U64(first)) * _U64(SPREAD)
        root = (self._root + _U64(first)) * _U64(SPREAD)
        start = _U64(at_ns) + self._index * _U64(1000)
        text = np.frombuffer(b"".join(b"%08d" % (n % 50_000) for n in (root >> _U64(40)).tolist()), np.uint8)
        values = {"trace": root.astype(">u8"), "span": own.astype(">u8"), "parent": root.astype(">u8")}
        values |= {"start": start.astype("<u8"), "end": (start + _U64(900_000)).astype("<u8"), "session": text}
        for name, value in values.items():
            places, having = self._at[name]
            made[places] = value.view(np.uint8).reshape(-1, 8)[having]
        return made.tobytes()


def numbers_of(span_ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The numbers (from 0) of spans by their ids in hex; absurdly large ones where an id is not ours."""
    raw = np.frombuffer(bytes.fromhex("".join(span_ids)), ">u8").astype(_U64)
    return raw * _U64(GATHER) - _U64(1)


def _mark(name: str, i: int) -> bytes:
    return struct.pack(">BBHI", 0xF7, _PLACES.index(name), 0xABCD, i)


_PLACES: Final = ("trace", "span", "parent", "start", "end", "session")


def _offsets(body: bytes, name: str, n_spans: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the eight bytes of each span stand, and which spans have them."""
    found = [(body.find(_written(name, i)), i) for i in range(n_spans)]
    places = np.array([at for at, _ in found if at >= 0], np.int64)
    return places[:, None] + np.arange(8), np.array([i for at, i in found if at >= 0], np.int64)


def _written(name: str, i: int) -> bytes:
    """A mark as it stands in the message: times are little-endian, the session is text."""
    if name == "session":
        return b"#%07d" % i
    return _mark(name, i)[::-1] if name in ("start", "end") else _mark(name, i)


def _span(rng: random.Random, i: int) -> Span:
    """A root, a model call or a tool call, with about twenty attributes and a kilobyte of text."""
    is_root = i % SPANS_OF_A_TRACE == 0

    def text(n: int) -> str:
        return " ".join(rng.choice(_WORDS) for _ in range(n))

    attributes: dict[str, str | int] = {f"app.label.{k}": text(2) for k in range(10)}
    attributes |= {"session.id": f"s-{_written('session', i).decode()}", "app.variant": rng.choice("ab")}
    attributes |= {"service.step": i, "input.value": text(30), "output.value": text(40)}
    if i % 2:
        attributes |= {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
        attributes |= {"gen_ai.usage.input_tokens": rng.randrange(900), "gen_ai.usage.output_tokens": rng.randrange(90)}
    elif not is_root:
        attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": rng.choice(_WORDS)}
    return Span(
        trace_id=b"soaksoak" + _mark("trace", i),
        span_id=_mark("span", i),
        parent_span_id=b"" if is_root else _mark("parent", i),
        name=f"soak {i % 9}",
        start_time_unix_nano=int.from_bytes(_mark("start", i), "big"),
        end_time_unix_nano=int.from_bytes(_mark("end", i), "big"),
        attributes=[KeyValue(key=key, value=_value(value)) for key, value in attributes.items()],
    )


def _value(value: str | int) -> AnyValue:
    return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)


@dataclass(frozen=True, kw_only=True)
class Rest:
    """After every `after_s` seconds of load nothing is sent for `lasts_s` seconds."""

    after_s: float
    lasts_s: float

    def at_s(self, load_s: float) -> float:
        """When so many seconds of load are over, in seconds from the beginning."""
        return load_s + self.lasts_s * (load_s // self.after_s)

    def windows(self, seconds: float) -> list[tuple[float, float]]:
        """Begin and end of each rest between `seconds` of load."""
        ends = [self.at_s(n * self.after_s) for n in range(1, math.ceil(seconds / self.after_s))]
        return [(end - self.lasts_s, end) for end in ends]


NO_REST: Final = Rest(after_s=math.inf, lasts_s=0.0)


@dataclass(kw_only=True)
class Seen:
    """What the clients saw, all counts in requests but `acks_ms`."""

    statuses: dict[int, int] = field(default_factory=dict)
    broken: int = 0  # no answer: the connection ended
    problems: list[str] = field(default_factory=list)
    acks_ms: array[float] = field(default_factory=lambda: array("f"))


class Clients:
    """A crowd of clients on one OTLP/HTTP door. Request n belongs to tenant n modulo their number."""

    def __init__(self, port: int, keys: Sequence[str], template: Template, *, n: int = 8) -> None:
        self._port, self._keys, self._template, self._n = port, keys, template, n
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.states = bytearray()
        self.seen = Seen()

    def closed(self, seconds: float) -> float:
        """Everybody sends without pause; the seconds it took."""
        began = time.monotonic()
        self._all(lambda: self._without_pause(began + seconds))
        return time.monotonic() - began

    def open(self, seconds: float, per_s: float, rest: Rest = NO_REST) -> None:
        """`per_s` requests a second, each at its time, however slow the answers are; `seconds` without the rests."""
        began, first = time.monotonic(), len(self.states)
        self._all(lambda: self._on_time(began, first, seconds * per_s, lambda n: rest.at_s(n / per_s)))

    def stop(self) -> None:
        """No further request."""
        self._stop.set()

    def _all(self, turns: Callable[[], Iterator[int]]) -> None:
        threads = [threading.Thread(target=self._send_all, args=(turns,), daemon=True) for _ in range(self._n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send_all(self, turns: Callable[[], Iterator[int]]) -> None:
        client = _Client(self._port, self._keys, self._template, self.seen, self._lock, self._stop)
        try:
            for number in turns():
                self.states[number] = client.sent(number)
        finally:
            client.close()

    def _taken(self, below: float = float("inf")) -> int | None:
        """The next number, None when all below `below` are taken or no more are wanted."""
        with self._lock:
            if len(self.states) >= below or self._stop.is_set():
                return None
            self.states.append(State.UNDER_WAY)
            return len(self.states) - 1

    def _without_pause(self, until: float) -> Iterator[int]:
        while time.monotonic() < until and (number := self._taken()) is not None:
            yield number

    def _on_time(self, began: float, first: int, n: float, at_s: Callable[[int], float]) -> Iterator[int]:
        while (number := self._taken(first + n)) is not None:
            due = began + at_s(number - first)
            if due < time.monotonic() - QUEUE_S:
                self.states[number] = State.DROPPED
                continue
            self._stop.wait(max(0.0, due - time.monotonic()))
            yield number


class _Client:
    """One connection that is kept open."""

    def __init__(
        self,
        port: int,
        keys: Sequence[str],
        template: Template,
        seen: Seen,
        lock: threading.Lock,
        stop: threading.Event,
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
        self._keys, self._template, self._seen, self._lock, self._stop = keys, template, seen, lock, stop

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def sent(self, number: int) -> State:
        """Sends a request until it is acknowledged, or given up."""
        body, began, unsure = self._template.body(number, time.time_ns()), time.monotonic(), False
        while True:
            tried = time.monotonic()
            status, hint_s = self._post(body, self._keys[number % len(self._keys)])
            with self._lock:
                self._seen.statuses[status] = self._seen.statuses.get(status, 0) + 1
                if status == http.HTTPStatus.OK:
                    self._seen.acks_ms.append((time.monotonic() - tried) * 1000)
                    return State.ACKED
            unsure |= status == 0
            over = time.monotonic() + hint_s > began + GIVE_UP_S
            if over or status not in (0, *RETRYABLE) or self._stop.wait(hint_s):
                return State.UNSURE if unsure else State.REFUSED

    def _post(self, body: bytes, key: str) -> tuple[int, float]:
        """(status, seconds to wait before the next try); status 0: no answer."""
        headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {key}"}
        try:
            self._connection.request("POST", "/v1/traces", body, headers)
            answer = self._connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._seen.broken += 1
            return 0, 1.0
        hint = answer.headers.get("retry-after")
        wrong = said if answer.status == http.HTTPStatus.OK else hint is None
        if wrong and len(self._seen.problems) < 20:
            self._seen.problems.append(f"{answer.status} with retry-after {hint}: {said[:200]!r}")
        return answer.status, float(hint or 0)
