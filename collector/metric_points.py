"""OTLP metrics: counted and answered honestly. No metric point is stored; spans carry the same figures, per call."""

from __future__ import annotations

from typing import Final

from collector.log_events import Admission
from collector.proto_values import fields

# Metric.{gauge, sum, histogram, exponential_histogram, summary}; each holds its data points as field 1.
_KINDS: Final = (5, 7, 9, 10, 11)


def admit_metrics(body: bytes) -> Admission:
    """Counts the data points of an ExportMetricsServiceRequest; all of them are rejected, and the message says so.

    Raises Undecodable where the request is malformed.
    """
    n_points = 0
    for resource_metrics in fields(body, 1):
        for scope_metrics in fields(resource_metrics, 2):
            for metric in fields(scope_metrics, 2):
                n_points += sum(len(fields(kind, 1)) for number in _KINDS for kind in fields(metric, number))
    message = (
        f"{n_points} metric points were not stored: Assay keeps no metrics; tokens, cost and latency are computed from "
        "the spans sent to /v1/traces"
    )
    return Admission(n_records=n_points, n_rejected=n_points, message=message if n_points else "")
