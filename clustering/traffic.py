"""What is no traffic of an app: the trials of evaluation runs, whose sessions are named RUN.EXAMPLE.TRIAL."""

from __future__ import annotations

from collections.abc import Collection

from core.ids import TenantId
from store.control.control import Control


def runs_of(control: Control, tenant: TenantId, app: str) -> frozenset[str]:
    """The ids of an app's evaluation runs."""
    return frozenset(one.run_id for one in control.runs(tenant) if one.spec.app == app)


def is_trial(session_id: str, runs: Collection[str]) -> bool:
    """Whether a session is a trial of one of these runs."""
    return session_id.partition(".")[0] in runs
