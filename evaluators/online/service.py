"""Online evaluation's reads and writes: what waits, and one slice of it evaluated after another.

At least once, and each score once: a slice's scores are one commit of the lake, then the marks move on. Killed between
the two, the next process finds the ids of the scores, and moves the marks only. See docs/online-evaluation.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from core.clock import NS_PER_S, Clock
from core.errors import InvalidInput
from core.ids import TenantId
from core.records import EvaluatorKind, TargetKind
from core.windows import LAST_NS, Window
from evaluators import catalogue, reading
from evaluators.online.planning import Arrived, Due, arrived, chosen, has_ended, journal_of, marks_after
from evaluators.protocol import Evaluator, evaluate_safely
from evaluators.records import Score, Target
from store.control.control import Control
from store.control.online import OnlineChoice, OnlineMark
from store.engine import table_of
from store.scores import MAX_METADATA_CHARS, NewScore, append_of_read, known_scores
from store.tenant import Store, TenantStore

_MARKS: Final = pa.schema([("journal", pa.int64()), ("upto", pa.int64())])
_LOG: Final = logging.getLogger("assay.online")
AUTHOR: Final = "assay.online"
SLICE: Final = 200  # sessions that are read, evaluated and written at a time
MOST_ROWS: Final = 50_000  # partial rows of sessions that one look takes in
MANY_ROWS: Final = 5_000  # beyond the marks: worth moving them on for
_MARGIN_S: Final = 3600.0
_EXPLANATION_CHARS: Final = 4_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """What lies beyond a tenant's marks: `n_rows` rows; `read` is the last seq of each journal, `waiting` the sessions
    that are not settled, `due` those of them that have ended; in order of arrival."""

    n_rows: int
    read: Mapping[int, int]
    waiting: tuple[Due, ...]
    due: tuple[Due, ...]

    @property
    def asks_work(self) -> bool:
        """Whether there is something to evaluate, or enough of what nobody chose to leave behind."""
        return bool(self.due) or self.n_rows >= MANY_ROWS


@dataclass(kw_only=True)
class Memory:
    """What one process remembers of a tenant's sessions; losing it costs another query."""

    settled: dict[str, int] = field(default_factory=dict)  # session -> the state that was evaluated
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)  # session -> (state, when it was first seen)
    open_since: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a piece of work did. `lag_ms` is the longest time from a session's last span to its scores."""

    n_sessions: int = 0
    n_scores: int = 0
    n_left: int = 0
    lag_ms: float = 0.0


def online_evaluators(names: Sequence[str]) -> tuple[Evaluator, ...]:
    """The built-in evaluators of these names. Raises InvalidInput for an unknown one, and for one that does not score
    sessions or compares with what an example expects: live sessions come without."""
    found = catalogue.find_all(names) if names else ()
    for one in found:
        if TargetKind.SESSION not in one.spec.targets:
            raise InvalidInput(f"{one.spec.name} does not score sessions", field="evaluators")
        if one.spec.needs:
            raise InvalidInput(
                f"{one.spec.name} compares with what an example expects ({', '.join(one.spec.needs)}); live sessions "
                "come without",
                field="evaluators",
            )
    return found


def last_seqs(store: TenantStore) -> dict[int, int]:
    """The last seq that arrived in each journal: where online evaluation begins."""
    return {row["journal"]: row["seq"] for row in store.frame(_last()).iter_rows(named=True)}


def look(store: TenantStore, mark: OnlineMark, choices: Sequence[OnlineChoice], memory: Memory, now_ns: int) -> Look:
    """What lies beyond the marks. Reads at most MOST_ROWS rows; more wait for the next look."""
    rows, read = rows_beyond(store, mark.marks)
    wanted = chosen(mark.tenant, arrived(rows, mark.marks), [_with_those_here(one) for one in choices])
    waiting = tuple(_unsettled(store, mark, wanted, memory))
    remember(memory, waiting, now_ns)
    ended = [
        one
        for one in waiting
        if has_ended(
            one,
            now_ns=now_ns,
            first_seen_ns=memory.seen[one.session.session_id][1],
            open_since_ns=memory.open_since[one.session.session_id],
        )
    ]
    return Look(n_rows=len(rows), read=read, waiting=waiting, due=tuple(ended))


def _with_those_here(choice: OnlineChoice) -> OnlineChoice:
    """The choice without evaluators that are not here any more: an own one whose file went stops no other."""
    here = []
    for name in choice.evaluators:
        try:
            here.append(catalogue.find(name).spec.name)
        except InvalidInput as error:
            _LOG.warning("online evaluation of %s goes on without %s: %s", choice.app, name, error)
    return choice if len(here) == len(choice.evaluators) else replace(choice, evaluators=tuple(here))


