"""The turns in the runtime's file: what was asked, how far it is, what was answered. A checkpoint carries its checksum.

A turn is `running` until it is `done`, or `waiting` for a person. Its id is a function of tenant, session and message
id: the same message sent twice is one turn. The message is written as the input guardrails leave it, and taken out of
its row when the turn is done; a row that cannot be read ends or leaves away its own turn, and no other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from agent_runtime.context import PlannedStep, Route, TurnContext
from agent_runtime.errors import CorruptState, InvalidInput, NotFound
from agent_runtime.limits import Spending
from agent_runtime.records import (
    AgentName,
    Document,
    PendingApproval,
    Release,
    Strategy,
    ToolOutcome,
    TurnInput,
    TurnResult,
    TurnStatus,
)
from agent_runtime.settings import Settings
from agent_runtime.state import StateFile

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS turns (
    turn_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, session_id TEXT NOT NULL, user_id TEXT NOT NULL,
    idx INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('running', 'waiting', 'done')),
    given TEXT NOT NULL, release TEXT NOT NULL,
    checkpoint BLOB, checksum TEXT, result TEXT, said TEXT NOT NULL DEFAULT '', messages BLOB NOT NULL DEFAULT '[]',
    at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS turns_session ON turns (tenant, session_id, idx);
CREATE INDEX IF NOT EXISTS turns_open ON turns (state) WHERE state != 'done';
CREATE INDEX IF NOT EXISTS turns_user ON turns (tenant, user_id);
CREATE TABLE IF NOT EXISTS approvals (
    approval_id TEXT PRIMARY KEY, turn_id TEXT NOT NULL, call_id TEXT NOT NULL, tool TEXT NOT NULL, args TEXT NOT NULL,
    why TEXT NOT NULL, approved INTEGER, decided_by TEXT, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS approvals_turn ON approvals (turn_id);
"""


T = TypeVar("T")
_log = logging.getLogger(__name__)
NOBODY: Final = "nobody in time"  # who decided on an approval that lapsed
_OF_TURNS: Final = ("approvals", "ledger")  # their rows belong to a turn


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A turn's row. `result` is set when it is done or waits for a person; `context` is None before a checkpoint."""

    turn_id: str
    index: int
    given: TurnInput
    release: Release
    result: TurnResult | None = None
    checkpoint: bytes | None = None
    checksum: str | None = None


@dataclass(frozen=True, kw_only=True)
class Past:
    """An earlier turn of the session: what was said, and its messages as pydantic-ai writes them."""

    said: str
    reply: str
    messages: bytes
    agent: AgentName | None


@dataclass(frozen=True, kw_only=True)
class _Checkpoint:
    text: str
    notes: str
    route: Route | None
    strategy: Strategy | None
    approach: str
    plan: list[PlannedStep]
    plan_results: list[dict[str, Any]]
    n_plans: int
    messages: str
    documents: list[Document]
    outcomes: list[ToolOutcome]
    spending: dict[str, Any]
    parent: str
    decisions: dict[str, bool] = field(default_factory=dict)
    problem: str = ""
    ended: tuple[TurnStatus, str, str, str] | None = None


# The fields that a checkpoint has as the turn has them.
_KEPT: Final = ("text", "notes", "route", "strategy", "approach", "plan", "plan_results", "n_plans", "documents",
                "outcomes", "parent", "decisions", "problem", "ended")  # fmt: skip
_CHECKPOINT: Final = TypeAdapter(_Checkpoint)
_GIVEN: Final = TypeAdapter(TurnInput)
_RELEASE: Final = TypeAdapter(Release)
_RESULT: Final = TypeAdapter(TurnResult)


def turn_id_of(given: TurnInput) -> str:
    """32 hex digits."""
    parts = "\x1f".join((given.tenant, given.session_id, given.message_id))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


