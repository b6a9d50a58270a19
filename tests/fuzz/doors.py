"""The share of inputs that goes through the doors of a real collector on loopback, whole and with broken framing.

What takes gRPC's frames apart is a library in C, of which no line can be traced: framings are guided by what comes
back, the kinds of frames, their error codes and statuses, and the words with them. One that brings about an answer
never seen before is kept, and half of the others are made from those.
"""

from __future__ import annotations

import contextlib
import random
import re
import resource
import socket
import struct
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Final

import grpc

from core.records import Counts
from tests.collector.alone import Collector
from tests.collector.doors import PROTOBUF, Wire, fresh, request_bytes
from tests.collector.otlp import traces
from tests.fuzz.inputs import Input
from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Found
from tests.waiting import wait_until

PATHS: Final = {"traces": "/v1/traces", "logs": "/v1/logs", "metrics": "/v1/metrics"}
METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ANSWERS: Final = frozenset({200, 400, 401, 404, 405, 408, 413, 414, 415, 417, 431})
CODES: Final = frozenset({grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED})
# Of calls with broken framing: the library says 12 (no such method), 13 (a message that cannot be taken apart) and 14
# (the connection went); a fault of ours would be 2.
BROKEN: Final = frozenset({0, 3, 8, 12, 13, 14, 16})
ANSWERED_WITHIN_S: Final = 0.5
WITHIN_S: Final = 20.0  # wall clock on a busy machine; the collector's processor time is held to 2 s
MOST_FRAMINGS: Final = 1_000
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Doors:
    """A collector, what it was sent, and what must be stored of it at the end."""

    def __init__(self, collector: Collector, mutator: Mutator) -> None:
        self._collector = collector
        self._mutator = mutator
        self._rng: random.Random = mutator.rng
        self._keys = {name: collector.key_of(name) for name in ("fuzzed", "neighbour")}
        self._healthy: dict[str, set[str]] = {name: set() for name in self._keys}
        self._channel = grpc.insecure_channel(f"127.0.0.1:{collector.base}")
        self.n_sent = 0
        self._framings: list[bytes] = []
        self.answers: set[Hashable] = set()

    def close(self) -> None:
        """Hangs up."""
        self._channel.close()

    def send(self, each: Input) -> None:
        """One input through one of the doors, its framing whole or broken. Raises Found."""
        self.n_sent += 1
        before = _cpu_s(self._collector.pid)
        way = self._rng.random()
        try:
            if way < 0.55:
                self._http(each)
            elif way < 0.70:
                self._broken_http(each)
            elif way < 0.85 and each.signal == "traces" and not each.is_gzip:
                self._grpc(each)
            else:
                self._broken_grpc(each)
        except (OSError, AssertionError, ValueError) as error:
            log = self._collector.log()[-1500:]
            raise Found(
                f"at a door, input {self.n_sent}: {error!r}; the collector's log ends: {log}", [each]
            ) from error
        if _cpu_s(self._collector.pid) - before > 2.0:
            raise Found("a door took more than 2 s", [each])

    def _request(self, each: Input) -> bytes:
        kind = "application/json" if each.is_json else PROTOBUF
        lines = ["content-encoding: gzip"] if each.is_gzip else []
        path = PATHS[each.signal]
        return request_bytes(each.body, self._keys["fuzzed"], *lines, path=path, content_type=kind)

    def _http(self, each: Input) -> None:
        with Wire(self._collector.base + 1, WITHIN_S) as wire:
            wire.send(self._request(each))
            status = wire.answer()[0]
        assert status in ANSWERS - {404}, status

    def _broken_http(self, each: Input) -> None:
        """The head edited as bytes; the answer is a refusal, a success or, when nothing whole arrived, none."""
        head, body = self._request(each).split(b"\r\n\r\n", 1)
        if self._rng.random() < 0.5:
            head = self._mutator.any_bytes(head)
        else:
            size = self._rng.choice([b"0", b"-1", b"99999999999999999999", b"7", b"abc", b"1 2"])
            head = head.replace(b"content-length: ", b"content-length: " + size)
        said = exchange(self._collector.base + 1, head + b"\r\n\r\n" + body)
        if said:
            assert said.startswith(b"HTTP/1.1 "), said[:40]
            assert int(said.split()[1]) in ANSWERS, said[:200]

    def _grpc(self, each: Input) -> None:
        code, details = self._call(each.body, self._keys["fuzzed"])
        assert code in CODES, (code, details)

    def _call(self, body: bytes, key: str) -> tuple[grpc.StatusCode, object]:
        """A call, sent again where exporters send again: a broken path makes the door open anew."""
        found: list[tuple[grpc.StatusCode, object]] = []

        def answered() -> bool:
            call = self._channel.unary_unary(METHOD).future(
                body, metadata=[("x-api-key", key)], timeout=WITHIN_S, wait_for_ready=True
            )
            said = call.result() if call.code() is grpc.StatusCode.OK else call.details()
            found.append((call.code(), said))
            return call.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

        wait_until(answered, WITHIN_S, "the gRPC door to answer")
        return found[-1]

    def _broken_grpc(self, each: Input) -> None:
        """Bytes of HTTP/2 with a gRPC message whose prefix, compression or frames lie; it must hang up or answer."""
        if self._framings and self._rng.random() < 0.5:
            raw = self._mutator.any_bytes(self._rng.choice(self._framings))
        else:
            raw = self._framing(each)
        said = exchange(self._collector.base, PREFACE + raw, until=b"grpc-status")
        assert grpc_statuses(said) <= BROKEN, said[-300:]
        features = http2_features(said)
        if not features <= self.answers and len(self._framings) < MOST_FRAMINGS:
            self._framings.append(raw)
        self.answers |= features

    def _framing(self, each: Input) -> bytes:
        """A new one."""
        rng = self._rng
        flag = rng.choice([0, 0, 1, 1, 2, 255])
        size = rng.choice([len(each.body), len(each.body) + 1, max(len(each.body) - 1, 0), 0, 2**32 - 1])
        message = struct.pack(">BI", flag, size) + each.body
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", METHOD.encode()),
            (b":authority", b"assay"),
            (b"content-type", rng.choice([b"application/grpc", b"application/grpc+proto", b"text/plain"])),
            (b"te", b"trailers"),
            (b"grpc-encoding", rng.choice([b"identity", b"gzip", b"deflate", b"snappy", b"x"])),
            (b"authorization", b"Bearer " + self._keys["fuzzed"].encode()),
        ]
        if rng.random() < 0.2:
            rng.shuffle(headers)
        frames = [_frame(4, 0, 0, b""), _frame(1, 4, 1, _block(headers))]
        while message:
            step = rng.choice([1, 5, 100, 16_384])
            frames.append(_frame(0, 0, 1, message[:step]) if len(frames) < 20 else _frame(0, 0, 1, message[:16_384]))
            message = message[step if len(frames) <= 20 else 16_384 :]
        frames.append(_frame(0, 1, 1, b""))
        raw = b"".join(frames)
        return self._mutator.any_bytes(raw) if rng.random() < 0.6 else raw

    # -- the neighbours --------------------------------------------------------------------------------------------

    def neighbours(self) -> None:
        """A healthy request of both tenants through both doors; each must be a full success."""
        for name, key in self._keys.items():
            [one, other] = fresh(2, {"text": "healthy"}, name="healthy")
            status, body, _ = self._collector.post(traces(one).SerializeToString(), key=key)
            if (status, body) != (200, b""):
                raise Found(f"a healthy neighbour was answered {status}", [])
            code, answer = self._call(traces(other).SerializeToString(), key)
            if (code, answer) != (grpc.StatusCode.OK, b""):
                raise Found(f"a healthy neighbour was answered {code}: {answer!r}", [])
            self._healthy[name] |= {one.span_id.hex(), other.span_id.hex()}

    def settled(self) -> None:
        """Everything acknowledged is stored once, every ledger balances, and the log shows no fault. Raises Found."""
        self._collector.drained()
        for name, expected in self._healthy.items():
            rows = self._collector.stored(tenant=name)
            ids = rows.filter(rows["name"] == "healthy")["span_id"].to_list()
            if sorted(ids) != sorted(expected):
                raise Found(f"{len(expected)} healthy spans of {name} were sent, {len(ids)} are stored", [])
            for row in self._collector.ledger(name).values():
                if not row.counts.balanced:
                    raise Found(f"the ledger of {name} does not balance: {row}", [])
        if self._collector.ledger("neighbour")["spans"].counts != Counts(
            received=len(self._healthy["neighbour"]), stored=len(self._healthy["neighbour"])
        ):
            raise Found("the neighbour's ledger counts what it did not send", [])
        log = self._collector.log()
        for word in ("Traceback", "fault of Assay", "not be made of"):
            if word in log:
                raise Found(f"the log says: {log[log.index(word) :][:2000]}", [])


