"""A band stepped over a grid from its checkpoint: the verdict on every point, and the next look's checkpoint. Pure.

The checkpoint lies behind what may still come late, so each look steps again over everything newer: a point that came
late is judged, and takes part, where it belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from core.clock import NS_PER_S
from monitors.alert_records import Seen, Verdict
from monitors.alerting import VERDICTS, seen_in, verdicts
from monitors.definition import Definition
from monitors.grids import Grid
from monitors.records import Band, Codes, Judged, State
from monitors.slo import SloBand

FORGOTTEN_S: Final = 30 * 86_400  # a series that is silent for so long is watched no more


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The band's state of each of `keys` as of `settled_ns`, the end of the last bucket in it. `last_ns`: when each
    series had its newest value."""

    settled_ns: int
    keys: tuple[str, ...] = ()
    last_ns: tuple[int, ...] = ()
    state: State | None = None

    def as_json(self) -> dict[str, Any]:
        """Its JSON object, exact."""
        state = None if self.state is None else self.state.as_json()
        return {"keys": list(self.keys), "last_ns": list(self.last_ns), "state": state}


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """What a band said of a grid: verdicts (T, S) as positions in VERDICTS, and each bucket's judgements."""

    grid: Grid
    verdicts: Codes
    judged: tuple[Judged, ...]
    said: Mapping[tuple[int, int], tuple[Any, str]]
    """By bucket and series, how loud a burn rate is, and in what words."""

    def seens(self, column: int, from_ns: int = 0) -> Iterator[Seen]:
        """What an alert takes of one series, in order, of the buckets from `from_ns` on."""
        for t, at_ns in enumerate(self.grid.at_ns.tolist()):
            if at_ns >= from_ns:
                yield self.seen(t, column)

    def seen(self, t: int, column: int) -> Seen:
        """One bucket of one series."""
        verdict = VERDICTS[int(self.verdicts[t, column])]
        at_ns = self.grid.start_ns + t * self.grid.step_s * NS_PER_S
        found = seen_in(at_ns, self.judged[t], column, verdict, float(self.grid.n[t, column]))
        severity, why = self.said.get((t, column), (None, None))
        return replace(found, severity=severity, why=why) if why is not None else found


def checkpoint_of(band: Band[Any], told: Mapping[str, Any], settled_ns: int) -> Checkpoint:
    """The checkpoint again. Raises InvalidInput where it is of another band, or of another version of it."""
    if not told or told.get("state") is None:
        return Checkpoint(settled_ns=settled_ns)
    state = type(band.start(0)).from_json(told["state"])
    return Checkpoint(
        settled_ns=settled_ns, keys=tuple(told["keys"]), last_ns=tuple(told["last_ns"]), state=state
    )  # fmt: skip


def stepped(
    band: Band[Any], before: Checkpoint, grid: Grid, settle_ns: int, definition: Definition
) -> tuple[Judgements, Checkpoint]:
    """The judgement of every bucket of the grid, and the checkpoint as of `settle_ns`. The grid begins where the
    checkpoint ends, and its first series are the checkpoint's."""
    state = _begun(band, before, len(grid.keys))
    rules = definition.rules()
    step_ns = grid.step_s * NS_PER_S
    kept, kept_ns = state, before.settled_ns
    codes, judged = np.zeros(grid.x.shape, dtype=np.int8), []
    said: dict[tuple[int, int], tuple[Any, str]] = {}
    for t, at_ns in enumerate(grid.at_ns.tolist()):
        state, now = band.step(state, grid.points(t))
        judged.append(now)
        codes[t] = verdicts(now, definition.direction, rules.clear_share)
        if isinstance(band, SloBand):
            said |= _burning(band, state, t, codes[t])
        if at_ns + step_ns <= settle_ns:
            kept, kept_ns = state, at_ns + step_ns
    found = Judgements(grid=grid, verdicts=codes, judged=tuple(judged), said=said)
    return found, _kept(before, grid, kept, kept_ns)


def _begun(band: Band[Any], before: Checkpoint, s: int) -> State:
    """The checkpoint's state, with series that are new at their begin."""
    if before.state is None:
        state: State = band.start(s)
        return state
    n_new = s - len(before.keys)
    return before.state.joined(band.start(n_new)) if n_new > 0 else before.state


def _kept(before: Checkpoint, grid: Grid, state: State, settled_ns: int) -> Checkpoint:
    """The new checkpoint, without the series of which nothing was heard for a month."""
    known = dict(zip(before.keys, before.last_ns, strict=True))
    present = np.isfinite(grid.x)
    last = []
    for column, key in enumerate(grid.keys):
        there = np.flatnonzero(present[:, column])
        newest = int(grid.at_ns[there[-1]]) if len(there) else known.get(key, grid.start_ns)
        last.append(newest)
    rows = np.array([at > settled_ns - FORGOTTEN_S * NS_PER_S for at in last], dtype=np.bool_)
    if rows.all():
        return Checkpoint(settled_ns=settled_ns, keys=grid.keys, last_ns=tuple(last), state=state)
    kept = [column for column, keep in enumerate(rows) if keep]
    return Checkpoint(
        settled_ns=settled_ns, keys=tuple(grid.keys[one] for one in kept), last_ns=tuple(last[one] for one in kept),
        state=state.taken(rows),
    )  # fmt: skip


def _burning(band: SloBand, state: Any, t: int, codes: Codes) -> dict[tuple[int, int], tuple[Any, str]]:
    rows = np.flatnonzero(codes == VERDICTS.index(Verdict.BREACH))
    if not len(rows):
        return {}
    burns = band.burns(state)
    told = ((int(row), band.severity(burns, int(row)), band.words(burns, int(row))) for row in rows)
    return {(t, row): (severity, words) for row, severity, words in told if words is not None}
