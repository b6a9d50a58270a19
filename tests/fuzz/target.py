"""What an input goes through in this process: the real intake with a real journal, then the rows of every table.

Everything that must hold is checked here; what is seen on the way comes back as features, which say whether an input
showed anything new.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from auth.authenticator import Authenticator
from collector.answers import refusal_of, response_json, response_of
from collector.batch import Item, Rows, Workshop, rows_of, seq_of
from collector.http_request import check_looks
from collector.inflate import gunzip
from collector.intake import Acknowledged, Intake, Tally
from collector.journal import Journal
from collector.kinds import EntryKind, Signal
from collector.redact import Redactor
from collector.scan import scan
from collector.seal import MasterKey
from core.clock import system_clock
from core.errors import AssayError, Overloaded, StorageFailed
from core.ids import TenantId, tenant_id
from core.records import Counts, PiiPolicy, Principal, Role
from tests.collector.doors import body_of
from tests.fuzz.inputs import Input

LIMIT: Final = 4 << 20
SLOWEST_S: Final = 2.0
SIGNALS: Final = {"traces": Signal.SPANS, "logs": Signal.LOG_RECORDS, "metrics": Signal.METRIC_POINTS}
OWN, OTHER = tenant_id("fuzzed"), tenant_id("neighbour")
ROOM: Final = str(Path(__file__).parents[2] / "collector")
_DIGITS: Final = re.compile(r"[0-9]+|'[^']*'")
Features = set[Hashable]


class Found(Exception):
    """Something that must hold does not, shown by these inputs."""

    def __init__(self, what: str, inputs: list[Input]) -> None:
        super().__init__(what)
        self.inputs = inputs


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An acknowledged entry and the input it came from (None: a healthy neighbour)."""

    item: Item
    input: Input | None


class Waiting:
    """Where acknowledged entries wait: a list."""

    def __init__(self) -> None:
        self.entries: list[Acknowledged] = []

    def put(self, entry: Acknowledged) -> None:
        """Takes an entry over."""
        self.entries.append(entry)

    def check_room(self, size: int, tenant: TenantId | None = None, *, priority: bool) -> None:
        """There is always room."""


class Faults(logging.Handler):
    """Counts what the collector itself logs as a fault of Assay."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the sentence and the error."""
        error = record.exc_info[1] if record.exc_info else None
        self.said.append(f"{record.getMessage()}: {error!r}")