def grpc_statuses(said: bytes) -> set[int]:
    """The statuses of calls in what a gRPC door said; it writes them as plain text."""
    return {int(found) for found in re.findall(rb"grpc-status[\x01\x02](\d\d?)", said)}


def http2_features(said: bytes) -> set[Hashable]:
    """What is telling in the frames of an answer (RFC 9113, section 4.1), each with the kind of the frame before it.

    Of a frame: kind, flags, the error code of RST_STREAM and GOAWAY, and its words without numbers.
    """
    found: set[Hashable] = set()
    at, before = 0, -1
    while at + 9 <= len(said):
        size, kind, flags = int.from_bytes(said[at : at + 3]), said[at + 3], said[at + 4]
        payload = said[at + 9 : at + 9 + size]
        code = payload[:4] if kind == 3 else payload[4:8] if kind == 7 else b""
        words = tuple(sorted(set(re.findall(rb"[A-Za-z]{3,}", payload)))) if kind in (1, 7) else ()
        found.add((before, kind, flags, code, words))
        at, before = at + 9 + size, kind
    found.add(("end", before, at == len(said)))
    return found


def http2_request(path: bytes, *more: tuple[bytes, bytes], message: bytes | None = None) -> bytes:
    """The bytes of a call, without a message as no gRPC library would send it, or with this one and its prefix."""
    headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"assay")]
    headers += [(b"content-type", b"application/grpc"), (b"te", b"trailers"), *more]
    said = PREFACE + _frame(4, 0, 0, b"") + _frame(1, 5 if message is None else 4, 1, _block(headers))
    return said if message is None else said + _frame(0, 1, 1, message)


