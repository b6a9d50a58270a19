"""Who a cluster is from run to run: the clusters just found against the registry, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

from clustering.growth import Compared, Counted, compared
from clustering.lineage_records import Found, Known, Lineage, Look, Matching, id_of
from clustering.movements import Movements, movements
from clustering.overlap import nearness, overlap, pairs, similarity
from clustering.standings import Affair, became, born, not_found
from core.errors import InvalidInput


def match(
    known: Sequence[Known], found: Sequence[Found], *, look: Look, next_number: int, params: Matching | None = None
) -> Lineage:
    """Gives each found cluster its id: a known one's, or the next free; and says what became of every known one.

    Ids are `id_of(next_number)` and up, larger clusters first; `Lineage.next_number` is kept for the next run and never
    goes back. The order of `known` and `found` and the numbers of labels change nothing. Raises InvalidInput for an id,
    a label or a session given twice, a cluster found without sessions, an id that the next number would give again, and
    for centroids of one space with different dimensions.
    """
    bars = params or Matching()
    _check(known, found, next_number)
    # One order of rows and columns whatever was given: sums and ties come out the same.
    rows = tuple(sorted(known, key=lambda one: (len(one.cluster_id), one.cluster_id)))
    columns = tuple(sorted(found, key=lambda one: min(one.members)))
    counted = overlap(rows, columns)
    alike = similarity(counted, nearness(rows, columns, look.embedder, bars), bars)
    matched = pairs(alike, bars.tau, np.array([one.alive for one in rows], dtype=np.bool_))
    living = frozenset(row for row, one in enumerate(rows) if one.alive)
    moved = movements(counted, matched, living, bars)
    grown = _compared(rows, columns, matched, moved, look, bars)
    affair = Affair(
        known=rows, found=columns, ids=_named(rows, columns, matched, next_number), matched=matched, moved=moved,
        growth=dict(zip(matched, grown.growth, strict=True)), counted=counted, alike=alike, look=look, params=bars,
    )  # fmt: skip
    told = [became(affair, row) if row in matched else not_found(affair, row) for row in range(len(rows))]
    told += [born(affair, column) for column in _new(columns, matched)]
    return Lineage(
        standings=tuple(standing for standing, _ in told),
        events=tuple(event for _, events in told for event in events),
        given={one.label: cluster_id for one, cluster_id in zip(columns, affair.ids, strict=True)},
        next_number=next_number + len(columns) - len(matched),
        dispersion=grown.dispersion,
    )


def _compared(
    rows: Sequence[Known], columns: Sequence[Found], matched: Mapping[int, int], moved: Movements, look: Look,
    params: Matching,
) -> Compared:  # fmt: skip
    """The test of growth of every pair: what is new in it, against what it and those it took in had."""
    asked: list[Counted | None] = []
    for row, column in matched.items():
        before = [row, *(other for other, at in moved.absorbed.items() if at == column)]
        # Found since the run before, as the residual buffer finds: its sessions then are among the new ones now.
        apart = all(rows[one].last_run_ns <= look.since_ns for one in before)
        old = sum(rows[one].n for one in before)
        asked.append(Counted(columns[column].n_new, look.n_new, old, rows[row].of) if apart else None)
    return compared(asked, params)


def _named(
    rows: Sequence[Known], columns: Sequence[Found], matched: Mapping[int, int], next_number: int
) -> tuple[str, ...]:
    names = {column: rows[row].cluster_id for row, column in matched.items()}
    names |= {column: id_of(next_number + place) for place, column in enumerate(_new(columns, matched))}
    return tuple(names[column] for column in range(len(columns)))


def _new(columns: Sequence[Found], matched: Mapping[int, int]) -> list[int]:
    """Columns that are no known cluster, in the order in which they get their ids: the larger first."""
    taken = set(matched.values())
    return sorted((one for one in range(len(columns)) if one not in taken), key=lambda one: (-columns[one].n, one))


def _check(known: Sequence[Known], found: Sequence[Found], next_number: int) -> None:
    _once((one.cluster_id for one in known), "cluster_id")
    _once((one.label for one in found), "label")
    empty = [one.label for one in found if not one.members]
    if empty:
        raise InvalidInput(f"cluster {empty[0]} was found without sessions", field="found")
    used = [one.cluster_id for one in known if _number(one.cluster_id) >= next_number]
    if used:
        raise InvalidInput(f"{used[0]} is given already: the next number is above every id", field="next_number")


def _once(names: Iterable[Hashable], field: str) -> None:
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise InvalidInput(f"{field} {twice[0]} is there twice", field=field)


def _number(cluster_id: str) -> int:
    digits = cluster_id.removeprefix("C-")
    if not digits.isdigit():
        raise InvalidInput(f"{cluster_id!r} is no cluster id: C-0042", field="cluster_id")
    return int(digits)