class Target:
    """One process's intake and workshop on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n_journals = 0
        self._tally = Tally()
        self._waiting = Waiting()
        self._workshop = Workshop(
            redactor=lambda tenant: Redactor(PiiPolicy(), str(tenant).encode()), seal=lambda _, raw: raw[:64]
        )
        self._faults = Faults()
        logging.getLogger("assay").addHandler(self._faults)
        self._loop = asyncio.new_event_loop()
        self._principals = {
            tenant: Principal(tenant=tenant, role=Role.INGEST, name="fuzz", key_id="0" * 12) for tenant in (OWN, OTHER)
        }

    @contextlib.contextmanager
    def _intake(self) -> Iterator[tuple[Intake, Journal]]:
        """An intake whose journal lives as long as one batch, so that the disk does not fill."""
        self._n_journals += 1
        folder = self._folder / "journals" / str(self._n_journals)
        journal = Journal(folder, MasterKey.open(self._folder / "master.key"))
        journal.start()
        intake = Intake(
            authenticator=Authenticator(lambda _: None, bytes(32), ttl_s=0.0),
            journal=journal,
            backlog=self._waiting,
            clock=system_clock,
            tally=self._tally,
        )
        try:
            yield intake, journal
        finally:
            journal.stop()
            journal.committed(journal.last_position)
            journal.release()
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    def run(self, inputs: list[Input]) -> list[Features]:
        """What each input showed, all stored together between healthy neighbours. Raises Found."""
        features: list[Features] = [set() for _ in inputs]
        kept: list[Kept] = []
        with self._intake() as (intake, journal):
            kept += self._neighbours(intake, journal)
            for each, seen in zip(inputs, features, strict=True):
                seen |= self._at_the_door(intake, journal, each, kept)
            kept += self._neighbours(intake, journal)
        rows = self._stored(kept)
        by_seq: dict[int, Features] = {}
        for name in ("spans", "scores", "events", "quarantine"):
            _shown(name, rows.table(name), by_seq)
        places = {id(each): number for number, each in enumerate(inputs)}
        for one in kept:
            if one.input is not None:
                features[places[id(one.input)]] |= by_seq.get(one.item.seq, set())
        return features

    # -- the door --------------------------------------------------------------------------------------------------

    def _send(self, intake: Intake, journal: Journal, signal: str, body: bytes, is_json: bool, tenant: Any) -> Any:
        """(the answer, the entry it acknowledged or None)."""
        self._waiting.entries.clear()
        received = intake.receive(SIGNALS[signal], body, is_json=is_json, principal=self._principals[tenant])
        accepted: Any = None
        try:
            accepted = self._loop.run_until_complete(received)
        except AssayError as error:
            accepted = error
        entries = self._waiting.entries
        item = None
        if entries:
            [entry] = entries
            item = Item(
                seq=seq_of(journal.number, entry.position),
                kind=entry.kind,
                tenant=entry.tenant,
                received_at_us=entry.received_at_us,
                body=body,
                scan=entry.scan,
                transcoded=entry.transcoded,
            )
        return accepted, item

    def _at_the_door(self, intake: Intake, journal: Journal, each: Input, kept: list[Kept]) -> Features:
        began = time.process_time()
        try:
            body = gunzip(each.body, LIMIT) if each.is_gzip and each.body else each.body
            check_looks(body, each.is_json)
            answer, item = self._send(intake, journal, each.signal, body, each.is_json, OWN)
        except AssayError as error:
            answer, item = error, None
        except Exception as error:
            raise Found(f"the door raised {error!r}", [each]) from error
        if time.process_time() - began > SLOWEST_S:
            raise Found("the door took more than 2 s", [each])
        if item is not None:
            kept.append(Kept(item=item, input=each))
        if isinstance(answer, AssayError):
            refusal = refusal_of(answer)
            if isinstance(answer, StorageFailed | Overloaded) or refusal.http not in (400, 413):
                raise Found(f"answered {refusal.http}: {refusal.message}", [each])
            refusal.status().SerializeToString()
            return {("refused", refusal.http, _DIGITS.sub("#", refusal.message)[:80])}
        said = response_json(answer) if each.is_json else response_of(answer)
        return {("kept", each.signal, item is not None, len(said) > 2, _DIGITS.sub("#", answer.message)[:80])}

    def _neighbours(self, intake: Intake, journal: Journal) -> list[Kept]:
        """A healthy request of the same tenant and one of another; both must be a full success."""
        found = []
        for tenant in (OWN, OTHER):
            body = body_of(2, {"gen_ai.request.model": "gpt-4o", "text": "healthy"}, name="healthy")
            answer, item = self._send(intake, journal, "traces", body, False, tenant)
            if isinstance(answer, AssayError) or answer.n_rejected or answer.message or item is None:
                raise Found(f"a healthy neighbour was answered {answer!r}", [])
            found.append(Kept(item=item, input=None))
        return found

    # -- the rows --------------------------------------------------------------------------------------------------

    def _stored(self, kept: list[Kept]) -> Rows:
        began = time.process_time()
        try:
            rows = rows_of([one.item for one in kept], self._workshop)
            self._check(rows, kept)
        except Exception as error:
            self._faults.said.clear()
            self._blame(error, kept)
            raise
        if time.process_time() - began > SLOWEST_S:
            self._blame(Found("a batch took more than 2 s", []), kept)
        return rows

    def _blame(self, error: Exception, kept: list[Kept]) -> None:
        """Raises Found with the one input that shows it alone, else with all of the batch."""
        mutants = [one for one in kept if one.input is not None]
        for one in mutants:
            try:
                began = time.process_time()
                self._check(rows_of([one.item], self._workshop), [one])
                slow = time.process_time() - began > SLOWEST_S
            except Exception as again:
                raise Found(f"{again!r}", [one.input] if one.input else []) from again
            if slow:
                raise Found("storing took more than 2 s", [one.input] if one.input else [])
        if isinstance(error, Found) and "took" in str(error):
            return  # the sum of many, none of them slow
        raise Found(f"only together: {error!r}", [one.input for one in mutants if one.input]) from error

    def _check(self, rows: Rows, kept: list[Kept]) -> None:
        said, self._faults.said = self._faults.said, []
        assert not said, said[0]
        spans, quarantine = rows.table("spans"), rows.table("quarantine")
        for name in ("spans", "scores", "events", "quarantine"):
            rows.table(name).validate(full=True)
        n_refused = sum(_n_refused(one.item) for one in kept)
        n_spans = sum(_n_spans(one.item) for one in kept)
        own = [counts for (_, signal), counts in rows.counts.items() if signal == str(Signal.SPANS)]
        counted = sum(own, Counts())
        assert counted.received == n_spans, (counted, n_spans)
        assert counted.quarantined == n_refused, (counted, n_refused)
        assert spans.num_rows == n_spans - n_refused, (spans.num_rows, n_spans, n_refused)
        assert quarantine.num_rows or not n_refused
        for (_, signal), counts in rows.counts.items():
            if signal != str(Signal.SPANS):
                assert counts.balanced, counts
        for column in ("events", "links", "resource"):
            for text in spans.column(column).drop_null().to_pylist():
                orjson.loads(text)
        self._check_neighbours(spans, kept)

    def _check_neighbours(self, spans: pa.Table, kept: list[Kept]) -> None:
        healthy = {one.item.seq: str(one.item.tenant) for one in kept if one.input is None}
        mask = np.isin(spans.column("seq").to_numpy(), list(healthy))
        rows = spans.filter(pa.array(mask)).to_pylist()
        assert len(rows) == 2 * len(healthy), "a healthy neighbour is gone"
        for row in rows:
            expected = ("healthy", "gpt-4o", healthy[row["seq"]], None)
            assert (row["name"], row["model_request"], row["tenant"], row["issues"]) == expected
            assert dict(row["attributes"])["text"] == "healthy"
        others = set(spans.filter(pa.array(~mask)).column("tenant").to_pylist())
        assert others <= {str(OWN)}, others

    def traced(self, each: Input) -> Features:
        """The lines of the collector that an input alone reaches."""
        with lines_of(ROOM) as lines:
            self.run([replace(each)])
        return lines


def _n_spans(item: Item) -> int:
    match item.kind:
        case EntryKind.SPANS_PROTOBUF:
            return scan(item.body).n_spans
        case EntryKind.SPANS_JSON:
            assert item.transcoded is not None
            return scan(item.transcoded.protobuf).n_spans + item.transcoded.n_rejected
        case _:
            return 0


def _n_refused(item: Item) -> int:
    match item.kind:
        case EntryKind.SPANS_PROTOBUF:
            return scan(item.body).n_refused
        case EntryKind.SPANS_JSON:
            assert item.transcoded is not None
            return scan(item.transcoded.protobuf).n_refused + item.transcoded.n_rejected
        case _:
            return 0


def _shown(name: str, table: pa.Table, by_seq: dict[int, Features]) -> None:
    """Adds, for each row, which columns are null, its issues, its kind and the reason it is in the quarantine."""
    if not table.num_rows:
        return
    nulls = np.stack([column.is_null().to_numpy() for column in table.columns], axis=1)
    patterns = [bytes(row) for row in np.packbits(nulls, axis=1)]
    word = {"spans": "kind", "quarantine": "detail", "scores": "unscored", "events": "name"}[name]
    words = table.column(word).to_pylist()
    issues = table.column("issues").to_pylist() if name == "spans" else [None] * table.num_rows
    for seq, pattern, text, issue in zip(table.column("seq").to_pylist(), patterns, words, issues, strict=True):
        shown = _DIGITS.sub("#", text or "")[:60] if name != "events" else len(text or "") > 0
        by_seq.setdefault(seq, set()).update({(name, pattern), (name, "word", shown), (name, "issue", issue)})


@contextlib.contextmanager
def lines_of(folder: str) -> Iterator[Features]:
    """Collects (file, line) of our own code as it runs on this thread."""
    seen: Features = set()

    def trace(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(folder):
            return None
        if event == "line":
            seen.add((name, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(None)
