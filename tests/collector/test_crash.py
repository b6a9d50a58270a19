"""kill -9 under load: every acknowledged span is there exactly once, and the ledger balances."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.collector.alone import Collector

SPANS_PER_REQUEST = 12
START_NS = 1_790_000_000 * 10**9


def request(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A request, and what must be stored for it: span id -> content."""
    spans, content = [], {}
    trace = rng.randbytes(16)
    for i in range(SPANS_PER_REQUEST):
        text = rng.randbytes(rng.randrange(1, 400)).hex()
        span = Span(
            trace_id=trace,
            span_id=rng.randbytes(8),
            name="crash",
            start_time_unix_nano=START_NS + i,
            end_time_unix_nano=START_NS + 1000 + i,
            attributes=[KeyValue(key="text", value=AnyValue(string_value=text))],
        )
        spans.append(span)
        content[span.span_id.hex()] = text
    scoped = ScopeSpans(spans=spans)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scoped])]).SerializeToString(), content


class Sender(threading.Thread):
    """Sends without pause; every acknowledgement is written to a ledger file and synced before the next request.

    What was not acknowledged is sent again, as an exporter would.
    """

    def __init__(self, collector: Collector, ledger: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self._collector = collector
        self._ledger = ledger
        self._random = random.Random(seed)
        self.done = threading.Event()
        self.acknowledged = 0

    def run(self) -> None:
        with self._ledger.open("ab") as ledger:
            while not self.done.is_set():
                body, content = request(self._random)
                while not self._sent(body):
                    if self.done.wait(0.05):
                        return
                ledger.write(json.dumps(content).encode() + b"\n")
                ledger.flush()
                os.fsync(ledger.fileno())
                self.acknowledged += 1

    def _sent(self, body: bytes) -> bool:
        try:
            return self._collector.post(body)[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def test_every_acknowledged_span_survives_kill_9_exactly_once(tmp_path: Path) -> None:
    rng = random.Random(20261121)
    collector = Collector(tmp_path)
    senders = [Sender(collector, tmp_path / f"acks-{i}.jsonl", seed=i) for i in range(3)]
    with collector:
        for sender in senders:
            sender.start()
        for _ in range(4):
            acknowledged = sum(sender.acknowledged for sender in senders)
            pause = threading.Event()
            pause.wait(rng.uniform(0.2, 1.6))  # the random point under load at which it dies
            collector.kill()
            assert sum(sender.acknowledged for sender in senders) > acknowledged, (
                "nothing was acknowledged between kills"
            )
            collector.start()
        for sender in senders:
            sender.done.set()
            sender.join(60)
        collector.drained()
        assert collector.stop() == 0
    expected: dict[str, str] = {}
    for i in range(len(senders)):
        for line in (tmp_path / f"acks-{i}.jsonl").read_bytes().splitlines():
            expected |= json.loads(line)
    assert len(expected) > 20 * SPANS_PER_REQUEST
    rows = collector.stored()
    found = dict(zip(rows["span_id"], (pairs["text"] for pairs in rows["attributes"].to_list()), strict=True))
    assert len(found) == rows.height, "a span was stored twice"
    missing = expected.keys() - found.keys()
    assert not missing, f"{len(missing)} acknowledged spans are missing"
    assert {span: found[span] for span in expected} == expected
    spans = collector.ledger()["spans"]
    assert spans.counts.balanced
    assert spans.counts.stored == rows.height
    turns = collector.stored("turns")
    assert turns["n_spans"].sum() == rows.height
    assert collector.stored("rollups").filter(level="turn")["n"].sum() == rows.height
