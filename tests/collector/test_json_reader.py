"""Large JSON bodies are read beside the collector: the same answers, and nobody else waits for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collector.json_body import MOST_ITEMS, transcode
from collector.json_reader import ALONE_BYTES, MOST_BYTES, JsonReaders
from collector.kinds import Signal
from collector.rejected import MOST_ALONE
from core.errors import TooLarge, Undecodable
from tests.collector.alone import Collector
from tests.collector.doors import body_of, json_body_of
from tests.collector.otlp import json_span, json_traces
from tests.waiting import wait_until

PAD = b" " * ALONE_BYTES
EMPTY_SPANS = b'{"resourceSpans":[{"scopeSpans":[{"spans":[%b{}]}]}]}'


@pytest.fixture
def readers() -> Iterator[JsonReaders]:
    """Readers of this process."""
    made = JsonReaders()
    yield made
    made.close()


def children_of(pid: int) -> set[int]:
    """The processes that a process started and that live."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return {child for child in found if Path(f"/proc/{child}/cmdline").read_bytes()}


@pytest.mark.parametrize(
    ("about", "body"),
    [
        (Signal.SPANS, json_body_of(300)),
        (Signal.SPANS, json_traces(*[json_span(spanId="zz", name=f"n{i}") for i in range(MOST_ALONE + 9)])),
        (Signal.SPANS, json_traces(json_span(kind="SPAN_KIND_CLIENT"), json_span(trace_id="x"))),
        (Signal.SPANS, json_traces(json_span(name="LONE", kind=None)).replace(b"LONE", rb"\ud800")),
        (Signal.LOG_RECORDS, b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}, 7]}]}]}'),
        (Signal.METRIC_POINTS, b'{"resourceMetrics":[]}'),
    ],
)
def test_the_answer_is_that_of_transcode(readers: JsonReaders, about: Signal, body: bytes) -> None:
    assert readers.transcode(body + PAD, about) == transcode(body, about)


@pytest.mark.parametrize("body", [b"{", b'{"resourceLogs":[]}', b'{"resourceSpans":7}', b"[" * 200, b'"\xff' + b'"'])
def test_the_refusal_is_that_of_transcode(readers: JsonReaders, body: bytes) -> None:
    with pytest.raises(Undecodable) as expected:
        transcode(body + PAD)
    for _ in range(2):
        with pytest.raises(Undecodable) as found:
            readers.transcode(body + PAD, Signal.SPANS)
        assert (str(found.value), found.value.field) == (str(expected.value), expected.value.field)
    with pytest.raises(TooLarge, match=f"more than {MOST_ITEMS}"):
        readers.transcode(EMPTY_SPANS % (b"{}," * MOST_ITEMS), Signal.SPANS)


def test_a_small_body_is_read_here_and_large_ones_by_one_process_as_long_as_it_lives(readers: JsonReaders) -> None:
    before = children_of(os.getpid())
    assert readers.transcode(json_body_of(2), Signal.SPANS).n_items == 2
    assert children_of(os.getpid()) == before
    for _ in range(3):
        assert readers.transcode(json_body_of(2) + PAD, Signal.SPANS).n_items == 2
    [reader] = children_of(os.getpid()) - before
    os.kill(reader, signal.SIGKILL)
    assert readers.transcode(json_body_of(2) + PAD, Signal.SPANS).n_items == 2, "another took its place"
    assert len(children_of(os.getpid()) - before) == 1
    readers.close()
    assert children_of(os.getpid()) == before


def test_a_reader_of_a_collector_that_has_grown_lives_on(readers: JsonReaders) -> None:
    before, much = children_of(os.getpid()), b"x" * (MOST_BYTES + (1 << 20))
    seen = set()
    for _ in range(3):
        assert readers.transcode(json_body_of(2) + PAD, Signal.SPANS).n_items == 2
        seen |= children_of(os.getpid()) - before
    assert (len(seen), len(much)) == (1, MOST_BYTES + (1 << 20))


def test_many_at_once_do_not_mix(readers: JsonReaders) -> None:
    bodies = [json_body_of(n) + PAD for n in range(1, 13)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda body: readers.transcode(body, Signal.SPANS), bodies))
    assert [each.n_items for each in done] == list(range(1, 13))


def test_while_a_tenants_large_body_is_read_all_others_are_acknowledged(tmp_path: Path) -> None:
    json_type = {"content_type": "application/json"}
    large = json_body_of(5) + PAD
    with Collector(tmp_path) as collector, ThreadPoolExecutor(2) as elsewhere:
        noisy, quiet = collector.key_of("noisy"), collector.key_of("quiet")
        assert collector.post(large, key=noisy, **json_type)[0] == 200
        [reader] = children_of(collector.pid)
        os.kill(reader, signal.SIGSTOP)
        waiting = [elsewhere.submit(collector.post, json_body_of(5) + PAD, key=noisy, **json_type) for _ in range(2)]
        try:
            assert [collector.post(body_of(1), key=key)[0] for key in (quiet, noisy) for _ in range(5)] == [200] * 10
            assert collector.post(json_body_of(3), key=quiet, **json_type)[0] == 200
            assert collector.post(json_body_of(3) + PAD, key=quiet, **json_type)[0] == 200, "by a reader of its own"
            assert not any(each.done() for each in waiting)
            assert len(children_of(collector.pid)) == 2, "a tenant has one large body read at a time"
        finally:
            os.kill(reader, signal.SIGCONT)
        assert [each.result(30)[0] for each in waiting] == [200, 200]
        started = children_of(collector.pid)
        collector.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in started), 30, "the readers to end")
