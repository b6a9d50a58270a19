"""What the route of what emerges gives: findings with how sure they are, and the looks that they are of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from server.routes.cluster_shapes import OfCluster


class Change(BaseModel):
    """What changed when it began: the share of its sessions with this release, model, document and so on, before and
    after. `at`: when the level was first seen, where that is known."""

    kind: str
    name: str
    share_before: float | None
    share_after: float | None
    text: str
    at: str | None


class Finding(BaseModel):
    """A cluster that is new or grows: `n` sessions where `expected` were, from `n_users` users that are known.
    `q_value` bounds the share of false ones among such findings. `alert`: whether somebody who watches it was told."""

    cluster: OfCluster
    kind: str
    at: str
    day: str
    p_value: float
    q_value: float
    rate_ratio: float
    low: float
    high: float | None
    n: int
    expected: float
    n_users: int
    first_seen: str
    changed: list[Change]
    text: str
    alert: Literal["pending", "told", "shown"] | None


class AppLook(BaseModel):
    """The last look over an app; `looked_at` null: there was none yet."""

    app: str
    looked_at: str | None
    n_tested: int | None
    fdr: float | None
    dispersion: float | None
    overall_ratio: float | None
    n_sessions: int | None
    n_known: int | None


class EmergingFeed(BaseModel):
    """What emerges, newest first. `looks`: the last one of each app that was asked for; beside them `looked_at` is the
    newest, `n_tested`, `n_sessions` and `n_known` are sums, and the others are of the one app, null of several. `fdr`:
    what the q-values are held against. `alerts`: watched clusters that grew, findings or not. `overall_ratio`: failures
    of all clusters together against before. A look knew of `n_known` of the `n_sessions` of its seven days whether they
    failed."""

    items: list[Finding]
    alerts: list[dict[str, Any]]
    looks: list[AppLook]
    looked_at: str | None
    n_tested: int | None
    fdr: float | None
    dispersion: float | None
    overall_ratio: float | None
    n_sessions: int | None
    n_known: int | None
    says: list[str]
    next_cursor: None = None
