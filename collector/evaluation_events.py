"""`gen_ai.evaluation.result` events, from log records, span events or annotations, as rows of the scores table.

Not knowing is a value: a result without a usable number or label becomes `unscored` with its reason, never 0 or NaN.
Rows are a pure function of the event, so that a replay, or a client's retry, gives the same `score_id`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyarrow as pa

from collector.dialects import RESOURCE, TEXT
from collector.unflatten import annotations_of
from core.ids import TenantId
from core.records import EvaluatorKind, TargetKind
from core.windows import day_of
from store.schema import SCORES

EVENT_NAME: Final = "gen_ai.evaluation.result"
MAX_LABEL: Final = 4_096  # characters
MAX_EXPLANATION: Final = 65_536  # characters

_NAME: Final = "gen_ai.evaluation.name"
_VALUE: Final = "gen_ai.evaluation.score.value"
_LABEL: Final = "gen_ai.evaluation.score.label"
_EXPLANATION: Final = ("gen_ai.evaluation.explanation", "gen_ai.evaluation.score.explanation")
_VERSION: Final = "gen_ai.evaluation.version"
_RESPONSE: Final = "gen_ai.response.id"
_ERROR: Final = "error.type"
_IN_COLUMNS: Final = frozenset({_NAME, _VALUE, _LABEL, *_EXPLANATION, _VERSION, _ERROR, "event.name"})
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,5})?\Z")
_YEAR_2000_NS: Final = 946_684_800 * 10**9
_YEAR_2200_NS: Final = 7_258_118_400 * 10**9


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation event. Ids are lower-case hex or None; attribute values are JSON values; `time_ns` 0 = unsaid."""

    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    time_ns: int
    trace_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    app: str | None = None


# (trace_id, span_id, session_id, app, time_ns, attributes of the event) of an evaluation inside a span.
SpanEvaluation = tuple[str | None, str | None, str | None, str | None, int, dict[str, Any]]
_OF_ANNOTATION: Final = {"name": _NAME, "score": _VALUE, "label": _LABEL, "explanation": _EXPLANATION[0]}


def evaluations_of_annotations(row: Mapping[str, Any]) -> Iterator[SpanEvaluation]:
    """OpenInference's annotations in a row of the spans table, as evaluations of the span, its trace or its session.

    What an annotation says beside name, score, label and explanation (who gave it, an identifier) is in the metadata.
    """
    for target, fields in annotations_of(row["attributes"] or ()):
        attributes = {_OF_ANNOTATION.get(leaf, f"annotation.{leaf}"): text for leaf, text in fields.items()}
        trace_id = None if target is TargetKind.SESSION else row["trace_id"]
        span_id = row["span_id"] if target is TargetKind.SPAN else None
        yield trace_id, span_id, row["session_id"], row["app"], row["start_ns"], attributes


def text_of(value: Any) -> str:
    """A JSON value as a column's text: strings as they are, None empty, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def column_text(column: str, attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> str | None:
    """The dialect table's answer for a text column, or None."""
    for key in TEXT[column]:
        name = key.removeprefix(RESOURCE)
        found = text_of((attributes if name == key else resource).get(name))
        if found:
            return found
    return None


def unusable(evaluation: Evaluation) -> tuple[str, str] | None:
    """The reason code and sentence for an event that cannot become a score; None for one that can."""
    if not text_of(evaluation.attributes.get(_NAME)):
        return "missing_evaluation_name", f"{EVENT_NAME} needs the attribute {_NAME}: the evaluator's name"
    if evaluation.trace_id or _session(evaluation) or text_of(evaluation.attributes.get(_RESPONSE)):
        return None
    return (
        "no_target",
        f"{EVENT_NAME} says of nothing what it evaluates: emit it inside the evaluated span, or set {_RESPONSE} or "
        "gen_ai.conversation.id",
    )


def _session(evaluation: Evaluation) -> str | None:
    return evaluation.session_id or column_text("session_id", evaluation.attributes, evaluation.resource)


def score_table(evaluations: Iterable[Evaluation], *, tenant: TenantId, seq: int, ingested_at_us: int) -> pa.Table:
    """Rows of `store.schema.SCORES`, one per usable evaluation, in order."""
    rows = [_row(each, tenant, seq, ingested_at_us) for each in evaluations if unusable(each) is None]
    return pa.Table.from_pylist(rows, schema=SCORES)


