"""ClickHouse's engine: what DuckDB means, in ClickHouse's words; and the lake as ClickHouse itself reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import polars as pl
import pyarrow as pa
import pytest

from core.errors import Corrupt, InvalidInput, StorageFailed
from core.ids import TenantId
from core.windows import Window
from store import apps, facets, rollups, search, sessions, spans, traces
from store.asked import Asked
from store.clickhouse import ClickHouseEngine
from store.engine import DuckDBEngine, QueryEngine, Source, slot, table_of
from store.filters import Filters
from store.lake import Lake
from store.tenant import Store
from tests.engines import CHOSEN
from tests.store.build import T0, agent_trace, fill, row, spans_table, trace
from tests.store.places import WINDOW, BothEngines, engine_at, store_at

pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")


@pytest.fixture(autouse=True)
def _on_clickhouse() -> Any:
    token = CHOSEN.set("clickhouse")
    yield
    CHOSEN.reset(token)


def alone(root: Path) -> ClickHouseEngine:
    return ClickHouseEngine("chdb://memory", root, n_threads=2)


def test_text_is_cut_found_and_lowered_by_characters(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    long = "Ärger über 東京 \N{GRINNING FACE} " * 40
    fill(lake, [row(name="ÜBERGABE", input=long + "ZIEL Ω" + long, output="ß" * 400, attributes={"größe": "ÉTÉ"})])
    tenant = store.tenant("acme")
    for wanted, place in (("übergabe", "name"), ("ziel ω", "input"), ("été", "attributes"), ("ẞ".lower(), "output")):
        found = search.search(tenant, Asked(window=WINDOW, filters=Filters(q=wanted)))
        assert found["matched_in"].to_list() == [place]
        assert wanted in found["snippet"][0].lower()
        assert found["output_preview"][0] == "ß" * 300


def test_extreme_values_come_back_as_they_were_stored(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    strange = "\\ ' \" \n\t % _ {x:String} \N{PILE OF POO}"
    most, least = 2**63 - 1, -(2**63)
    rows = [
        row(span_id=1, start_ns=most, end_ns=most, input_tokens=most, name=strange, cost_usd=Decimal("9.999999999")),
        row(span_id=2, start_ns=least, end_ns=least, input_tokens=least, attributes={strange: strange, "": ""}),
        row(span_id=3, start_ns=0, ttft_ms=float("inf"), duration_ns=None, input="", attributes={}),
        row(span_id=4, ttft_ms=-0.0, cost_usd=Decimal("-0.000000001"), name=""),
    ]
    lake.append("spans", spans_table([given | {"date": "2026-09-21"} for given in rows]))
    everything = Window(start_ns=-(2**63), end_ns=2**63)
    stored = table_of("spans").drop("started_at")  # whose range is ClickHouse's own
    found = store.tenant("acme").frame(stored, everything).sort("span_id")
    assert found["start_ns"].to_list() == [2**63 - 1, -(2**63), 0, T0]
    assert found["name"][0] == strange
    asked = spans.list_spans(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(attr=((strange, strange),))))
    assert asked.height == 0
    expr = table_of("spans").filter(table_of("spans").name == slot("name", "string")).select("span_id")
    assert store.tenant("acme").frame(expr, everything, values={"name": strange}).height == 1


def test_thousands_of_given_rows_and_none(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2))
    for ids in ([trace(2), *[trace(n) for n in range(10, 30_000)]], []):
        wanted = ibis.table({"trace_id": "string"}, name="wanted")
        expr = table_of("spans").semi_join(wanted, "trace_id").select("trace_id")
        given = {"wanted": pa.table({"trace_id": pa.array(ids, pa.string())})}
        assert set(store.tenant("acme").frame(expr, given=given)["trace_id"]) == set(ids[:1])


def test_a_failed_query_leaves_nothing_in_the_next_answer(tmp_path: Path) -> None:
    lake, _ = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2, tenant="b"))
    files = lake.snapshot("spans").files
    engine = alone(tmp_path / "lake")
    source = Source(table="spans", tenant=TenantId("acme"), files=files)
    gone = Source(table="spans", tenant=TenantId("acme"), files=tuple(f for f in files if f.tenant == "b"))
    Path(gone.files[0].path).rename(tmp_path / "elsewhere")
    for _ in range(3):
        for damaged in (gone, source):  # alone ClickHouse says so; beside another it would say nothing
            with pytest.raises(Corrupt):
                engine.run(table_of("spans"), sources={"spans": damaged}, values={}, given={})
        sound = Source(table="spans", tenant=TenantId("acme"), files=tuple(f for f in files if f.tenant == "acme"))
        assert engine.run(table_of("spans"), sources={"spans": sound}, values={}, given={}).num_rows == 4


def test_no_server_and_no_such_path_are_told(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="ClickHouse"):
        ClickHouseEngine("clickhouse://reader:hunter2@127.0.0.1:1/", tmp_path)
    with pytest.raises(InvalidInput, match="wildcards"):
        alone(tmp_path / "a*")


def test_clickhouse_reads_the_delta_tables_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a ClickHouse sees each table through a view of his own, and ibis sees it through his connection."""
    import clickhouse_connect

    lake, _ = store_at(tmp_path)
    fill(lake, [span for n in range(20) for span in agent_trace(n + 1, at_s=n)], batches=4)
    before = lake.snapshot("turns")
    lake.replace(
        "turns", list(before.files[:2]), pa.concat_tables(map(lake.read, before.files[:2])), operation="OPTIMIZE"
    )
    monkeypatch.chdir(tmp_path)  # chdb's user_files_path is the working folder
    client = clickhouse_connect.get_client(interface="chdb")
    client.command(f"CREATE OR REPLACE VIEW turns AS SELECT * FROM deltaLakeLocal('{lake.root}/turns')")
    theirs = ibis.clickhouse.from_connection(client).table("turns")
    summed = ["n_spans", "n_errors", "input_tokens", "output_tokens", "cost_usd"]
    by_view = theirs.group_by("trace_id").agg(**{name: theirs[name].sum() for name in summed}).to_polars()
    ours = table_of("turns")
    expr = ours.group_by("trace_id").agg(**{name: ours[name].sum() for name in summed})
    by_store = Store(lake, DuckDBEngine(lake.root), lambda: T0).tenant("acme").frame(expr)
    assert by_view.sort("trace_id").rows() == by_store.sort("trace_id").rows()
    client.close()


