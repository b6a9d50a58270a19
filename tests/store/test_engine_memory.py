"""What the engine keeps is bounded: the same question asked again and again takes no more memory."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import duckdb
import pytest

from core.windows import Window
from store import engine
from store.asked import Asked
from store.engine import DuckDBEngine
from store.lake import Lake
from store.tenant import Store, TenantStore
from store.traces import list_traces
from tests.store.build import agent_trace, fill

ALWAYS = Window(start_ns=-(2**63), end_ns=2**63 - 1)
RUNS = 20


class _Mallinfo(ctypes.Structure):
    _fields_ = [(f"f{n}", ctypes.c_size_t) for n in range(10)]


def _in_use() -> int:
    """Bytes that malloc has given out in this process; skips where the C library does not say."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        pytest.skip("this C library does not tell what is in use (mallinfo2)")
    ask.restype = _Mallinfo
    told = ask()
    return int(told.f7) + int(told.f4)  # uordblks, hblkhd


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TenantStore, DuckDBEngine]:
    """A tenant with two traces, and an engine whose databases live for RUNS statements."""
    monkeypatch.setattr(engine, "RUNS_OF_A_DATABASE", RUNS)
    lake = Lake(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2))
    made = DuckDBEngine(lake.root)
    return Store(lake, made).tenant("acme"), made


def test_the_same_list_a_hundred_times_keeps_nothing(asked: tuple[TenantStore, DuckDBEngine]) -> None:
    tenant, _ = asked

    def ask(times: int) -> int:
        for _ in range(times):
            assert list_traces(tenant, Asked(window=ALWAYS)).height == 2
        return _in_use()

    began = ask(3 * RUNS)
    grown = ask(100) - began
    assert grown < 150_000  # 430,000 where one database lives for all of them


def test_each_database_is_locked_as_the_first_was(asked: tuple[TenantStore, DuckDBEngine]) -> None:
    tenant, made = asked
    first = made._connection
    for _ in range(RUNS):
        list_traces(tenant, Asked(window=ALWAYS))
    assert made._connection is not first
    for statement in ("SELECT * FROM read_text('/etc/passwd')", "SET enable_external_access = true"):
        with pytest.raises(duckdb.Error):
            made._connection.execute(statement)


def test_questions_under_way_end_on_the_database_they_began_on(asked: tuple[TenantStore, DuckDBEngine]) -> None:
    tenant, _ = asked
    heights: list[int] = []

    def ask() -> None:
        heights.extend(list_traces(tenant, Asked(window=ALWAYS)).height for _ in range(RUNS))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heights == [2] * (4 * RUNS)
