"""Ratios over a run: what a resolved session costs. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.records import Reason, Unscored


@dataclass(frozen=True, kw_only=True)
class Session:
    """One session's cost in US dollars and whether it was resolved; None: not known. `cluster` is its example, or its
    user."""

    cluster: str
    cost_usd: float | None
    resolved: bool | None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """US dollars per resolved session. `standard_error` is None with one cluster."""

    value: float
    standard_error: float | None
    n_sessions: int
    n_resolved: int
    n_unscored: int


def cost_per_resolved(sessions: Sequence[Session]) -> Ratio | Unscored:
    """All dollars by the number of resolved sessions, over the sessions of which both are known.

    The standard error is that of a ratio of clustered totals (delta method: Kish 1965, section 6.3): with clusters'
    residuals e = cost - ratio * resolved, sqrt(n / (n - 1) * sum(e^2)) / resolved.
    """
    known = [one for one in sessions if one.cost_usd is not None and one.resolved is not None]
    if not known:
        return Unscored(reason=Reason.NOT_RECORDED, detail="no session has a known cost and a known end")
    n_resolved = sum(one.resolved is True for one in known)
    if not n_resolved:
        return Unscored(reason=Reason.NOT_APPLICABLE, detail=f"none of {len(known)} sessions was resolved")
    ratio = math.fsum(one.cost_usd or 0.0 for one in known) / n_resolved
    residuals: dict[str, float] = defaultdict(float)
    for one in known:
        residuals[one.cluster] += (one.cost_usd or 0.0) - ratio * (one.resolved is True)
    n = len(residuals)
    squares = math.fsum(each * each for each in residuals.values())
    error = None if n < 2 else math.sqrt(n / (n - 1) * squares) / n_resolved
    return Ratio(
        value=ratio,
        standard_error=error,
        n_sessions=len(known),
        n_resolved=n_resolved,
        n_unscored=len(sessions) - len(known),
    )
