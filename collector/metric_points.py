"""OTLP metrics: counted and answered honestly. No metric point is stored; spans carry the same figures, per call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from collector.log_events import Admission
from collector.proto_values import fields
from core.errors import TooLarge, Undecodable

# Metric.{gauge, sum, histogram, exponential_histogram, summary}; each holds its data points as field 1.
_KINDS: Final = (5, 7, 9, 10, 11)
MOST_POINTS: Final = 500_000  # of one request; they are counted in Python


def admit_metrics(body: bytes) -> Admission:
    """Counts the data points of an ExportMetricsServiceRequest; all of them are rejected, and the message says so.

    Raises Undecodable where the request is malformed, TooLarge when it holds more than MOST_POINTS points.
    """
    n_points = sum(1 for _ in islice(_points(body), MOST_POINTS + 1))
    if n_points > MOST_POINTS:
        raise TooLarge(f"the request holds more than {MOST_POINTS} data points; send smaller batches", "dataPoints")
    message = (
        f"{n_points} metric points were not stored: Assay keeps no metrics; tokens, cost and latency are computed from "
        "the spans sent to /v1/traces"
    )
    return Admission(n_records=n_points, n_rejected=n_points, message=message if n_points else "")


def looks_like_metrics(body: bytes) -> bool:
    """Whether a request that makes no sense as traces has a data point's time in any of its items.

    The nesting of both requests is the same; a span has its attributes where a metric has its histogram, and their keys
    are text where a data point has fixed 64-bit field 3.
    """
    try:
        return any(map(_has_time, _points(body)))
    except Undecodable:
        return False


def _points(body: bytes) -> Iterator[bytes]:
    for resource_metrics in fields(body, 1):
        for scope_metrics in fields(resource_metrics, 2):
            for metric in fields(scope_metrics, 2):
                for number in _KINDS:
                    for kind in fields(metric, number):
                        yield from fields(kind, 1)


def _has_time(point: bytes) -> bool:
    """Every kind of data point has its time in the same field."""
    try:
        return bool(NumberDataPoint.FromString(point).time_unix_nano)
    except DecodeError:
        return False
