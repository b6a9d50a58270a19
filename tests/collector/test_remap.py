"""A mapping fix reaches history: rows give their originals back, and today's mapping is run over them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector.decode import decode
from collector.leaves import Leaves
from collector.remap import differences, remap, remapped
from store.derive import DERIVED, derived
from store.lake import Lake
from tests.collector import messages_at_random

NOW_US = 1_900_000_000_000_000


def rows_of(*bodies: bytes) -> pa.Table:
    """Decoded and with leaves marked, as the committer stores them."""
    rows = decode(list(enumerate(bodies, 1)), tenant="t", ingested_at_us=NOW_US).rows
    leaves = Leaves()
    leaves.count(rows)
    return leaves.count(rows)


@pytest.mark.parametrize("block", range(8))
def test_with_the_same_mapping_nothing_changes(block: int) -> None:
    bodies = [messages_at_random.request(1000 + block * 20 + i).SerializeToString() for i in range(20)]
    rows = rows_of(*bodies)
    assert differences(rows, remapped(rows)) == {}


def chat(i: int) -> Span:
    """A root model call that today's mapping understands."""
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "session.id": "s1"}
    pairs = [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in attributes.items()]
    pairs += [
        KeyValue(key="gen_ai.usage.input_tokens", value=AnyValue(int_value=100)),
        KeyValue(key="gen_ai.input.messages", value=AnyValue(string_value='[{"role":"user"}]')),
    ]
    start = 1_790_000_000 * 10**9 + i
    return Span(
        trace_id=bytes([i + 1]) * 16,
        span_id=bytes([i + 1]) * 8,
        name="chat",
        start_time_unix_nano=start,
        end_time_unix_nano=start + 5 * 10**6,
        attributes=pairs,
    )


def stored_by_an_older_mapping(lake: Lake, n: int) -> pa.Table:
    """Spans stored when the mapping knew neither kind, model, tokens nor messages; returns what it should have been."""
    spans = ScopeSpans(spans=[chat(i) for i in range(n)])
    body = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[spans])]).SerializeToString()
    right = rows_of(body)
    attributes = [
        [*pairs, ("gen_ai.input.messages", text)]
        for pairs, text in zip(right["attributes"].to_pylist(), right["input"].to_pylist(), strict=True)
    ]
    old = {
        "kind": pa.array(["SPAN"] * n),
        "usage_counted": pa.array([False] * n),
        "attributes": pa.array(attributes, right.schema.field("attributes").type),
        "attribute_types": pa.array([letters + "s" for letters in right["attribute_types"].to_pylist()]),
        **{
            name: pa.nulls(n, right.schema.field(name).type)
            for name in ("model_request", "input_tokens", "total_tokens", "cost_usd", "input", "moved_attributes")
        },
    }
    rows = right
    for name, column in old.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), column)
    lake.append("spans", rows)
    for table in DERIVED:
        lake.append(table, derived(table, rows))
    return right


def all_rows(lake: Lake, table: str) -> pl.DataFrame:
    """A table's rows."""
    frame = pl.from_arrow(pa.concat_tables([lake.read(file, verify=True) for file in lake.snapshot(table).files]))
    assert isinstance(frame, pl.DataFrame)
    return frame


def test_a_newer_mapping_reaches_old_spans_and_what_was_derived_of_them(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    right = stored_by_an_older_mapping(lake, 3)
    foreseen = remap(lake, "t", dry_run=True)
    assert all_rows(lake, "spans")["model_request"].null_count() == 3, "a dry run changed something"
    done = remap(lake, "t")
    assert done == foreseen
    assert (done.n_rows, done.n_changed) == (3, 3)
    assert done.columns["model_request"] == 3
    files = lake.snapshot("spans").files
    stored = pa.concat_tables([lake.read(file).select(right.schema.names) for file in files])
    assert differences(right, stored) == {}
    turns = all_rows(lake, "turns")
    assert turns.height == 3
    assert turns["input_tokens"].to_list() == [100, 100, 100]
    assert turns["models"].to_list() == ["gpt-4o"] * 3
    assert all_rows(lake, "rollups").filter(level="LLM")["n"].sum() == 3
    assert remap(lake, "t").n_changed == 0
