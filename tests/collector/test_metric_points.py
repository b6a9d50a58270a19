"""Metrics: counted exactly and refused in one clear sentence (O-17, O-18, decision 8)."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as m

from collector.metric_points import admit_metrics
from core.errors import Undecodable


def request(*metrics: m.Metric) -> bytes:
    groups = [m.ScopeMetrics(metrics=metrics[:1]), m.ScopeMetrics(metrics=metrics[1:])]
    return ExportMetricsServiceRequest(resource_metrics=[m.ResourceMetrics(scope_metrics=groups)]).SerializeToString()


def test_o18_points_are_counted_over_all_kinds_and_scopes() -> None:
    numbers = [m.NumberDataPoint(as_int=1, time_unix_nano=1), m.NumberDataPoint(as_double=0.5)]
    exponential = m.ExponentialHistogramDataPoint()
    admission = admit_metrics(
        request(
            m.Metric(name="gen_ai.client.token.usage", gauge=m.Gauge(data_points=numbers)),
            m.Metric(name="b", sum=m.Sum(data_points=numbers)),
            m.Metric(name="c", histogram=m.Histogram(data_points=[m.HistogramDataPoint(count=3)])),
            m.Metric(name="d", exponential_histogram=m.ExponentialHistogram(data_points=[exponential])),
            m.Metric(name="e", summary=m.Summary(data_points=[m.SummaryDataPoint(), m.SummaryDataPoint()])),
            m.Metric(name="no points", gauge=m.Gauge()),
        )
    )
    assert (admission.n_records, admission.n_rejected) == (8, 8)
    assert admission.message.startswith("8 metric points were not stored: Assay keeps no metrics")


@pytest.mark.parametrize("body", [b"", request(), request(m.Metric(name="x"))])
def test_o16_no_points_is_full_success(body: bytes) -> None:
    admission = admit_metrics(body)
    assert (admission.n_records, admission.n_rejected, admission.message) == (0, 0, "")


@pytest.mark.parametrize("body", [b"\x0a\x05hello", b"\xff" * 9, b"\x0a\x7f"])
def test_o23_what_is_no_request_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        admit_metrics(body)
