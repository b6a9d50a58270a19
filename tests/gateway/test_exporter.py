"""The exporter against a real collector: everything arrives once, whatever dies, and counts once."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.clock import NS_PER_MS
from gateway.exporter import KEY_WITHIN_S, Exporter, ExportStatus
from gateway.records import Attempt, CacheOutcome, Usage
from gateway.spans import span_of
from gateway.spool import Spool
from tests.collector.alone import Collector
from tests.collector.otlp import span as otlp_span
from tests.collector.otlp import traces
from tests.gateway.calls import MAIN, SPARE, answered, caller
from tests.stack import REPOSITORY, free_port_base
from tests.waiting import wait_until

KEY = bytes(range(32))
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One collector for the tests that do not stop it: each has tenants of its own."""
    with Collector(tmp_path_factory.mktemp("collector")) as collector:
        yield collector


def exported(
    folder: Path,
    collector: Collector,
    work: Callable[[Exporter], Coroutine[Any, Any, None]],
    *,
    ingest_key: Callable[[str], str | None] | None = None,
    within_s: float = 3.0,
) -> ExportStatus:
    """Runs `work` with an exporter and closes it; the status then."""

    async def go() -> ExportStatus:
        spool = Spool(folder / "spool", KEY)
        url = f"http://127.0.0.1:{collector.base + 1}"
        exporter = Exporter(spool, url, ingest_key or cache(collector.key_of))
        await exporter.start()
        try:
            await work(exporter)
        finally:
            await exporter.close(within_s)
        return exporter.status()

    return asyncio.run(go())


def sends(*spans: bytes, tenant: str = "default") -> Callable[[Exporter], Coroutine[Any, Any, None]]:
    """Hands spans to the exporter, and leaves the sending to its end."""

    async def work(exporter: Exporter) -> None:
        for each in spans:
            exporter.send(tenant, each)

    return work


async def until(done: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Waits in the event loop."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


def call_span(n: int = 0, **fields: Any) -> bytes:
    return span_of(answered(time.time_ns() - NS_PER_MS * (100 + n), **fields), content=True)


def test_a_call_fills_the_columns_of_the_lake(tmp_path: Path, standing: Collector) -> None:
    now_ns = time.time_ns() - 1_000 * NS_PER_MS
    failed = Attempt(target=SPARE, started_ns=now_ns, ended_ns=now_ns + 1, status=503, error="upstream_503")
    call = answered(
        now_ns, streamed=True, first_token_ns=now_ns + 7 * NS_PER_MS, caller=caller(parent=f"00-{TRACE}-{PARENT}-01"),
        attempts=[failed, Attempt(target=MAIN, started_ns=now_ns, ended_ns=now_ns + 9, status=200)],
    )  # fmt: skip
    status = exported(tmp_path, standing, sends(span_of(call, content=True), tenant="columns"))
    standing.drained()
    rows = standing.stored(tenant="columns").sort("name")
    assert (status.sent, status.queued, status.refused, status.dropped) == (1, 0, 0, 0)
    assert rows["name"].to_list() == ["attempt main", "attempt spare", "chat sim-1"]
    assert rows["kind"].to_list() == ["SPAN", "SPAN", "LLM"]
    row = rows.row(2, named=True)
    expected = {
        "trace_id": TRACE,
        "parent_span_id": PARENT,
        "app": "my-agent",
        "release": "v2",
        "variant": "treatment",
        "session_id": "s1",
        "user_id": "u1",
        "provider": "openai",
        "model_request": "sim-1",
        "model_response": "sim-1",
        "response_id": "chatcmpl-1",
        "finish_reasons": '["stop"]',
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_read_tokens": 40,
        "ttft_ms": 7.0,
        "usage_counted": True,
        "scope_name": "assay.gateway",
        "error_type": None,
        "issues": None,
        "start_ns": now_ns,
    }
    assert {name: row[name] for name in expected} == expected
    assert (float(row["cost_usd"]), float(row["cost_reported_usd"])) == (0.00125, 0.00125)
    assert '"content":"Where is <EMAIL_1>?"' in row["input"]
    assert '"content":"Gone."' in row["output"]
    said = dict(row["attributes"])
    assert (said["assay.gateway.call_id"], said["assay.gateway.key_id"]) == (call.id, "k1")


def agents_span(now_ns: int, **fields: Any) -> bytes:
    """What an agent's own instrumentation says of the same model call, as the parent of the gateway's span."""
    said = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "support-fast", "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10, "gen_ai.usage.cost": 0.00125, "session.id": "s1", "assay.release": "v2",
        "assay.variant": "treatment",
    }  # fmt: skip
    healthy = {
        "trace_id": bytes.fromhex(TRACE), "span_id": bytes.fromhex(PARENT), "name": "chat support-fast",
        "start_time_unix_nano": now_ns - NS_PER_MS, "end_time_unix_nano": now_ns + 22 * NS_PER_MS,
        "kind": Span.SpanKind.SPAN_KIND_CLIENT,
    }  # fmt: skip
    made: Span = otlp_span(said, **(healthy | fields))
    return traces(made, resource={"service.name": "my-agent"}).SerializeToString()


