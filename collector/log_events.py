"""OTLP log records that belong to traces: GenAI events. Evaluation results become scores, the rest event rows.

Records of any other kind are not stored and the sender is told so. Every record is decoded alone: one that is broken
goes to quarantine and takes no sibling with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector import evaluation_events, messages
from collector.evaluation_events import Evaluation, SpanEvaluation, column_text, day_and_time, text_of
from collector.proto_values import Walk, plain
from collector.rejected import Rejection
from core.errors import TooLarge
from core.ids import TenantId
from store.schema import EVENTS

OPERATION_DETAILS: Final = "gen_ai.client.inference.operation.details"
OPERATION_EXCEPTION: Final = "gen_ai.client.operation.exception"
MESSAGE_EVENTS: Final = frozenset(
    {
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
        "gen_ai.choice",
    }
)
MOST_RECORDS: Final = 100_000  # of one request; each is judged in Python
EVENT_NAMES: Final = frozenset({OPERATION_DETAILS, OPERATION_EXCEPTION}) | MESSAGE_EVENTS

_RESPONSE: Final = "gen_ai.response.id"


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What the door answers before it decodes for good: items in the request, how many will not be stored, and the
    sentence for `partial_success.error_message` (empty when all are). Of those not stored, `n_quarantined` must still
    reach the journal, so that the quarantine has them."""

    n_records: int
    n_rejected: int
    message: str
    n_quarantined: int = 0


@dataclass(frozen=True, kw_only=True)
class DecodedLogs:
    """`scores` and `events` have the columns of the lake's tables. n_records = rows + n_rejected + quarantined."""

    scores: pa.Table
    events: pa.Table
    quarantined: list[Rejection]
    n_records: int
    n_rejected: int


@dataclass(frozen=True, kw_only=True)
class _Event:
    """A decoded record whose kind is kept. Attribute and body values are JSON values."""

    name: str
    time_ns: int
    trace_id: str | None
    span_id: str | None
    attributes: Mapping[str, Any]
    body: Any
    resource: Mapping[str, Any]


class _NotKept:
    """A record of a kind that is not stored."""


_Outcome = Evaluation | _Event | Rejection | _NotKept


def admit_logs(body: bytes) -> Admission:
    """Judges every record of an ExportLogsServiceRequest.

    Raises Undecodable where the request is malformed, TooLarge when it holds more than MOST_RECORDS records.
    """
    n_records = n_rejected = 0
    reasons: Counter[str] = Counter()
    for outcome in _outcomes(body):
        n_records += 1
        if n_records > MOST_RECORDS:
            raise TooLarge(
                f"the request holds more than {MOST_RECORDS} log records; send smaller batches", "logRecords"
            )
        if isinstance(outcome, Rejection):
            reasons[outcome.detail] += 1
        elif isinstance(outcome, _NotKept):
            n_rejected += 1
    return Admission(
        n_records=n_records,
        n_rejected=n_rejected + reasons.total(),
        message=_sentence(n_records, n_rejected, reasons),
        n_quarantined=reasons.total(),
    )


def looks_like_logs(body: bytes) -> bool:
    """Whether a request that makes no sense as traces has a log record's time in any of its items.

    The nesting of both requests is the same, but no span has a fixed 64-bit field 1 or 11.
    """
    for _, record_bytes in log_records(body):
        try:
            record = LogRecord.FromString(record_bytes)
        except DecodeError:
            continue
        if record.time_unix_nano or record.observed_time_unix_nano:
            return True
    return False


def _sentence(n_records: int, n_rejected: int, reasons: Counter[str]) -> str:
    said = []
    if n_rejected:
        said.append(
            f"{n_rejected} of {n_records} log records were not stored: only GenAI events are kept here "
            f"({evaluation_events.EVENT_NAME}, {OPERATION_DETAILS}, {OPERATION_EXCEPTION}, gen_ai.*.message, "
            "gen_ai.choice)"
        )
    if reasons:
        detail, _ = reasons.most_common(1)[0]
        said.append(f"{reasons.total()} of {n_records} log records went to quarantine, for example: {detail[:300]}")
    return "; ".join(said)


