"""Bodies of bad requests, made from their description in a case file."""

from __future__ import annotations

import gzip
import random
import re
import secrets
import time
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.json_fields import framed
from tests.collector.otlp import START_NS, any_value, key_values, log_record, logs, traces

_BYTES: Final = {"trace_id": 16, "span_id": 8, "parent_span_id": 0}
_TIMES: Final = {"start": "start_time_unix_nano", "end": "end_time_unix_nano"}


def body_of(case: dict[str, Any], canary: str) -> bytes:
    """The bytes that a case sends."""
    raw = _start(case, canary)
    for step in case.get("then", []):
        raw = _step(raw, *step.split())
    return raw


def filled(text: str, canary: str) -> str:
    """A text of a case with its placeholders filled: $CANARY, $TRACE and $SPAN (fresh ids), $X9 (nine times x),
    $9S4 (four nines) and $HEADERS9 (nine header lines)."""
    text = text.replace("$CANARY", canary)
    text = re.sub(r"\$HEADERS(\d+)", lambda found: "\n".join(f"h{n}: 1" for n in range(int(found[1]))), text)
    text = re.sub(r"\$9S(\d+)", lambda found: "9" * int(found[1]), text)
    text = re.sub(r"\$X(\d+)", lambda found: "x" * int(found[1]), text)
    while "$TRACE" in text:
        text = text.replace("$TRACE", secrets.token_hex(16), 1)
    while "$SPAN" in text:
        text = text.replace("$SPAN", secrets.token_hex(8), 1)
    return text


def _start(case: dict[str, Any], canary: str) -> bytes:
    if "text" in case:
        return filled(case["text"], canary).encode()
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "random" in case:
        return random.Random(case["random"]).randbytes(case["random"])
    if "spans" in case:
        resource = {"resource": case["resource"]} if "resource" in case else {}
        return traces(*[_span(each, canary) for each in case["spans"]], **resource).SerializeToString()
    if "deep" in case:
        deep = [_span({}, canary).SerializeToString() + _deep(depth) for depth in case["deep"]]
        return framed(b"\x0a", framed(b"\x12", b"".join(framed(b"\x12", each) for each in deep)))
    if "json_spans" in case:
        spans = ",".join(filled(each, canary) for each in case["json_spans"])
        return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}'.encode()
    match case.get("signal"):
        case "logs":
            return logs(log_record("app.start", {"text": canary}))
        case "metrics":
            return framed(
                b"\x0a",
                framed(b"\x12", framed(b"\x12", framed(b"\x2a", framed(b"\x0a", b"\x19" + bytes(7) + b"\x01")))),
            )
    return b""


def _span(said: dict[str, Any], canary: str) -> Span:
    fields: dict[str, Any] = {"name": "bad", "start_time_unix_nano": START_NS, "end_time_unix_nano": START_NS + 1_000}
    for name, size in _BYTES.items():
        fields[name] = secrets.token_bytes(size)
    attributes: dict[str, Any] = {"text": canary}
    for name, value in said.items():
        if name in _BYTES:
            fields[name] = value.removeprefix("text:").encode() if value.startswith("text:") else bytes.fromhex(value)
        elif name in _TIMES:
            from_now = value.startswith("now")
            fields[_TIMES[name]] = time.time_ns() + int(value[3:]) * 10**9 if from_now else int(value)
        elif name == "status":
            fields["status"] = Status(code=value)
        elif name == "status_message":
            fields["status"] = Status(message=value)
        elif name == "event":
            fields["events"] = [Span.Event(name=value, attributes=key_values({value: value}))]
        elif name == "attributes":
            attributes |= {filled(key, canary): each for key, each in value.items()}
        elif name == "many_attributes":
            attributes |= {f"k{number}": number for number in range(value)}
        elif name == "many_indices":
            attributes |= {f"llm.input_messages.{number}.message.role": "user" for number in range(value)}
        elif name != "twice":
            fields[name] = filled(value, canary) if isinstance(value, str) else value
    span = Span(**fields, attributes=key_values(attributes))
    for key in said.get("twice", []):
        for value in ("first", "last"):
            span.attributes.add(key=key, value=any_value(value))
    return span


def _deep(depth: int) -> bytes:
    """An attribute of a span, nested so deep, without the limits of a protobuf library."""
    raw = b"\x0a\x06bottom"
    for _ in range(depth):
        raw = framed(b"\x2a", framed(b"\x0a", raw))
    return framed(b"\x4a", b"\x0a\x04deep" + framed(b"\x12", raw))


def _step(raw: bytes, name: str, *arguments: str) -> bytes:
    match name, arguments:
        case "gzip", ():
            return gzip.compress(raw)
        case "cut", (n,):
            return raw[: -int(n)]
        case "append", (more,):
            return raw + bytes.fromhex(more)
        case "replace", (old, new):
            assert bytes.fromhex(old) in raw, f"{old} is not in the body"
            return raw.replace(bytes.fromhex(old), bytes.fromhex(new))
        case "repeat", (n,):
            return raw * int(n)
        case "json", ():
            return b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + raw.rstrip(b",") + b"]}]}]}"
        case "frame", (head,):
            return framed(bytes.fromhex(head), raw)
        case "utf-16", ():
            return raw.decode().encode("utf-16")
        case "flip", (place,):
            return raw[: int(place)] + bytes([raw[int(place)] ^ 1]) + raw[int(place) + 1 :]
    raise AssertionError(f"no step is called {name} with {arguments}")
