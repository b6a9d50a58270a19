"""Monitors at one look: where each begins to read, and what its band and its alerts make of what was read. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from monitors.alert_records import AlertStatus, Event, NoData, Rules, Seen, Verdict
from monitors.alerting import VERDICTS
from monitors.banding import band_of
from monitors.definition import Definition, reads_history
from monitors.grids import Row, grid_of
from monitors.looking import Book, Moment, look, needs_look
from monitors.series import key_of
from monitors.stepping import Checkpoint, Judgements, checkpoint_of, stepped

HISTORY_S: Final = 28 * 86_400  # what a new monitor learns from,
HISTORY_STEPS: Final = 10_000  # and no more buckets than so many
GRACE_S: Final = 90  # after its end until a bucket is read: spans and scores take that long to arrive
CHECKPOINT_S: Final = 3600  # a checkpoint is written no more often: what lies between is stepped again

Quiet = Callable[[str], tuple[str | None, bool]]
"""Of a series: why nobody is to hear of it now (None: they are), and whether somebody is at work on it."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A monitor that is to be looked at: its checkpoint, its alerts' books, and the buckets from the checkpoint's end
    to `until_ns`. Alerts live from `alerts_ns` on: before it, the band only learns."""

    name: str
    definition: Definition
    before: Checkpoint
    books: Mapping[str, Book] = field(default_factory=dict)
    alerts_ns: int
    until_ns: int

    @property
    def window(self) -> Window:
        """What is to be read."""
        return Window(start_ns=self.before.settled_ns, end_ns=self.until_ns)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a look found: the next checkpoint, the books, events by series, what is pending, and the newest values."""

    watch: Watch
    judgements: Judgements
    after: Checkpoint
    books: Mapping[str, Book]
    events: tuple[tuple[str, Event], ...]
    told: Mapping[str, Any]

    @property
    def pending(self) -> list[tuple[str, Book]]:
        """Series whose alerts are pending."""
        return [
            (key, book)
            for key, book in self.books.items()
            if book.now is not None and book.now.status is AlertStatus.PENDING
        ]


def until_of(definition: Definition, now_ns: int, grace_s: int = GRACE_S) -> int:
    """The end of the newest bucket that can be read."""
    step_ns = definition.step_s * NS_PER_S
    return (now_ns - grace_s * NS_PER_S) // step_ns * step_ns


def history_ns(definition: Definition) -> int:
    """How far back a new monitor reads: whole steps."""
    step_ns = definition.step_s * NS_PER_S
    back_s = min(HISTORY_S, HISTORY_STEPS * definition.step_s) if reads_history(definition) else definition.late_s
    return back_s * NS_PER_S // step_ns * step_ns


