"""Builds span rows for tests: say what matters, the rest has plain defaults."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from core.clock import NS_PER_MS, NS_PER_S
from core.windows import day_of
from store import derive
from store.lake import Lake
from store.schema import SPANS

T0 = 1_790_000_000 * NS_PER_S  # 2026-09-21T14:13:20Z


def trace(number: int) -> str:
    """A trace id made from a small number."""
    return f"{number:032x}"


def span(number: int) -> str:
    """A span id made from a small number."""
    return f"{number:016x}"


def row(**given: Any) -> dict[str, Any]:
    """One row of SPANS. Short forms: `at_s` (seconds after T0), `ms` (duration), `parent` (None = root).

    trace_id and span_id may be small numbers.
    """
    at_s, ms = given.pop("at_s", 0), given.pop("ms", 10)
    parent = given.pop("parent", given.pop("parent_span_id", None))
    start = given.pop("start_ns", T0 + int(at_s * NS_PER_S))
    given["trace_id"] = _id(given.get("trace_id", 1), 32)
    given["span_id"] = _id(given.get("span_id", 1), 16)
    defaults: dict[str, Any] = {
        "tenant": "acme",
        "date": day_of(start),
        "seq": int(given["span_id"], 16),
        "ingested_at": datetime.fromtimestamp(max(start, 0) // NS_PER_S, UTC),
        "parent_span_id": None if parent is None else _id(parent, 16),
        "content_hash": hash((given["trace_id"], given["span_id"])) % 2**62,
        "name": "agent",
        "kind": "SPAN",
        "otel_kind": 1,
        "start_ns": start,
        "end_ns": start + int(ms * NS_PER_MS),
        "duration_ns": int(ms * NS_PER_MS),
        "status_code": 0,
        "usage_counted": False,
        "attributes": [],
        "attribute_types": "",
        "dropped": 0,
        "flags": 0,
    }
    merged = {**defaults, **given}
    if isinstance(merged["attributes"], dict):
        merged["attributes"] = list(merged["attributes"].items())
        merged["attribute_types"] = merged["attribute_types"] or "s" * len(merged["attributes"])
    return merged


def spans_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The SPANS table of some rows made by `row`."""
    return pa.Table.from_pylist(rows, schema=SPANS)


def derived(spans: pa.Table) -> dict[str, pa.Table]:
    """The partial turns, sessions and rollups of a batch of spans."""
    return {table: derive.derived(table, spans) for table in derive.DERIVED}


def _id(value: int | str, width: int) -> str:
    return value if isinstance(value, str) else f"{value:0{width}x}"


def fill(lake: Lake, rows: list[dict[str, Any]], *, batches: int = 1) -> None:
    """Appends rows and what is derived from them to a lake, in so many commits."""
    size = max(1, -(-len(rows) // batches))
    for first in range(0, len(rows), size):
        spans = spans_table(rows[first : first + size])
        lake.append("spans", spans)
        for name, partial in derived(spans).items():
            if partial.num_rows:
                lake.append(name, partial)


def agent_trace(number: int, *, at_s: float = 0, **given: Any) -> list[dict[str, Any]]:
    """A small agent trace: a root of 1 s, two model calls (100 in, 10 out, 0.001 USD each; TTFT 20 and 40 ms) and a
    tool call that failed. Span ids are 10 * number and on; `given` goes to every span."""
    first = number * 10
    usage = {
        "kind": "LLM",
        "usage_counted": True,
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_usd": Decimal("0.001"),
        "model_request": "gpt-4o",
    }
    common = {"trace_id": number, "app": "airline", "release": "r1", **given}
    texts = {"input": f"question {number}", "output": f"answer {number}"}
    return [
        row(**common, **texts, span_id=first, at_s=at_s, ms=1000, name="agent", kind="AGENT", status_code=1),
        row(**common, **usage, span_id=first + 1, parent=first, at_s=at_s + 0.1, ms=200, name="chat", ttft_ms=20.0),
        row(**common, span_id=first + 2, parent=first, at_s=at_s + 0.3, ms=50, name="tool", kind="TOOL", status_code=2),
        row(**common, **usage, span_id=first + 3, parent=first, at_s=at_s + 0.4, ms=400, name="chat", ttft_ms=40.0),
    ]
