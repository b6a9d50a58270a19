"""A recorded session as bytes to be played again: OTLP in which ids and times are overwritten in place.

A template is a full session, recorded once through the real runtime. Every id in it has the same length in every
session (session, user, order numbers, trace and span ids, turns, tickets), so that another session of the same task,
persona and faults is a copy with other bytes at known places. Its times are those that the simulated model would have
taken and its user would have thought, not those of the machine that recorded it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b, shake_128
from random import Random
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from agent_runtime.errors import InvalidInput
from agent_runtime.simulation.faults.table import FAULTS
from agent_runtime.simulation.full import Played
from agent_runtime.simulation.provider.latency import timing
from agent_runtime.simulation.world import order_number

_NS_PER_MS: Final = 1_000_000
_THINKS_S: Final = (6.0, 45.0)  # a user, between a reply and her next message
_ORDER: Final = re.compile(r"^LK-(\d{7})$")
_TICKET: Final = re.compile(rb"TK-(\d{9})")
_LATENCY_ATTRIBUTE: Final = "assay.step.latency_ms"


@dataclass(frozen=True, kw_only=True)
class Template:
    """`data` is a serialised ExportTraceServiceRequest; times in it count from 0. `refs` are its orders' names."""

    data: bytes
    played: Played
    n_spans: int
    seconds: float  # from the first span's start to the last one's end
    refs: tuple[str, ...]
    named: tuple[tuple[int, int, int], ...]  # offset, length, number of the value: session, tag, order numbers
    drawn: tuple[tuple[int, int, int, str], ...]  # offset, length, position in the drawn bytes, raw|hex|digits
    n_drawn: int
    times: tuple[tuple[int, int], ...]  # offset, nanoseconds from the start

    def instance(self, session_id: str, start_ns: int) -> bytes:
        """The same session under another id (of the same length) and at another time."""
        copy = bytearray(self.data)
        tag = blake2b(session_id.encode(), digest_size=6).hexdigest()
        values = [session_id.encode(), tag.encode(), *(order_number(session_id, ref).encode() for ref in self.refs)]
        for offset, length, number in self.named:
            copy[offset : offset + length] = values[number]
        drawn = shake_128(session_id.encode()).digest(self.n_drawn)
        for offset, length, position, kind in self.drawn:
            copy[offset : offset + length] = _as(kind, drawn[position : position + length], length)
        pack_into = _U64.pack_into
        for offset, since_ns in self.times:
            pack_into(copy, offset, start_ns + since_ns)
        return bytes(copy)


_U64: Final = struct.Struct("<Q")


def template_of(played: Played, spans: Sequence[ReadableSpan], seed: int) -> Template:
    """Makes a template of a session and the spans it left. Raises InvalidInput: it left none."""
    if len({span.context.trace_id for span in spans if span.context}) < len({each.trace_id for each in played.results}):
        raise InvalidInput(f"turns of {played.chosen.session_id} left no spans: this runtime has answered them before")
    request = encode_spans(spans)
    found = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    seconds = _retime(found, played, seed)
    data = request.SerializeToString()
    session_id = played.chosen.session_id
    orders = {ref: match[1] for ref, text in played.prepared.names.items() if (match := _ORDER.match(text))}
    named = [*_places(data, session_id.encode(), 0), *_places(data, played.prepared.names["tag"].encode(), 1)]
    for number, digits in enumerate(orders.values(), start=2):
        for mark in (b"LK-", b"RT-"):
            named += [(offset + 3, 7, number) for offset, _, _ in _places(data, mark + digits.encode(), number)]
    drawn, n_drawn = _drawn(data, found, played)
    times = [time for span in found for time in _times_of(span)]
    return Template(
        data=data,
        played=played,
        n_spans=len(found),
        seconds=seconds,
        refs=tuple(orders),
        named=tuple(named),
        drawn=tuple(drawn),
        n_drawn=n_drawn,
        times=tuple(
            (offset, time - _ORIGIN)
            for time in sorted(set(times))
            for offset, _, _ in _places(data, _U64.pack(time), 0)
        ),
    )


