"""Trajectories from the store: what spans in any dialect say of a session or a trace, in a few queries for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.windows import Window
from evaluators.records import Expected, Target, Trajectory
from store.tenant import TenantStore


def trajectories(
    store: TenantStore,
    *,
    session_ids: Sequence[str] = (),
    trace_ids: Sequence[str] = (),
    within: Window | None = None,
    as_of_ns: int | None = None,
) -> dict[str, Trajectory]:
    """The trajectories of these sessions by session id, and of these traces by trace id; what is unknown is missing.

    `within` says where their spans begin, where the caller knows: it spares looking for them. A trace is a turn.
    """
    raise NotImplementedError


def targets(
    store: TenantStore,
    *,
    session_ids: Sequence[str] = (),
    trace_ids: Sequence[str] = (),
    expected: Mapping[str, Expected] | None = None,
    within: Window | None = None,
    as_of_ns: int | None = None,
) -> dict[str, Target]:
    """As `trajectories`, as targets of kind session or turn, with what `expected` says of an id."""
    raise NotImplementedError
