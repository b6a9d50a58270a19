"""New sessions join known clusters: those of an app that ended are embedded, and assigned by radius.

What fits nowhere waits (a membership without a cluster, `waiting`) until enough do to be clustered again
(service_waiting.py). Memberships are written before the marks move on: a process killed between writes them again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from clustering.arriving import Arrivals, Seen, arrivals, settled
from clustering.embedders import table
from clustering.embedders.embedding import weighted
from clustering.embedders.protocol import Embedder, Place
from clustering.facets import facets
from clustering.incremental import Assigned, assign, waiting
from clustering.lineage_records import space_of
from clustering.params import params_of
from clustering.records import NOISE, Vectors
from clustering.registry import living
from clustering.service_embeddings import embedded
from clustering.stages import quiet
from clustering.traffic import is_trial, runs_of
from clustering.usual import usual_from
from core.clock import Clock
from core.windows import Window
from store.control.cluster_records import ClusterAppRecord, ClusterRecord
from store.control.control import Control
from store.memberships import COLUMNS, user_hash, write_memberships
from store.tenant import TenantStore

_LOG: Final = logging.getLogger("assay.clusters")


@dataclass(frozen=True, kw_only=True)
class Placings:
    """What one piece of work did: sessions that joined a cluster, that wait, and that are empty; how many are left.
    `lag_ms` is the longest time from a session's last span to its place."""

    n_joined: int = 0
    n_waiting: int = 0
    n_empty: int = 0
    n_open: int = 0
    lag_ms: float = 0.0

    @property
    def n(self) -> int:
        """Sessions that were placed."""
        return self.n_joined + self.n_waiting + self.n_empty


class Assigner:
    """Places sessions of one app after another, for one process, which keeps embedders loaded. Not thread-safe."""

    def __init__(
        self, control: Control, clock: Clock, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._control, self._clock, self._owner, self._gone = control, clock, owner, gone
        self._seen: dict[tuple[str, str], Seen] = {}
        self._embedders: dict[tuple[str, str, str], Embedder] = {}

    def work(self, store: TenantStore, place: Place, app: str) -> Placings:
        """Places the sessions of an app that ended, MOST_AT_ONCE at most. Nothing where another process is at it, or
        the embedder is no longer that of the last run. Raises Conflict when another took over meanwhile, and as
        embedders do."""
        line = self._control.take_cluster_app(store.tenant, app, self._owner, self._gone)
        if line is None:
            return Placings()
        seen = self._seen.setdefault((store.tenant, app), Seen())
        found = arrivals(store, line, seen, self._clock())
        if not found.due:
            self._control.advance_cluster_app(line, *_moved(line, found), done=True)
            return Placings(n_open=len(found.open))
        embedder = self._embedder(line, place)
        if embedder is None:
            self._control.advance_cluster_app(line, {}, {"stale_at_ns": self._clock()}, done=True)
            return Placings(n_open=len(found.open))
        done = self._place(store, line, found, embedder)
        marks, placed = settled(line, found)
        now = self._clock()
        told: dict[str, object] = {"assigned_at_ns": now, "placed": placed, "stale_at_ns": 0}
        told |= {"lag_ms": round(done.lag_ms, 1), "lag_at_ns": now} if done.n else {}
        told["n_assigned"] = int(line.told.get("n_assigned", 0)) + done.n
        self._control.advance_cluster_app(line, marks, told, done=True)
        return done

    def _embedder(self, line: ClusterAppRecord, place: Place) -> Embedder | None:
        """The embedder of the last run; None where what is set by now makes vectors of another space."""
        params = params_of(line.told["params"])
        key = (str(line.tenant), line.app, line.run_id)
        found = self._embedders.get(key) or table.current(params.embedder, place)
        if found is None or space_of(found.version, params.weights) != line.told["space"]:
            _LOG.warning("new sessions of %s wait for a run: the embedder is another by now", line.app)
            return None
        self._embedders = {name: one for name, one in self._embedders.items() if name[:2] != key[:2]} | {key: found}
        return found

    def _place(self, store: TenantStore, line: ClusterAppRecord, found: Arrivals, embedder: Embedder) -> Placings:
        runs = runs_of(self._control, line.tenant, line.app)
        ids = [one.session_id for one in found.due if not is_trial(one.session_id, runs)]
        usual = usual_from(line.told.get("usual"))
        frame = facets(store, line.app, None, session_ids=ids, failure=line.told.get("failure"), usual=usual)
        if not frame.height:
            return Placings(n_open=len(found.open))
        window = Window(start_ns=int(frame["start_ns"].min()), end_ns=int(frame["start_ns"].max()) + 1)  # type: ignore[arg-type]
        vectors = embedded(store, line.app, window, frame, embedder, now_ns=self._clock, progress=quiet)
        of = weighted(vectors, params_of(line.told["params"]).weights)
        known, middles, radii = living(self._control.clusters(line.tenant, line.app), line.told["space"])
        given = assign(of, middles, radii) if known else _nowhere(of)
        waits = waiting(of, given.index)
        rows = rows_of(line.run_id, frame, embedder.version, known, given, waits)
        write_memberships(store, rows, now_ns=self._clock())
        ends = {one.session_id: one.end_ns for one in found.due}
        lag_ms = max((self._clock() - ends[name]) / 1e6 for name in frame["session_id"].to_list())
        n_joined, n_waiting = int((given.index != NOISE).sum()), int(waits.sum())
        return Placings(
            n_joined=n_joined, n_waiting=n_waiting, n_empty=frame.height - n_joined - n_waiting,
            n_open=len(found.open), lag_ms=lag_ms,
        )  # fmt: skip


def rows_of(
    run_id: str,
    frame: pl.DataFrame,
    version: str,
    known: list[ClusterRecord],
    given: Assigned,
    waits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> pl.DataFrame:
    """A row of store.memberships.COLUMNS per session; they have no place on the map."""
    n = frame.height
    return pl.DataFrame(
        {
            "session_id": frame["session_id"],
            "at_ns": frame["start_ns"],
            "app": frame["app"],
            "run_id": [run_id] * n,
            "embedder": [version] * n,
            "cluster_id": [None if one == NOISE else known[one].cluster_id for one in given.index.tolist()],
            "confidence": given.confidence.astype(np.float64),
            "waiting": waits.tolist(),
            "exemplar": [None] * n,
            "x": [None] * n,
            "y": [None] * n,
            "failed": frame["failed"],
            "user_hash": [user_hash(one) for one in frame["user_id"].to_list()],
        },
        schema=COLUMNS,
        strict=False,
    )


def _moved(line: ClusterAppRecord, found: Arrivals) -> tuple[dict[int, int], dict[str, object]]:
    marks, placed = settled(line, found)
    return marks, {"placed": placed}


def _nowhere(vectors: Vectors) -> Assigned:
    n = len(vectors)
    return Assigned(index=np.full(n, NOISE, np.int32), confidence=np.zeros(n, np.float32))
