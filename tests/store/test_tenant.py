"""The tenant's handle: nobody else's rows, by any way in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from core.clock import NS_PER_S
from core.errors import Corrupt, InvalidInput
from core.windows import Window
from store.engine import Source, table_of
from tests.store.build import T0, agent_trace, derived, fill, row, spans_table
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def test_a_tenant_sees_its_rows_only(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1, tenant="a") + agent_trace(2, tenant="b") + agent_trace(3, tenant="a-b"))
    for name in ("spans", "turns", "rollups"):
        assert set(store.tenant("a").frame(table_of(name))["tenant"]) == {"a"}


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "a' OR 1=1", "x" * 64, "tenant=b"])
def test_a_name_that_cannot_be_a_tenant_is_refused(tmp_path: Path, name: str) -> None:
    _, store = store_at(tmp_path)
    with pytest.raises(InvalidInput):
        store.tenant(name)


def test_rows_of_another_tenant_cannot_be_appended(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    with pytest.raises(InvalidInput):
        store.tenant("a").append("spans", spans_table([row(tenant="a"), row(tenant="b", span_id=2)]))


def test_a_foreign_row_in_an_answer_is_an_error_not_an_answer(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(tenant="b")])
    foreign = derived(spans_table([row(tenant="b")]))["turns"]
    with pytest.raises(Corrupt, match="not its own"):
        store.tenant("a").frame(table_of("turns").select("tenant", "trace_id"), given={"turns": foreign})


def test_a_null_tenant_is_nobodys(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    nameless = pa.table({"tenant": pa.array([None], pa.string())})
    with pytest.raises(Corrupt):
        store.tenant("a")._own(nameless)


def test_the_window_is_half_open(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, at_s=0), row(span_id=2, at_s=1)])
    one = Window(start_ns=T0, end_ns=T0 + NS_PER_S)
    assert store.tenant("acme").frame(table_of("spans"), one).height == 1


def test_files_outside_the_window_are_not_read(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, at_s=0), row(span_id=2, at_s=3600)], batches=2)
    assert len(store.tenant("acme").files("spans", WINDOW)) == 2
    early = Window(start_ns=T0, end_ns=T0 + 60 * NS_PER_S)
    (file,) = store.tenant("acme").files("spans", early)
    assert file.max_ns == T0
    assert Source(table="spans", tenant=store.tenant("acme").tenant, files=(file,)).window is None


def test_as_of_derives_what_was_known_then(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2, at_s=60))
    then = store.tenant("acme").frame(table_of("turns"), WINDOW, T0 + 30 * NS_PER_S)
    assert then["n_spans"].sum() == 4
    assert store.tenant("acme").frame(table_of("turns"), WINDOW)["n_spans"].sum() == 8


def test_moved_keys_are_learned_from_every_new_file(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, moved_attributes="a=b=input\nc=query_text\nodd")])
    tenant = store.tenant("acme")
    assert tenant.moved_columns(["a=b", "c", "odd"], WINDOW) == {"a=b": ("input",), "c": ("query_text",), "odd": ()}
    fill(lake, [row(span_id=2, moved_attributes="c=output\nz=nosuchcolumn")])
    assert tenant.moved_columns(["c", "z"], WINDOW) == {"c": ("output", "query_text"), "z": ()}
