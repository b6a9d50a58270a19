"""Which sessions are to be evaluated now, and how far a tenant is done with. Pure.

Sessions are found by their order of arrival (`seq`, see store/schema.py), so that late, imported and backdated spans
are as new as any other. A mark per journal says up to where every session is settled: evaluated as it stood, or not
chosen. It stays before the first span of any session that is not; what lies beyond it is looked at again, and known by
the ids of its scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.clock import NS_PER_S
from core.ids import TenantId
from store.control.online import ANY_APP, OnlineChoice
from store.scores import ONLINE

OWN_APP: Final = "assay.judges"  # whose spans the judges' own calls are; no product's
LONGEST_OPEN_S: Final = 600.0  # a session that never falls silent is evaluated as it stands
_JOURNAL_BITS: Final = 48


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A session with spans beyond the marks: the first of them by journal, and its state, which is named by the last
    of them (`end_seq`)."""

    session_id: str
    app: str | None
    first_seq: Mapping[int, int]
    end_seq: int
    end_ns: int
    n_spans: int


@dataclass(frozen=True, kw_only=True)
class Due:
    """A session in a state that is to be evaluated, by whom."""

    session: Arrived
    choice: OnlineChoice

    def score_id(self, evaluator: str, version: str) -> str:
        """The same for the same state of the session: what is written twice is one score."""
        session = self.session
        said = [self.choice.tenant, session.session_id, evaluator, version, session.end_seq]
        return ONLINE + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]


def journal_of(seq: int) -> int:
    """The journal in which a span arrived."""
    return seq >> _JOURNAL_BITS


def arrived(rows: Iterable[tuple[str, str | None, int, int, int]], marks: Mapping[int, int]) -> list[Arrived]:
    """Sessions from partial rows (session_id, app, seq, end_ns, n_spans), without what lies before the marks; in order
    of arrival."""
    found: dict[str, dict[str, Any]] = {}
    for session_id, app, seq, end_ns, n_spans in rows:
        journal = journal_of(seq)
        if seq <= marks.get(journal, -1):
            continue
        one = found.setdefault(
            session_id, {"app": app, "first_seq": {}, "end_seq": seq, "end_ns": end_ns, "n_spans": 0}
        )
        one["app"] = min((name for name in (one["app"], app) if name is not None), default=None)
        one["first_seq"][journal] = min(seq, one["first_seq"].get(journal, seq))
        one["end_seq"], one["end_ns"] = max(seq, one["end_seq"]), max(end_ns, one["end_ns"])
        one["n_spans"] += n_spans
    sessions = [Arrived(session_id=name, **said) for name, said in found.items()]
    return sorted(sessions, key=lambda one: (one.end_seq, one.session_id))


def chosen(tenant: TenantId, sessions: Sequence[Arrived], choices: Sequence[OnlineChoice]) -> list[Due]:
    """Those that somebody chose to look at, sampled."""
    by_app = {one.app: one for one in choices}
    found = []
    for session in sessions:
        choice = by_app.get(session.app or "", None if session.app == OWN_APP else by_app.get(ANY_APP))
        if choice is not None and choice.evaluators and is_sampled(tenant, session.session_id, choice.share):
            found.append(Due(session=session, choice=choice))
    return found


def is_sampled(tenant: TenantId, session_id: str, share: float) -> bool:
    """Whether a session is among the share: by a hash of its id, so that it always is or never; a larger share holds
    every session of a smaller one."""
    digest = hashlib.sha256(f"assay online\0{tenant}\0{session_id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def has_ended(one: Due, *, now_ns: int, first_seen_ns: int, open_since_ns: int) -> bool:
    """Whether nothing came for the session's idle time, or it goes on for too long. `first_seen_ns` is when this state
    of it was first seen, `open_since_ns` when it was first seen unsettled. A client's clock that is ahead does not
    count."""
    quiet_since = min(max(one.session.end_ns, 0), first_seen_ns)
    idle_ns = one.choice.idle_s * NS_PER_S
    return now_ns - quiet_since >= idle_ns or now_ns - open_since_ns >= max(idle_ns, LONGEST_OPEN_S * NS_PER_S)


def marks_after(read: Mapping[int, int], unsettled: Collection[Arrived]) -> dict[int, int]:
    """The marks by journal: the last seq that was read (`read`), or just before the first one of a session that is not
    settled."""
    marks = dict(read)
    for session in unsettled:
        for journal, seq in session.first_seq.items():
            marks[journal] = min(marks.get(journal, seq - 1), seq - 1)
    return marks