class Checkpoints:
    """Tables `turns` and `approvals`."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    async def begin(self, given: TurnInput, release: Release, kept: str) -> Begun:
        """Writes the turn's row with the text `kept`, or finds it; an earlier turn of the session that is still open
        (it was cut off, or waits for a person) is given instead.

        Raises InvalidInput when the session is another user's.
        """
        return await self._state.run(lambda connection: _begin(connection, given, release, kept))

    async def of(self, turn_id: str) -> Begun | None:
        """A turn as its row has it, None when there is none."""
        sql = "SELECT * FROM turns WHERE turn_id = ?"
        row = await self._state.run(lambda c: c.execute(sql, (turn_id,)).fetchone())
        return None if row is None else _row(row)

    async def save(self, turn: TurnContext) -> None:
        """Writes how far the turn is; durable when it returns."""
        text = _dump(turn)
        values = (text, hashlib.blake2b(text, digest_size=8).hexdigest(), turn.turn_id)
        sql = "UPDATE turns SET checkpoint = ?, checksum = ? WHERE turn_id = ?"
        await self._state.run(lambda c: c.execute(sql, values))

    async def finish(self, turn_id: str, result: TurnResult, said: str, messages: bytes) -> None:
        """Writes the answer; `said` and `messages` join the session's history, message and checkpoint go."""
        sql = (
            "UPDATE turns SET state = 'done', result = ?, said = ?, messages = ?, checkpoint = NULL,"
            " given = CASE WHEN json_valid(given) THEN json_set(given, '$.text', '') ELSE '' END WHERE turn_id = ?"
        )
        values = (_RESULT.dump_json(result).decode(), said, messages, turn_id)
        await self._state.run(lambda c: c.execute(sql, values))

    async def wait(self, turn: TurnContext, result: TurnResult, calls: Mapping[str, PendingApproval]) -> None:
        """Parks the turn until a person has decided on each of `calls` (by call id)."""
        text = _dump(turn)
        row = (_RESULT.dump_json(result).decode(), text, hashlib.blake2b(text, digest_size=8).hexdigest(), turn.turn_id)
        asked = [
            (a.approval_id, turn.turn_id, call, a.tool, json.dumps(a.args), a.why, _now()) for call, a in calls.items()
        ]

        def job(c: sqlite3.Connection) -> None:
            c.execute(
                "UPDATE turns SET state = 'waiting', result = ?, checkpoint = ?, checksum = ? WHERE turn_id = ?", row
            )
            c.executemany(
                "INSERT OR IGNORE INTO approvals (approval_id, turn_id, call_id, tool, args, why, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                asked,
            )

        await self._state.run(job)

    async def asked_in(self, approval_id: str) -> Begun:
        """The turn that an approval belongs to. Raises NotFound."""
        sql = "SELECT t.* FROM turns t JOIN approvals a USING (turn_id) WHERE approval_id = ?"
        row = await self._state.run(lambda c: c.execute(sql, (approval_id,)).fetchone())
        if row is None:
            raise NotFound(f"no approval {approval_id!r}")
        return _row(row)

    async def decide(self, approval_id: str, approved: bool, by: str) -> dict[str, bool] | None:
        """Notes a person's decision once; the first one counts.

        Gives all decisions of the turn by call id when none is open any more, and the turn runs again; else None.
        """
        return await self._state.run(lambda c: _decide(c, approval_id, approved, by))

    async def lapse(self, before: datetime, only: tuple[str, str] | None = None) -> list[Begun]:
        """Declines what waits for a person since before that moment, in all sessions or in `only` (tenant, session);
        gives the turns, which run again."""
        moment = before.astimezone(UTC).isoformat()
        ids = await self._state.run(lambda c: _lapse(c, moment, only))
        return [found for found in [await self.of(turn_id) for turn_id in ids] if found is not None]

    async def decisions(self, turn_id: str) -> dict[str, bool]:
        """What was decided so far, by call id."""
        sql = "SELECT call_id, approved FROM approvals WHERE turn_id = ? AND approved IS NOT NULL"
        rows = await self._state.run(lambda c: c.execute(sql, (turn_id,)).fetchall())
        return {row["call_id"]: bool(row["approved"]) for row in rows}

    async def unfinished(self) -> list[Begun]:
        """The turns that a killed process left running, oldest first."""
        sql = "SELECT * FROM turns WHERE state = 'running' ORDER BY at, idx"
        return [_row(row) for row in await self._state.run(lambda c: c.execute(sql).fetchall())]

    async def past(self, tenant: str, session_id: str) -> list[Past]:
        """The session's finished turns, oldest first; without those that cannot be read."""
        sql = "SELECT * FROM turns WHERE tenant = ? AND session_id = ? AND state = 'done' AND said != '' ORDER BY idx"
        rows = await self._state.run(lambda c: c.execute(sql, (tenant, session_id)).fetchall())
        read = [(row, _read(_RESULT, row["result"])) for row in rows]
        return [
            Past(said=row["said"], reply=result.reply, messages=bytes(row["messages"]), agent=result.agent)
            for row, result in read
            if result is not None
        ]

    async def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        """The user's sessions."""
        sql = "SELECT DISTINCT session_id FROM turns WHERE tenant = ? AND user_id = ? ORDER BY session_id"
        rows = await self._state.run(lambda c: c.execute(sql, (tenant, user_id)).fetchall())
        return [row["session_id"] for row in rows]

    async def forget(self, tenant: str, user_id: str, sessions: Sequence[str]) -> dict[str, int]:
        """Deletes a user's sessions: turns, approvals, ledger; gives rows by table."""
        where = "tenant = ? AND user_id = ? AND session_id IN (SELECT value FROM json_each(?))"
        values = (tenant, user_id, json.dumps(sessions))
        return await self._state.run(lambda c: _delete(c, where, values))

    async def expire(self, before: datetime) -> dict[str, int]:
        """Deletes the turns of everybody that began before a moment, with approvals and ledger; gives rows by table.

        A running turn stays; one that has waited for a person all that time goes.
        """
        where, values = "at < ? AND state != 'running'", (before.astimezone(UTC).isoformat(),)
        return await self._state.run(lambda c: _delete(c, where, values))


