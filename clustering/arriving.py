"""Which sessions of an app ended since they were looked at, by the marks of its last run. Loads nothing heavy: a server
asks it every few seconds, and starts a process for the work.

Sessions are found as online evaluation finds them (evaluators/online/planning.py). One that was placed while an earlier
one is still open is known by a hash of its id until the marks have passed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from evaluators.online.planning import Arrived, Due, arrived, has_ended, marks_after
from evaluators.online.service import Memory, remember, rows_beyond
from store.control.cluster_records import ClusterAppRecord
from store.control.online import OnlineChoice
from store.memberships import user_hash as hash_of
from store.tenant import TenantStore

IDLE_S: Final = 15.0  # after its last span a session has ended; one that goes on is placed again
MOST_AT_ONCE: Final = 2_000  # sessions


@dataclass(kw_only=True)
class Seen:
    """What one process remembers of an app; losing it costs another query."""

    memory: Memory = field(default_factory=Memory)
    idle: tuple[object, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Sessions that are to be placed (`due`), those still open, and the last seq that was read of each journal."""

    due: tuple[Arrived, ...] = ()
    open: tuple[Arrived, ...] = ()
    read: Mapping[int, int] = field(default_factory=dict)
    beyond: tuple[Arrived, ...] = ()


def arrivals(store: TenantStore, line: ClusterAppRecord, seen: Seen, now_ns: int) -> Arrivals:
    """What lies beyond the marks of an app; nothing where no file came since a look that found nothing."""
    state = (tuple(file.path for file in store.files("sessions")), tuple(sorted(line.marks.items())), line.run_id)
    if seen.idle == state:
        return Arrivals()
    rows, read = rows_beyond(store, line.marks)
    placed: Mapping[str, int] = line.told.get("placed", {})
    mine = [one for one in arrived(rows, line.marks) if one.app == line.app]
    left = [_due(line, one) for one in mine if placed.get(key_of(one.session_id)) != one.end_seq]
    remember(seen.memory, left, now_ns)
    due = [one.session for one in left if _has_ended(one, seen.memory, now_ns)][:MOST_AT_ONCE]
    ids = {one.session_id for one in due}
    open_ = tuple(one.session for one in left if one.session.session_id not in ids)
    if not due and not open_ and all(line.marks.get(name) == seq for name, seq in read.items()):
        seen.idle = state
    return Arrivals(due=tuple(due), open=open_, read=read, beyond=tuple(mine))


def settled(line: ClusterAppRecord, found: Arrivals) -> tuple[dict[int, int], dict[str, int]]:
    """The marks once `found.due` are placed, and which sessions beyond them are."""
    marks = marks_after({**line.marks, **found.read}, found.open)
    placed: dict[str, int] = {**line.told.get("placed", {})}
    placed |= {key_of(one.session_id): one.end_seq for one in found.due}
    beyond = {key_of(one.session_id) for one in found.beyond if any(s > marks.get(j, -1) for j, s in _lasts(one))}
    return marks, {name: seq for name, seq in placed.items() if name in beyond}


def key_of(session_id: str) -> str:
    """What a session is known by in the control database, which holds no session's id."""
    return f"{(hash_of(session_id) or 0) & (2**64 - 1):016x}"


def _due(line: ClusterAppRecord, one: Arrived) -> Due:
    choice = OnlineChoice(tenant=line.tenant, app=line.app, evaluators=("clusters",), idle_s=IDLE_S)
    return Due(session=one, choice=choice)


def _has_ended(one: Due, memory: Memory, now_ns: int) -> bool:
    name = one.session.session_id
    return has_ended(one, now_ns=now_ns, first_seen_ns=memory.seen[name][1], open_since_ns=memory.open_since[name])


def _lasts(session: Arrived) -> Sequence[tuple[int, int]]:
    """Where in each journal a session still lies: at its end in that of its last span."""
    return [*session.first_seq.items(), (session.end_seq >> 48, session.end_seq)]
