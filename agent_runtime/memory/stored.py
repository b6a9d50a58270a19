"""Memory in the runtime's file: recalling, fitting, remembering, and forgetting in four ways.

Forgotten are a user (everything), a fact, a topic with what mentions it, and what has expired. Deleted bytes are
overwritten (secure_delete) and the write-ahead log is emptied before a forgetting returns.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agent_runtime.errors import InvalidInput, ModelFailed
from agent_runtime.memory import context, tables
from agent_runtime.memory.decay import age_s, weigh
from agent_runtime.memory.facts import SINGLE, WEIGHT, Found, facts_in, note_of, one_line
from agent_runtime.records import Parameters, TurnInput
from agent_runtime.retrieval.similarity import Similarity
from agent_runtime.seams import ContextPiece, Fitted, Horizon, MessageText, Recalled, Summarise, TurnRecord
from agent_runtime.state import StateFile

_log = logging.getLogger(__name__)
_MOST_PINS: Final = 32
_MOST_PIN: Final = 200  # characters
_SAME: Final = 0.9  # facts of a topic this similar are one


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How long each horizon is kept, in days, and how much of it is recalled."""

    context_days: float = 7.0
    session_days: float = 90.0
    profile_days: float = 365.0
    n_recalled: int = 6
    least_score: float = 0.08


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A fact of a user. `at` is when it was last said, ISO in UTC."""

    fact_id: str
    topic: str
    text: str
    at: str


def _now() -> datetime:
    return datetime.now(UTC)


class StoredMemory:
    """Implements `Memory`. `StateFile` must have been opened with `tables.SCHEMA`."""

    def __init__(
        self,
        state: StateFile,
        summarise: Summarise | None = None,
        keeping: Keeping = Keeping(),
        now: Callable[[], datetime] = _now,
    ) -> None:
        """`summarise` asks a model; without one, or when it fails, a summary is made of the messages' beginnings."""
        self._state = state
        self.summarise = summarise
        self._keeping = keeping
        self._now = now

    async def recall(self, given: TurnInput, parameters: Parameters, now: datetime) -> Recalled:
        """Pinned facts of the session, then what is similar and recent of the profile and of earlier sessions.

        Raises InvalidInput: the half-life is not a positive number of days.
        """
        who, moment = (given.tenant, given.user_id), _iso(now)

        def read(c: sqlite3.Connection) -> tuple[list[str], list[sqlite3.Row], list[sqlite3.Row]]:
            pins = tables.pins_of(c, (*who, given.session_id), moment)
            return pins, tables.facts_of(c, *who, moment), tables.notes_of(c, *who, moment)

        pins, facts, notes = await self._state.run(read)
        pieces = [_piece(Horizon.CONTEXT, f"pin-{n}", pin) for n, pin in enumerate(pins)]
        rest = [_Memory(Horizon.PROFILE, r["fact_id"], r["text"], r["at"], WEIGHT.get(r["topic"], 0.2)) for r in facts]
        rest += _of_sessions(notes, given.session_id)
        return Recalled(pieces=[*pieces, *self._best(rest, given.text, parameters, now)])

    def _best(
        self, memories: Sequence[_Memory], text: str, parameters: Parameters, now: datetime
    ) -> list[ContextPiece]:
        alike = Similarity([memory.text for memory in memories]).to(text)
        scored = [
            (weigh(near, memory.weight, age_s(memory.at, now), parameters.memory_half_life_days), memory)
            for near, memory in zip(alike, memories, strict=True)
        ]
        scored.sort(key=lambda each: (-each[0], each[1].piece_id))
        best = [each for each in scored if each[0] >= self._keeping.least_score][: self._keeping.n_recalled]
        return [_piece(memory.horizon, memory.piece_id, memory.text, score, memory.at) for score, memory in best]

    async def fit(self, messages: Sequence[MessageText], given: TurnInput, parameters: Parameters) -> Fitted:
        """Leaves the oldest turns away once the messages exceed `parameters.context_tokens`.

        What is pinned or named in them stays word for word, even where it is more than the summary's room.
        """
        budget = parameters.context_tokens
        if context.cost(messages) <= budget:
            return Fitted()
        who = (given.tenant, given.user_id, given.session_id)
        known, pins = await self._state.run(lambda c: (_context(c, who), tables.pins_of(c, who, _iso(self._now()))))
        if not context.still_fits(known, messages, budget):
            known = await self._summarised(known, messages, budget, who, pins)
        pinned = context.pinned_lines(messages[: known.n], pins)
        text = context.cut(known.text, context.summary_room(budget, pinned))
        return Fitted(n_left_away=known.n, summary="\n".join(part for part in (pinned, text) if part))

    async def _summarised(
        self,
        known: context.Summary,
        messages: Sequence[MessageText],
        budget: int,
        who: tuple[str, str, str],
        pins: Sequence[str],
    ) -> context.Summary:
        n = context.n_left_away(messages, budget)
        continues = 0 < known.n <= n and context.digest(messages[: known.n]) == known.digest
        earlier, new = (known.text, messages[known.n : n]) if continues else ("", messages[:n])
        room = context.summary_room(budget, context.pinned_lines(messages[:n], pins))
        text = await self._summary(earlier, new, room)
        made = context.Summary(n=n, digest=context.digest(messages[:n]), text=text)
        row = self._row(who, self._now(), self._keeping.context_days, n=n, digest=made.digest, text=text)
        await self._state.run(lambda c: tables.put(c, "memory_contexts", row))
        return made

    async def _summary(self, earlier: str, messages: Sequence[MessageText], room: int) -> str:
        if self.summarise is not None and room:
            try:
                return context.cut(await self.summarise(context.told(earlier, messages)), room)
            except ModelFailed as error:
                _log.warning("the summariser failed, the beginnings of the messages stand in: %s", error)
        return context.extract(earlier, messages, room)

    async def remember(self, turn: TurnRecord, parameters: Parameters) -> int:
        """Writes a line about the turn and the facts its user stated; gives rows written."""
        given = turn.given
        who = (given.tenant, given.user_id, given.session_id)
        note = self._row(who, turn.at, self._keeping.session_days, idx=turn.result.index, text=note_of(turn))
        facts = facts_in(given.text)

        def write(c: sqlite3.Connection) -> int:
            tables.put(c, "memory_notes", note)
            for fact in facts:
                self._put_fact(c, who, fact, turn.at)
            return 1 + len(facts)

        return await self._state.run(write)

    def _put_fact(self, c: sqlite3.Connection, who: tuple[str, str, str], fact: Found, at: datetime) -> str:
        """Writes a fact in place of the one it replaces: the one of a single topic, or one that says the same."""
        old = [row for row in tables.facts_of(c, *who[:2], "") if row["topic"] == fact.topic]
        alike = Similarity([row["text"] for row in old]).to(fact.text)
        for known, near in zip(old, alike, strict=True):
            if fact.topic in SINGLE or near >= _SAME:
                key = (*who[:2], known["fact_id"])
                c.execute("DELETE FROM memory_facts WHERE tenant = ? AND user_id = ? AND fact_id = ?", key)
        named = "\x1f".join((*who[:2], fact.topic, fact.text))
        fact_id = hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
        row = self._row(who, at, self._keeping.profile_days, fact_id=fact_id, topic=fact.topic)
        row |= {"value": fact.value, "text": fact.text}
        row.pop("session_id")
        tables.put(c, "memory_facts", row)
        return fact_id

    async def learn(self, tenant: str, user_id: str, topic: str, text: str) -> str:
        """Keeps a fact that the caller knows of a user; gives its id. Raises InvalidInput: empty or too long."""
        fact = Found(topic=_line(topic), value=_line(text), text=_line(text))
        now = self._now()
        return await self._state.run(lambda c: self._put_fact(c, (tenant, user_id, ""), fact, now))

    async def pin(self, given: TurnInput, text: str) -> None:
        """Pins a fact to a session: it is recalled in every turn and never summarised away.

        Raises InvalidInput: empty, longer than 200 characters, or the thirty-third of the session.
        """
        who = (given.tenant, given.user_id, given.session_id)
        now = self._now()
        row = self._row(who, now, self._keeping.context_days, text=_line(text))

        def write(c: sqlite3.Connection) -> None:
            pins = tables.pins_of(c, who, _iso(now))
            if len(pins) >= _MOST_PINS and row["text"] not in pins:
                raise InvalidInput(f"session {given.session_id!r} has {_MOST_PINS} pinned facts; forget one first")
            tables.put(c, "memory_pins", row)

        await self._state.run(write)

    async def facts(self, tenant: str, user_id: str) -> list[Fact]:
        """What is known of a user, newest first."""
        rows = await self._state.run(lambda c: tables.facts_of(c, tenant, user_id, _iso(self._now())))
        return [Fact(fact_id=r["fact_id"], topic=r["topic"], text=r["text"], at=r["at"]) for r in rows]

    async def forget(self, tenant: str, user_id: str) -> Mapping[str, int]:
        """Deletes everything of a user; gives rows by table."""
        return await self._forgetting(lambda c: tables.forget_user(c, tenant, user_id))

    async def forget_fact(self, tenant: str, user_id: str, fact_id: str) -> Mapping[str, int]:
        """Deletes one fact and every pin, note and summary that holds its words; gives rows by table, 0 for no fact."""
        return await self._forget_facts(tenant, user_id, "fact_id", fact_id, ())

    async def forget_topic(self, tenant: str, user_id: str, topic: str) -> Mapping[str, int]:
        """Deletes the user's facts of a topic, and every pin, note and summary that holds theirs or the topic's words.

        Gives rows by table. The conversations themselves stay (they are turns, not memory). Raises InvalidInput.
        """
        return await self._forget_facts(tenant, user_id, "topic", topic, (_line(topic),))

    async def _forget_facts(
        self, tenant: str, user_id: str, column: str, value: str, words: Sequence[str]
    ) -> dict[str, int]:
        def job(c: sqlite3.Connection) -> dict[str, int]:
            where = f"tenant = ? AND user_id = ? AND {column} = ?"
            key = (tenant, user_id, value)
            meant = [row["value"] for row in c.execute(f"SELECT value FROM memory_facts WHERE {where}", key)]
            n_facts = c.execute(f"DELETE FROM memory_facts WHERE {where}", key).rowcount
            found = tables.forget_words(c, tenant, user_id, [*meant, *words])
            return {**found, "memory_facts": found["memory_facts"] + n_facts}

        return await self._forgetting(job)

    async def expire(self, now: datetime) -> Mapping[str, int]:
        """Deletes what has expired at `now`, of everybody; gives rows by table. Expired rows are never recalled."""
        return await self._forgetting(lambda c: tables.expire(c, _iso(now)))

    async def _forgetting(self, job: Callable[[sqlite3.Connection], dict[str, int]]) -> dict[str, int]:
        found = await self._state.run(job)
        if any(found.values()):
            await self._state.scrub()
        return found

    def _row(self, who: tuple[str, str, str], at: datetime, days: float, **more: object) -> dict[str, object]:
        names = dict(zip(("tenant", "user_id", "session_id"), who, strict=True))
        return {**names, **more, "at": _iso(at), "expires_at": _iso(at + timedelta(days=days))}


