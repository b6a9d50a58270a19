"""Memory's tables in the runtime's file. Each row belongs to one tenant and one user; every time is ISO in UTC."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS memory_pins (
    tenant TEXT NOT NULL, user_id TEXT NOT NULL, session_id TEXT NOT NULL, text TEXT NOT NULL,
    at TEXT NOT NULL, expires_at TEXT NOT NULL, PRIMARY KEY (tenant, user_id, session_id, text)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory_contexts (
    tenant TEXT NOT NULL, user_id TEXT NOT NULL, session_id TEXT NOT NULL, n INTEGER NOT NULL, digest TEXT NOT NULL,
    text TEXT NOT NULL, at TEXT NOT NULL, expires_at TEXT NOT NULL, PRIMARY KEY (tenant, user_id, session_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory_notes (
    tenant TEXT NOT NULL, user_id TEXT NOT NULL, session_id TEXT NOT NULL, idx INTEGER NOT NULL, text TEXT NOT NULL,
    at TEXT NOT NULL, expires_at TEXT NOT NULL, PRIMARY KEY (tenant, user_id, session_id, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory_facts (
    tenant TEXT NOT NULL, user_id TEXT NOT NULL, fact_id TEXT NOT NULL, topic TEXT NOT NULL, value TEXT NOT NULL,
    text TEXT NOT NULL, at TEXT NOT NULL, expires_at TEXT NOT NULL, PRIMARY KEY (tenant, user_id, fact_id)
) WITHOUT ROWID;
"""
TABLES: Final = ("memory_pins", "memory_contexts", "memory_notes", "memory_facts")
_OF_USER: Final = "tenant = ? AND user_id = ?"


def forget_user(connection: sqlite3.Connection, tenant: str, user_id: str) -> dict[str, int]:
    """Deletes everything of a user; gives rows by table."""
    who = (tenant, user_id)
    return {table: connection.execute(f"DELETE FROM {table} WHERE {_OF_USER}", who).rowcount for table in TABLES}


def count_user(connection: sqlite3.Connection, tenant: str, user_id: str) -> dict[str, int]:
    """Rows of a user by table."""
    who = (tenant, user_id)
    sql = f"SELECT COUNT(*) FROM {{}} WHERE {_OF_USER}"
    return {table: connection.execute(sql.format(table), who).fetchone()[0] for table in TABLES}


def forget_words(connection: sqlite3.Connection, tenant: str, user_id: str, words: Sequence[str]) -> dict[str, int]:
    """Deletes the user's rows whose text has one of `words` as whole words, whatever its case; rows by table."""
    if not words:
        return dict.fromkeys(TABLES, 0)
    any_of = re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(word) for word in words)})(?!\w)", re.IGNORECASE)
    connection.create_function("mentions", 1, lambda text: bool(any_of.search(text)))
    found = {}
    for table in TABLES:
        sql = f"DELETE FROM {table} WHERE {_OF_USER} AND mentions(text)"
        found[table] = connection.execute(sql, (tenant, user_id)).rowcount
    return found


def expire(connection: sqlite3.Connection, now: str) -> dict[str, int]:
    """Deletes what has expired at `now`; gives rows by table."""
    sql = "DELETE FROM {} WHERE expires_at <= ?"
    return {table: connection.execute(sql.format(table), (now,)).rowcount for table in TABLES}


def facts_of(connection: sqlite3.Connection, tenant: str, user_id: str, now: str) -> list[sqlite3.Row]:
    """The user's facts that have not expired, the newest 200, newest first."""
    sql = f"SELECT * FROM memory_facts WHERE {_OF_USER} AND expires_at > ? ORDER BY at DESC, fact_id LIMIT 200"
    return connection.execute(sql, (tenant, user_id, now)).fetchall()


def notes_of(connection: sqlite3.Connection, tenant: str, user_id: str, now: str) -> list[sqlite3.Row]:
    """The user's notes that have not expired, the newest 100, newest first."""
    sql = f"SELECT * FROM memory_notes WHERE {_OF_USER} AND expires_at > ? ORDER BY at DESC, session_id, idx LIMIT 100"
    return connection.execute(sql, (tenant, user_id, now)).fetchall()


def pins_of(connection: sqlite3.Connection, who: tuple[str, str, str], now: str) -> list[str]:
    """What is pinned in a session (tenant, user, session), oldest first."""
    sql = f"SELECT text FROM memory_pins WHERE {_OF_USER} AND session_id = ? AND expires_at > ? ORDER BY at, text"
    return [row["text"] for row in connection.execute(sql, (*who, now))]


def put(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    """Writes a row in place of the one with its key."""
    names = ", ".join(row)
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
