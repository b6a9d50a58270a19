"""The execution ledger: a row before each write, its answer after it, so that a write happens once.

key = blake2b(turn id, tool, canonical arguments, occurrence). A call whose effect is unknown (a timeout, a killed
process) is repeated with its first key, in this turn or a later one of the session; the shop answers a key it has
seen as it did then. A known answer is replayed without a call. Rows go with their turn (checkpoints.py).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent_runtime.state import StateFile

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    key TEXT PRIMARY KEY, turn_id TEXT NOT NULL, tenant TEXT NOT NULL, session_id TEXT NOT NULL, user_id TEXT NOT NULL,
    call_id TEXT NOT NULL, tool TEXT NOT NULL, args TEXT NOT NULL, args_hash TEXT NOT NULL, occurrence INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('started', 'done')), result TEXT, undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS ledger_session ON ledger (tenant, session_id, tool, args_hash);
CREATE INDEX IF NOT EXISTS ledger_turn ON ledger (turn_id);
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A write about to happen. `call_id` is the model's, the same again when a turn is resumed."""

    turn_id: str
    tenant: str
    session_id: str
    user_id: str
    call_id: str
    tool: str
    args: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The call's key, and its answer if it is known already."""

    key: str
    result: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Done:
    """A write of a turn; `result` is None while its effect is unknown."""

    key: str
    tool: str
    args: dict[str, Any]
    result: dict[str, Any] | None


def canonical(args: Mapping[str, Any]) -> str:
    """One spelling for equal arguments: sorted keys, no spaces."""
    return json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def args_hash(args: Mapping[str, Any]) -> str:
    """16 hex digits of the canonical arguments."""
    return hashlib.blake2b(canonical(args).encode(), digest_size=8).hexdigest()


def key_of(turn_id: str, tool: str, args: Mapping[str, Any], occurrence: int) -> str:
    """The idempotency key, 32 hex digits."""
    parts = "\x1f".join((turn_id, tool, canonical(args), str(occurrence)))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


class Ledger:
    """Rows of table `ledger` in the runtime's file."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    async def begin(self, call: Call) -> Entry:
        """Writes the row before the call, or finds the one of an earlier attempt; durable when it returns."""
        return await self._state.run(lambda connection: _begin(connection, call))

    async def finish(self, key: str, result: Mapping[str, Any]) -> None:
        """Writes the answer after the call."""
        text = json.dumps(result, ensure_ascii=False)
        await self._state.run(
            lambda c: c.execute("UPDATE ledger SET state = 'done', result = ? WHERE key = ?", (text, key))
        )

    async def undoable(self, turn_id: str) -> list[Done]:
        """The writes of a turn that are not undone, newest first."""
        sql = "SELECT * FROM ledger WHERE turn_id = ? AND undone = 0 ORDER BY rowid DESC"
        rows = await self._state.run(lambda c: c.execute(sql, (turn_id,)).fetchall())
        return [
            Done(key=r["key"], tool=r["tool"], args=json.loads(r["args"]), result=json.loads(r["result"] or "null"))
            for r in rows
        ]

    async def undone(self, turn_id: str) -> list[str]:
        """The tools of the turn's writes that were compensated."""
        sql = "SELECT tool FROM ledger WHERE turn_id = ? AND undone = 1 ORDER BY rowid"
        rows = await self._state.run(lambda c: c.execute(sql, (turn_id,)).fetchall())
        return [row["tool"] for row in rows]

    async def mark_undone(self, key: str) -> None:
        """Notes that a write was compensated."""
        await self._state.run(lambda c: c.execute("UPDATE ledger SET undone = 1 WHERE key = ?", (key,)))


def _begin(connection: sqlite3.Connection, call: Call) -> Entry:
    digest = args_hash(call.args)
    same = connection.execute(
        "SELECT key, turn_id, call_id, state, result FROM ledger"
        " WHERE tenant = ? AND session_id = ? AND tool = ? AND args_hash = ?",
        (call.tenant, call.session_id, call.tool, digest),
    ).fetchall()
    for row in same:
        if row["turn_id"] == call.turn_id and row["call_id"] == call.call_id and row["state"] == "done":
            return Entry(key=row["key"], result=json.loads(row["result"]))
    for row in same:
        if row["state"] == "started":  # nobody knows whether it happened: the same key again
            return Entry(key=row["key"])
    occurrence = sum(row["turn_id"] == call.turn_id for row in same)
    key = key_of(call.turn_id, call.tool, call.args, occurrence)
    connection.execute(
        "INSERT INTO ledger"
        " (key, turn_id, tenant, session_id, user_id, call_id, tool, args, args_hash, occurrence, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'started')",
        (
            key,
            call.turn_id,
            call.tenant,
            call.session_id,
            call.user_id,
            call.call_id,
            call.tool,
            canonical(call.args),
            digest,
            occurrence,
        ),
    )
    return Entry(key=key)