@dataclass(frozen=True)
class _Memory:
    horizon: Horizon
    piece_id: str
    text: str
    at: str
    weight: float


def _of_sessions(notes: Sequence[sqlite3.Row], current: str) -> list[_Memory]:
    """One memory per earlier session: its notes in order, dated by the last."""
    by_session: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for note in notes:
        if note["session_id"] != current:
            by_session[note["session_id"]].append(note)
    found = []
    for session, rows in by_session.items():
        lines = [row["text"] for row in sorted(rows, key=lambda row: int(row["idx"]))]
        text = one_line(f"On {rows[0]['at'][:10]} the user " + "; then ".join(lines), 800)
        found.append(_Memory(Horizon.SESSION, f"session-{session}", text, rows[0]["at"], 0.2))
    return found


def _piece(horizon: Horizon, piece_id: str, text: str, score: float = 1.0, at: str | None = None) -> ContextPiece:
    said = None if at is None else datetime.fromisoformat(at)
    return ContextPiece(piece_id=piece_id, horizon=horizon, text=text, score=score, at=said)


def _context(c: sqlite3.Connection, who: tuple[str, str, str]) -> context.Summary:
    sql = "SELECT * FROM memory_contexts WHERE tenant = ? AND user_id = ? AND session_id = ?"
    row = c.execute(sql, who).fetchone()
    return context.Summary() if row is None else context.Summary(n=row["n"], digest=row["digest"], text=row["text"])


def _line(text: str) -> str:
    line = " ".join(text.split())
    if not line or len(line) > _MOST_PIN:
        raise InvalidInput(f"a fact has 1 to {_MOST_PIN} characters, not {len(line)}")
    return line


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