def _unsettled(store: TenantStore, mark: OnlineMark, wanted: Sequence[Due], memory: Memory) -> list[Due]:
    """Those whose state has no scores yet."""
    asked = [one for one in wanted if memory.settled.get(one.session.session_id) != one.session.end_seq]
    ids = {_first_id(one): one for one in asked}
    window = _written_in(mark, [one.choice for one in asked])
    known = known_scores(store, list(ids), window) if ids else set()
    memory.settled |= {ids[one].session.session_id: ids[one].session.end_seq for one in known}
    present = {one.session.session_id for one in wanted}
    for name in memory.settled.keys() - present:
        del memory.settled[name]
    return [one for score_id, one in ids.items() if score_id not in known]


def _written_in(mark: OnlineMark, choices: Sequence[OnlineChoice]) -> Window | None:
    """When the scores of sessions beyond the marks were written: while the first session there was open, not long
    before the marks were moved last."""
    if "at_ns" not in mark.told:
        return None
    longest_s = max((one.idle_s for one in choices), default=0.0)
    since = int(mark.told["at_ns"] - 2 * (longest_s + _MARGIN_S) * NS_PER_S)
    return Window(start_ns=since, end_ns=LAST_NS)


def _first_id(one: Due) -> str:
    evaluator = catalogue.find(one.choice.evaluators[0])
    return one.score_id(evaluator.spec.name, evaluator.spec.version)


def rows_beyond(store: TenantStore, marks: Mapping[int, int]) -> tuple[list[tuple[Any, ...]], dict[int, int]]:
    """Partial rows of sessions beyond the marks, as `planning.arrived` takes them, and the last seq of each journal
    among them. At most MOST_ROWS rows."""
    table = pa.table({"journal": list(marks), "upto": list(marks.values())}, schema=_MARKS)
    rows = store.frame(_beyond(), given={"marks": table}).drop("tenant").rows()
    read: dict[int, int] = {}
    for _, _, seq, _, _ in rows:
        read[journal_of(seq)] = max(seq, read.get(journal_of(seq), seq))
    return rows, read


def remember(memory: Memory, waiting: Sequence[Due], now_ns: int) -> None:
    """Notes since when these sessions are seen as they are, and since when they are open; others are forgotten."""
    seen, since = {}, {}
    for one in waiting:
        name, state = one.session.session_id, one.session.end_seq
        before = memory.seen.get(name)
        seen[name] = before if before is not None and before[0] == state else (state, now_ns)
        since[name] = memory.open_since.get(name, now_ns)
    memory.seen, memory.open_since = seen, since


