"""What became of each cluster, once it is known who is whose: its state, its place, and the rows of its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clustering.failing import absent, failing, no_longer
from clustering.growth import Growth
from clustering.lineage_records import UNKNOWN, Centroid, Event, Failure, Found, Known, Look, Matching, Standing
from clustering.movements import Movements
from clustering.overlap import Overlap, Table
from clustering.records import State

Told = tuple[Standing, tuple[Event, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Affair:
    """A run whose pairs are decided: clusters known (rows) and found (columns), with the id of each column."""

    known: tuple[Known, ...]
    found: tuple[Found, ...]
    ids: tuple[str, ...]
    matched: Mapping[int, int]
    moved: Movements
    growth: Mapping[int, Growth | None]
    counted: Overlap
    alike: Table
    look: Look
    params: Matching

    def share(self, row: int, column: int) -> float:
        """The share of a known cluster's sessions in the window that a found one holds."""
        return float(self.counted.shared[row, column] / max(1, int(self.counted.held[row])))

    def taken_in(self, column: int) -> tuple[int, ...]:
        """Known clusters that went into a found one."""
        return tuple(row for row, at in self.moved.absorbed.items() if at == column)

    def parents(self, column: int) -> tuple[int, ...]:
        """Known clusters of which a found one is a part, but not the successor."""
        return tuple(
            row for row, parts in self.moved.parts.items() if column in parts and self.matched.get(row) != column
        )


def became(affair: Affair, row: int) -> Told:
    """A known cluster that was found again."""
    known, column = affair.known[row], affair.matched[row]
    found = affair.found[column]
    happened = _happened(affair, row)
    state = next(iter(happened), State.CONTINUED)
    if known.state is State.FIXED and state is not State.REGRESSED:
        state = State.FIXED  # until it fails again: that is what the word promises
    fails = failing(found.failure, affair.look.failure)
    above = max(fails.value, known.excess or 0.0) if fails else known.excess
    moved = State.SPLIT in happened or State.MERGED in happened
    middle, radius = (found.centroid, found.radius) if moved else _carried(affair, known, found)
    standing = Standing(
        cluster_id=known.cluster_id, label=found.label, state=state, alive=True, embedder=affair.look.embedder,
        centroid=middle, radius=radius, n=found.n, of=affair.look.n, failure=found.failure,
        last_run_ns=max(known.last_run_ns, affair.look.at_ns), excess=None if State.FIXED in happened else above,
        similarity=float(affair.alike[row, column]), held=known.held + 1 if found.held else 0,
    )  # fmt: skip
    events = happened or {State.CONTINUED: ((), _continued(affair, row))}
    return standing, tuple(
        _event(affair, known.cluster_id, kind, found.n, found.failure, others, text)
        for kind, (others, text) in events.items()
    )


def born(affair: Affair, column: int) -> Told:
    """A found cluster that no known one is."""
    found, cluster_id, look = affair.found[column], affair.ids[column], affair.look
    fails = failing(found.failure, look.failure)
    parents, taken = affair.parents(column), affair.taken_in(column)
    others = tuple(affair.known[row].cluster_id for row in (*parents, *taken))
    words = [f"{found.n:,} of {look.n:,} sessions"]
    words += [
        f"apart from {affair.known[row].cluster_id} with {affair.share(row, column):.0%} of its" for row in parents
    ]
    words += [f"{affair.known[row].cluster_id} went into it" for row in taken]
    words += [fails.text] if fails else []
    standing = Standing(
        cluster_id=cluster_id, label=found.label, state=State.BORN, alive=True, embedder=look.embedder,
        centroid=found.centroid, radius=found.radius, n=found.n, of=look.n, failure=found.failure,
        last_run_ns=look.at_ns, excess=fails.value if fails else None,
    )  # fmt: skip
    return standing, (_event(affair, cluster_id, State.BORN, found.n, found.failure, others, "; ".join(words)),)