def _block(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Headers in HPACK, each as a literal with a new name (RFC 7541, section 6.2.2)."""
    return b"".join(b"\x00" + _length(name) + name + _length(value) + value for name, value in headers)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _length(value: bytes) -> bytes:
    """An HPACK string length (7-bit prefix, RFC 7541 section 5.1), not Huffman coded."""
    if len(value) < 127:
        return bytes([len(value)])
    rest, out = len(value) - 127, bytearray([127])
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])


def exchange(port: int, raw: bytes, *, until: bytes = b"") -> bytes:
    """Sends bytes and says no more; what comes back until the other side hangs up. With `until` the connection stays
    open for that to come, as a gRPC door gives a call up with its connection; what is broken enough is not answered."""
    said = b""
    gone = contextlib.suppress(ConnectionResetError, BrokenPipeError)
    with _connected(port) as wire, gone:
        wire.sendall(raw)
        if until:
            wire.settimeout(ANSWERED_WITHIN_S)
            with contextlib.suppress(TimeoutError):
                while until not in said and (piece := wire.recv(65_536)):
                    said += piece
            wire.settimeout(WITHIN_S)
        wire.shutdown(socket.SHUT_WR)
        ends = time.monotonic() + WITHIN_S
        while piece := wire.recv(65_536):
            said += piece
            assert time.monotonic() < ends, "it neither hangs up nor stops talking"
    return said


def _connected(port: int) -> socket.socket:
    """A connection, once the door is open."""
    found: list[socket.socket] = []

    def connects() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            found.append(socket.create_connection(("127.0.0.1", port), WITHIN_S))
        return bool(found)

    wait_until(connects, WITHIN_S, "the door to be open")
    return found[0]


def _cpu_s(pid: int) -> float:
    times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(times[11]) + int(times[12])) / 100


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def fuzz_doors(folder: Path, mutator: Mutator, n: int) -> dict[str, int]:
    """Sends n mutants to a collector of its own, with neighbours between. Raises Found. The figures of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    with Collector(folder) as collector:
        doors = Doors(collector, mutator)
        pid, warm = collector.pid, 0
        try:
            for number in range(n):
                doors.send(mutator.mutant(mutator.rng.choice(mutator.pool)))
                if number % 100 == 99:
                    doors.neighbours()
                if number == n // 4:
                    warm = resident(pid)
            doors.neighbours()
            doors.settled()
        finally:
            doors.close()
        grown = resident(pid) - warm
        if collector.pid != pid or grown > 64 << 20:
            raise Found(f"the collector grew by {grown >> 20} MiB", [])
        return {"n": doors.n_sent, "grown_bytes": grown, "answers": len(doors.answers)}
