"""Jobs, and work that was asked for, as the API tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.routes.keys import rfc3339
from store.control.cluster_records import ClusterRunRecord
from store.control.judge_records import JobRecord
from store.control.monitor_records import ScheduledJob
from store.control.run_records import RunRecord

TITLES: Final = {
    "online": "Online evaluation",
    "judges": "Judges that watch",
    "certificates": "Certificates of judges",
    "replies": "Old replies of judges",
    "clusters": "New sessions into clusters",
    "clusters-nightly": "Clusters of the night",
    "monitors": "Monitors",
    "monitors-upkeep": "Old incidents and alerts",
}
# What a run counts -> the noun; those that are 0 are left out, but for the first one that is told.
_COUNTED: Final = {
    "n_monitors": "monitor",
    "n_series": "series",
    "n_events": "change of an alert",
    "n_sessions": "session",
    "n_scores": "score",
    "n_taken_back": "certificate taken back",
    "n_deleted": "reply deleted",
    "n_apps": "app",
    "n_begun": "run begun",
    "n_left": "run waits for another one",
    "incidents": "incident forgotten",
    "alerts": "alert forgotten",
    "deliveries": "message forgotten",
    "silences": "silence forgotten",
}
_MANY: Final = {
    "series": "series",
    "change of an alert": "changes of alerts",
    "certificate taken back": "certificates taken back",
    "reply deleted": "replies deleted",
    "run begun": "runs begun",
    "run waits for another one": "runs wait for others",
    **{f"{one} forgotten": f"{one}s forgotten" for one in ("incident", "alert", "message", "silence")},
}


def job_told(one: ScheduledJob) -> dict[str, Any]:
    """A job."""
    last = one.runs[-1] if one.runs else None
    return {
        "name": one.name,
        "title": TITLES.get(one.name, one.name),
        "schedule": one.schedule,
        "state": one.state.value,
        "due": rfc3339(one.due_ns),
        "tries": one.tries,
        "n_runs": one.n_runs,
        "started_at": rfc3339(one.started_ns),
        "ended_at": rfc3339(one.ended_ns),
        "succeeded_at": rfc3339(one.succeeded_ns),
        "took_ms": None if last is None else last.took_ms,
        "error": one.error,
        "said": in_words(one.told),
        "told": dict(one.told),
        "owner": one.owner,
        "runs": [
            {
                "number": run.number,
                "at": rfc3339(run.at_ns),
                "state": run.state.value,
                "took_ms": run.took_ms,
                "error": run.error,
            }
            for run in one.runs
        ],
    }


def in_words(told: Mapping[str, Any]) -> str:
    """What a run did, such as "12 sessions, 24 scores"."""
    counts = [(noun, int(told[name])) for name, noun in _COUNTED.items() if name in told]
    parts = [_plural(noun, n) for place, (noun, n) in enumerate(counts) if n or place == 0]
    if told.get("placing"):
        parts.append("a process places new sessions")
    failed = told.get("failed")
    if isinstance(failed, Mapping) and failed:
        parts.append(f"could not be looked at: {', '.join(sorted(map(str, failed)))}")
    return ", ".join(parts)


def _plural(noun: str, n: int) -> str:
    if n == 1:
        return f"1 {noun}"
    return f"{n:,} {_MANY.get(noun, f'{noun}s')}"


def evaluation_told(one: RunRecord) -> dict[str, Any]:
    """An evaluation run that is not over."""
    return {
        "kind": "evaluation",
        "id": one.run_id,
        "what": one.spec.dataset,
        "app": one.spec.app,
        "state": "queued" if one.started_at_ns is None else "running",
        "asked_at": rfc3339(one.created_at_ns),
        "asked_by": one.created_by,
        "started_at": rfc3339(one.started_at_ns),
        "n_done": one.n_done,
        "n_all": one.n_trials,
    }


def judging_told(one: JobRecord) -> dict[str, Any]:
    """A job of a judge that is not over."""
    return {
        "kind": "judging",
        "id": one.job_id,
        "what": one.judge,
        "app": one.app or None,
        "state": "queued" if one.started_at_ns is None else "running",
        "asked_at": rfc3339(one.created_at_ns),
        "asked_by": one.created_by,
        "started_at": rfc3339(one.started_at_ns),
        "n_done": one.n_done + one.n_missing,
        "n_all": one.n_targets,
    }


def clusters_told(one: ClusterRunRecord) -> dict[str, Any]:
    """A run of clusters that is not over."""
    return {
        "kind": "clusters",
        "id": one.run_id,
        "what": one.scope.value,
        "app": one.app,
        "state": "queued" if one.started_at_ns is None else "running",
        "asked_at": rfc3339(one.asked_at_ns),
        "asked_by": one.asked_by,
        "started_at": rfc3339(one.started_at_ns),
        "n_done": None,
        "n_all": one.n_sessions,
    }
