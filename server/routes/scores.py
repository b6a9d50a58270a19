"""Scores: list and write."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.errors import Conflict
from core.ids import fresh
from core.records import EvaluatorKind, Principal, Role, TargetKind
from core.windows import moment_ns
from server.once import Held, once
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.redaction import redacted
from server.routes import rows
from server.routes.answers import answer, arrow, next_cursor
from server.routes.asking import Lists, ReadingOf, Text
from server.routes.scored import score_rows
from server.wiring import Services
from store.control.records import ClaimState
from store.scores import NewScore, ScoresAsked, append_scores, has_scores, list_scores

router = APIRouter(
    prefix="/api/v1/scores", tags=["scores"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)


def _one_line(text: str) -> str:
    """`text` when it holds no control character (Unicode category Cc: NUL, line ends, escapes). Raises ValueError."""
    for position, character in enumerate(text):
        if unicodedata.category(character) == "Cc":
            raise ValueError(f"holds the control character U+{ord(character):04X} at position {position}")
    return text


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    """`metadata` when it can be written as JSON in UTF-8. Raises ValueError."""
    try:
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    except ValueError:
        raise ValueError("holds a number that is not finite") from None
    return metadata


# Names and ids are one line; free text is kept as it is, NUL included.
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Ref = Annotated[str, Field(max_length=1000), AfterValidator(_one_line)] | None


class AskedScores(Lists):
    """Scores by evaluator, target kind, trace or session."""

    evaluator: Text = None
    target: TargetKind | None = None
    trace_id: Text = None
    session_id: Text = None


class ScoreBody(BaseModel):
    """A score: a value, a label, or both; or `unscored` with the reason. `at` is RFC 3339 with a zone, default now."""

    model_config = ConfigDict(extra="forbid")

    evaluator: Name
    evaluator_version: Name = "1"
    evaluator_kind: EvaluatorKind
    target: TargetKind
    trace_id: Ref = None
    span_id: Ref = None
    session_id: Ref = None
    value: Annotated[float | None, Field(allow_inf_nan=False, strict=True)] = None
    label: Name | None = None
    explanation: Annotated[str | None, Field(max_length=20_000)] = None
    unscored: Annotated[str | None, Field(min_length=1, max_length=1000)] = None
    at: Annotated[str | None, Field(max_length=40)] = None
    metadata: Annotated[dict[str, Any], AfterValidator(_storable)] = {}

    def score(self) -> NewScore:
        """The store's record. Raises InvalidInput."""
        given = {name: getattr(self, name) for name in ScoreBody.model_fields if name != "at"}
        return NewScore(**given, at_ns=None if self.at is None else moment_ns(self.at, "at"))


class ScoresBody(BaseModel):
    """Up to 1,000 scores, written together."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[ScoreBody], Field(min_length=1, max_length=1000)]


class ScoreIds(BaseModel):
    """The ids of the scores, in the order they were sent."""

    score_ids: list[str]


@router.get("", response_model=rows.Scores)
def read_scores(reading: ReadingOf, asked: Annotated[AskedScores, Query()]) -> Response:
    """Scores decided in the window, newest first."""
    position = reading.position(asked.cursor)
    wanted = ScoresAsked(
        window=position.window if position else reading.window(asked),
        evaluator=asked.evaluator,
        target=asked.target,
        trace_id=asked.trace_id,
        session_id=asked.session_id,
        limit=reading.rows_wanted(asked),
        after=(position.order, position.row_id) if position else None,
        as_of_ns=reading.as_of_ns(asked),
    )
    frame = list_scores(reading.store, wanted)
    if reading.arrow:
        return arrow(frame.head(asked.limit).drop("at_ns"))
    more = next_cursor(reading, asked, frame, wanted.window, "at_ns", "score_id")
    return answer({"items": score_rows(frame.head(asked.limit)), "next_cursor": more})


@router.post("", status_code=201, response_model=ScoreIds)
def write_scores(
    caller: Annotated[Principal, Depends(needs(Role.USER))],
    services: ServicesOf,
    body: ScoresBody,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Writes scores; durable when this answers. The same Idempotency-Key with the same body answers the same ids."""
    scores = [each.score() for each in body.items]
    ids = [fresh("score") for _ in body.items]
    if idempotency_key is None:
        _append(services, caller, scores, ids)
        return answer({"score_ids": ids}, status=201)
    content = hashlib.sha256(body.model_dump_json().encode()).digest()
    key = f"scores:{idempotency_key}"
    with once(services.control, caller.tenant, key, content, json.dumps(ids)) as turn:
        if isinstance(turn, Held):
            ids = json.loads(turn.claim.answer)
            # Where somebody died between claiming and finishing, only the lake knows how far it came.
            if turn.claim.state is ClaimState.NEW or not _stored(services, caller, ids):
                _append(services, caller, scores, ids, turn)
        else:
            ids = json.loads(turn)
    return answer({"score_ids": ids}, status=201)


def _append(
    services: Services, caller: Principal, scores: list[NewScore], ids: list[str], held: Held | None = None
) -> None:
    kept = redacted(services, caller.tenant, scores)
    store = services.store.tenant(caller.tenant)
    if held is not None:
        held.assure(services.clock())
    append_scores(store, kept, ids=ids, author=caller.key_id or caller.name, now_ns=services.clock())


def _stored(services: Services, caller: Principal, ids: list[str]) -> bool:
    """Whether the scores are in the lake. Raises Conflict where a damaged file may hold them: nothing is doubled."""
    store = services.store.tenant(caller.tenant)
    found = has_scores(store, ids)
    if not found and store.left_out:
        raise Conflict(
            "the first try with this Idempotency-Key did not finish, and whether it stored the scores stands in a "
            "damaged file; nothing was written. Send again once the file is restored (assay doctor names it), or now "
            "with a fresh Idempotency-Key if doubled scores do no harm"
        )
    return found
