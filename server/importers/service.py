"""Runs an import: looks at every file first, then sends what is good, then records the outcomes.

Two passes over the files: nothing is sent before every line has been read once, so that a bad line in the last file
stops the import before it starts (unless bad lines are to be skipped). Memory holds one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from core.errors import InvalidInput, TooLarge
from server.importers import genai
from server.importers.delivery import PROTOBUF, OtlpDoor, Receipt, Shipment, Signal
from server.importers.genai import Conversation
from server.importers.reading import BadLine

Found = Conversation | Shipment | BadLine
Read = Callable[[Path], Iterator[Found]]


@dataclass(kw_only=True)
class FileSurvey:
    """What one file holds. Counts; `bad` in the file's order; times of spans in ns, None without any."""

    path: Path
    n_conversations: int = 0
    n_turns: int = 0
    n_spans: int = 0
    n_log_records: int = 0
    n_metrics: int = 0
    n_pass: int = 0
    n_fail: int = 0
    n_unscored: int = 0
    apps: set[str] = field(default_factory=set)
    first_ns: int | None = None
    last_ns: int | None = None
    time_is_synthetic: bool = False
    bad: list[BadLine] = field(default_factory=list)

    @property
    def n_records(self) -> int:
        """Everything that is sent: spans, log records and metrics."""
        return self.n_spans + self.n_log_records + self.n_metrics

    def count(self, found: Found) -> None:
        """Adds one thing that was read."""
        match found:
            case BadLine():
                self.bad.append(found)
            case Shipment():
                match found.signal:
                    case Signal.TRACES:
                        self.n_spans += found.n_records
                    case Signal.LOGS:
                        self.n_log_records += found.n_records
                    case Signal.METRICS:
                        self.n_metrics += found.n_records
                    case _:
                        assert_never(found.signal)
                self._stretch(found.first_ns, found.last_ns)
            case Conversation():
                self.n_conversations += 1
                self.n_spans += len(found.spans)
                self.n_turns += sum(1 for span in found.spans if not span.parent_span_id)
                self.n_pass += found.outcome.label == "pass"
                self.n_fail += found.outcome.label == "fail"
                self.n_unscored += found.outcome.label is None
                self.apps.add(found.app)
                self.time_is_synthetic |= found.time_is_synthetic
                self._stretch(found.start_ns, found.end_ns)

    def _stretch(self, first_ns: int | None, last_ns: int | None) -> None:
        if first_ns is not None:
            self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        if last_ns is not None:
            self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)


@dataclass(kw_only=True)
class Delivery:
    """What the collector made of everything sent. `refused`: requests that it refused as a whole."""

    n_requests: int = 0
    sent: int = 0  # spans, log records and metrics
    settling: int = 0  # those of them that the ledger counts one by one: no metrics, no request that was refused
    accepted: int = 0
    rejected: int = 0
    messages: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    delivered: list[Conversation] = field(default_factory=list)  # without their spans

    def add(self, shipment: Shipment, receipt: Receipt) -> None:
        """Adds one receipt; a message is kept once."""
        self.n_requests += 1
        self.sent += shipment.n_records
        self.settling += 0 if shipment.signal is Signal.METRICS else shipment.n_records
        self.accepted += receipt.accepted
        self.rejected += receipt.rejected
        if receipt.message and receipt.message not in self.messages:
            self.messages.append(receipt.message)


def survey(files: Iterable[Path], read: Read, on_progress: Callable[[int], None]) -> list[FileSurvey]:
    """Reads every file once and counts. `on_progress` gets the number of things read since it was last called."""
    surveys = []
    for path in files:
        seen = FileSurvey(path=path)
        for found in read(path):
            seen.count(found)
            on_progress(1)
        surveys.append(seen)
    return surveys


def deliver(
    files: Iterable[Path],
    read: Read,
    door: OtlpDoor,
    *,
    scope: str,
    skip_bad: bool,
    on_progress: Callable[[int], None],
) -> Delivery:
    """Sends what the files hold, in their order; `on_progress` gets the spans of each request that was answered.

    A request refused as a whole ends the import with the door's InvalidInput, unless `skip_bad`: then it is noted.
    Raises Unreachable, Unauthenticated, Forbidden.
    """
    delivery = Delivery()
    for shipment, finished in _shipments(files, read, scope):
        try:
            delivery.add(shipment, door.send(shipment))
            delivery.delivered.extend(replace(one, spans=()) for one in finished)
        except (InvalidInput, TooLarge) as error:
            if not skip_bad:
                raise
            delivery.n_requests += 1
            delivery.sent += shipment.n_records
            delivery.rejected += shipment.n_records
            delivery.refused.append(str(error))
        on_progress(shipment.n_records)
    return delivery


def _shipments(files: Iterable[Path], read: Read, scope: str) -> Iterator[tuple[Shipment, tuple[Conversation, ...]]]:
    """Requests as they are, conversations packed into requests; bad lines were dealt with before."""
    for path in files:
        waiting: list[Conversation] = []
        for found in read(path):
            match found:
                case Shipment():
                    yield found, ()
                case Conversation():
                    waiting.append(found)
                    if sum(len(one.spans) for one in waiting) >= genai.SPANS_PER_REQUEST:
                        yield from _packed(path, waiting, scope)
                        waiting = []
                case BadLine():
                    continue
        yield from _packed(path, waiting, scope)


def _packed(
    path: Path, conversations: list[Conversation], scope: str
) -> Iterator[tuple[Shipment, tuple[Conversation, ...]]]:
    for body, n_spans, finished in genai.requests(conversations, scope):
        yield (
            Shipment(signal=Signal.TRACES, content_type=PROTOBUF, body=body, n_records=n_spans, origin=str(path)),
            finished,
        )
