"""What a span may hold (O-31 to O-46), through the compiled decoder: what is kept, what is marked, what is refused."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.decode import decode
from collector.json_fields import framed, varint
from collector.scan import Refusal, scan
from tests.collector.otlp import START_NS, any_value, key_values, span, traces

NOW_US: Final = START_NS // 1000 + 1_000_000
YEAR_NS: Final = 365 * 86_400 * 10**9
# A field 9999 of every wire type, as a later version of the protocol might add.
FUTURE: Final = b"".join(
    (
        varint(9999 << 3) + b"\x07",
        varint(9999 << 3 | 1) + bytes(8),
        varint(9999 << 3 | 5) + bytes(4),
        framed(varint(9999 << 3 | 2), b"tomorrow"),
    )
)


def row(body: bytes | ExportTraceServiceRequest) -> dict[str, Any]:
    """The row of a request of one span."""
    raw = body if isinstance(body, bytes) else body.SerializeToString()
    (found,) = decode([(1, raw)], tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    answer: dict[str, Any] = found
    return answer


def row_of(attributes: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The row of a healthy span with these fields."""
    return row(traces(span(attributes, **fields)))


def request_of(span_bytes: bytes) -> bytes:
    """A request of one span given as wire bytes."""
    return framed(b"\x0a", framed(b"\x12", framed(b"\x12", span_bytes)))


def issues(found: dict[str, Any]) -> list[str]:
    """The span's issues."""
    return str(found["issues"]).split(",") if found["issues"] else []


def with_future_fields(message: Any) -> bytes:
    """The wire bytes of a message with FUTURE before and behind it, and the same in every message inside it."""
    out = bytearray(FUTURE)
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            alone = type(message)()
            if descriptor.is_repeated:
                getattr(alone, descriptor.name).extend(value)
            else:
                setattr(alone, descriptor.name, value)
            out += alone.SerializeToString()
            continue
        for each in value if descriptor.is_repeated else [value]:
            out += framed(varint(descriptor.number << 3 | 2), with_future_fields(each))
    return bytes(out + FUTURE)


def full_span() -> Span:
    """A span with something in every field."""
    everything = {"s": "text", "i": -7, "d": 0.5, "b": True, "y": b"\x00", "a": [1, "x", [2]], "k": {"in": {"deep": 1}}}
    return span(
        everything,
        parent_span_id=bytes(range(1, 9)),
        kind=Span.SPAN_KIND_CLIENT,
        trace_state="a=b",
        flags=0x101,
        dropped_attributes_count=1,
        dropped_events_count=2,
        dropped_links_count=3,
        status=Status(code=Status.STATUS_CODE_ERROR, message="broken"),
        events=[Span.Event(name="e", time_unix_nano=START_NS, attributes=key_values(everything))],
        links=[Span.Link(trace_id=bytes(range(16)), span_id=bytes(range(8)), attributes=key_values({"k": "v"}))],
    )


def test_o31_a_future_field_in_every_message_changes_nothing() -> None:
    request = traces(full_span(), resource={"service.name": "shop", "k": {"a": [1]}})
    plain, later = row(request), row(with_future_fields(request))
    for column in plain.keys() - {"content_hash"}:
        assert later[column] == plain[column], column


def test_o31_the_bytes_of_a_refused_span_keep_their_unknown_fields() -> None:
    raw = span(trace_id=b"short").SerializeToString() + FUTURE
    [refused] = decode([(1, request_of(raw))], tenant="t", ingested_at_us=NOW_US).refused
    assert refused.payload == raw


