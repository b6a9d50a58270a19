"""Receivers of Prometheus' Alertmanager: its webhook's format, version 4
(https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import orjson

from server.delivery.records import Message, MessageKind, Request, Told

_NEVER: Final = "0001-01-01T00:00:00Z"


def requests(message: Message, *, url: str, name: str, token: str | None = None) -> tuple[Request, ...]:
    """One notification with every alert of the incident. `groupKey` is the incident, an alert's fingerprint the same
    from its firing to its end: that is what receivers tell them by."""
    alerts = [_alert(message, one) for one in message.alerts] or [_alert(message, _only(message))]
    labels = [one["labels"] for one in alerts]
    group = {"app": message.app, "incident": message.incident or message.id}
    firing = any(one["status"] == "firing" for one in alerts)
    told = {
        "version": "4",
        "groupKey": f'{{}}:{{app="{_quoted(message.app)}", incident="{_quoted(message.key)}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": name,
        "groupLabels": group,
        "commonLabels": {key: value for key, value in labels[0].items() if all(x.get(key) == value for x in labels)},
        "commonAnnotations": {"summary": message.headline, "description": message.text},
        "externalURL": message.link or "",
        "alerts": alerts,
    }
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    return (Request(url=url, body=orjson.dumps(told), headers=headers),)


def _alert(message: Message, one: Told) -> dict[str, Any]:
    labels = {
        "alertname": one.monitor,
        "app": message.app,
        "incident": message.incident or message.id,
        "series": one.series,
        "severity": "critical" if one.severity == "page" else "warning",
        "tenant": message.tenant,
    }
    notes = {"summary": message.headline, "description": message.text, "delivery": message.id}
    if message.runbook:
        notes["runbook_url"] = message.runbook
    return {
        "status": "firing" if one.resolved_at is None else "resolved",
        "labels": labels,
        "annotations": notes,
        "startsAt": one.fired_at or message.at,
        "endsAt": one.resolved_at or _NEVER,
        "generatorURL": message.link or "",
        "fingerprint": sha256((one.key or message.key).encode()).hexdigest()[:16],
    }


def _only(message: Message) -> Told:
    """What stands for a message without alerts: a test, which is over at once, or an acknowledgement."""
    over = message.at if message.kind in (MessageKind.TEST, MessageKind.RESOLVED) else None
    return Told(
        key=message.key, monitor=message.monitor or message.kind.value, series=message.series or "",
        severity="page" if message.pages else "ticket", fired_at=message.at, resolved_at=over,
    )  # fmt: skip


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
