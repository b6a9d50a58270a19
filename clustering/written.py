"""What a run writes: who is in which cluster, and what each cluster is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clustering.naming import Names
from clustering.records import NOISE
from clustering.stability import STABLE
from store.control.cluster_records import ClusterRunRecord
from store.memberships import COLUMNS, user_hash

if TYPE_CHECKING:
    from clustering.service_profile import Profiles
    from clustering.service_run import Placed, Read

_MOST_RELEASES: Final = 20


def memberships(
    run: ClusterRunRecord, read: Read, placed: Placed, given: Mapping[int, str], names: Names
) -> pl.DataFrame:
    """A row of store.memberships.COLUMNS per session of a run, noise too."""
    frame, found = read.frame, placed.clustered
    rank: dict[int, int] = {}
    for named in names.clusters:
        rank |= {row: number for number, row in enumerate(named.exemplars)}
    return pl.DataFrame(
        {
            "session_id": frame["session_id"],
            "at_ns": frame["start_ns"],
            "app": frame["app"],
            "run_id": [run.run_id] * frame.height,
            "embedder": [read.embedder.version] * frame.height,
            "cluster_id": [None if label == NOISE else given[int(label)] for label in found.given],
            "confidence": found.confidence.astype(np.float64),
            "waiting": [False] * frame.height,
            "exemplar": [rank.get(row) for row in range(frame.height)],
            "x": placed.places[:, 0].astype(np.float64),
            "y": placed.places[:, 1].astype(np.float64),
            "failed": frame["failed"],
            "user_hash": [user_hash(one) for one in frame["user_id"].to_list()],
        },
        schema=COLUMNS,
        strict=False,
    )


def said_in_words(
    label: int,
    names: Names,
    given: Mapping[int, str],
    stability: float | None,
    profiles: Profiles,
    frame: pl.DataFrame,
    mine: NDArray[np.bool_],
) -> dict[str, Any]:
    """What the registry keeps of a cluster of a run: names, stability, figures, profile. `mine` (n,): its sessions."""
    named = next(one for one in names.clusters if one.label == label)
    topic = None if named.topic is None else {"id": f"T{named.topic + 1}", "title": names.topics[named.topic].title}
    own = frame.filter(pl.Series(mine))
    releases = own["release"].drop_nulls().value_counts(sort=True).head(_MOST_RELEASES)
    cost = own["cost_usd"].mean()
    return {
        "title": named.title,
        "title_by": named.title_by.value,
        "sentence": named.sentence,
        "auc": None if named.auc is None else round(float(named.auc), 4),
        "refused": named.refused,
        "terms": [{"term": one.text, "weight": round(float(one.weight), 4)} for one in named.terms],
        "topic": topic,
        "siblings": [given[one] for one in named.siblings if one in given],
        "stability": stability,
        "stable": None if stability is None else stability >= STABLE,
        "cost_usd": cost if isinstance(cost, float) else None,
        "releases": [{"release": row[0], "n": row[1]} for row in releases.iter_rows()],
        **profiles.said(label),
    }