def day_and_time(time_ns: int, ingested_at_us: int) -> tuple[str, int]:
    """The partition day and the time of an event; the time of arrival where the sender's is unsaid or absurd."""
    at_ns = time_ns if _YEAR_2000_NS <= time_ns < _YEAR_2200_NS else ingested_at_us * 1000
    return day_of(at_ns), at_ns


def _row(evaluation: Evaluation, tenant: TenantId, seq: int, ingested_at_us: int) -> dict[str, Any]:
    attributes = evaluation.attributes
    metadata: dict[str, Any] = {key: value for key, value in attributes.items() if key not in _IN_COLUMNS}
    value, label, unscored = _verdict(attributes, metadata)
    explanation = next((found for key in _EXPLANATION if (found := text_of(attributes.get(key)))), None)
    session = _session(evaluation)
    date, at_ns = day_and_time(evaluation.time_ns, ingested_at_us)
    return {
        "tenant": tenant,
        "date": date,
        "seq": seq,
        "ingested_at": datetime.fromtimestamp(ingested_at_us // 1_000_000, UTC).replace(
            microsecond=ingested_at_us % 1_000_000
        ),
        "score_id": _score_id(evaluation),
        "at_ns": at_ns,
        "evaluator": _limited("evaluator", text_of(attributes[_NAME]), MAX_LABEL, metadata),
        "evaluator_version": text_of(attributes.get(_VERSION)) or "1",
        "evaluator_kind": EvaluatorKind.EVENT.value,
        "target": _target(evaluation, session).value,
        "trace_id": evaluation.trace_id,
        "span_id": evaluation.span_id,
        "session_id": session,
        "app": evaluation.app or column_text("app", attributes, evaluation.resource),
        "value": value,
        "label": _limited("label", label, MAX_LABEL, metadata),
        "explanation": _limited("explanation", explanation, MAX_EXPLANATION, metadata),
        "unscored": unscored,
        "author": None,
        "metadata": orjson.dumps(metadata).decode() if metadata else None,
    }


def _target(evaluation: Evaluation, session: str | None) -> TargetKind:
    if evaluation.span_id:
        return TargetKind.SPAN
    if evaluation.trace_id:
        return TargetKind.TURN
    if text_of(evaluation.attributes.get(_RESPONSE)) or not session:
        return TargetKind.SPAN  # found by its response id
    return TargetKind.SESSION


def _verdict(attributes: Mapping[str, Any], metadata: dict[str, Any]) -> tuple[float | None, str | None, str | None]:
    """Value, label and unscored reason. What an unscored event carried is kept in the metadata."""
    raw, label = attributes.get(_VALUE), text_of(attributes.get(_LABEL)) or None
    failed = text_of(attributes.get(_ERROR))
    if failed:
        reason = f"the evaluation failed: {failed[:200]}"
    elif raw is None:
        if label is not None:
            return None, label, None
        reason = "the event carries neither a score value nor a label"
    else:
        number = _finite(raw)
        if number is not None:
            return number, label, None
        reason = f"the score {text_of(raw)[:80]!r} is not a finite number"
    if raw is not None:
        metadata["score_value"] = text_of(raw)[:MAX_LABEL]
    if label is not None:
        metadata["score_label"] = label[:MAX_LABEL]
    return None, None, reason


def _finite(raw: Any) -> float | None:
    if isinstance(raw, str) and _NUMBER.match(raw):
        raw = float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return float(raw) if math.isfinite(raw) else None


def _limited(name: str, text: str | None, limit: int, metadata: dict[str, Any]) -> str | None:
    """`text`, cut at `limit` characters with the flag `<name>_truncated_from` in the metadata."""
    if text is None or len(text) <= limit:
        return text
    metadata[f"{name}_truncated_from"] = len(text)
    return text[:limit]


def _score_id(evaluation: Evaluation) -> str:
    """The same for the same event, whenever and however often it arrives."""
    said: list[object] = [
        evaluation.trace_id,
        evaluation.span_id,
        evaluation.session_id,
        evaluation.time_ns,
        sorted((key, text_of(value)) for key, value in evaluation.attributes.items()),
    ]
    if evaluation.trace_id is None and evaluation.resource:  # then the resource may say whose evaluation it is
        said += [_session(evaluation), column_text("app", {}, evaluation.resource)]
    return "score_" + hashlib.blake2b(orjson.dumps(said), digest_size=12).hexdigest()
