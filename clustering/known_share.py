"""Of how many sessions it is known whether they failed: said wherever a failure rate stands, with a warning where they
are too few for it to speak for all."""

from __future__ import annotations

from typing import Final

from core.ids import TenantId
from store.control.cluster_records import ClusterAppRecord
from store.control.control import Control
from store.session_failures import ToldBy

LEAST_KNOWN: Final = 0.2  # share of sessions; where fewer are known, those that are may be unlike the others


def told_by(line: ClusterAppRecord | None) -> ToldBy:
    """Whose word tells in an app whether a session failed: as its last run over a window asked."""
    return ToldBy() if line is None else ToldBy(evaluator=line.told.get("failure"))


def told_by_of(control: Control, tenant: TenantId, app: str) -> ToldBy:
    """The same, of an app."""
    return told_by(control.cluster_app(tenant, app))


def scarce(n_known: int, n_sessions: int) -> bool:
    """Whether a failure rate of these says little of all of them."""
    return n_sessions > 0 and n_known < LEAST_KNOWN * n_sessions


def known_of(n_known: int, n_sessions: int) -> str:
    """'known of 4 of 956 sessions'."""
    return f"known of {n_known:,} of {n_sessions:,} {'session' if n_sessions == 1 else 'sessions'}"


def warnings(n_known: int, n_sessions: int, failure: str | None) -> list[str]:
    """What to say of failure rates of these sessions, where few are known."""
    if not scarce(n_known, n_sessions):
        return []
    who = "outcomes" if failure is None else f"scores of {failure[:80]}"
    if not n_known:
        return [f"of none of {n_sessions:,} sessions it is known whether they failed: rates come when {who} do"]
    few = f"failure is {known_of(n_known, n_sessions)}, too few to speak for the others"
    if failure is not None:
        return [f"{few}; rates change as {who} come"]
    return [
        f"{few}; without an outcome only failed turns count, so rates look higher than they are until outcomes come"
    ]
