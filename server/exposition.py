"""What a tenant's monitors are doing, in the text format of Prometheus (version 0.0.4). Pure: records in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from core.clock import NS_PER_S
from store.control.monitor_records import Delivery, IncidentRecord, RaisedAlert, ScheduledJob

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


def exposition(
    *,
    version: str,
    now_ns: int,
    alerts: Iterable[RaisedAlert],
    incidents: Iterable[IncidentRecord],
    deliveries: Sequence[Delivery],
    jobs: Sequence[ScheduledJob],
) -> str:
    """The metrics. Alerts and incidents are those that are not over."""
    waiting: dict[str, int] = {}
    for one in deliveries:
        if not one.state.ended:
            waiting[one.channel] = min(one.created_ns, waiting.get(one.channel, one.created_ns))
    parts = [
        _gauge("assay_info", "The version that answers.", [({"version": version}, 1)]),
        _gauge("assay_alerts", "Alerts that are pending or firing.", _counted(map(_of_alert, alerts))),
        _gauge("assay_incidents", "Incidents that are not closed.", _counted(map(_of_incident, incidents))),
        _gauge("assay_deliveries", "Messages by their state.", _counted(map(_of_message, deliveries))),
        _gauge(
            "assay_delivery_oldest_waiting_seconds",
            "How long the oldest message that has not ended waits.",
            [({"channel": name}, max(0, now_ns - at) / NS_PER_S) for name, at in sorted(waiting.items())],
        ),
        *_of_jobs(jobs),
    ]
    return "".join(parts)


def _of_jobs(jobs: Sequence[ScheduledJob]) -> list[str]:
    """The newest runs of jobs, and how they stand."""
    states = [({"job": one.name, "state": one.state.value}, 1.0) for one in jobs]
    done = [({"job": one.name}, one.succeeded_ns / NS_PER_S) for one in jobs if one.succeeded_ns is not None]
    last = [(one.name, one.runs[-1].took_ms) for one in jobs if one.runs]
    took = [({"job": name}, took_ms / 1000) for name, took_ms in last if took_ms is not None]
    return [
        _gauge("assay_jobs", "Jobs by their state.", states),
        _gauge("assay_job_last_success_timestamp_seconds", "When a job was last done.", done),
        _gauge(
            "assay_job_failed_tries",
            "How often in a row a job failed.",
            [({"job": one.name}, one.tries) for one in jobs],
        ),
        _gauge("assay_job_last_duration_seconds", "How long a job's last run took.", took),
    ]


def _of_alert(one: RaisedAlert) -> tuple[tuple[str, str], ...]:
    return (("app", one.app), ("monitor", one.monitor), ("severity", one.severity), ("status", one.status))


def _of_incident(one: IncidentRecord) -> tuple[tuple[str, str], ...]:
    return (("app", one.app), ("severity", one.severity), ("status", one.status))


def _of_message(one: Delivery) -> tuple[tuple[str, str], ...]:
    return (("channel", one.channel), ("state", one.state.value))


def _counted(some: Iterable[tuple[tuple[str, str], ...]]) -> list[tuple[Labels, float]]:
    return [(dict(labels), n) for labels, n in sorted(Counter(some).items())]


def _gauge(name: str, words: str, values: Iterable[tuple[Labels, float]]) -> str:
    lines = [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
    for labels, value in values:
        told = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{told}}} {value:.17g}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
