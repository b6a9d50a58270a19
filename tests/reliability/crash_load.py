"""Load for the campaigns: senders that keep a ledger of every acknowledgement, and the check against the store.

Every request is written to the sender's ledger before it is sent and once more when it was acknowledged, each time
synced, so that the checker knows both what must be there and what may be there. The content of a span is known by a
hash of all that was sent of it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from store.derive import DERIVED, derived
from store.hours import OF_HOURS, OF_MINUTES
from store.lake import Lake

Content = dict[str, str]  # span id -> hash of its content
Post = Callable[[bytes], int]
DAY_NS: Final = 86_400 * 10**9


def request(rng: random.Random, n_spans: int, at_ns: int) -> tuple[bytes, Content]:
    """One export request of a trace with one root, and what must be stored for it."""
    spans, content = [], {}
    trace, root = rng.randbytes(16), rng.randbytes(8)
    for i in range(n_spans):
        attributes: dict[str, str | int] = {"text": rng.randbytes(rng.randrange(1, 300)).hex(), "number": i}
        if i == 0:
            attributes["session.id"] = f"s{rng.randrange(50)}"
        if i % 3 == 1:
            attributes |= {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": rng.randrange(900)}
        span = Span(
            trace_id=trace,
            span_id=root if i == 0 else rng.randbytes(8),
            parent_span_id=b"" if i == 0 else root,
            name=f"crash {rng.randrange(9)}",
            start_time_unix_nano=at_ns + i,
            end_time_unix_nano=at_ns + 1000 + i,
            attributes=[KeyValue(key=key, value=_value(value)) for key, value in attributes.items()],
        )
        spans.append(span)
        content[span.span_id.hex()] = _hash(trace.hex(), span.name, at_ns + i, attributes["text"])
    scoped = ScopeSpans(spans=spans)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scoped])]).SerializeToString(), content


def _value(value: str | int) -> AnyValue:
    return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


@dataclass(kw_only=True)
class Ledger:
    """What one sender tried and what was acknowledged to it, in a file that is synced at every line."""

    path: Path

    def note(self, what: str, content: Content) -> None:
        """`what` is "tried" or "acked"."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, json.dumps([what, content]).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, what: str) -> Content:
        """Everything that was noted as `what`."""
        found: Content = {}
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            kind, content = json.loads(line)
            if kind == what:
                found |= content
        return found


def poster(port: int, key: str) -> Post:
    """A function that posts spans to an OTLP/HTTP door on loopback and returns the status."""

    def post(body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {key}"}
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    return post


class Sender(threading.Thread):
    """Sends without pause until told to stop; what was not acknowledged is sent again, as an exporter would.

    One request in ten that was acknowledged is sent once more, as by a client that never saw the answer.
    """

    def __init__(self, post: Post, ledger: Ledger, *, seed: int, at_ns: int, n_spans: int = 12) -> None:
        super().__init__(daemon=True)
        self._post, self._ledger, self._n_spans, self._at_ns = post, ledger, n_spans, at_ns
        self._random = random.Random(seed)
        self.done = threading.Event()
        self.acknowledged = 0
        self.statuses: dict[int, int] = {}

    def run(self) -> None:
        """Until `done`."""
        while not self.done.is_set():
            body, content = request(self._random, self._n_spans, self._at_ns + self.acknowledged * 1_000_000)
            self._ledger.note("tried", content)
            while not self._sent(body):
                if self.done.wait(0.03):
                    return
            self._ledger.note("acked", content)
            self.acknowledged += 1
            if self._random.random() < 0.1:
                self._sent(body)

    def _sent(self, body: bytes) -> bool:
        try:
            status = self._post(body)
        except (OSError, http.client.HTTPException):
            return False
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status == 200


# -- the check -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Verdict:
    """What the checker found. All zero but `acked` and `stored` is what was promised."""

    acked: int = 0
    stored: int = 0
    missing: int = 0
    duplicated: int = 0
    altered: int = 0
    derived_wrong: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything promised holds."""
        return not (self.missing or self.duplicated or self.altered or self.derived_wrong)


def rows_of(data: Path, table: str, tenant: str) -> pa.Table | None:
    """All rows of a tenant's table from a fresh look at the lake; every file is verified."""
    lake = Lake(data / "lake")
    parts = [lake.read(file, verify=True) for file in lake.snapshot(table).select(tenant)]
    return pa.concat_tables(parts) if parts else None


def judge(data: Path, acked: Content, tried: Content, tenant: str = "default") -> Verdict:
    """Compares the lake with the ledgers: acknowledged spans are there, once and whole, and nothing else is."""
    rows = rows_of(data, "spans", tenant)
    verdict = Verdict(acked=len(acked))
    if rows is not None:
        frame = pl.from_arrow(rows.select(["trace_id", "span_id", "name", "start_ns", "attributes"]))
        assert isinstance(frame, pl.DataFrame)
        verdict.stored = frame.height
        found = {row["span_id"]: _stored_hash(row) for row in frame.iter_rows(named=True)}
        verdict.duplicated = frame.height - len(found)
        verdict.altered = sum(1 for span, text in found.items() if tried.get(span) != text)
        verdict.missing = len(acked.keys() - found.keys())
        verdict.derived_wrong = wrong_derived(data, rows, tenant)
    else:
        verdict.missing = len(acked)
    return verdict


def _stored_hash(row: dict[str, Any]) -> str:
    return _hash(row["trace_id"], row["name"], row["start_ns"], row["attributes"]["text"])


_KEYS: Final = {
    "turns": ["tenant", "date", "trace_id"],
    "sessions": ["tenant", "date", "session_id"],
    "rollups": ["tenant", "date", "minute_ns", "level", "model"],
}
_SUMS: Final = ["n", "n_spans", "n_errors", "n_turns", "n_model_calls", "n_tool_calls", "input_tokens", "output_tokens"]


def wrong_derived(data: Path, spans: pa.Table, tenant: str) -> list[str]:
    """Names of the derived tables whose sums are not those derived anew from the spans."""
    wrong = []
    for table in DERIVED:
        kept = rows_of(data, table, tenant)
        if kept is None or not _summed(table, kept).equals(_summed(table, derived(table, spans))):
            wrong.append(table)
    return wrong


def _counted_once(rows: pl.DataFrame, kept: str, length_s: int) -> pl.DataFrame:
    """Rollups by minutes or by hours: the packed ones and those that are not yet."""
    level, length_ns = pl.col("level"), length_s * 10**9
    rows = rows.filter(level.str.ends_with(kept) | ~level.str.contains("/", literal=True))
    return rows.with_columns(
        level=level.str.split("/").list.first() + kept, minute_ns=pl.col("minute_ns") // length_ns * length_ns
    )


def _summed(table: str, rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows.select([c for c in rows.column_names if c in (*_KEYS[table], *_SUMS)]))
    assert isinstance(frame, pl.DataFrame)
    if table == "rollups":  # what is packed stands there by the minute and by the hour
        frame = pl.concat([_counted_once(frame, OF_MINUTES, 60), _counted_once(frame, OF_HOURS, 3600)])
    sums = [pl.col(name).sum() for name in _SUMS if name in frame.columns]
    return frame.group_by(_KEYS[table]).agg(sums).sort(_KEYS[table], nulls_last=True)