_ORIGIN: Final = 0x1234_5678_9ABC_0000  # an unlikely sequence of bytes, so that times are found among texts


def _retime(spans: Sequence[Any], played: Played, seed: int) -> float:
    """Moves every span to where it would be if the model had taken its time and the user hers; seconds in all."""
    thinking = Random(played.chosen.session_id)  # noqa: S311 - nothing here is secret
    slow_ms = FAULTS["latency_spike"].lowers.change if "latency_spike" in played.chosen.faults else 0.0
    at = _ORIGIN
    for result in played.results:
        trace = [span for span in spans if span.trace_id.hex() == result.trace_id]
        begin = min((span.start_time_unix_nano for span in trace), default=0)
        waits = sorted((span.end_time_unix_nano, _model_ns(span, seed, slow_ms)) for span in trace)
        moved = {
            time: at + time - begin + sum(ns for end, ns in waits if end <= time)
            for span in trace
            for time in _times_of(span)
        }
        for span in trace:
            _move(span, moved)
        last = max((span.end_time_unix_nano for span in trace), default=at)
        at = last + int(thinking.uniform(*_THINKS_S) * 1e9)
    return (max((span.end_time_unix_nano for span in spans), default=_ORIGIN) - _ORIGIN) / 1e9


def _model_ns(span: Any, seed: int, slow_ms: float) -> int:
    """What the simulated model would have taken for this span; 0 when it is no model call."""
    said = {each.key: each.value for each in span.attributes}
    if "gen_ai.response.id" not in said or said["gen_ai.operation.name"].string_value != "chat":
        return 0
    digest = said["gen_ai.response.id"].string_value.rpartition("-")[2]
    drawn = timing(said["gen_ai.response.model"].string_value, seed, digest)
    return int((slow_ms + drawn.total_ms(said["gen_ai.usage.output_tokens"].int_value)) * _NS_PER_MS)


def _times_of(span: Any) -> list[int]:
    return [span.start_time_unix_nano, span.end_time_unix_nano, *(event.time_unix_nano for event in span.events)]


def _move(span: Any, moved: dict[int, int]) -> None:
    span.start_time_unix_nano = moved[span.start_time_unix_nano]
    span.end_time_unix_nano = moved[span.end_time_unix_nano]
    for event in span.events:
        event.time_unix_nano = moved[event.time_unix_nano]
    for each in span.attributes:
        if each.key == _LATENCY_ATTRIBUTE:
            took_ns = span.end_time_unix_nano - span.start_time_unix_nano
            each.value.double_value = round(took_ns / _NS_PER_MS, 3)


def _drawn(data: bytes, spans: Iterable[Any], played: Played) -> tuple[list[tuple[int, int, int, str]], int]:
    """Where ids stand that only have to be new: of traces, spans, turns, tickets; and how many bytes they take."""
    spans = list(spans)
    needles = {span.trace_id: "raw" for span in spans} | {span.span_id: "raw" for span in spans}
    needles |= {result.turn_id.encode(): "hex" for result in played.results}
    needles |= dict.fromkeys(_TICKET.findall(data), "digits")
    places: list[tuple[int, int, int, str]] = []
    position = 0
    for needle, kind in needles.items():
        places += [(offset, len(needle), position, kind) for offset, _, _ in _places(data, needle, 0)]
        position += len(needle)
    return places, position


def _as(kind: str, raw: bytes, length: int) -> bytes:
    match kind:
        case "hex":
            return raw.hex()[:length].encode()
        case "digits":
            return str(int.from_bytes(raw, "big") % 10**length).zfill(length).encode()
        case _:
            return raw


def _places(data: bytes, needle: bytes, number: int) -> list[tuple[int, int, int]]:
    return [(match.start(), len(needle), number) for match in re.finditer(re.escape(needle), data)]