class OnlineWatch:
    """Evaluates the sessions of one tenant after another, for one process. `owner` names it in the control database,
    `gone` tells whether another owner lives no more. Not thread-safe."""

    def __init__(
        self, store: Store, control: Control, clock: Clock, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._store = store
        self._control = control
        self._clock = clock
        self._owner = owner
        self._gone = gone
        self._memory: dict[TenantId, Memory] = {}
        self._idle: dict[TenantId, tuple[object, ...]] = {}

    def tenants(self) -> dict[TenantId, list[OnlineChoice]]:
        """The tenants that chose something, with their choices."""
        found: dict[TenantId, list[OnlineChoice]] = {}
        for one in self._control.online_choices(None):
            found.setdefault(one.tenant, []).append(one)
        return found

    def look(self, tenant: TenantId, choices: Sequence[OnlineChoice]) -> Look | None:
        """What waits; None when nothing arrived since a look that found nothing waiting."""
        mark = self._control.online_mark(tenant)
        if mark is None:
            return None
        store = self._store.tenant(tenant)
        state = (tuple(file.path for file in store.files("sessions")), tuple(choices), tuple(mark.marks.items()))
        if self._idle.get(tenant) == state:
            return None
        found = look(store, mark, choices, self._memory.setdefault(tenant, Memory()), self._clock())
        if not found.waiting and all(mark.marks.get(journal) == seq for journal, seq in found.read.items()):
            self._idle[tenant] = state
        return found

    def work(self, tenant: TenantId, choices: Sequence[OnlineChoice], *, most: int, stop: threading.Event) -> Done:
        """Evaluates up to `most` sessions that have ended, slice by slice, and moves the marks on.

        Does nothing while another process is at it. Raises Conflict when another took over meanwhile.
        """
        mark = self._control.take_online(tenant, self._owner, self._gone)
        if mark is None:
            return Done()
        store, memory = self._store.tenant(tenant), self._memory.setdefault(tenant, Memory())
        found = look(store, mark, choices, memory, self._clock())
        due, waiting = list(found.due[:most]), {one.session.session_id: one.session for one in found.waiting}
        n_scores, lag_ms, n_done = 0, 0.0, 0
        told = dict(mark.told)
        for at in range(0, len(due), SLICE):
            if stop.is_set():
                break
            part = due[at : at + SLICE]
            n_scores += self._slice(store, mark, part)
            now = self._clock()
            lag_ms = max([lag_ms, *((now - one.session.end_ns) / 1e6 for one in part)])
            for one in part:
                memory.settled[one.session.session_id] = one.session.end_seq
                del waiting[one.session.session_id]
            n_done += len(part)
            self._advance(tenant, mark, found, waiting, told, n_done, n_scores, lag_ms, done=False)
        self._advance(tenant, mark, found, waiting, told, n_done, n_scores, lag_ms, done=True)
        return Done(n_sessions=n_done, n_scores=n_scores, n_left=len(found.due) - n_done, lag_ms=lag_ms)

    def _slice(self, store: TenantStore, mark: OnlineMark, part: Sequence[Due]) -> int:
        made = evaluated(store, part, _written_in(mark, [one.choice for one in part]))
        if made:
            scores = dict(made)
            read = {one.session.session_id for one in part}
            append_of_read(store, scores, read, author=AUTHOR, now_ns=self._clock())
        return len(made)

    def _advance(
        self,
        tenant: TenantId,
        mark: OnlineMark,
        found: Look,
        waiting: Mapping[str, Arrived],
        told: Mapping[str, Any],
        n_sessions: int,
        n_scores: int,
        lag_ms: float,
        *,
        done: bool,
    ) -> None:
        """Writes what was done by now, in one transaction."""
        marks = marks_after({**mark.marks, **found.read}, waiting.values())
        now: dict[str, Any] = {"at_ns": self._clock(), "n_waiting": len(waiting)}
        now |= {"n_sessions": told.get("n_sessions", 0) + n_sessions, "n_scores": told.get("n_scores", 0) + n_scores}
        now |= {"lag_ms": lag_ms} if n_sessions else {}
        self._control.advance_online(tenant, self._owner, marks, now, done=done)


def evaluated(store: TenantStore, part: Sequence[Due], written: Window | None) -> list[tuple[str, NewScore]]:
    """The scores of these sessions that are not stored yet (by a process that was killed, in `written`), with their
    ids."""
    by = {one.choice.evaluators: online_evaluators(one.choice.evaluators) for one in part}
    wanted = {
        one.score_id(evaluator.spec.name, evaluator.spec.version): (one, evaluator)
        for one in part
        for evaluator in by[one.choice.evaluators]
    }
    known = known_scores(store, list(wanted), written)
    targets = reading.targets(store, session_ids=[one.session.session_id for one in part])
    return [
        (score_id, scored(one, evaluator, targets[one.session.session_id]))
        for score_id, (one, evaluator) in wanted.items()
        if score_id not in known and one.session.session_id in targets
    ]


def scored(one: Due, evaluator: Evaluator, target: Target) -> NewScore:
    """What the evaluator says of the session, as it is stored."""
    spec, found = evaluator.spec, evaluate_safely(evaluator, target)
    about: dict[str, Any] = {"online": True, "end_seq": one.session.end_seq, "n_spans": target.trajectory.n_spans}
    about |= {"app": target.trajectory.app, "release": target.trajectory.release, "variant": target.trajectory.variant}
    given: dict[str, Any] = {"unscored": None}
    if isinstance(found, Score):
        about |= {"passed": found.passed, "span_id": found.span_id, "parts": dict(found.parts)}
        given = {"value": float(found.value), "label": found.label, "explanation": found.explanation}
    else:
        given = {"unscored": found.text[:1000]}
    about = {name: value for name, value in about.items() if value not in (None, {})}
    if len(str(about)) > MAX_METADATA_CHARS // 2:
        about.pop("parts", None)
    given["explanation"] = (given.get("explanation") or "")[:_EXPLANATION_CHARS] or None
    return NewScore(
        evaluator=spec.name,
        evaluator_version=spec.version,
        evaluator_kind=EvaluatorKind.RULE,
        target=TargetKind.SESSION,
        session_id=one.session.session_id,
        metadata=about,
        **given,
    )


@lru_cache(maxsize=1)
def _beyond() -> ir.Table:
    """The partial rows of sessions beyond the marks, as they arrived."""
    sessions = table_of("sessions")
    rows = sessions.filter(sessions.seq.notnull()).mutate(journal=sessions.seq >> 48)
    marks = ibis.table({"journal": "int64", "upto": "int64"}, name="marks")
    rows = rows.left_join(marks, "journal")
    rows = rows.filter(rows.upto.isnull() | (rows.seq > rows.upto))
    rows = rows.order_by("seq", "session_id").limit(MOST_ROWS)
    return rows.select("tenant", "session_id", "app", "seq", "end_ns", "n_spans")


@lru_cache(maxsize=1)
def _last() -> ir.Table:
    sessions = table_of("sessions")
    rows = sessions.filter(sessions.seq.notnull()).mutate(journal=sessions.seq >> 48)
    return rows.group_by("journal").agg(tenant=rows.tenant.max(), seq=rows.seq.max())
