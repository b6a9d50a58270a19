"""`as_of` of a moment between acknowledgement and storing: nothing then, nothing later."""

from __future__ import annotations

import secrets
from pathlib import Path

from core.clock import system_clock
from core.windows import Window
from store import spans
from store.asked import Asked
from store.engine import DuckDBEngine
from store.tenant import Store
from tests.collector.inside import TENANT, Inside
from tests.collector.otlp import span, traces

EVER = Window(start_ns=-(2**63), end_ns=2**63)


def test_rows_belong_to_the_moment_they_were_stored_not_received(tmp_path: Path) -> None:
    life = Inside(tmp_path)
    life.recover()
    sent = [span(trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8)) for _ in range(50)]
    items = [life.keep(traces(*sent).SerializeToString())]
    received = system_clock()
    tenant = Store(life.lake, DuckDBEngine(life.lake.root)).tenant(TENANT)

    def count(as_of_ns: int) -> int:
        return spans.count_spans(tenant, Asked(window=EVER, as_of_ns=as_of_ns))

    assert count(received) == 0
    life.committer.commit(life.committer.prepared(items), 1)
    assert (count(received), count(system_clock())) == (0, 50)
    stored = life.stored("spans")
    assert stored["ingested_at"].n_unique() == 1
    life.release()
