"""OTLP/JSON (O-47 to O-56, bad inputs 20 to 31): what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.decode import decode
from collector.json_body import MOST_ITEMS, Transcoded, transcode
from collector.kinds import Signal
from collector.metric_points import admit_metrics
from core.errors import TooLarge, Undecodable
from tests.collector.otlp import SPAN_ID, START_NS, TRACE_ID, base64_id, decoded, json_span, json_traces
from tests.thorough import often


def attribute(value: Any, key: str = "k") -> dict[str, Any]:
    return {"key": key, "value": value}


def only_attribute(body: bytes) -> Any:
    (span,) = decoded(transcode(body).protobuf)
    return span.attributes[0].value


def reject_one_of_two(bad: Any) -> Transcoded:
    """Transcodes a bad span between two good ones; the good ones must be there."""
    done = transcode(json_traces(json_span(name="before"), bad, json_span(name="after")))
    assert [span.name for span in decoded(done.protobuf)] == ["before", "after"]
    assert done.n_items == 3
    assert len(done.rejected) == 1
    return done


@pytest.mark.parametrize("spell", [str.lower, str.upper, lambda text: text[:9].upper() + text[9:]])
def test_o47_ids_are_case_insensitive_hex(spell: Any) -> None:
    body = json_traces(
        json_span(traceId=spell(TRACE_ID), spanId=spell(SPAN_ID), parentSpanId=spell("EEE19B7EC3C1B173"))
    )
    (span,) = decoded(transcode(body).protobuf)
    assert (span.trace_id.hex(), span.span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert span.parent_span_id.hex() == "eee19b7ec3c1b173"


@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        ({"traceId": base64_id(TRACE_ID)}, "invalid_trace_id", "looks like base64; OTLP/JSON uses hex"),
        ({"spanId": base64_id(SPAN_ID)}, "invalid_span_id", "looks like base64; OTLP/JSON uses hex"),
        ({"traceId": "5b8efff7-9803-8103-d269-b633813fc60c"}, "invalid_trace_id", "UUID with dashes"),
        ({"traceId": "zz" * 16}, "invalid_trace_id", "not hexadecimal"),
        ({"traceId": TRACE_ID[:16] + " " + TRACE_ID[16:]}, "invalid_trace_id", "not hexadecimal"),
        ({"traceId": 17}, "invalid_trace_id", "must be hexadecimal text, not a number"),
        ({"spanId": None}, "invalid_span_id", "spanId: is missing"),
    ],
)
def test_o47_ids_that_are_not_hex_are_refused_with_a_hint(fields: dict[str, Any], reason: str, says: str) -> None:
    (rejection,) = reject_one_of_two(json_span(**fields)).rejected
    assert rejection.reason == reason
    assert says in rejection.detail
    assert orjson.loads(rejection.payload) == json_span(**fields)


def test_o41_a_parent_that_is_not_hex_costs_the_parent_and_not_the_span() -> None:
    (span,) = decoded(transcode(json_traces(json_span(parentSpanId="not hex"))).protobuf)
    assert span.parent_span_id == b"\xff"  # a length that the scanner flags as parent_invalid


def test_o48_enum_names_are_read_with_a_warning() -> None:
    done = transcode(json_traces(json_span(kind="SPAN_KIND_SERVER", status={"code": "STATUS_CODE_ERROR"})))
    (span,) = decoded(done.protobuf)
    assert (span.kind, span.status.code) == (2, 2)
    assert any("enum names" in warning for warning in done.warnings)


@pytest.mark.parametrize(("kind", "says"), [("SERVER", "its number"), (1 << 31, "outside"), ({}, "an object")])
def test_o48_an_unknown_enum_name_costs_its_span(kind: Any, says: str) -> None:
    assert says in reject_one_of_two(json_span(kind=kind)).rejected[0].detail


def test_o38_an_unknown_enum_number_is_kept() -> None:
    (span,) = decoded(transcode(json_traces(json_span(kind=99, status={"code": 99}))).protobuf)
    assert (span.kind, span.status.code) == (99, 99)


def test_o49_unknown_fields_are_ignored_anywhere() -> None:
    odd = {"futureField": {"deep": [1, {"x": None}]}, "anotherOne": 3}
    plain = json_traces(
        json_span(
            attributes=[attribute({"stringValue": "v"})],
            events=[{"name": "e"}],
            links=[{"traceId": TRACE_ID, "spanId": SPAN_ID}],
            status={"code": 2},
        )
    )
    body = orjson.loads(plain) | odd
    group = body["resourceSpans"][0]
    scope, span = group["scopeSpans"][0], group["scopeSpans"][0]["spans"][0]
    inside = (span["events"][0], span["links"][0], span["status"], span["attributes"][0])
    for place in (group, group["resource"], scope, scope["scope"], span, *inside):
        place |= odd
    span["attributes"][0]["value"] |= {"futureValue": 1}
    done = transcode(orjson.dumps(body))
    assert done.protobuf == transcode(plain).protobuf
    assert done.warnings == []


def test_o50_snake_case_keys_are_unknown_and_the_message_says_what_was_meant() -> None:
    snake = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "name": "x"}
    (rejection,) = reject_one_of_two(snake).rejected
    assert "did you mean traceId" in rejection.detail
    with pytest.raises(Undecodable, match="did you mean 'resourceSpans'"):
        transcode(orjson.dumps({"resource_spans": []}))
    with pytest.raises(Undecodable, match="did you mean 'scopeSpans'"):
        transcode(orjson.dumps({"resourceSpans": [{"scope_spans": [{"spans": [json_span()]}]}]}))
    done = transcode(json_traces(json_span(start_time_unix_nano="1")))
    assert "did you mean 'startTimeUnixNano'" in done.warnings[0]


@pytest.mark.parametrize("written", ["1544712660123456789", 1544712660123456789])
def test_o51_times_are_exact_as_text_and_as_numbers(written: Any) -> None:
    (span,) = decoded(transcode(json_traces(json_span(startTimeUnixNano=written))).protobuf)
    assert span.start_time_unix_nano == 1544712660123456789


@pytest.mark.parametrize("value", [-(1 << 63), (1 << 63) - 1, (1 << 53) + 1, 0, -1])
def test_o51_integers_are_exact_at_the_edges(value: int) -> None:
    for written in (value, str(value)):
        assert only_attribute(json_traces(json_span(attributes=[attribute({"intValue": written})]))).int_value == value


@pytest.mark.parametrize("written", [1 << 63, str(1 << 63), -(1 << 63) - 1, "1.5", 1.5, "0x10", "", True, [], 1e300])
def test_o51_an_integer_out_of_range_costs_its_span(written: Any) -> None:
    bad = json_span(attributes=[attribute({"intValue": 1}), attribute({"intValue": written})])
    (rejection,) = reject_one_of_two(bad).rejected
    assert rejection.reason == "invalid_field"
    assert rejection.detail.startswith("attributes[1].value.intValue: ")


def test_o51_an_integer_written_as_a_double_is_read() -> None:
    assert only_attribute(json_traces(json_span(attributes=[attribute({"intValue": 12.0})]))).int_value == 12


@pytest.mark.parametrize(("written", "shown"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")])
def test_o52_quoted_nan_and_infinities_are_read(written: str, shown: str) -> None:
    body = json_traces(json_span(attributes=[attribute({"doubleValue": written})]))
    assert repr(only_attribute(body).double_value) == shown


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_o52_bare_nan_and_infinities_are_not_json(word: bytes) -> None:
    body = json_traces(json_span(attributes=[attribute({"doubleValue": 7.25})])).replace(b"7.25", word)
    with pytest.raises(Undecodable, match="in quotes"):
        transcode(body)


@pytest.mark.parametrize("written", [1.7976931348623157e308, -0.0, 5e-324, "1.5", 3, "1e10"])
def test_row25_doubles_are_exact(written: Any) -> None:
    got = only_attribute(json_traces(json_span(attributes=[attribute({"doubleValue": written})]))).double_value
    assert repr(got) == repr(float(written))


@pytest.mark.parametrize("written", ["1e400", "9" * 5000, "-" + "9" * 5000])
def test_row25_a_number_beyond_a_double_costs_its_span_only(written: str) -> None:
    bad = json_span(attributes=[attribute({"doubleValue": 7.25})])
    body = json_traces(json_span(name="good"), bad).replace(b"7.25", written.encode())
    done = transcode(body)
    assert [span.name for span in decoded(done.protobuf)] == ["good"]
    assert done.rejected[0].detail.startswith("attributes[0].value.doubleValue: is beyond the range")


@pytest.mark.parametrize(
    ("written", "meant"), [("AP/+", b"\x00\xff\xfe"), ("AP_-", b"\x00\xff\xfe"), ("aGk=", b"hi"), ("aGk", b"hi")]
)
def test_o53_bytes_are_base64(written: str, meant: bytes) -> None:
    got = only_attribute(json_traces(json_span(attributes=[attribute({"bytesValue": written})]))).bytes_value
    assert got == meant


@pytest.mark.parametrize("written", ["***", "a", 5])
def test_o53_what_is_not_base64_costs_its_span(written: Any) -> None:
    reject_one_of_two(json_span(attributes=[attribute({"bytesValue": written})]))


def test_o53_null_is_absent_everywhere() -> None:
    everything = dict.fromkeys(("attributes", "events", "links", "status", "flags", "kind", "parentSpanId", "name"))
    body = orjson.dumps(
        {
            "resourceSpans": [
                None,
                {"resource": None, "scopeSpans": None, "schemaUrl": None},
                {"scopeSpans": [None, {"scope": None, "spans": None}, {"spans": [None, json_span() | everything]}]},
            ]
        }
    )
    done = transcode(body)
    assert len(decoded(done.protobuf)) == 1
    assert (done.n_items, done.rejected, done.warnings) == (1, [], [])
    assert transcode(b'{"resourceSpans":null}').n_items == 0


def test_o34_every_kind_of_value_round_trips() -> None:
    values = [
        {"stringValue": "é\u0000🎉"},
        {"boolValue": False},
        {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "x"}, {}, {"arrayValue": {}}]}},
        {"kvlistValue": {"values": [attribute({"doubleValue": 0.5}, "a"), {"key": "empty"}]}},
        {"stringValue": ""},
        {},
    ]
    body = json_traces(json_span(attributes=[attribute(value) for value in values] + [{"key": "no value"}]))
    done = transcode(body)
    (span,) = decoded(done.protobuf)
    assert [each.value.WhichOneof("value") for each in span.attributes] == [
        "string_value", "bool_value", "array_value", "kvlist_value", "string_value", None, None,
    ]  # fmt: skip
    assert [each.WhichOneof("value") for each in span.attributes[2].value.array_value.values] == [
        "int_value", "string_value", None, "array_value",
    ]  # fmt: skip
    assert span.attributes[0].value.string_value == "é\u0000🎉"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"resourceSpans":['])
def test_o54_deep_nesting_is_refused(opening: bytes) -> None:
    with pytest.raises(Undecodable, match=r"nesting deeper than 64|is not JSON"):
        transcode(opening * 100_000)


@pytest.mark.parametrize("wrap", ["arrayValue", "kvlistValue"])
def test_o54_a_value_deeper_than_64_costs_its_span(wrap: str) -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {"stringValue": "x"}
        for _ in range(depth):
            value = {wrap: {"values": [value if wrap == "arrayValue" else attribute(value)]}}
        return value

    assert transcode(json_traces(json_span(attributes=[attribute(nested(63))]))).rejected == []
    (rejection,) = reject_one_of_two(json_span(attributes=[attribute(nested(64))])).rejected
    assert rejection.reason == "too_deep"


@pytest.mark.parametrize(
    "text", [r"\ud83d", r"\ude00", r"\ude00\ud83d", r"a\\\ud83d", r"\ud83dz", r"\ud83d\ud83d\ude00"]
)
def test_o54_lone_surrogates_are_marked_for_repair(text: str) -> None:
    body = json_traces(json_span(attributes=[attribute({"stringValue": "MARK"}, "KEY")]))
    body = body.replace(b"MARK", text.encode()).replace(b"KEY", b"key" + text.encode())
    protobuf = transcode(body).protobuf
    assert b"\xff" in protobuf  # no UTF-8 holds this byte: the scanner turns it into U+FFFD and flags the span
    assert b"\xef\xbf\xbd" not in protobuf


def test_row20_a_repaired_span_is_flagged_and_its_siblings_are_not() -> None:
    bad = json_span(attributes=[attribute({"stringValue": "MARK"}, "MARK2")], spanId="00000000000000aa")
    body = json_traces(json_span(), bad).replace(b"MARK", rb"a\ud83db")
    rows = decode([(1, transcode(body).protobuf)], tenant="t", ingested_at_us=START_NS // 1000).rows.to_pylist()
    assert [(row["attributes"], row["issues"]) for row in rows] == [
        ([], None),
        ([("a\ufffdb2", "a\ufffdb")], "utf8_repaired"),
    ]


def test_o41_a_parent_dropped_on_the_way_in_is_flagged() -> None:
    protobuf = transcode(json_traces(json_span(parentSpanId="not hex"))).protobuf
    (row,) = decode([(1, protobuf)], tenant="t", ingested_at_us=START_NS // 1000).rows.to_pylist()
    assert (row["parent_span_id"], row["issues"]) == (None, "parent_invalid")


def test_o54_an_escaped_backslash_before_u_is_no_surrogate() -> None:
    body = json_traces(json_span(name="MARK")).replace(b"MARK", rb"\\ud83d and \ud83d\ude00")
    (span,) = decoded(transcode(body).protobuf)
    assert span.name == r"\ud83d and 😀"


def test_o32_bytes_that_are_not_utf8_are_marked_for_repair() -> None:
    body = json_traces(json_span(name="MARK")).replace(b"MARK", b"a\xc3(b")
    assert b"a\xff(b" in transcode(body).protobuf


def test_o54_byte_order_mark_is_fine_and_utf16_is_not() -> None:
    body = json_traces(json_span())
    assert transcode(b"\xef\xbb\xbf" + body) == transcode(body)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(Undecodable, match="must be UTF-8"):
            transcode(body.decode().encode(encoding))


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"{", b'{"resourceSpans":[}', b"\x0a\x05hello", b"[]", b'"x"', b"3", b"null", b"{'a':1}"]
)
def test_o54_what_is_not_a_json_object_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        transcode(body)


def test_o55_attributes_as_an_object_are_explained() -> None:
    (rejection,) = reject_one_of_two(json_span(attributes={"a": "b"})).rejected
    assert rejection.detail.startswith('attributes: must be an array of {"key": ..., "value": ')
    assert "KeyValue" in rejection.detail


def test_o55_a_bad_resource_costs_its_own_spans_only() -> None:
    bad = orjson.loads(json_traces(json_span(), json_span(), resource={"attributes": {"service.name": "x"}}))
    good = orjson.loads(json_traces(json_span()))
    done = transcode(orjson.dumps({"resourceSpans": bad["resourceSpans"] + good["resourceSpans"]}))
    assert (done.n_items, len(done.rejected), len(decoded(done.protobuf))) == (3, 2, 1)
    assert "resource.attributes" in done.rejected[0].detail


def test_o56_legacy_library_spans_are_named_in_a_warning() -> None:
    body = {"resourceSpans": [{"instrumentationLibrarySpans": [{"spans": [json_span(), json_span()]}]}]}
    done = transcode(orjson.dumps(body))
    assert (done.n_items, done.rejected) == (0, [])
    assert "2 spans in it were not stored" in done.warnings[0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resourceSpans": {}}, "resourceSpans"),
        ({"resourceSpans": [1]}, "resourceSpans[0]"),
        ({"resourceSpans": [{"scopeSpans": "x"}]}, "resourceSpans[0].scopeSpans"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": {}}]}]}, "resourceSpans[0].scopeSpans[0].spans"),
    ],
)
def test_o23_a_wrong_shape_names_its_field(body: Any, field: str) -> None:
    with pytest.raises(Undecodable) as caught:
        transcode(orjson.dumps(body))
    assert caught.value.field == field


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans":[]}', b'{"resourceSpans":[{}]}', b'{"other":1}'])
def test_o16_empty_requests_are_fine(body: bytes) -> None:
    done = transcode(body)
    assert (done.n_items, done.rejected, done.warnings) == (0, [], [])


def test_row5_logs_and_metrics_on_the_trace_path_are_named() -> None:
    with pytest.raises(Undecodable, match="looks like OTLP logs; send it to /v1/logs"):
        transcode(b'{"resourceLogs":[]}')
    with pytest.raises(Undecodable, match="looks like OTLP metrics; send it to /v1/metrics"):
        transcode(b'{"resourceMetrics":[]}')
    with pytest.raises(Undecodable, match="looks like OTLP traces; send it to /v1/traces"):
        transcode(b'{"resourceSpans":[]}', Signal.LOG_RECORDS)


@pytest.mark.parametrize("key", [r"\u0000", r"a\u0000b", "__proto__", "{0.__class__}", "a';DROP TABLE", "%n", "‮"])
def test_row21_and_43_keys_are_plain_text(key: str) -> None:
    body = json_traces(json_span(attributes=[attribute({"stringValue": "v"}, "MARK")])).replace(b"MARK", key.encode())
    (span,) = decoded(transcode(body).protobuf)
    assert span.attributes[0].key == orjson.loads(f'"{key}"')


def test_transcoding_is_deterministic() -> None:
    body = json_traces(json_span(kind="SPAN_KIND_SERVER"), json_span(traceId="x"), json_span(name="\u2028"))
    assert transcode(body) == transcode(body)


def base64_ids(body: Any) -> Any:
    """The same request as protobuf's generic JSON reader wants it: ids in base64."""
    for group in body["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                for holder in (span, *span.get("links", [])):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in holder:
                            holder[name] = base64_id(holder[name])
    return body


json_values = st.recursive(
    st.one_of(
        st.builds(lambda v: {"stringValue": v}, st.text(st.characters(exclude_categories=["Cs"]))),
        st.builds(lambda v: {"boolValue": v}, st.booleans()),
        st.builds(lambda v: {"intValue": v}, st.integers(-(1 << 63), (1 << 63) - 1).map(str)),
        st.builds(lambda v: {"doubleValue": v}, st.floats(allow_nan=False, allow_infinity=False)),
        st.just({}),
    ),
    lambda inner: st.one_of(
        st.builds(lambda v: {"arrayValue": {"values": v}}, st.lists(inner, max_size=3)),
        st.builds(
            lambda v: {"kvlistValue": {"values": [attribute(each, "k") for each in v]}}, st.lists(inner, max_size=3)
        ),
    ),
    max_leaves=8,
)
json_attributes = st.lists(st.builds(attribute, json_values, st.text(max_size=8)), max_size=4)
ids = st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex)
times = st.integers(0, (1 << 64) - 1).map(str)
json_spans = st.fixed_dictionaries(
    {"traceId": st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex), "spanId": ids},
    optional={
        "parentSpanId": ids,
        "name": st.text(),
        "kind": st.integers(0, 5),
        "startTimeUnixNano": times,
        "endTimeUnixNano": times,
        "attributes": json_attributes,
        "events": st.lists(
            st.fixed_dictionaries({"name": st.text(), "timeUnixNano": times, "attributes": json_attributes}), max_size=2
        ),
        "links": st.lists(st.fixed_dictionaries({"spanId": ids, "flags": st.integers(0, (1 << 32) - 1)}), max_size=2),
        "status": st.fixed_dictionaries({}, optional={"code": st.integers(0, 2), "message": st.text()}),
        "traceState": st.text(max_size=5),
        "droppedAttributesCount": st.integers(0, (1 << 32) - 1),
        "droppedEventsCount": st.integers(0, 9),
        "droppedLinksCount": st.integers(0, 9),
        "flags": st.integers(0, (1 << 32) - 1),
    },
)