def test_o32_one_bad_text_of_512_spans_costs_none() -> None:
    spans = [
        span({"k": "v"}, name="b?d" if i == 300 else "good", span_id=bytes([1, *i.to_bytes(7)])) for i in range(512)
    ]
    raw = traces(*spans).SerializeToString().replace(b"b?d", b"b\xffd")
    rows = decode([(1, raw)], tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    assert len(rows) == 512
    assert {each["name"] for each in rows if each["issues"] is None} == {"good"}
    assert [each["name"] for each in rows if each["issues"] == "utf8_repaired"] == ["b\ufffdd"]


@pytest.mark.parametrize("place", ["name", "key", "value", "event", "event key", "status", "state", "inside", "scope"])
def test_o32_bad_text_is_repaired_wherever_it_stands(place: str) -> None:
    fields: dict[str, Any] = {}
    match place:
        case "name":
            fields = {"name": "b?d"}
        case "key":
            fields = {"attributes": {"b?d": "v"}}
        case "value":
            fields = {"attributes": {"k": "b?d"}}
        case "inside":
            fields = {"attributes": {"k": {"in": ["b?d"]}}}
        case "event":
            fields = {"events": [Span.Event(name="b?d")]}
        case "event key":
            fields = {"events": [Span.Event(name="e", attributes=key_values({"b?d": 1}))]}
        case "status":
            fields = {"status": Status(message="b?d")}
        case "state":
            fields = {"trace_state": "b?d"}
    request = traces(span(fields.pop("attributes", None), **fields), scope="b?d" if place == "scope" else "tests")
    found = row(request.SerializeToString().replace(b"b?d", b"b\xffd"))
    assert "b\ufffdd" in json.dumps(found, ensure_ascii=False, default=str)
    if place != "scope":
        assert issues(found) == ["utf8_repaired"]


def nested(depth: int, *, kvlist: bool) -> bytes:
    """The wire bytes of an AnyValue nested so deep, without the limits of a protobuf library."""
    raw = b"\x0a\x01x"
    for _ in range(depth):
        inner = framed(b"\x0a", b"\x0a\x01k" + framed(b"\x12", raw)) if kvlist else framed(b"\x0a", raw)
        raw = framed(b"\x32" if kvlist else b"\x2a", inner)
    return raw


@pytest.mark.parametrize("kvlist", [False, True])
@pytest.mark.parametrize("depth", [1, 10, 45, 46, 47, 49, 63, 64, 65, 99, 100, 101, 10_000])
def test_o33_a_value_may_be_64_deep_and_a_deeper_one_costs_its_span_only(depth: int, kvlist: bool) -> None:
    good = span(span_id=bytes(range(8)))
    pair = b"\x0a\x04deep" + framed(b"\x12", nested(depth, kvlist=kvlist))
    deep = span().SerializeToString() + framed(b"\x4a", pair)
    body = framed(b"\x0a", framed(b"\x12", framed(b"\x12", good.SerializeToString()) + framed(b"\x12", deep)))
    decoded = decode([(1, body)], tenant="t", ingested_at_us=NOW_US)
    fits = depth <= 63
    assert decoded.rows.num_rows == 1 + fits
    assert [each.refusal for each in decoded.refused] == ([] if fits else [Refusal.ATTRIBUTES_TOO_DEEP])
    if fits:
        text = dict(decoded.rows.to_pylist()[1]["attributes"])["deep"]
        assert text.count("{" if kvlist else "[") == depth


def test_o34_every_kind_of_value_reaches_its_row() -> None:
    values = {"s": "t", "e": "", "b": False, "i": -(1 << 63), "d": float("nan"), "y": b"\x00\xff", "n": None}
    values |= {"a": [1, "x", True, None, [0.5], {"k": b"\x01"}], "k": {"x": 1, "none": None}, "a0": [], "k0": {}}
    request = traces(span(values))
    request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="no value")
    found = row(request)
    assert found["attribute_types"] == "ssbidynakakn"
    assert dict(found["attributes"]) == {
        "s": "t", "e": "", "b": "false", "i": "-9223372036854775808", "d": "NaN", "y": "AP8=", "n": "",
        "a": '[1,"x",true,null,[0.5],{"k":{"$bytes":"AQ=="}}]', "k": '{"x":1,"none":null}', "a0": "[]", "k0": "{}",
        "no value": "",
    }  # fmt: skip


def test_o35_of_duplicate_keys_the_last_wins_and_the_span_is_marked() -> None:
    pairs = [KeyValue(key="k", value=any_value(n)) for n in ("first", "second", "last")]
    found = row(traces(Span(trace_id=bytes(range(16)), span_id=bytes(range(8)), attributes=pairs, name="n")))
    assert found["attributes"] == [("k", "last")]
    assert "duplicate_key" in issues(found)


def test_o35_duplicate_keys_inside_a_map_are_kept_as_sent_and_the_last_is_read() -> None:
    value = AnyValue()
    for n in (1, 2):
        value.kvlist_value.values.add(key="k", value=any_value(n))
    request = traces(span())
    request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="map", value=value)
    text = dict(row(request)["attributes"])["map"]
    assert text == '{"k":1,"k":2}'
    assert json.loads(text) == {"k": 2}


def test_o36_string_indices_outside_profiles_are_absent() -> None:
    value = framed(b"\x12", varint(8 << 3) + b"\x05")  # AnyValue.string_value_strindex = 5
    key = varint(3 << 3) + b"\x07"  # KeyValue.key_strindex = 7
    pairs = framed(b"\x4a", b"\x0a\x01k" + value) + framed(b"\x4a", key + framed(b"\x12", b"\x0a\x01v"))
    found = row(request_of(span({"plain": 1}).SerializeToString() + pairs))
    assert found["attributes"] == [("plain", "1"), ("k", ""), ("", "v")]
    assert found["attribute_types"] == "ins"


@pytest.mark.parametrize(("kind", "stored"), [(None, 0), (0, 0), (1, 1), (5, 5), (99, 99), (0x7FFFFFFF, 0x7FFFFFFF)])
def test_o37_o38_any_kind_is_valid_and_kept_as_its_number(kind: int | None, stored: int) -> None:
    raw = span().SerializeToString() + (b"" if kind is None else b"\x30" + varint(kind))
    found = row(request_of(raw))
    assert (found["otel_kind"], found["kind"], found["issues"]) == (stored, "SPAN", None)