def not_found(affair: Affair, row: int) -> Told:
    """A known cluster that this run has not found: gone into others, away for good, or nothing to say yet."""
    known, held = affair.known[row], int(affair.counted.held[row])
    if row in affair.moved.parts:
        parts = affair.moved.parts[row]
        told = " and ".join(f"{affair.ids[column]} ({affair.share(row, column):.0%})" for column in parts)
        others = tuple(affair.ids[column] for column in parts)
        event = _event(affair, known.cluster_id, State.SPLIT, held, UNKNOWN, others, f"its sessions are in {told}")
        return _left(known, State.SPLIT, alive=False), (event,)
    if row in affair.moved.absorbed:
        column = affair.moved.absorbed[row]
        text = f"{affair.share(row, column):.0%} of its sessions are in {affair.ids[column]}"
        event = _event(affair, known.cluster_id, State.MERGED, held, UNKNOWN, (affair.ids[column],), text)
        return _left(known, State.MERGED, alive=False), (event,)
    state = _away(affair, known)
    if state is None:
        return _left(known, known.state, alive=known.alive), ()
    text = f"none of {affair.look.n:,} sessions; it had {known.n:,} of {known.of:,}"
    event = _event(affair, known.cluster_id, state, 0, UNKNOWN, (), text)
    return _left(known, state, alive=state is State.FIXED), (event,)


def _happened(affair: Affair, row: int) -> dict[State, tuple[tuple[str, ...], str]]:
    """All that happened to a cluster found again, the most important first: the other clusters, and the words."""
    known, column = affair.known[row], affair.matched[row]
    failure, everything = affair.found[column].failure, affair.look.failure
    told: dict[State, tuple[tuple[str, ...], str]] = {}
    fails = failing(failure, everything)
    if fails and known.state in (State.FIXED, State.DIED):
        told[State.REGRESSED] = ((), fails.text)
    fixed = no_longer(failure, everything, known.excess) if known.excess is not None else None
    if fixed:
        told[State.FIXED] = ((), f"{fixed.text}; it was {100 * (known.excess or 0):+.0f}")
    parts = [one for one in affair.moved.parts.get(row, ()) if one != column]
    if parts:
        words = ", ".join(f"{affair.share(row, one):.0%} of its sessions are in {affair.ids[one]}" for one in parts)
        told[State.SPLIT] = (tuple(affair.ids[one] for one in parts), words)
    taken = affair.taken_in(column)
    if taken:
        names = tuple(affair.known[one].cluster_id for one in taken)
        told[State.MERGED] = (names, f"{' and '.join(names)} went into it")
    growth = affair.growth.get(row)
    if growth is not None and growth.grown:
        told[State.GROWN] = ((), f"{growth.ratio:.1f} times its former share of sessions (q {growth.q_value:.2g})")
    return told


def _continued(affair: Affair, row: int) -> str:
    known, found = affair.known[row], affair.found[affair.matched[row]]
    back = "" if known.alive else f"back after {known.state.value}; "
    apart = "; not found by itself, held until three runs say so" if found.held else ""
    alike = affair.alike[row, affair.matched[row]]
    return f"{back}{found.n:,} of {affair.look.n:,} sessions; similarity {alike:.2f}{apart}"


def _away(affair: Affair, known: Known) -> State | None:
    """FIXED or DIED where a living cluster's absence is known; None while it is not, and for ended ones."""
    look = affair.look
    if not known.alive:
        return None
    if look.at_ns - known.last_run_ns >= affair.params.forgotten_ns:
        return State.DIED
    if known.members or known.last_run_ns > look.start_ns or known.embedder != look.embedder:
        return None
    if known.state is State.FIXED or not absent(known.n, known.of, look.n):
        return None
    return State.DIED if known.excess is None else State.FIXED


def _left(known: Known, state: State, *, alive: bool) -> Standing:
    fixed = state is State.FIXED
    return Standing(
        cluster_id=known.cluster_id, label=None, state=state, alive=alive, embedder=known.embedder,
        centroid=known.centroid, radius=known.radius, n=known.n, of=known.of, failure=known.failure,
        last_run_ns=known.last_run_ns, excess=None if fixed else known.excess, held=known.held,
    )  # fmt: skip


def _carried(affair: Affair, known: Known, found: Found) -> tuple[Centroid, float]:
    """Centroid and radius with the momentum of the old ones; the new alone where the old lie in another space."""
    kept = affair.params.momentum
    if known.embedder != affair.look.embedder or not known.centroid.any() or not found.centroid.any():
        return found.centroid, found.radius
    mean = kept * known.centroid + (1 - kept) * found.centroid
    length = float(np.linalg.norm(mean))
    if length == 0:
        return found.centroid, found.radius
    return (mean / length).astype(np.float32), kept * known.radius + (1 - kept) * found.radius


def _event(
    affair: Affair, cluster_id: str, kind: State, n: int, failure: Failure, others: tuple[str, ...], text: str
) -> Event:
    return Event(
        cluster_id=cluster_id, kind=kind, at_ns=affair.look.at_ns, n=n, failure=failure, others=others, text=text
    )