def restored(begun: Begun, settings: Settings) -> TurnContext:
    """The turn as its last checkpoint has it, or at its beginning. Raises CorruptState."""
    turn = TurnContext(
        given=begun.given,
        turn_id=begun.turn_id,
        index=begun.index,
        release=begun.release,
        spending=Spending(begun.release.parameters.limits, settings),
    )
    if begun.checkpoint is None:
        return turn
    if hashlib.blake2b(begun.checkpoint, digest_size=8).hexdigest() != begun.checksum:
        raise CorruptState(f"the checkpoint of turn {begun.turn_id} does not match its checksum")
    try:
        saved = _CHECKPOINT.validate_json(begun.checkpoint)
        turn.spending.restore(saved.spending)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise CorruptState(f"the checkpoint of turn {begun.turn_id} cannot be read") from error
    for name in _KEPT:
        setattr(turn, name, getattr(saved, name))
    turn.messages, turn.resumed = saved.messages.encode(), True
    return turn


def count_user(c: sqlite3.Connection, tenant: str, user_id: str) -> dict[str, int]:
    """Rows of a user by table, as `Checkpoints.forget` would delete them."""
    own = "tenant = ? AND user_id = ?"
    where = {**dict.fromkeys(_OF_TURNS, f"turn_id IN (SELECT turn_id FROM turns WHERE {own})"), "turns": own}
    return {
        table: c.execute(f"SELECT COUNT(*) FROM {table} WHERE {of_user}", (tenant, user_id)).fetchone()[0]
        for table, of_user in where.items()
    }


def _dump(turn: TurnContext) -> bytes:
    kept = {name: getattr(turn, name) for name in _KEPT}
    return _CHECKPOINT.dump_json(_Checkpoint(messages=turn.messages.decode(), spending=turn.spending.as_json(), **kept))


def _delete(c: sqlite3.Connection, where: str, values: tuple[str, ...]) -> dict[str, int]:
    """Deletes turns and what belongs to them."""
    of_turns = f"turn_id IN (SELECT turn_id FROM turns WHERE {where})"
    found = {table: c.execute(f"DELETE FROM {table} WHERE {of_turns}", values).rowcount for table in _OF_TURNS}
    return {**found, "turns": c.execute(f"DELETE FROM turns WHERE {where}", values).rowcount}


