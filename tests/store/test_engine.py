"""The engine: bound values, declared types, locked doors, damaged files."""

from __future__ import annotations

from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pytest

from core.errors import Corrupt
from core.ids import TenantId
from store.engine import DuckDBEngine, Source, slot, table_of
from tests.store.build import agent_trace, fill, row, spans_table, trace
from tests.store.places import engine_at, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def test_a_slot_is_bound_and_the_compiled_text_is_kept(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2))
    spans = table_of("spans")
    expr = spans.filter(spans.trace_id == slot("wanted", "string")).select("span_id")
    for number in (1, 2):
        found = store.tenant("acme").frame(expr, values={"wanted": trace(number)})
        assert found.height == 4
    assert store.tenant("acme").frame(expr, values={"wanted": "' OR 1=1 --"}).height == 0


def test_sums_come_back_in_the_types_the_expression_declares(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1))
    spans = table_of("spans")
    found = store.tenant("acme").arrow(spans.aggregate(n=spans.input_tokens.sum(), cost=spans.cost_usd.sum()))
    assert found.schema.field("n").type == pa.int64()
    assert pa.types.is_decimal(found.schema.field("cost").type)


def test_a_table_without_files_has_no_rows_but_all_columns(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    for name in ("spans", "scores", "events", "quarantine", "turns", "sessions", "rollups"):
        assert store.tenant("acme").frame(table_of(name)).height == 0


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('/tmp/*.parquet')",
        "COPY (SELECT 1) TO '/tmp/assay-test.csv'",
        "ATTACH '/tmp/assay-test.db'",
        "INSTALL httpfs",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
    ],
)
def test_duckdb_reaches_nothing_but_the_lake(tmp_path: Path, statement: str) -> None:
    engine = DuckDBEngine(tmp_path)
    with pytest.raises(duckdb.Error):
        engine._connection.execute(statement)


def test_the_engine_calls_a_file_that_is_gone_or_torn_corrupt(tmp_path: Path) -> None:
    lake, _ = store_at(tmp_path)
    fill(lake, agent_trace(1))
    files = lake.snapshot("spans").files
    source = Source(table="spans", tenant=TenantId("acme"), files=files)
    engine = engine_at(lake.root)
    path = Path(files[0].path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Corrupt):
        engine.run(table_of("spans"), sources={"spans": source}, values={}, given={})
    path.unlink()
    with pytest.raises(Corrupt):
        engine.run(table_of("spans"), sources={"spans": source}, values={}, given={})


def test_a_path_with_a_quote_is_read_and_nothing_else(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path / "it's; DROP")
    fill(lake, agent_trace(1))
    assert store.tenant("acme").frame(table_of("spans")).height == 4


def test_the_engine_itself_keeps_to_the_source_tenant(tmp_path: Path) -> None:
    lake, _ = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2, tenant="other"))
    everything = tuple(lake.snapshot("spans").files)
    source = Source(table="spans", tenant=TenantId("acme"), files=everything)
    engine = engine_at(lake.root)
    found = engine.run(table_of("spans").select("tenant"), sources={"spans": source}, values={}, given={})
    assert set(found["tenant"].to_pylist()) == {"acme"}


def test_given_tables_stand_beside_the_lake(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2))
    wanted = ibis.table({"trace_id": "string"}, name="wanted")
    expr = table_of("spans").semi_join(wanted, "trace_id").select("trace_id")
    found = store.tenant("acme").frame(expr, given={"wanted": pa.table({"trace_id": [trace(2)]})})
    assert found["trace_id"].unique().to_list() == [trace(2)]


def test_times_are_divided_to_the_last_digit_and_round_down(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    day_ns = 86_400 * 10**9
    moments = [n * day_ns + x for n in (20_717, 0, -3) for x in (-1, 0, 1, day_ns - 1)]
    rows = [row(trace_id=n, span_id=n, start_ns=at_ns, date="2026-09-21") for n, at_ns in enumerate(moments, 1)]
    lake.append("spans", spans_table(rows))
    spans = table_of("spans")
    divided = {"by_slot": spans.start_ns // slot("day", "int64"), "by_number": spans.start_ns // day_ns}
    found = store.tenant("acme").frame(spans.select("start_ns", **divided), values={"day": day_ns})
    assert sorted(found.rows()) == sorted((at_ns, at_ns // day_ns, at_ns // day_ns) for at_ns in moments)


def test_a_pattern_that_finds_nothing_gives_an_empty_text_and_of_null_null(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    texts = ["größe=🛫; größe=2", "größe=", "nothing", "", None]
    lake.append("spans", spans_table([row(trace_id=n, span_id=n, input=text) for n, text in enumerate(texts, 1)]))
    spans = table_of("spans")
    expr = spans.select(
        "trace_id", whole=spans.input.re_extract("größe=[^;]+", 0), part=spans.input.re_extract("=(.)", 1)
    )
    found = store.tenant("acme").frame(expr).sort("trace_id")
    assert found.select("whole", "part").rows() == [("größe=🛫", "🛫"), ("", ""), ("", ""), ("", ""), (None, None)]


def test_rows_of_a_limit_without_an_order_are_any_that_are_there(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2), batches=2)
    spans = table_of("spans")
    assert store.tenant("acme").frame(spans.select("span_id", "tenant").limit(3)).height == 3
