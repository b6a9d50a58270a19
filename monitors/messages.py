"""What is told of an incident, as plain JSON: written as it is decided, so that what is sent later says what was then.

Channels make of it what their receiver reads (server/delivery). Every key may be left out but `kind` and `text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monitors.alert_records import Severity, dedup_key
from monitors.incident_records import Incident, Telling

MOST_ALERTS: Final = 50
MOST_EXAMPLES: Final = 10
_MOST_TEXT: Final = 2_000


def message_of(
    telling: Telling,
    incident: Incident,
    *,
    tenant: str,
    diagnosis: Mapping[str, Any] | None = None,
    runbook: str | None = None,
    examples: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The message for every channel of a monitor. `diagnosis` is a Diagnosis' JSON, as the incident keeps it; `runbook`
    the monitor's own, which stands before the pattern's."""
    news = telling.news
    cause = (diagnosis or {}).get("told") or {}
    alerts = sorted(incident.members, key=lambda one: (one.resolved_ns is not None, one.fired_ns, one.alert))
    return {
        "kind": f"incident.{telling.kind.value}",
        "incident": incident.name,
        "title": incident.title,
        "app": incident.app,
        "severity": telling.severity.value,
        "status": incident.status.value,
        "owner": incident.owner,
        "text": news.event.text[:_MOST_TEXT],
        "monitor": news.monitor,
        "series": news.series,
        "event": news.event.kind.value,
        "at_ns": news.event.at_ns,
        "told_ns": news.event.told_ns,
        "onset_ns": incident.onset_ns,
        "why": str((diagnosis or {}).get("why") or "")[:_MOST_TEXT] or None,
        "first": [str(one)[:_MOST_TEXT] for one in cause.get("first", ())],
        "runbook": runbook or cause.get("runbook") or None,
        "examples": list(examples[:MOST_EXAMPLES]),
        "alerts": [
            {
                "key": dedup_key(tenant, one.monitor, one.series, one.episode),
                "monitor": one.monitor,
                "series": one.series,
                "severity": one.severity.value,
                "fired_ns": one.fired_ns,
                "resolved_ns": one.resolved_ns,
            }
            for one in alerts[:MOST_ALERTS]
        ],
        "n_alerts": len(alerts),
    }


def acknowledged_message(incident: Incident, now_ns: int) -> dict[str, Any]:
    """That somebody is at work on it: receivers that call people stop."""
    by = incident.acknowledged_by or "somebody"
    return {
        "kind": "incident.acknowledged",
        "incident": incident.name,
        "title": incident.title,
        "app": incident.app,
        "severity": incident.severity.value,
        "status": incident.status.value,
        "text": f"acknowledged by {by}",
        "at_ns": now_ns,
    }


def closed_message(incident: Incident, now_ns: int) -> dict[str, Any]:
    """That it was closed by hand: receivers close what they opened."""
    return {**acknowledged_message(incident, now_ns), "kind": "incident.resolved", "text": "closed by hand"}


def tryout_message(by: str, now_ns: int) -> dict[str, Any]:
    """A message that tries a channel."""
    return {
        "kind": "test",
        "title": "a test of this channel",
        "text": f"{by[:200]} tries this channel. Nothing is wrong, and nobody has to do anything.",
        "severity": Severity.TICKET.value,
        "at_ns": now_ns,
    }
