"""From where on sessions are placed once a run over a window is done: behind all that had arrived when it began, but
for sessions that lie outside its window and were not placed yet.

A window may end long ago, and a run that is asked for now may begin in minutes: what began since the window's end is
not in it, and must not lie before the marks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from clustering.arriving import Arrivals, settled
from evaluators.online.planning import Arrived, arrived
from evaluators.online.service import MOST_ROWS, last_seqs, rows_beyond
from store.control.cluster_records import ClusterAppRecord, ClusterRunRecord
from store.control.control import Control
from store.tenant import TenantStore


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What had arrived when a run began: the last seq of each journal, and the app's sessions beyond the marks of its
    `line` (none in its first run, and where more wait than one look takes in)."""

    last: Mapping[int, int]
    line: ClusterAppRecord | None = None
    beyond: tuple[Arrived, ...] = ()

    def after(self, placed: Collection[str]) -> tuple[dict[int, int], dict[str, int]]:
        """The marks behind a run that placed these sessions, and which of the sessions beyond them are placed."""
        ids = set(placed)
        left = tuple(one for one in self.beyond if one.session_id not in ids)
        if self.line is None or not left:
            return dict(self.last), {}
        due = tuple(one for one in self.beyond if one.session_id in ids)
        return settled(self.line, Arrivals(due=due, open=left, read=self.last, beyond=self.beyond))

    def until_ns(self, run: ClusterRunRecord) -> int:
        """The latest end of the app's runs: one over a past window takes nothing back."""
        before = 0 if self.line is None else int(self.line.told.get("run_until_ns", 0))
        return max(run.end_ns, before)


def begun(control: Control, store: TenantStore, run: ClusterRunRecord) -> Begun:
    """What had arrived by now."""
    last, line = last_seqs(store), control.cluster_app(run.tenant, run.app)
    if line is None:
        return Begun(last=last)
    rows, _ = rows_beyond(store, line.marks)
    if len(rows) >= MOST_ROWS:  # nobody placed for long: what the window leaves out waits for the next run
        return Begun(last=last, line=line)
    mine = tuple(one for one in arrived(rows, line.marks) if one.app == run.app)
    return Begun(last=last, line=line, beyond=mine)
