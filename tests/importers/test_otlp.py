"""OTLP files in every shape that exporters write: the same spans come out, and what is none says so."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from server.importers import otlp, otlp_binary
from server.importers.delivery import JSON, PROTOBUF, Shipment, Signal
from server.importers.reading import BadLine
from tests.importers.recorded import OTEL_SAMPLES, needs_recordings, table


def binary(n_spans: int, name: str = "s") -> ExportTraceServiceRequest:
    spans = [
        Span(trace_id=bytes([1] * 16), span_id=(n + 1).to_bytes(8, "big"), name=name, start_time_unix_nano=1000 + n)
        for n in range(n_spans)
    ]
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])


def document(n_spans: int) -> dict[str, Any]:
    spans = [
        {"traceId": "1" * 32, "spanId": f"{n + 1:016x}", "startTimeUnixNano": str(1000 + n)} for n in range(n_spans)
    ]
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": spans}]}]}


def shipped(path: Path, **options: Any) -> list[Shipment]:
    found = list(otlp.shipments(path, **({"app": None, "signal": None} | options)))
    assert all(isinstance(one, Shipment) for one in found), found
    return [one for one in found if isinstance(one, Shipment)]


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@needs_recordings
def test_every_captured_request_is_read_with_its_number_of_spans() -> None:
    for row in table(OTEL_SAMPLES / "index.csv"):
        path = OTEL_SAMPLES / row["file"]
        (one,) = shipped(path)
        assert one.content_type == JSON
        assert one.body == path.read_bytes().removeprefix(b"\xef\xbb\xbf").strip() or json.loads(one.body)
        if one.signal is Signal.TRACES:
            assert one.n_records == int(row["spans"]), row["file"]


def test_json_travels_byte_for_byte_whatever_its_shape(tmp_path: Path) -> None:
    pretty = json.dumps(document(2), indent=2).encode()
    (one,) = shipped(saved(tmp_path / "a", pretty))
    assert (one.body, one.n_records, one.first_ns, one.last_ns) == (pretty, 2, 1000, 1001)
    lines = b"\n".join(json.dumps(document(n)).encode() for n in (1, 2, 3))
    found = shipped(saved(tmp_path / "b", gzip.compress(lines)))
    assert [one.n_records for one in found] == [1, 2, 3]
    assert b"\n".join(one.body for one in found) == lines
    assert [one.origin for one in found] == [f"{tmp_path}/b:{n}" for n in (1, 2, 3)]
    listed = shipped(saved(tmp_path / "c", json.dumps([document(1), document(4)]).encode()))
    assert [one.n_records for one in listed] == [1, 4]


def test_one_document_with_several_signals_goes_to_several_doors(tmp_path: Path) -> None:
    both = document(1) | {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}, {}]}]}]}
    found = shipped(saved(tmp_path / "both", json.dumps(both).encode()))
    assert [(one.signal, one.n_records) for one in found] == [(Signal.TRACES, 1), (Signal.LOGS, 2)]


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def test_protobuf_alone_framed_and_delimited(tmp_path: Path) -> None:
    pieces = [binary(n).SerializeToString() for n in (1, 300, 5)]
    (alone,) = shipped(saved(tmp_path / "alone", pieces[1]))
    assert (alone.body, alone.content_type, alone.n_records) == (pieces[1], PROTOBUF, 300)
    framed = b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)
    assert [one.body for one in shipped(saved(tmp_path / "framed", framed))] == pieces
    delimited = b"".join(varint(len(piece)) + piece for piece in pieces)
    assert [one.body for one in shipped(saved(tmp_path / "delimited.gz", gzip.compress(delimited)))] == pieces


def test_protobuf_logs_are_told_from_traces(tmp_path: Path) -> None:
    record = LogRecord(event_name="gen_ai.evaluation.result", body=AnyValue(string_value="x"))
    logs = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])])
    path = saved(tmp_path / "logs", logs.SerializeToString())
    assert [(one.signal, one.n_records) for one in shipped(path)] == [(Signal.LOGS, 1)]
    assert shipped(path, signal=Signal.LOGS)[0].signal is Signal.LOGS


def test_app_is_written_on_the_resource_in_both_encodings(tmp_path: Path) -> None:
    (text,) = shipped(saved(tmp_path / "t", json.dumps(document(1)).encode()), app="mine")
    attributes = json.loads(text.body)["resourceSpans"][0]["resource"]["attributes"]
    assert attributes == [{"key": "assay.app", "value": {"stringValue": "mine"}}]
    (proto,) = shipped(saved(tmp_path / "p", binary(1).SerializeToString()), app="mine")
    resource = ExportTraceServiceRequest.FromString(proto.body).resource_spans[0].resource
    assert [(one.key, one.value.string_value) for one in resource.attributes] == [("assay.app", "mine")]


def test_large_requests_are_cut_into_parts_with_every_span_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "SPLIT_FROM", 1000)
    monkeypatch.setattr(otlp_binary, "SPLIT_FROM", 1000)
    text = shipped(saved(tmp_path / "t", json.dumps(document(1100)).encode()))
    proto = shipped(saved(tmp_path / "p", binary(1100).SerializeToString()))
    assert [one.n_records for one in text] == [one.n_records for one in proto] == [512, 512, 76]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "none of resourceSpans"),
        (b'{"resource_spans": []}', "snake_case"),
        (b'{"messages": []}', "assay import tau2"),
        (b'{"resourceSpans": {}}', "resourceSpans must be a list, not dict"),
        (b'{"resourceSpans": [{"scopeSpans": 7}]}', "scopeSpans must be a list, not int"),
        (b'{"resourceSpans": [}', "not JSON"),
        (b"[1, 2]", "not an OTLP request"),
        (b"", "is empty"),
        (b"\x00" * 64, "not JSON, OTLP protobuf"),
        (bytes(range(256)), "not JSON, OTLP protobuf"),
        (gzip.compress(b"x" * 5000)[:-9], "gzip"),
    ],
    ids=["empty object", "snake", "tau2", "dict", "int", "broken", "numbers", "empty", "zeros", "bytes", "cut gzip"],
)
def test_what_is_no_otlp_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    found = list(otlp.shipments(saved(tmp_path / "bad", content), app=None, signal=None))
    assert found
    assert isinstance(found[0], BadLine)
    assert said in str(found[0])
    assert "\n" not in str(found[0])


def test_a_bad_line_takes_no_sibling_with_it(tmp_path: Path) -> None:
    lines = [json.dumps(document(1)).encode()] * 5
    lines[2] = b'{"resourceSpans": '
    found = list(otlp.shipments(saved(tmp_path / "five.jsonl", b"\n".join(lines)), app=None, signal=None))
    assert [type(one) for one in found] == [Shipment, Shipment, BadLine, Shipment, Shipment]
    assert str(found[2]).startswith(f"{tmp_path}/five.jsonl:3: not JSON")
