"""What the collector's process holds in memory: the libraries it loads, and what it remembers of spans."""

from __future__ import annotations

import gc
import time
import tracemalloc
from functools import partial
from pathlib import Path

import pytest

from collector import leaves
from collector.batch import Rows
from collector.intake import Acknowledged
from collector.leaves import Leaves
from collector.remembered import Remembered
from collector.resources import ScopeText
from tests.collector.alone import Collector
from tests.collector.inside import Inside, InsideDoor
from tests.collector.otlp import log_record, logs, span, traces
from tests.collector.test_doors_pressure import post
from tests.store.build import row, spans_table
from tests.waiting import wait_until

# Each of them takes 20 MB and more, and belongs to those who read.
NOT_FOR_THE_COLLECTOR = ("polars", "duckdb", "pandas", "scipy", "sklearn", "chdb")


def test_a_collector_that_took_traffic_has_mapped_no_library_of_the_readers(tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("the system does not say what a process has mapped")
    now = time.time_ns()
    spans = traces(span({"gen_ai.operation.name": "chat", "session.id": "s"})).SerializeToString()
    records = logs(
        log_record("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "q"}, time_unix_nano=now),
        log_record("gen_ai.choice", {"a": "b"}, time_unix_nano=now),
    )
    with Collector(tmp_path) as collector:
        for _ in range(2):  # what comes again is looked up in the lake
            assert collector.post(spans)[0] == 200
            assert collector.post(records, "/v1/logs")[0] == 200
            collector.drained()
        mapped = Path(f"/proc/{collector.pid}/maps").read_text()
        compiler_kib = code_kib(collector.pid, "libllvmlite.so")
        advised, arenas = huge_and_arenas(Path(f"/proc/{collector.pid}/smaps").read_text())
        assert collector.stored("turns").height == 1
    assert "numba" in mapped or "llvmlite" in mapped, "the maps are those of the collector"
    assert compiler_kib < 25 << 10, "what loading the kernels read of LLVM was 55 MiB, and is given back"
    assert not [name for name in NOT_FOR_THE_COLLECTOR if f"site-packages/{name}" in mapped]
    assert advised == [], "a huge page stays as long as anything on it does"
    assert arenas == [], "of a heap that is not the first, the free end is never given back"


def huge_and_arenas(smaps: str) -> tuple[list[str], list[str]]:
    """The regions for which huge pages were asked, and glibc's heaps beside the first: each fills 64 MiB to an edge."""
    advised, arenas, region, before = [], [], "", (0, 0)
    for line in smaps.splitlines():
        first, *words = line.split()
        if first.endswith(":"):
            advised += [region] if first == "VmFlags:" and "hg" in words else []
            continue
        region = line
        begin, end = (int(edge, 16) for edge in first.split("-"))
        whole = before[1] == begin and end - before[0] == 64 << 20 and before[0] % (64 << 20) == 0
        arenas += [region] if whole and words[0] == "---p" else []
        before = begin, end
    return advised, arenas


def code_kib(pid: int, library: str) -> int:
    """How much of a library's code a process has in memory."""
    found, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            inside = " r-xp " in line and line.endswith(library)
        elif inside and first == "Rss:":
            found += int(line.split()[1])
    return found


def test_a_collector_that_waits_keeps_nothing_of_what_it_stored_last(tmp_path: Path) -> None:
    life = Inside(tmp_path, linger_s=0.05)
    life.recover()
    life.committer.start()
    of_others = _alive()  # of lives that other tests of this process broke off
    with InsideDoor(life) as door:
        for n in (1, 2):
            assert post(door, traces(span({"session.id": "s" * 1_000})).SerializeToString())[0] == 200
            wait_until(partial(_stored, life, n), 60, "the request to be stored")
            wait_until(partial(_forgotten, of_others), 20, "it and its rows to be forgotten")
    assert life.committer.stop(10)
    life.release()


def _stored(life: Inside, position: int) -> bool:
    return life.committer.backlog["committed"] == position


def _alive() -> list[object]:
    return [one for one in gc.get_objects() if type(one) in (Acknowledged, Rows)]


def _forgotten(of_others: list[object]) -> bool:
    known = {id(one) for one in of_others}
    return all(id(one) in known for one in _alive())


def test_what_leaves_remember_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "SLOTS", 64)
    known = Leaves()
    usage = {"kind": "LLM", "usage_counted": True, "input_tokens": 1}
    sizes = set()
    for n in range(1, 400):
        known.count(spans_table([row(span_id=2 * n, parent=2 * n + 1, **usage)]))
        sizes.add(known._of_any.nbytes)
    assert max(sizes) == leaves.GENERATIONS * 64 * 4
    newest = [spans_table([row(span_id=2 * n + 1, **usage)]) for n in range(280, 400)]
    assert not any(known.count(parent).column("usage_counted")[0].as_py() for parent in newest)


def test_what_is_remembered_of_resources_weighs_at_most_what_is_said_whoever_chooses_their_size() -> None:
    read: list[bytes] = []

    def reading(raw: bytes) -> ScopeText:
        read.append(raw)
        return ScopeText(name=raw.decode(), version=None)

    tracemalloc.start()
    try:
        known = Remembered(reading, most_bytes=1 << 20)
        for size in (10, 1_000, 100_000, 3_000_000):  # the last is too large to be remembered at all
            for n in range(2_000 if size < 100_000 else 20):
                known(f"{n:010}".encode() * (size // 10))
            read.clear()
            held, _ = tracemalloc.get_traced_memory()
            assert held < 1 << 20
    finally:
        tracemalloc.stop()
    assert known.n


def test_what_is_asked_for_again_and_again_is_read_once_whatever_comes_between() -> None:
    read: list[bytes] = []

    def reading(raw: bytes) -> ScopeText:
        read.append(raw)
        return ScopeText(name=raw.decode(), version=None)

    known = Remembered(reading, most_bytes=1 << 20)
    for n in range(5_000):
        assert known(b"mine").name == "mine"
        known(f"{n}".encode())
    assert read.count(b"mine") == 1
    assert known.n < 300, "of 5,000 that came once"