@settings(max_examples=often(150, 37), deadline=None)
@given(st.lists(json_spans, max_size=3), json_attributes)
def test_any_request_means_what_the_generic_reader_says_but_for_the_ids(spans: list[Any], resource: list[Any]) -> None:
    body = json_traces(*spans, resource={"attributes": resource})
    expected = json_format.ParseDict(base64_ids(orjson.loads(body)), ExportTraceServiceRequest())
    assert ExportTraceServiceRequest.FromString(transcode(body).protobuf) == expected


@settings(max_examples=often(150, 37), deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_garbage_is_refused_or_read_and_never_crashes(garbage: bytes, place: int) -> None:
    body = json_traces(json_span(attributes=[attribute({"intValue": "1"})]))
    cut = place % len(body)
    for hostile in (garbage, body[:cut], body[:cut] + garbage + body[cut:]):
        try:
            done = transcode(hostile)
        except Undecodable:
            continue
        assert done.n_items >= len(done.rejected)


def test_log_records_mean_what_the_generic_reader_says_but_for_the_ids() -> None:
    record = {
        "timeUnixNano": "1544712660300000000",
        "observedTimeUnixNano": 1544712660300000001,
        "severityNumber": 10,
        "severityText": "Info",
        "eventName": "gen_ai.evaluation.result",
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "flags": 1,
        "body": {"kvlistValue": {"values": [attribute({"stringValue": "x"})]}},
        "attributes": [attribute({"doubleValue": 0.5})],
        "droppedAttributesCount": 2,
    }
    group = {"scope": {"name": "s", "version": "1"}, "logRecords": [record], "schemaUrl": "https://example.com/1"}
    body = {"resourceLogs": [{"resource": {"attributes": [attribute({"boolValue": True})]}, "scopeLogs": [group]}]}
    done = transcode(orjson.dumps(body), Signal.LOG_RECORDS)
    record |= {"traceId": base64_id(TRACE_ID), "spanId": base64_id(SPAN_ID)}
    assert ExportLogsServiceRequest.FromString(done.protobuf) == json_format.ParseDict(body, ExportLogsServiceRequest())
    assert (done.n_items, done.rejected, done.warnings) == (1, [], [])


def test_o54_lone_surrogates_in_log_records_are_replaced() -> None:
    body = rb'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"a\ud83d"}]}]}]}'
    request = ExportLogsServiceRequest.FromString(transcode(body, Signal.LOG_RECORDS).protobuf)
    assert request.resource_logs[0].scope_logs[0].log_records[0].event_name == "a\ufffd"


def test_o18_metric_points_are_counted_from_json() -> None:
    point = {"timeUnixNano": "1", "asInt": "-5", "attributes": []}
    metrics = [
        {"name": "a", "unit": "1", "sum": {"dataPoints": [point, {"asDouble": 0.5}], "isMonotonic": True}},
        {"name": "b", "histogram": {"dataPoints": [{"count": "2", "bucketCounts": ["1", "1"]}]}},
    ]
    body = orjson.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
    assert admit_metrics(transcode(body, Signal.METRIC_POINTS).protobuf).n_records == 3


def test_o10_more_items_than_a_request_may_hold_are_too_large() -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * MOST_ITEMS + b"{}]}]}]}"
    with pytest.raises(TooLarge, match=f"more than {MOST_ITEMS} spans"):
        transcode(body)


def test_the_payload_of_a_rejected_item_takes_no_more_memory_than_its_size() -> None:
    tracemalloc.start()
    try:
        done = transcode(b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 4_999 + b"{}]}]}]}")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.n_rejected == 5_000
    assert held < 5_000 * 1_000
