"""Old and foreign clients (O-58, O-59): bytes captured from many releases of the SDKs, and requests shaped as
collectors and agents send them."""

from __future__ import annotations

import csv
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from core.records import Counts
from tests.collector.alone import Collector
from tests.collector.doors import JSON, PROTOBUF, counts, fresh
from tests.collector.otlp import START_NS, key_values, log_record, logs, span, traces

GOLDEN: Final = Path(__file__).parent / "golden"
RECORDED: Final = Path(__file__).parents[1] / "live" / "recorded"
SAMPLES: Final = Path(__file__).parents[3] / "shared" / "data" / "otel_samples"
CAPTURES: Final = sorted(path.name for path in GOLDEN.glob("*-*"))
PROGRAMS: Final = sorted(path.name for path in RECORDED.glob("*.json"))


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One collector for the module; every test has a tenant of its own."""
    with Collector(tmp_path_factory.mktemp("clients")) as running:
        yield running
        assert running.stop() == 0


def stored(collector: Collector, body: bytes, content_type: str) -> tuple[str, pl.DataFrame]:
    """A new tenant that sent this one request, which must be a full success, and its spans."""
    tenant = f"t{secrets.token_hex(6)}"
    status, answer, _ = collector.post(body, key=collector.key_of(tenant), content_type=content_type)
    assert (status, answer) == (200, b"{}" if content_type == JSON else b"")
    collector.drained()
    return tenant, collector.stored(tenant=tenant)


def test_o58_captures_of_ten_releases_are_there() -> None:
    assert len(CAPTURES) == 15


@pytest.mark.parametrize("capture", CAPTURES)
def test_o58_what_old_exporters_send_is_stored_whole(collector: Collector, capture: str) -> None:
    content_type = JSON if capture.endswith(".json") else PROTOBUF
    tenant, rows = stored(collector, (GOLDEN / capture).read_bytes(), content_type)
    assert counts(collector, tenant) == Counts(received=2, stored=2)
    root, child = rows.sort("parent_span_id", nulls_last=False).to_dicts()
    assert (root["name"], root["otel_kind"], root["parent_span_id"], root["app"]) == ("root", 2, None, "golden")
    assert dict(root["attributes"]) == {
        "s": "text", "i": "7", "d": "0.5", "b": "true", "l": '["a","b"]',
    }  # fmt: skip
    assert (child["name"], child["otel_kind"], child["parent_span_id"]) == ("child", 3, root["span_id"])
    assert (child["status_code"], child["status_message"], child["model_request"]) == (2, "it broke", "m-1")
    assert [event["name"] for event in json.loads(child["events"])] == ["an event", "exception"]
    [link] = json.loads(child["links"])
    assert (link["span_id"], link["attributes"]) == (root["span_id"], {"why": "test"})
    assert (child["scope_name"], child["scope_version"]) == ("golden.scope", "1.2.3")
    for each in (root, child):
        assert each["issues"] is None
        assert each["duration_ns"] >= 0
        assert 1_700_000_000 * 10**9 < each["start_ns"] < 1_900_000_000 * 10**9


def test_o58_no_version_is_asked_for_and_none_is_told(collector: Collector) -> None:
    body = (GOLDEN / "python-1.5.0.pb").read_bytes()
    for agent in ("OTel-OTLP-Exporter-Python/1.5.0", "OTel-OTLP-Exporter-Rust/0.9", "", "curl"):
        status, answer, headers = collector.post(body, user_agent=agent, x_otlp_version="0.0.1")
        assert (status, answer) == (200, b"")
        assert set(headers) == {"content-type", "content-length"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_o59_programs_under_instrumentation_are_stored_whole(collector: Collector, program: str) -> None:
    for body in requests_of(json.loads((RECORDED / program).read_bytes())):
        expected = sum(len(s["spans"]) for g in body["resourceSpans"] for s in g["scopeSpans"])
        tenant, _ = stored(collector, json.dumps(body).encode(), JSON)
        assert counts(collector, tenant) == Counts(received=expected, stored=expected)


def requests_of(recorded: Any) -> list[dict[str, Any]]:
    """The requests of a recording: one, or a list of them."""
    return recorded if isinstance(recorded, list) else [recorded]


@pytest.mark.skipif(not SAMPLES.exists(), reason=f"the captured requests are not at {SAMPLES}")
def test_o59_the_captured_requests_are_stored_whole_or_refused_with_a_reason(collector: Collector) -> None:
    with (SAMPLES / "index.csv").open(newline="") as lines:
        listed = list(csv.DictReader(lines))
    key = collector.key_of("samples")
    for entry in listed:
        body = (SAMPLES / entry["file"]).read_bytes()
        status, answer, _ = collector.post(body, key=key, content_type=JSON)
        said = json.loads(answer)
        assert said == {} if int(entry["spans"]) else status == 400, entry["file"]
    found = counts(collector, "samples")
    assert found.stored + found.duplicate == found.received == sum(int(entry["spans"]) for entry in listed)


def test_o59_a_collector_gathers_many_resources_into_one_request(collector: Collector) -> None:
    """As the OpenTelemetry Collector, Alloy, Vector and Fluent Bit do: schema URLs, scope attributes, several apps."""
    request = ExportTraceServiceRequest()
    for number in range(40):
        group = traces(*fresh(5), resource={"service.name": f"app{number % 4}", "host.name": f"h{number}"})
        group.resource_spans[0].schema_url = "https://opentelemetry.io/schemas/1.30.0"
        group.resource_spans[0].scope_spans[0].schema_url = "https://opentelemetry.io/schemas/1.30.0"
        group.resource_spans[0].scope_spans[0].scope.attributes.extend(key_values({"short_name": "x"}))
        group.resource_spans[0].resource.dropped_attributes_count = 3
        request.MergeFrom(group)
    tenant, rows = stored(collector, request.SerializeToString(), PROTOBUF)
    assert counts(collector, tenant) == Counts(received=200, stored=200)
    assert dict(rows["app"].value_counts().iter_rows()) == {f"app{n}": 50 for n in range(4)}


def test_o59_metrics_without_a_trace_are_no_error(collector: Collector) -> None:
    """As Claude Code sends them: counters of its own, a session among the attributes, no exemplar, no trace id."""
    point = NumberDataPoint(
        time_unix_nano=START_NS, as_double=12, attributes=key_values({"session.id": "s", "model": "m", "type": "input"})
    )
    names = ("claude_code.token.usage", "claude_code.cost.usage", "claude_code.session.count")
    metrics = [Metric(name=name, sum=Sum(data_points=[point])) for name in names]
    resource = Resource(attributes=key_values({"service.name": "claude-code"}))
    groups = [ResourceMetrics(resource=resource, scope_metrics=[ScopeMetrics(metrics=metrics)])]
    body = ExportMetricsServiceRequest(resource_metrics=groups).SerializeToString()
    status, answer, _ = collector.post(body, "/v1/metrics")
    said = ExportMetricsServiceResponse.FromString(answer).partial_success
    assert (status, said.rejected_data_points) == (200, 3)
    assert said.error_message
    status, _, _ = collector.post(logs(log_record("claude_code.user_prompt", trace_id=b"", span_id=b"")), "/v1/logs")
    assert status == 200


def test_o59_a_proxy_that_broadcasts_sends_spans_without_scope_or_resource(collector: Collector) -> None:
    """As gateways do that keep no SDK: OTLP/JSON by hand, one span per request, no resource and no scope."""
    one = span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3})
    body = {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": one.trace_id.hex(),
                                "spanId": one.span_id.hex(),
                                "name": "chat m",
                                "startTimeUnixNano": str(START_NS),
                                "endTimeUnixNano": str(START_NS + 5),
                                "attributes": [
                                    {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                                    {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
                                    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": 3}},
                                ],
                            }
                        ]
                    }
                ]
            }
        ]
    }
    _, rows = stored(collector, json.dumps(body).encode(), JSON)
    [row] = rows.to_dicts()
    assert (row["kind"], row["model_request"], row["input_tokens"], row["app"]) == ("LLM", "m", 3, None)