def test_the_pages_of_a_day_are_the_same_on_both_engines(tmp_path: Path) -> None:
    """Every list of the API over a day of three apps; `BothEngines` compares each query, and here each page."""
    lake = Lake(tmp_path / "lake")
    rows: list[dict[str, Any]] = []
    for n in range(1, 121):
        app, release = ("airline", "retail", "bank")[n % 3], f"r{n % 4}"
        common = {"app": app, "release": release, "session_id": f"s{n // 5}", "user_id": f"u{n % 7}"}
        rows += agent_trace(n, at_s=n * 60, **common)
    fill(lake, rows, batches=6)
    pages = {}
    engines: dict[str, QueryEngine] = {"duckdb": DuckDBEngine(lake.root), "clickhouse": engine_at(lake.root)}
    assert isinstance(engines["clickhouse"], BothEngines)
    for name, engine in engines.items():
        tenant = Store(lake, engine, lambda: T0).tenant("acme")
        pages[name] = every_page(tenant)
    assert pages["duckdb"].keys() == pages["clickhouse"].keys()
    for name, page in pages["duckdb"].items():
        assert page.equals(pages["clickhouse"][name]), name


def every_page(tenant: Any) -> dict[str, pl.DataFrame]:
    late = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1e9)
    found: dict[str, pl.DataFrame] = {}
    for label, filters in (
        ("all", Filters()),
        ("app", Filters(app="retail")),
        ("kind", Filters(kind="TOOL")),
        ("slow", Filters(min_duration_ms=100)),
        ("text", Filters(q="question 1")),
    ):
        asked = Asked(window=WINDOW, filters=filters, limit=40)
        found |= {
            f"spans {label}": spans.list_spans(tenant, asked),
            f"traces {label}": traces.list_traces(tenant, asked),
            f"sessions {label}": sessions.list_sessions(tenant, asked),
            f"facets {label}": facets.facets(tenant, asked, facets.FacetField.MODEL),
        }
    found["apps"] = apps.apps(tenant, WINDOW)
    found["rollups"] = rollups.rollups(tenant, rollups.RollupsAsked(window=WINDOW, group_by=("app", "model")))
    found["traces as of"] = traces.list_traces(tenant, Asked(window=WINDOW, limit=40, as_of_ns=late))
    found["turns of a session"] = sessions.turns_of_session(tenant, "s3", limit=20)
    return found
