"""Clusters as lineage reads them and as the registry keeps them: one record becomes the other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from clustering.lineage_records import Event, Failure, Known, Standing
from clustering.records import State, Vectors
from store.control.cluster_records import ClusterEvent, ClusterRecord, ClusterRunRecord


def known_of(records: Sequence[ClusterRecord], memberships: pl.DataFrame) -> list[Known]:
    """The registry with who is in each cluster now: `memberships` as store.memberships gives the newest of a window."""
    grouped = memberships.filter(pl.col("cluster_id").is_not_null()).group_by("cluster_id").agg(pl.col("session_id"))
    members = {row[0]: frozenset(row[1]) for row in grouped.iter_rows()}
    return [known(one, members.get(one.cluster_id, frozenset())) for one in records]


def known(one: ClusterRecord, members: frozenset[str] = frozenset()) -> Known:
    """One cluster of the registry."""
    standing = one.standing
    return Known(
        cluster_id=one.cluster_id,
        embedder=one.embedder,
        centroid=np.frombuffer(one.centroid, dtype="<f4").astype(np.float32),
        radius=float(standing["radius"]),
        members=members,
        state=State(one.state),
        n=int(standing["n"]),
        of=int(standing["of"]),
        failure=Failure(one.n_failed, one.n_known),
        last_run_ns=int(standing["last_run_ns"]),
        alive=bool(standing["alive"]),
        excess=standing["excess"],
        held=int(standing.get("held", 0)),
    )


def record_of(
    one: Standing,
    before: ClusterRecord | None,
    *,
    run: ClusterRunRecord,
    said: Mapping[str, Any] | None,
    seen: tuple[int, int] | None,
    now_ns: int,
) -> ClusterRecord:
    """The registry's record of a cluster after a run. `said` and `seen` (first and last start of its sessions) are None
    where the run has not found it; then it stays called and counted as it was. Raises ValueError for a cluster that
    neither the registry nor the run has."""
    standing = _standing(one)
    centroid = np.ascontiguousarray(one.centroid, dtype="<f4").tobytes()
    if said is None or seen is None:
        if before is None:
            raise ValueError(f"{one.cluster_id} was never found")
        return replace(before, state=one.state.value, standing=standing, centroid=centroid)
    return ClusterRecord(
        tenant=run.tenant,
        cluster_id=one.cluster_id,
        app=run.app,
        state=one.state.value,
        embedder=one.embedder,
        centroid=centroid,
        n_sessions=one.n,
        n_failed=one.failure.n_failed,
        n_known=one.failure.n_known,
        said=said,
        standing=standing,
        run_id=run.run_id,
        first_seen_ns=seen[0] if before is None else min(seen[0], before.first_seen_ns),
        last_seen_ns=seen[1] if before is None else max(seen[1], before.last_seen_ns),
        born_at_ns=now_ns if before is None else before.born_at_ns,
    )


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "radius": float(one.radius),
        "n": one.n,
        "of": one.of,
        "last_run_ns": one.last_run_ns,
        "alive": one.alive,
        "excess": None if one.excess is None else float(one.excess),
        "held": one.held,
    }


def event_of(one: Event) -> ClusterEvent:
    """A row of a cluster's lineage as it is kept."""
    return ClusterEvent(
        cluster_id=one.cluster_id,
        kind=one.kind.value,
        n_sessions=one.n,
        n_failed=one.failure.n_failed,
        n_known=one.failure.n_known,
        text=one.text,
        others=tuple(one.others),
    )


def living(records: Sequence[ClusterRecord], space: str) -> tuple[list[ClusterRecord], Vectors, Vectors]:
    """The clusters that new sessions can join: records, centroids (k, d) and radii (k,) of one space."""
    kept = [one for one in records if one.standing["alive"] and one.embedder == space]
    middles = [np.frombuffer(one.centroid, dtype="<f4") for one in kept]
    radii = np.array([one.standing["radius"] for one in kept], np.float32)
    return kept, np.array(middles, np.float32).reshape(len(kept), -1), radii
