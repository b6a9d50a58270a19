"""The public recordings next to the checkout, and what their own tables say about them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from server.importers.genai import Conversation
from server.importers.reading import BadLine

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data"
TAU2 = RECORDED / "tau2_trajectories"
TAU_BENCH = RECORDED / "tau_bench_v1" / "gpt-4o_airline.jsonl.gz"
OTEL_SAMPLES = RECORDED / "otel_samples"

needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared/data is not here")


def table(path: Path) -> list[dict[str, str]]:
    """A CSV file's rows."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def tau2_files() -> list[Path]:
    """The 15 recordings in the order of manifest.csv."""
    return [TAU2 / row["file"] for row in table(TAU2 / "manifest.csv")]


def good(found: Conversation | BadLine) -> Conversation:
    """The conversation; fails on a BadLine."""
    assert isinstance(found, Conversation), str(found)
    return found


def values(span: Span) -> dict[str, object]:
    """A span's attributes as Python values."""
    return {one.key: python_value(one.value) for one in span.attributes}


def python_value(value: AnyValue) -> object:
    """What an OTLP value holds."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [python_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
