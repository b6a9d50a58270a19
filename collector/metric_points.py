"""OTLP metrics: counted and answered honestly. No metric point is stored; spans carry the same figures, per call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from collector.log_events import Admission
from collector.proto_values import Walk
from core.errors import TooLarge, Undecodable

# Metric.{gauge, sum, histogram, exponential_histogram, summary}; each holds its data points as field 1.
_KINDS: Final = (5, 7, 9, 10, 11)
MOST_POINTS: Final = 500_000  # of one request; they are counted in Python
FIELDS_LOOKED_AT: Final = 100_000


def admit_metrics(body: bytes) -> Admission:
    """Counts the data points of an ExportMetricsServiceRequest; all of them are rejected, and the message says so.

    Raises Undecodable where the request is malformed, TooLarge when it holds more than MOST_POINTS points or too many
    fields.
    """
    n_points = sum(1 for _ in islice(_points(body, Walk()), MOST_POINTS + 1))
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
        return any(map(_has_time, _points(body, Walk(FIELDS_LOOKED_AT))))
    except (Undecodable, TooLarge):
        return False


def _points(body: bytes, walk: Walk) -> Iterator[bytes]:
    for resource_metrics in walk.fields(body, 1):
        for scope_metrics in walk.fields(resource_metrics, 2):
            for metric in walk.fields(scope_metrics, 2):
                for kind in walk.fields(metric, *_KINDS):
                    yield from walk.fields(kind, 1)


def _has_time(point: bytes) -> bool:
    """Every kind of data point has its time in the same field."""
    try:
        return bool(NumberDataPoint.FromString(point).time_unix_nano)
    except DecodeError:
        return False
