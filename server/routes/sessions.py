"""Sessions: list, and one session with its turns by pages."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput, NotFound
from core.windows import Window, moment_ns
from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import answer, listed
from server.routes.asking import FilteredList, ReadingOf
from server.routes.scored import score_rows
from server.routes.traces import BOUNDS
from store import scores, sessions
from store.cursor import Position

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"], dependencies=[Depends(known_parameters_only)])

MAX_ID: Final = 1000


class OneSession(BaseModel):
    """How a session's turns are paged."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    cursor: Annotated[str | None, Field(max_length=2000)] = None
    as_of: Annotated[str | None, Field(max_length=40)] = None


@router.get("", response_model=rows.Sessions)
def list_sessions(reading: ReadingOf, asked: Annotated[FilteredList, Query()]) -> Response:
    """Sessions that start in the window, newest first."""
    wanted = reading.asked(asked, asked.filters())
    frame = sessions.list_sessions(reading.store, wanted)
    hidden = ("listed_ns", "cost_usd_exact")
    return listed(reading, asked, frame, window=wanted.window, order="listed_ns", row_id="session_id", hidden=hidden)


@router.get("/{session_id:path}", response_model=rows.Session)
def read_session(reading: ReadingOf, session_id: str, asked: Annotated[OneSession, Query()]) -> Response:
    """A session, and a page of its turns in order with their whole input and output."""
    if len(session_id) > MAX_ID or "\0" in session_id:
        raise InvalidInput(f"a session id has at most {MAX_ID} characters and no NUL", field="session_id")
    as_of_ns = None if asked.as_of is None else moment_ns(asked.as_of, "as_of")
    position = reading.position(asked.cursor)
    found = sessions.session(reading.store, session_id, as_of_ns=as_of_ns)
    if not found.height:
        raise NotFound("there is no such session")
    after = (position.order, position.row_id) if position else None
    turns = sessions.turns_of_session(reading.store, session_id, limit=asked.limit + 1, after=after, as_of_ns=as_of_ns)
    page = turns.head(asked.limit)
    told = score_rows(scores.scores_of(reading.store, trace_ids=page["trace_id"].to_list(), as_of_ns=as_of_ns))
    session = found.row(0, named=True)
    more = None
    if turns.height > asked.limit:
        last = page.row(-1, named=True)
        window = Window(start_ns=session["start_ns"], end_ns=session["end_ns"] + 1)
        more = reading.cursor(Position(order=last["start_ns"], row_id=last["trace_id"], window=window))
    return answer({"session": session, "turns": [_turn(t, told) for t in page.to_dicts()], "next_cursor": more})


def _turn(turn: dict[str, Any], told: list[dict[str, Any]]) -> dict[str, Any]:
    shown = {k: v for k, v in turn.items() if k not in BOUNDS or k == "cost_usd_exact"}
    return shown | {"scores": [score for score in told if score["trace_id"] == turn["trace_id"]]}