def decode_logs(body: bytes, *, tenant: TenantId, seq: int, ingested_at_us: int) -> DecodedLogs:
    """The scores and events of an ExportLogsServiceRequest. A pure function: replay runs it again.

    `seq` is written on every row; `ingested_at_us` is microseconds since the epoch. Raises Undecodable.
    """
    evaluations: list[Evaluation] = []
    events: list[_Event] = []
    quarantined: list[Rejection] = []
    n_rejected = 0
    for outcome in _outcomes(body):
        match outcome:
            case Evaluation():
                evaluations.append(outcome)
            case _Event():
                events.append(outcome)
            case Rejection():
                quarantined.append(outcome)
            case _NotKept():
                n_rejected += 1
            case _:
                assert_never(outcome)
    at = datetime.fromtimestamp(ingested_at_us // 1_000_000, UTC).replace(microsecond=ingested_at_us % 1_000_000)
    rows = [_event_row(event, tenant, seq, ingested_at_us) | {"ingested_at": at} for event in events]
    return DecodedLogs(
        scores=evaluation_events.score_table(evaluations, tenant=tenant, seq=seq, ingested_at_us=ingested_at_us),
        events=pa.Table.from_pylist(rows, schema=EVENTS),
        quarantined=quarantined,
        n_records=len(evaluations) + len(events) + len(quarantined) + n_rejected,
        n_rejected=n_rejected,
    )


def scores_of_span_events(
    found: Iterable[SpanEvaluation],
    *,
    tenant: TenantId,
    seq: int,
    ingested_at_us: int,
) -> pa.Table:
    """Score rows of `gen_ai.evaluation.result` events inside spans.

    Each of `found` is (trace_id, span_id, session_id, app, time_ns, event attributes as JSON values). Events without an
    evaluation name make no row; they stay among the span's events.
    """
    evaluations = [
        Evaluation(
            attributes=attributes,
            resource={},
            time_ns=time_ns,
            trace_id=trace_id,
            span_id=span_id,
            session_id=session_id,
            app=app,
        )
        for trace_id, span_id, session_id, app, time_ns, attributes in found
    ]
    return evaluation_events.score_table(evaluations, tenant=tenant, seq=seq, ingested_at_us=ingested_at_us)


def _outcomes(body: bytes) -> Iterator[_Outcome]:
    for resource_bytes, record_bytes in log_records(body):
        try:
            resource = Resource.FromString(resource_bytes)
            record = LogRecord.FromString(record_bytes)
        except DecodeError:
            yield Rejection(
                reason="undecodable_log_record",
                detail="a log record or its resource is not valid protobuf: invalid UTF-8, nesting beyond 100, or cut",
                payload=record_bytes,
            )
            continue
        yield _judge(record, {each.key: plain(each.value) for each in resource.attributes}, record_bytes)


def _judge(record: LogRecord, resource: Mapping[str, Any], wire: bytes) -> _Outcome:
    attributes = {each.key: plain(each.value) for each in record.attributes}
    name = record.event_name or text_of(attributes.get("event.name"))
    if name != evaluation_events.EVENT_NAME and name not in EVENT_NAMES:
        return _NotKept()
    trace_id = record.trace_id.hex() if len(record.trace_id) == 16 and any(record.trace_id) else None
    span_id = record.span_id.hex() if trace_id and len(record.span_id) == 8 and any(record.span_id) else None
    time_ns = record.time_unix_nano or record.observed_time_unix_nano
    if name == evaluation_events.EVENT_NAME:
        evaluation = Evaluation(
            attributes=attributes, resource=resource, time_ns=time_ns, trace_id=trace_id, span_id=span_id
        )
        wrong = evaluation_events.unusable(evaluation)
        return evaluation if wrong is None else Rejection(reason=wrong[0], detail=wrong[1], payload=wire)
    if not trace_id and not text_of(attributes.get(_RESPONSE)):
        detail = f"{name} belongs to no span: emit it inside the span it describes, or set {_RESPONSE}"
        return Rejection(reason="no_target", detail=detail, payload=wire)
    return _Event(
        name=name,
        time_ns=time_ns,
        trace_id=trace_id,
        span_id=span_id,
        attributes=attributes,
        body=plain(record.body),
        resource=resource,
    )


def _event_row(event: _Event, tenant: TenantId, seq: int, ingested_at_us: int) -> dict[str, Any]:
    date, at_ns = day_and_time(event.time_ns, ingested_at_us)
    texts = _messages(event)
    return {
        "tenant": tenant,
        "date": date,
        "seq": seq,
        "trace_id": event.trace_id,
        "span_id": event.span_id,
        "response_id": text_of(event.attributes.get(_RESPONSE)) or None,
        "at_ns": at_ns,
        "name": event.name,
        "input": texts.get("input"),
        "output": texts.get("output"),
        "attributes": _json(event.attributes),
        "body": _json(event.body),
        "resource": _json(event.resource),
    }


def _messages(event: _Event) -> dict[str, str | None]:
    """Input and output of an event as messages JSON text."""
    if event.name in MESSAGE_EVENTS:
        body = event.body if isinstance(event.body, dict) else {"content": event.body}
        message = messages.message_of_event({**body, "event.name": event.name})
        return {"output" if event.name == "gen_ai.choice" else "input": messages.encode([message])}
    body = event.body if isinstance(event.body, dict) else {}
    said = {**body, **event.attributes}
    return {"input": column_text("input", said, {}), "output": column_text("output", said, {})}


def _json(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value not in (None, {}, "") else None


def log_records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(resource bytes, record bytes) of every record, split without decoding them. Raises Undecodable, TooLarge."""
    walk = Walk()
    for resource_logs in walk.fields(body, 1):
        resource = b"".join(walk.fields(resource_logs, 1))
        for scope_logs in walk.fields(resource_logs, 2):
            for record in walk.fields(scope_logs, 2):
                yield resource, record
