"""What the routes give that do something with a cluster: watch it, freeze it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from server.routes.cluster_shapes import OfCluster


class Watch(BaseModel):
    """A watched cluster. `host`: of the address that is also told; the address itself is not repeated."""

    cluster: OfCluster
    min_ratio: float
    host: str | None
    made_by: str
    made_at: str
    rate: float | None
    alerts: list[dict[str, Any]]


class Watches(BaseModel):
    """The watched clusters."""

    items: list[Watch]
    next_cursor: None = None


class Frozen(BaseModel):
    """A cluster as a dataset's version: of the `n_sessions` that were looked at, `n_examples` (those in which a user
    said something) were added beside `n_same` that were there, `n_left_out` are left out. `of`: how many sessions the
    cluster has; `capped`: more than one freeze looks at. With `dry_run`: what would be."""

    cluster: str
    dataset: str
    dry_run: bool
    version: int
    n_sessions: int
    of: int
    capped: bool
    n_examples: int
    n_left_out: int
    n_added: int
    n_same: int
    n_replaced: int
    says: list[str]
