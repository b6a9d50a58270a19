"""Clusters made by hand for tests of lineage: groups of sessions at places, runs after one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from clustering.lineage_records import DAY_NS, Centroid, Failure, Found, Known, Lineage, Look
from clustering.records import State

SPACE: Final = "all-MiniLM-L6-v2/1 1:1:1"
OTHER_SPACE: Final = "endpoint/large/1024 1:1:1"
WEEK_NS: Final = 7 * DAY_NS
DIMS: Final = 8


def place(*weights: float) -> Centroid:
    """A direction by its first coordinates, of length 1."""
    found = np.zeros(DIMS, dtype=np.float32)
    found[: len(weights)] = weights
    return np.asarray(found / np.linalg.norm(found), dtype=np.float32)


def axis(number: int) -> Centroid:
    """One of DIMS directions of which no two are alike."""
    return np.asarray(np.eye(DIMS, dtype=np.float32)[number % DIMS])


def sessions(name: str, n: int, start: int = 0) -> frozenset[str]:
    """`n` sessions called by a letter and numbers from `start`."""
    return frozenset(f"{name}{number}" for number in range(start, start + n))


def known(number: int, members: frozenset[str] = frozenset(), **changes: Any) -> Known:
    """A cluster of the registry, of 40 of 1,000 sessions a week ago, at the axis of its number."""
    given: dict[str, Any] = {
        "cluster_id": f"C-{number:04d}", "embedder": SPACE, "centroid": axis(number), "radius": 0.4,
        "members": members, "state": State.CONTINUED, "n": 40, "of": 1_000, "last_run_ns": WEEK_NS,
    }  # fmt: skip
    return Known(**(given | changes))


def found(label: int, members: frozenset[str], **changes: Any) -> Found:
    """A cluster of this run, at the axis of its label."""
    given: dict[str, Any] = {"label": label, "centroid": axis(label), "radius": 0.4, "members": members}
    return Found(**(given | {"n": len(members)} | changes))


def look(**changes: Any) -> Look:
    """The second week's run, over 1,000 sessions of which none is new, and none is known to have failed or not."""
    given: dict[str, Any] = {
        "at_ns": 2 * WEEK_NS, "start_ns": WEEK_NS, "since_ns": WEEK_NS, "embedder": SPACE, "n": 1_000,
    }  # fmt: skip
    return Look(**(given | changes))


def states(lineage: Lineage) -> dict[str, State]:
    """Of every cluster."""
    return {one.cluster_id: one.state for one in lineage.standings}


def kinds(lineage: Lineage, cluster_id: str) -> list[State]:
    """What happened to one cluster, in the order told."""
    return [one.kind for one in lineage.events if one.cluster_id == cluster_id]


def remembered(lineage: Lineage, given: Sequence[Found]) -> list[Known]:
    """The registry after a run, its clusters holding the sessions they were found with."""
    members: Mapping[int, frozenset[str]] = {one.label: one.members for one in given}
    return [
        Known(
            cluster_id=one.cluster_id, embedder=one.embedder, centroid=one.centroid, radius=one.radius,
            members=members[one.label] if one.label is not None else frozenset(), state=one.state, n=one.n, of=one.of,
            failure=one.failure, last_run_ns=one.last_run_ns, alive=one.alive, excess=one.excess, held=one.held,
        )
        for one in lineage.standings
    ]  # fmt: skip


def failed(n_failed: int, n_known: int) -> Failure:
    """A failure rate as its two counts."""
    return Failure(n_failed, n_known)
