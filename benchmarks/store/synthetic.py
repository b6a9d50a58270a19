"""Synthetic agent traces as SPANS tables, made by columns: seeded, in order of time, about 2.5 KB of text per span.

A trace has 11 spans: an agent root, four model calls, four tool calls, a retrieval and an embedding. Five per cent of
the roots arrive in the batch after their children.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from core.clock import NS_PER_MS, NS_PER_S
from core.windows import day_of
from store.schema import SPANS, USD

SPANS_PER_TRACE = 11
KINDS = ["AGENT", "RETRIEVER", "EMBEDDING", "LLM", "TOOL", "LLM", "TOOL", "LLM", "TOOL", "LLM", "TOOL"]
MODELS = ["gpt-4o", "gpt-4.1-mini", "claude-sonnet-4"]
APPS = ["airline", "retail", "telecom"]
_WORDS = [
    *("refund", "flight", "order", "please", "the", "passenger", "booking", "cancel", "policy", "baggage", "seat"),
    *("account", "change", "to", "of", "and"),
]


class Traces:
    """Makes traces that start evenly in [start_ns, end_ns)."""

    def __init__(self, *, n_spans: int, start_ns: int, end_ns: int, seed: int = 1, tenant: str = "bench") -> None:
        self.n_traces = max(1, round(n_spans / SPANS_PER_TRACE))
        self.tenant = tenant
        self.start_ns = start_ns
        self.step_ns = (end_ns - start_ns) // self.n_traces
        self._rng = np.random.default_rng(seed)
        self._pool = " ".join(self._rng.choice(_WORDS, 400_000).tolist())
        self._pool += "".join(f" {n:05d}" for n in self._rng.integers(0, 99_999, 100_000))

    def batches(self, spans_per_batch: int) -> Iterator[pa.Table]:
        """Tables of about `spans_per_batch` rows, oldest first."""
        per_batch = max(1, spans_per_batch // SPANS_PER_TRACE)
        late: pa.Table | None = None
        for first in range(0, self.n_traces, per_batch):
            traces = np.arange(first, min(first + per_batch, self.n_traces))
            rows = self._table(traces)
            is_late = np.zeros(rows.num_rows, dtype=bool)
            is_late[::SPANS_PER_TRACE] = self._rng.random(len(traces)) < 0.05
            kept, held = rows.filter(pa.array(~is_late)), rows.filter(pa.array(is_late))
            yield kept if late is None else pa.concat_tables([kept, late])
            late = held
        if late is not None and late.num_rows:
            yield late

    def trace_id(self, trace: int) -> str:
        """The id of the n-th trace."""
        return f"{(trace + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"

    def session_id(self, trace: int) -> str:
        """The session of the n-th trace: four traces share one."""
        return f"sess-{trace // 4:06d}"

    def _text(self, low: int, high: int, n: int) -> list[str]:
        lengths = self._rng.integers(low, high, n)
        offsets = self._rng.integers(0, len(self._pool) - high, n)
        return [self._pool[o : o + size] for o, size in zip(offsets, lengths, strict=True)]

    def _table(self, traces: np.ndarray[Any, Any]) -> pa.Table:
        rng, n = self._rng, len(traces) * SPANS_PER_TRACE
        place = np.tile(np.arange(SPANS_PER_TRACE), len(traces))
        trace_ids = [self.trace_id(int(t)) for t in traces]
        start = np.repeat(self.start_ns + traces * self.step_ns, SPANS_PER_TRACE) + place * 300 * NS_PER_MS
        duration = np.where(place == 0, 4 * NS_PER_S, rng.lognormal(5.5, 0.6, n) * NS_PER_MS).astype(np.int64)
        seq = np.repeat(traces, SPANS_PER_TRACE) * SPANS_PER_TRACE + place
        span_ids = [f"{(int(s) + 1) * 0x9E3779B97F4A7C15 % 2**64:016x}" for s in seq]
        roots = [span_ids[i - i % SPANS_PER_TRACE] for i in range(n)]
        kinds = KINDS * len(traces)
        is_llm = np.array([kind == "LLM" for kind in kinds])
        models = np.repeat(rng.choice(MODELS, len(traces)), SPANS_PER_TRACE)
        bench_tenant = np.repeat(rng.integers(0, 8, len(traces)), SPANS_PER_TRACE)
        tokens = rng.integers(50, 4000, n)
        failed = rng.random(n) < 0.03
        sessions = np.repeat([self.session_id(int(t)) for t in traces], SPANS_PER_TRACE)
        apps = np.repeat([APPS[int(t) % 3] for t in traces], SPANS_PER_TRACE)
        long_in, long_out = self._text(1000, 4000, n), self._text(200, 900, n)
        columns: dict[str, Any] = {
            "tenant": pa.repeat(pa.scalar(self.tenant), n),
            "date": pa.array([day_of(int(ns)) for ns in start]),
            "seq": pa.array(seq),
            "ingested_at": pa.array([datetime.fromtimestamp(int(ns) // NS_PER_S, UTC) for ns in start]),
            "trace_id": pa.array(np.repeat(trace_ids, SPANS_PER_TRACE)),
            "span_id": pa.array(span_ids),
            "parent_span_id": pa.array([None if p == 0 else r for p, r in zip(place, roots, strict=True)]),
            "content_hash": pa.array(rng.integers(0, 2**62, n)),
            "name": pa.array([f"step {kind.lower()}" for kind in kinds]),
            "kind": pa.array(kinds),
            "otel_kind": pa.array(np.ones(n, dtype=np.int32)),
            "start_ns": pa.array(start),
            "end_ns": pa.array(start + duration),
            "duration_ns": pa.array(duration),
            "status_code": pa.array(np.where(failed, 2, 1).astype(np.int32)),
            "service_name": pa.array(apps),
            "app": pa.array(apps),
            "release": pa.repeat(pa.scalar("r7"), n),
            "variant": pa.array(np.where(bench_tenant % 2 == 0, "control", "treatment")),
            "environment": pa.repeat(pa.scalar("prod"), n),
            "session_id": pa.array(sessions),
            "user_id": pa.array([f"user-{t % 5000:05d}" for t in np.repeat(traces, SPANS_PER_TRACE)]),
            "model_request": pa.array(models, mask=~is_llm),
            "model_response": pa.array(models, mask=~is_llm),
            "input": pa.array(long_in),
            "output": pa.array(long_out),
            "input_tokens": pa.array(tokens, mask=~is_llm),
            "output_tokens": pa.array(tokens // 8, mask=~is_llm),
            "cost_usd": pa.array(
                [Decimal(int(t)) / 1_000_000 if x else None for t, x in zip(tokens, is_llm, strict=True)], USD
            ),
            "usage_counted": pa.array(is_llm),
            "ttft_ms": pa.array(rng.lognormal(4.5, 0.5, n), mask=~is_llm),
            "attributes": self._attributes(bench_tenant, n),
            "attribute_types": pa.repeat(pa.scalar("sssds"), n),
            "moved_attributes": pa.repeat(pa.scalar("session.id=session_id\ngen_ai.request.model=model_request"), n),
            "resource": pa.repeat(pa.scalar('{"service.name":"agent","service.version":"1.4.2"}'), n),
            "scope_name": pa.repeat(pa.scalar("opentelemetry.instrumentation.genai"), n),
            "flags": pa.array(np.ones(n, dtype=np.int64)),
            "dropped": pa.array(np.zeros(n, dtype=np.int32)),
        }
        arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(n, f.type) for f in SPANS]
        return pa.Table.from_arrays(arrays, schema=SPANS)

    def _attributes(self, bench_tenant: np.ndarray[Any, Any], n: int) -> pa.Array:
        keys = ["tenant.id", "app.variant", "gen_ai.response.id", "gen_ai.request.temperature", "server.address"]
        values = np.empty((n, len(keys)), dtype=object)
        values[:, 0] = [f"tenant-{t}" for t in bench_tenant]
        values[:, 1] = np.where(bench_tenant % 2 == 0, "control", "treatment")
        values[:, 2] = [f"resp_{r:016x}" for r in self._rng.integers(0, 2**62, n)]
        values[:, 3] = [f"{t:.2f}" for t in self._rng.random(n)]
        values[:, 4] = "api.openai.example"
        offsets = np.arange(0, n * len(keys) + 1, len(keys), dtype=np.int32)
        return pa.MapArray.from_arrays(offsets, pa.array(keys * n), pa.array(values.ravel().tolist()))