def _begin(connection: sqlite3.Connection, given: TurnInput, release: Release, kept: str) -> Begun:
    turn_id, session = turn_id_of(given), (given.tenant, given.session_id)
    of_session = "SELECT * FROM turns WHERE tenant = ? AND session_id = ?"
    own = connection.execute("SELECT * FROM turns WHERE turn_id = ?", (turn_id,)).fetchone()
    still = connection.execute(f"{of_session} AND state != 'done' ORDER BY idx LIMIT 1", session).fetchone()
    last = connection.execute(f"{of_session} ORDER BY idx DESC LIMIT 1", session).fetchone()
    if last is not None and last["user_id"] != given.user_id:
        raise InvalidInput("this session belongs to another user")
    if own is not None and (own["state"] == "done" or own["turn_id"] == still["turn_id"]):
        return _row(own)
    if still is not None:
        return _row(still)
    index = 0 if last is None else last["idx"] + 1
    connection.execute(
        "INSERT INTO turns (turn_id, tenant, session_id, user_id, idx, state, given, release, at)"
        " VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?)",
        (
            turn_id,
            given.tenant,
            given.session_id,
            given.user_id,
            index,
            _GIVEN.dump_json(replace(given, text=kept)).decode(),
            _RELEASE.dump_json(release).decode(),
            _now(),
        ),
    )
    return Begun(turn_id=turn_id, index=index, given=given, release=release)


def _decide(connection: sqlite3.Connection, approval_id: str, approved: bool, by: str) -> dict[str, bool] | None:
    connection.execute(
        "UPDATE approvals SET approved = ?, decided_by = ? WHERE approval_id = ? AND approved IS NULL",
        (int(approved), by, approval_id),
    )
    turn_id = connection.execute("SELECT turn_id FROM approvals WHERE approval_id = ?", (approval_id,)).fetchone()[0]
    rows: Sequence[sqlite3.Row] = connection.execute(
        "SELECT call_id, approved FROM approvals WHERE turn_id = ?", (turn_id,)
    ).fetchall()
    if any(row["approved"] is None for row in rows):
        return None
    connection.execute("UPDATE turns SET state = 'running' WHERE turn_id = ? AND state = 'waiting'", (turn_id,))
    return {row["call_id"]: bool(row["approved"]) for row in rows}


def _lapse(connection: sqlite3.Connection, before: str, only: tuple[str, str] | None) -> list[str]:
    where = "state = 'waiting' AND approved IS NULL AND approvals.at < ?"
    where += " AND tenant = ? AND session_id = ?" if only else ""
    sql = f"SELECT DISTINCT turn_id FROM turns JOIN approvals USING (turn_id) WHERE {where}"
    ids = [row["turn_id"] for row in connection.execute(sql, (before, *(only or ()))).fetchall()]
    for turn_id in ids:
        connection.execute(
            "UPDATE approvals SET approved = 0, decided_by = ? WHERE turn_id = ? AND approved IS NULL",
            (NOBODY, turn_id),
        )
        connection.execute("UPDATE turns SET state = 'running' WHERE turn_id = ?", (turn_id,))
    return ids


def _row(row: sqlite3.Row) -> Begun:
    """A turn; where the row cannot be read, a done one has lost its answer and another its checkpoint."""
    given, release = _read(_GIVEN, row["given"]), _read(_RELEASE, row["release"])
    checkpoint = None if row["checkpoint"] is None else bytes(row["checkpoint"])
    running = row["state"] == "running"
    return Begun(
        turn_id=row["turn_id"],
        index=row["idx"],
        given=given
        or TurnInput(
            session_id=row["session_id"], user_id=row["user_id"], tenant=row["tenant"], text="", message_id=""
        ),
        release=release or Release(name="unknown"),
        result=None if running else _read(_RESULT, row["result"]) or _lost(row),
        checkpoint=b"" if running and not (given and release) else checkpoint,  # fits no checksum
        checksum=row["checksum"],
    )


def _read(kind: TypeAdapter[T], text: str | bytes | None) -> T | None:
    try:
        return kind.validate_json(text or b"")
    except ValidationError as error:
        _log.warning("a row of the turns cannot be read: %s", error.errors(include_input=False)[0]["msg"])
        return None


def _lost(row: sqlite3.Row) -> TurnResult:
    return TurnResult(
        session_id=row["session_id"],
        turn_id=row["turn_id"],
        index=row["idx"],
        status=TurnStatus.FAILED,
        reply="This message was answered, but the answer can no longer be read.",
        agent=None,
        strategy=None,
        trace_id="",
        error=CorruptState.__name__,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