def _n_spans(collector: Collector, tenant: str) -> int:
    """Of the turns, once sessions and rollups, which come after them, are there."""
    tables = [collector.stored(name, tenant) for name in ("rollups", "sessions", "turns")]
    return int(tables[2]["n_spans"].sum()) if all(frame.width > 1 for frame in tables) else 0


@pytest.mark.parametrize("cached", [False, True])
def test_a_call_counts_once_though_the_agents_span_says_the_same(
    tmp_path: Path, standing: Collector, cached: bool
) -> None:
    """The agent's span comes after it, as batches of an SDK do. An answer from the cache counts as nothing."""
    now_ns = time.time_ns() - 2_000 * NS_PER_MS
    hit = {"cache": CacheOutcome.EXACT, "usage": Usage(), "cost_usd": 0.0, "answered_by": None, "attempts": []}
    call = answered(now_ns, caller=caller(parent=f"00-{TRACE}-{PARENT}-01"), **(hit if cached else {}))
    tenant = "cached" if cached else "answered"

    async def work(exporter: Exporter) -> None:
        exporter.send(tenant, span_of(call, content=True))
        await until(lambda: exporter.status().sent == 1, "the call's span to be sent")
        assert standing.post(agents_span(now_ns), key=standing.key_of(tenant))[0] == 200

    exported(tmp_path, standing, work)
    standing.drained()
    wait_until(lambda: _n_spans(standing, tenant) == 2, 60, "turns, sessions and rollups to follow")
    rows = standing.stored(tenant=tenant)
    totals = {name: standing.stored(name, tenant) for name in ("rollups", "sessions", "turns")}
    counted = {row["name"]: row["usage_counted"] for row in rows.iter_rows(named=True)}
    assert counted == {"chat support-fast": False, "chat sim-1": True}
    tokens = (0, 0, 0.0) if cached else (100, 10, 0.00125)
    for name, frame in totals.items():
        model = frame.filter(pl.col("level") == "LLM") if name == "rollups" else frame
        found = model.select(pl.col("input_tokens", "output_tokens").sum(), pl.col("cost_usd").cast(float).sum()).row(0)
        assert found == tokens, name
    assert totals["turns"]["n_model_calls"].sum() == 1


def test_one_poisoned_span_is_set_aside_and_the_others_arrive(tmp_path: Path, standing: Collector) -> None:
    spans = [call_span(n) for n in range(40)]
    spans[17] = b"\x0a\xff\xff\xff\xff\x0f poison"
    status = exported(tmp_path, standing, sends(*spans, tenant="poison"))
    standing.drained()
    assert standing.stored(tenant="poison").height == 39
    assert (status.sent, status.refused, status.queued) == (39, 1, 0)
    assert (tmp_path / "spool" / "poison" / "refused").exists()


def test_without_the_right_key_spans_wait_and_other_tenants_do_not(tmp_path: Path, standing: Collector) -> None:
    keys: dict[str, str | None] = {"first": "wrong", "other": standing.key_of("other"), "third": None}

    async def work(exporter: Exporter) -> None:
        for tenant in keys:
            exporter.send(tenant, call_span())
        await until(lambda: exporter.status().sent == 1 and len(exporter.status().waiting) == 2, "the other tenant")
        assert exporter.status().waiting == {"first": "the collector answered 401", "third": "its key is being made"}
        keys["first"] = standing.key_of("first")
        await until(lambda: exporter.status().sent == 2, "the right key")

    status = exported(tmp_path, standing, work, ingest_key=lambda tenant: keys[tenant], within_s=0.5)
    assert (status.sent, status.queued) == (2, 1)
    keys["third"] = standing.key_of("third")
    assert exported(tmp_path, standing, sends(), ingest_key=lambda tenant: keys[tenant]).sent == 1
    standing.drained()
    assert [standing.stored(tenant=tenant).height for tenant in keys] == [1, 1, 1]


