"""The compiled decoder against the slow reference, column by column."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector.decode import decode
from collector.scan import Refusal
from core.errors import Undecodable
from tests.collector import messages_at_random, reference

NOW_US = 1_900_000_000_000_000
TRACE, SPAN_ID = bytes(range(16)), bytes(range(1, 9))


def rows_of(*requests: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    """What the decoder makes of them."""
    parts = [(i, r.SerializeToString()) for i, r in enumerate(requests, 1)]
    found: list[dict[str, Any]] = decode(parts, tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    return found


def one(**fields: Any) -> ExportTraceServiceRequest:
    """A request of one span."""
    span = Span(**{"trace_id": TRACE, "span_id": SPAN_ID, "name": "n", **fields})
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])])


def assert_equal(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Every column of every row, NaN equal to NaN."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        for column, value in theirs.items():
            assert repr(mine[column]) == repr(value), f"{column}: {mine[column]!r} != {value!r}"


@pytest.mark.parametrize("block", range(20))
def test_random_requests_decode_as_the_reference_says(block: int) -> None:
    requests = [messages_at_random.request(block * 25 + i) for i in range(25)]
    assert_equal(rows_of(*requests), [row for r in requests for row in reference.rows(r)])


def test_the_journal_position_of_each_request_reaches_its_rows() -> None:
    requests = [messages_at_random.request(seed) for seed in range(5)]
    parts = [(100 + i, r.SerializeToString()) for i, r in enumerate(requests)]
    rows = decode(parts, tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    expected = [100 + i for i, r in enumerate(requests) for _ in reference.rows(r)]
    assert [row["seq"] for row in rows] == expected


def test_o32_text_that_is_not_utf8_is_repaired_and_takes_no_sibling_along() -> None:
    good, bad = one(name="good"), one(name="b?d", span_id=b"12345678")
    raw = bad.SerializeToString().replace(b"b?d", b"b\xffd")
    rows = decode([(1, good.SerializeToString()), (2, raw)], tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    assert [(r["name"], r["issues"]) for r in rows] == [
        ("good", "time_invalid"),
        ("b\ufffdd", "time_invalid,utf8_repaired"),
    ]
    assert [r["seq"] for r in rows] == [1, 2]


def test_o32_a_resource_that_is_not_utf8_is_repaired() -> None:
    request = one()
    request.resource_spans[0].resource.CopyFrom(
        Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="sh?p"))])
    )
    raw = request.SerializeToString().replace(b"sh?p", b"sh\xc3p")
    (row,) = decode([(1, raw)], tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    assert row["app"] == "sh\ufffdp"


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"trace_id": b""}, Refusal.INVALID_TRACE_ID),
        ({"trace_id": b"", "span_id": b""}, Refusal.NO_IDS),
        ({"trace_id": bytes(16)}, Refusal.ZERO_TRACE_ID),
        ({"trace_id": b"short"}, Refusal.INVALID_TRACE_ID),
        ({"trace_id": bytes(17)}, Refusal.INVALID_TRACE_ID),
        ({"trace_id": b"0af7651916cd43dd8448eb211c80319c"}, Refusal.HEX_TRACE_ID),
        ({"trace_id": b"0af76519-16cd-43dd-8448-eb211c80319c"}, Refusal.HEX_TRACE_ID),
        ({"span_id": b""}, Refusal.INVALID_SPAN_ID),
        ({"span_id": bytes(8)}, Refusal.ZERO_SPAN_ID),
        ({"span_id": b"00f067aa0ba902b7"}, Refusal.HEX_SPAN_ID),
    ],
)
def test_o39_o40_a_span_with_unusable_ids_is_refused_alone(fields: dict[str, Any], refusal: Refusal) -> None:
    parts = [(1, one().SerializeToString()), (2, one(**fields).SerializeToString()), (3, one().SerializeToString())]
    decoded = decode(parts, tenant="t", ingested_at_us=NOW_US)
    assert decoded.rows["seq"].to_pylist() == [1, 3]
    assert [(r.seq, r.refusal) for r in decoded.refused] == [(2, refusal)]
    assert Span.FromString(decoded.refused[0].payload).name == "n"


def test_a_broken_outer_frame_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="broken protobuf at byte"):
        decode([(1, one().SerializeToString() + b"\xff\xff\xff")], tenant="t", ingested_at_us=NOW_US)


def test_cut_at_every_byte_a_request_is_refused_or_its_prefix_is_kept() -> None:
    raw = messages_at_random.request(3).SerializeToString()
    outcomes = set()
    for size in range(len(raw)):
        try:
            decode([(1, raw[:size])], tenant="t", ingested_at_us=NOW_US)
            outcomes.add("kept")
        except Undecodable:
            outcomes.add("refused")
    assert outcomes == {"kept", "refused"}


def test_o33_values_nested_too_deep_refuse_their_span_only() -> None:
    value = AnyValue(string_value="bottom")
    for _ in range(45):
        outer = AnyValue()
        outer.array_value.values.add().CopyFrom(value)
        value = outer
    fits = one(attributes=[KeyValue(key="deep", value=value)])
    (row,) = rows_of(fits)
    assert row["attributes"] == [("deep", "[" * 45 + '"bottom"' + "]" * 45)]
    raw = b"\x0a\x06bottom"
    for _ in range(200):
        inner = b"\x0a" + varint(len(raw)) + raw
        raw = b"\x2a" + varint(len(inner)) + inner
    pair = b"\x0a\x04deep\x12" + varint(len(raw)) + raw
    span = one().resource_spans[0].scope_spans[0].spans[0].SerializeToString() + b"\x4a" + varint(len(pair)) + pair
    scoped = b"\x12" + varint(len(span)) + span
    resourced = b"\x12" + varint(len(scoped)) + scoped
    body = b"\x0a" + varint(len(resourced)) + resourced
    decoded = decode([(1, one().SerializeToString()), (2, body)], tenant="t", ingested_at_us=NOW_US)
    assert decoded.rows.num_rows == 1
    assert [r.refusal for r in decoded.refused] == [Refusal.ATTRIBUTES_TOO_DEEP]


def varint(value: int) -> bytes:
    """A protobuf varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_o45_nanoseconds_survive_exactly() -> None:
    (row,) = rows_of(one(start_time_unix_nano=1544712660123456789, end_time_unix_nano=1544712661123456790))
    assert (row["start_ns"], row["end_ns"], row["duration_ns"]) == (1544712660123456789, 1544712661123456790, 10**9 + 1)


def test_a_span_of_100_000_attributes_is_kept_with_the_first_1024() -> None:
    many = [KeyValue(key=f"k{i}", value=AnyValue(int_value=i)) for i in range(100_000)]
    (row,) = rows_of(one(attributes=many))
    assert len(row["attributes"]) == 1024
    assert row["dropped"] == 100_000 - 1024
    assert "attributes_truncated" in row["issues"]