@pytest.mark.parametrize(("status", "stored"), [(None, 0), (b"", 0), (b"\x18\x02", 2), (b"\x18\x63", 99)])
def test_o37_o38_any_status_is_valid_and_kept_as_its_number(status: bytes | None, stored: int) -> None:
    raw = span().SerializeToString() + (b"" if status is None else framed(b"\x7a", status))
    assert (row(request_of(raw))["status_code"], row(request_of(raw))["issues"]) == (stored, None)


@pytest.mark.parametrize("flags", [0, 1, 0x100, 0x300, 1 << 10, 1 << 31, 0xFFFFFFFF])
def test_o37_every_bit_of_flags_is_kept(flags: int) -> None:
    assert row_of(flags=flags)["flags"] == flags


@pytest.mark.parametrize("field", ["trace_id", "span_id"])
@pytest.mark.parametrize("size", [0, 1, 7, 9, 15, 17, 32, 1_000])
def test_o39_ids_of_every_other_length_are_refused(field: str, size: int) -> None:
    wrong: dict[str, Any] = {field: b"\x01" * size}
    assert scan(traces(span(**wrong)).SerializeToString()).n_refused == 1
    wrong = {field: bytes(16 if field == "trace_id" else 8)}
    zero = scan(traces(span(**wrong)).SerializeToString())
    assert list(zero.refusals()) == [Refusal.ZERO_TRACE_ID if field == "trace_id" else Refusal.ZERO_SPAN_ID]


@pytest.mark.parametrize("parent", [b"", bytes(8)])
def test_o41_no_parent_is_a_root(parent: bytes) -> None:
    found = row_of(parent_span_id=parent)
    assert (found["parent_span_id"], found["issues"]) == (None, None)


@pytest.mark.parametrize(
    "parent", [b"\x01", bytes(7), b"\x01" * 9, b"00f067aa0ba902b7", bytes.fromhex("eee19b7ec3c1b174")]
)
def test_o41_a_parent_that_is_no_id_or_the_span_itself_is_dropped_and_told(parent: bytes) -> None:
    request = traces(span(parent_span_id=parent))
    found = row(request)
    assert (found["parent_span_id"], issues(found)) == (None, ["parent_invalid"])
    assert scan(request.SerializeToString()).warnings() == [
        "1 of 1 spans carry a parent_span_id that is no id: it was dropped"
    ]


@pytest.mark.parametrize(
    ("start", "end"),
    [(START_NS, START_NS - 1), (START_NS, 0), (0, START_NS), (0, 0), (START_NS, 1 << 63), (1 << 63, START_NS)],
)
def test_o43_o44_times_that_make_no_sense_are_kept_and_marked(start: int, end: int) -> None:
    found = row_of(start_time_unix_nano=start, end_time_unix_nano=end)
    kept = [value - (1 << 64) if value >= 1 << 63 else value for value in (start, end)]
    assert [found["start_ns"], found["end_ns"]] == kept
    assert (found["duration_ns"], issues(found)) == (None, ["time_invalid"])


def test_o43_a_span_of_no_length_is_sound() -> None:
    found = row_of(end_time_unix_nano=START_NS)
    assert (found["duration_ns"], found["issues"]) == (0, None)


@pytest.mark.parametrize("time", [0, 1, START_NS // 10**9, START_NS // 10**6, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_o44_every_time_is_kept_exactly_and_the_absurd_is_marked(time: int) -> None:
    """Seconds and milliseconds sent as nanoseconds are before the year 2000; 2^63-1 is a time, in the year 2262."""
    found = row_of(start_time_unix_nano=time, end_time_unix_nano=time)
    assert found["start_ns"] % (1 << 64) == found["end_ns"] % (1 << 64) == time
    in_2262 = time == (1 << 63) - 1
    assert issues(found) == (["clock_ahead"] if in_2262 else ["time_invalid"])
    assert found["duration_ns"] == (0 if in_2262 else None)
    assert found["date"] >= "1970-01-01"


@pytest.mark.parametrize("years", [-10, 10])
def test_o44_ten_years_either_way_are_kept(years: int) -> None:
    start = START_NS + years * YEAR_NS
    found = row_of(start_time_unix_nano=start, end_time_unix_nano=start + 5)
    assert (found["start_ns"], found["duration_ns"]) == (start, 5)
    assert issues(found) == (["clock_ahead"] if years > 0 else [])


@pytest.mark.parametrize("time", [1544712660123456789, 1544712660000000001, START_NS, (1 << 53) + 1])
def test_o45_no_digit_is_lost(time: int) -> None:
    event = Span.Event(name="e", time_unix_nano=time)
    found = row_of(start_time_unix_nano=time, end_time_unix_nano=time + 1, events=[event])
    before_2000 = time == (1 << 53) + 1
    assert (found["start_ns"], found["end_ns"]) == (time, time + 1)
    assert found["duration_ns"] == (None if before_2000 else 1)
    assert json.loads(found["events"])[0]["time_ns"] == time