def test_a_key_that_is_being_made_is_no_warning_until_it_takes_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def warned(folder: Path, why: str, key_within_s: float = KEY_WITHIN_S) -> list[str]:
        caplog.clear()
        exporter = Exporter(Spool(folder, KEY), "http://127.0.0.1:9", lambda _: None, key_within_s=key_within_s)
        await exporter.start()
        exporter.send("default", call_span())
        await until(lambda: exporter.status().waiting == {"default": why}, why)
        await exporter.close(0.1)
        return [each.getMessage() for each in caplog.records]

    none = "there is no key to send its spans with"
    assert asyncio.run(warned(tmp_path / "new", "its key is being made")) == []
    assert asyncio.run(warned(tmp_path / "long", none, key_within_s=0.2)) == [f"spans of default wait: {none}"]


def test_a_collector_that_is_away_loses_nothing(tmp_path: Path) -> None:
    collector = Collector(tmp_path)

    async def work(exporter: Exporter) -> None:
        for n in range(60):
            exporter.send("default", call_span(n))
        await until(lambda: exporter.status().waiting, "the first refusal")
        assert exporter.status().queued == 60
        await asyncio.to_thread(collector.start)
        for n in range(60):
            exporter.send("default", call_span(n))
        await until(lambda: exporter.status().queued == 0, "everything to be sent", 60)

    try:
        status = exported(tmp_path, collector, work)
        collector.drained()
        assert status.sent == collector.stored().height == 120
        assert status.waiting == {}
    finally:
        collector.__exit__(None, None, None)


def test_a_stop_without_a_collector_keeps_what_waits(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    status = exported(tmp_path, collector, sends(*(call_span(n) for n in range(5))))
    assert (status.sent, status.queued) == (0, 5)
    with collector:
        assert exported(tmp_path, collector, sends()).sent == 5
        collector.drained()
        assert collector.stored().height == 5


def test_resending_after_a_kill_stores_nothing_twice(tmp_path: Path, standing: Collector) -> None:
    spans = [call_span(n) for n in range(30)]
    for _ in range(2):  # the same spans from two processes: the first was killed between the answer and its note
        exported(tmp_path, standing, sends(*spans, tenant="again"))
    standing.drained()
    assert standing.stored(tenant="again").height == 30
    assert standing.ledger("again")["spans"].counts.duplicate == 30


def talk(port: int, stop_after: int, ids: list[str]) -> None:
    """Asks the writer for calls, four connections at a time, until it dies or `ids` has `stop_after` of them."""

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while len(ids) < stop_after:
            writer.write(b"call\n")
            answer = await reader.readline()
            if not answer.endswith(b"\n"):
                return
            ids.append(answer.decode().strip())
        writer.close()

    async def go() -> None:
        await asyncio.gather(*(ask() for _ in range(4)), return_exceptions=True)

    asyncio.run(go())


def killed_after(process: subprocess.Popen[bytes], ids: list[str], n: int, port: int) -> None:
    """Kills the writer while it answers, once `ids` has `n` calls: at no fixed time, for some machines are slow."""

    def kill() -> None:
        try:
            wait_until(lambda: len(ids) >= n, 60, "calls to be answered")
        finally:
            process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    talk(port, 1_000_000, ids)
    killer.join()
    process.wait(60)
    assert len(ids) >= n


def writer(folder: Path, collector: Collector, port: int) -> subprocess.Popen[bytes]:
    """A process that answers calls and writes their spans; see tests/gateway/span_writer.py."""
    url = f"http://127.0.0.1:{collector.base + 1}"
    command = [sys.executable, "-m", "tests.gateway.span_writer", str(folder), url, collector.key, str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY)

    def up() -> bool:
        assert process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(up, 120, "the writer to listen")
    return process


@pytest.mark.parametrize("away", [False, True], ids=["collector_up", "collector_away"])
def test_every_answered_call_has_one_span_though_the_process_was_killed(tmp_path: Path, away: bool) -> None:
    port = free_port_base(1)
    collector = Collector(tmp_path)
    answered_ids: list[str] = []
    with collector:
        if away:
            collector.kill()
        for life in range(3):
            process = writer(tmp_path, collector, port)
            killed_after(process, answered_ids, len(answered_ids) + 200 + life, port)
        if away:
            collector.start()
        process = writer(tmp_path, collector, port)
        talk(port, len(answered_ids) + 50, answered_ids)
        process.terminate()
        assert process.wait(15) == 0
        collector.drained()
        rows = collector.stored()
    stored = [dict(row)["assay.gateway.call_id"] for row in rows["attributes"].to_list()]
    assert len(set(answered_ids)) == len(answered_ids)
    assert len(stored) == len(set(stored)), "a call has two spans"
    assert set(answered_ids) <= set(stored), "a call that was answered has no span"
    assert len(set(stored) - set(answered_ids)) <= 3 * 4, "more spans than calls that were under way"
