"""Random export requests, seeded: every kind of value, known keys of every dialect, and the odd absurdity."""

from __future__ import annotations

import random
import struct

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector import dialects

KEYS = sorted(
    {key for keys in dialects.TEXT.values() for key in keys}
    | {key for keys in dialects.TOKENS.values() for key in keys}
    | {rule.key for rule in dialects.KIND}
    | set(dialects.COST)
    | {key for key, _ in dialects.TTFT}
    | set(dialects.FLAG_KEYS)
    | set(dialects.NEVER)
)
KIND_VALUES = sorted({value for rule in dialects.KIND for value in rule.exact})
FAMILY_KEYS = [
    "llm.input_messages.0.message.role",
    "llm.input_messages.0.message.content",
    "llm.input_messages.1.message.content",
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content",
    "llm.output_messages.0.message.content",
    "llm.input_messages.99999.message.role",
    "retrieval.documents.0.document.content",
    "gen_ai.prompt.name",
]
TEXTS = [
    "",
    "x",
    "gpt-4o",
    'a "quoted"\n\ttext\x00\x1f',
    "héé 🦊 漢字",
    "12",
    "12.0",
    "0.25",
    "1e-3",
    "-4",
    "9" * 17,
    "chat",
    "OpenAI",
]


def value(rng: random.Random, depth: int = 0) -> AnyValue:
    """One attribute value."""
    match rng.randrange(9 if depth < 3 else 6):
        case 0 | 1:
            return AnyValue(string_value=rng.choice([*TEXTS, *KIND_VALUES]))
        case 2:
            return AnyValue(int_value=rng.choice([0, 1, 7, 250, -3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]))
        case 3:
            bits = struct.unpack("<d", rng.randbytes(8))[0]
            return AnyValue(double_value=rng.choice([0.5, 12.0, 1e22, -0.0, 1.5e-7, float("nan"), float("inf"), bits]))
        case 4:
            return AnyValue(bool_value=rng.random() < 0.5)
        case 5:
            return rng.choice([AnyValue(), AnyValue(bytes_value=rng.randbytes(rng.randrange(5)))])
        case 6 | 7:
            items = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
            return AnyValue(array_value=ArrayValue(values=items))
        case _:
            return AnyValue(kvlist_value=KeyValueList(values=attributes(rng, rng.randrange(4), depth + 1)))


def attributes(rng: random.Random, n: int, depth: int = 0) -> list[KeyValue]:
    """Some attributes; a key may come twice, or without a value."""
    found = []
    for _ in range(n):
        key = rng.choice(KEYS) if rng.random() < 0.7 else rng.choice([*FAMILY_KEYS, "other.key", "", "ключ"])
        found.append(KeyValue(key=key, value=value(rng, depth)) if rng.random() < 0.97 else KeyValue(key=key))
    return found


def span(rng: random.Random) -> Span:
    """A span that can be stored."""
    start = rng.choice([0, 1, 1_760_000_000_123_456_789, 2**63, 1_760_000_000])
    return Span(
        trace_id=rng.randbytes(15) + b"\x01",
        span_id=rng.randbytes(7) + b"\x01",
        parent_span_id=rng.choice([b"", bytes(8), rng.randbytes(8), b"abc"]),
        trace_state=rng.choice(["", "a=b"]),
        name=rng.choice(TEXTS),
        kind=rng.choice([0, 1, 3, 99]),  # type: ignore[arg-type]
        start_time_unix_nano=start,
        end_time_unix_nano=rng.choice([start, start + 5_000_000, 0]),
        attributes=attributes(rng, rng.randrange(14)),
        dropped_attributes_count=rng.choice([0, 0, 3, 2**32 - 1]),
        events=[
            Span.Event(
                name=rng.choice(TEXTS),
                time_unix_nano=rng.choice([0, 5, 2**64 - 1]),
                attributes=attributes(rng, rng.randrange(4)),
                dropped_attributes_count=rng.choice([0, 2]),
            )
            for _ in range(rng.randrange(3))
        ],
        links=[
            Span.Link(
                trace_id=rng.randbytes(16),
                span_id=rng.randbytes(8),
                trace_state=rng.choice(["", 'x="y"']),
                attributes=attributes(rng, rng.randrange(3)),
                dropped_attributes_count=rng.choice([0, 1]),
            )
            for _ in range(rng.randrange(2))
        ],
        status=Status(code=rng.choice([0, 1, 2, 99]), message=rng.choice(TEXTS)),  # type: ignore[arg-type]
        flags=rng.choice([0, 1, 0xFFFFFFFF]),
    )


def request(seed: int, n_spans: int = 6) -> ExportTraceServiceRequest:
    """A request of two resources with two scopes each."""
    rng = random.Random(seed)
    scopes = ["", "opentelemetry.instrumentation.bedrock", "strands.telemetry.tracer", "other"]
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=attributes(rng, rng.randrange(5))),
                scope_spans=[
                    ScopeSpans(
                        scope=InstrumentationScope(name=rng.choice(scopes), version=rng.choice(["", "1.0"])),
                        spans=[span(rng) for _ in range(rng.randrange(n_spans))],
                    )
                    for _ in range(2)
                ],
            )
            for _ in range(2)
        ]
    )