def watch_of(
    name: str, definition: Definition, *, since_ns: int, now_ns: int, band: Mapping[str, Any] | None = None,
    books: Mapping[str, Any] | None = None, settled_ns: int | None = None, grace_s: int = GRACE_S,
) -> Watch:  # fmt: skip
    """A monitor at a look. `band`, `books` and `settled_ns` are what an earlier look left, None where there was none or
    it was of another version; `since_ns`: when the definition began to hold."""
    until = until_of(definition, now_ns, grace_s)
    step_ns = definition.step_s * NS_PER_S
    since_ns = min(since_ns, now_ns)  # it was made by a clock that ran ahead
    begin = min(since_ns // step_ns * step_ns, until) - history_ns(definition)
    before = Checkpoint(settled_ns=begin)
    if band is not None and settled_ns is not None and settled_ns < until:
        try:
            before = checkpoint_of(band_of(definition), band, settled_ns)
        except InvalidInput:  # of an earlier release: it is learned anew
            books = None
    return Watch(
        name=name, definition=definition, before=before, until_ns=until, alerts_ns=since_ns // step_ns * step_ns,
        books={key: Book.from_json(one) for key, one in (books or {}).items()},
    )  # fmt: skip


def watched(watch: Watch, rows: Iterable[Row], quiet: Quiet, now_ns: int) -> Watched:
    """What the rows say. `rows` are those of the watch's window."""
    definition, rows = watch.definition, list(rows)
    watch = _from_first(watch, rows)
    before = watch.before
    own = (key_of(definition.series, None, None),) if definition.by is None else ()
    grid = grid_of(
        rows, start_ns=before.settled_ns, end_ns=watch.until_ns, step_s=definition.step_s, kind=definition.spec.kind,
        keys=before.keys or own,
    )  # fmt: skip
    band = band_of(definition, len(grid.keys))
    settle_ns = _settle(watch)
    found, after = stepped(band, before, grid, settle_ns, definition)
    books, events = _looked(watch, found, quiet, after.settled_ns, now_ns)
    return Watched(
        watch=watch, judgements=found, after=after, books=books, events=tuple(events), told=_newest(found)
    )  # fmt: skip


def _from_first(watch: Watch, rows: Sequence[Row]) -> Watch:
    """A monitor that has learned nothing yet begins with the first point there is: what lies before says nothing."""
    if watch.before.state is not None:
        return watch
    first = min((one.at_ns for one in rows), default=watch.until_ns)
    late_ns = watch.definition.late_s * NS_PER_S // (watch.definition.step_s * NS_PER_S)
    begin = min(first, watch.alerts_ns, watch.until_ns - late_ns * watch.definition.step_s * NS_PER_S)
    return replace(watch, before=Checkpoint(settled_ns=max(begin, watch.before.settled_ns)))


def _settle(watch: Watch) -> int:
    """Up to where the next checkpoint reaches: behind what may still come late, and no further than the last where it
    would move on by less than an hour."""
    wished = watch.until_ns - watch.definition.late_s * NS_PER_S
    if wished - watch.before.settled_ns < CHECKPOINT_S * NS_PER_S and watch.before.state is not None:
        return watch.before.settled_ns
    return max(wished, watch.before.settled_ns)


def _looked(
    watch: Watch, found: Judgements, quiet: Quiet, settled_ns: int, now_ns: int
) -> tuple[dict[str, Book], list[tuple[str, Event]]]:
    """The books after the look, and what happened."""
    definition, grid = watch.definition, found.grid
    rules = definition.rules()
    from_ns = max(grid.start_ns, watch.alerts_ns)
    first = (from_ns - grid.start_ns) // (grid.step_s * NS_PER_S)
    breach, missing, adopted = (
        (found.verdicts[first:] == VERDICTS.index(one)).any(axis=0)
        for one in (Verdict.BREACH, Verdict.MISSING, Verdict.ADOPTED)
    )
    books: dict[str, Book] = dict(watch.books)
    events: list[tuple[str, Event]] = []

    def lived(key: str, seens: Iterable[Seen], rules: Rules) -> None:
        silence, acknowledged = quiet(key)
        at = Moment(
            from_ns=from_ns, settle_ns=max(settled_ns, from_ns), until_ns=grid.end_ns, now_ns=now_ns,
            silence=silence, acknowledged=acknowledged,
        )  # fmt: skip
        books[key], happened = look(watch.books.get(key), seens, rules, at)
        events.extend((key, one) for one in happened)

    if _alerts_as_one(definition):
        key, seens = key_of(definition.series, None, None), list(_together(found, from_ns))
        if needs_look(books.get(key), False, any(not one.known for one in seens), rules):
            lived(key, seens, rules)
        rules = replace(rules, no_data=NoData.KEEP)
    for column, key in enumerate(grid.keys):
        stirs = bool(breach[column] or adopted[column])
        if needs_look(watch.books.get(key), stirs, bool(missing[column]), rules):
            lived(key, list(found.seens(column, from_ns)), rules)
    return books, events


def _alerts_as_one(definition: Definition) -> bool:
    """Whether want of data is an alert of all series together: one of several that ends while others go on is a release
    that retired, or a tool that nobody calls any more, and no trouble."""
    return definition.by is not None and definition.no_data is NoData.ALERT


def _together(found: Judgements, from_ns: int) -> Iterator[Seen]:
    """The buckets from `from_ns` on as all series together see them: without data where none of them has any."""
    silent = (found.verdicts == VERDICTS.index(Verdict.MISSING)).all(axis=1)
    for at_ns, is_silent in zip(found.grid.at_ns.tolist(), silent.tolist(), strict=True):
        if at_ns >= from_ns:
            verdict = Verdict.MISSING if is_silent else Verdict.CALM
            yield Seen(at_ns=at_ns, verdict=verdict, why=None if is_silent else "there is data again")


def _newest(found: Judgements) -> dict[str, Any]:
    """The newest value of each series with its band, for who lists monitors; of many series those that are worst."""
    told: list[dict[str, Any]] = []
    for column, key in enumerate(found.grid.keys):
        there = np.flatnonzero(np.isfinite(found.grid.x[:, column]))
        if not len(there):
            continue
        t = int(there[-1])
        one = found.judged[t].one(column)
        told.append(
            {
                "series": key, "at_ns": int(found.grid.at_ns[t]), "value": _number(found.grid.x[t, column]),
                "n": _number(found.grid.n[t, column]), "expected": one.expected, "low": one.low, "high": one.high,
                "z": one.z, "status": one.status.name.lower(), "breach": one.breach,
            }
        )  # fmt: skip
    worst = sorted(told, key=lambda one: (-abs(one["breach"]), -abs(one["z"] or 0.0), one["series"]))
    return {"n_series": len(found.grid.keys), "series": worst[:50]}


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
