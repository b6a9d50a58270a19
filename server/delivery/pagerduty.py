"""PagerDuty's Events API v2: https://developer.pagerduty.com/docs/send-alert-event"""

from __future__ import annotations

from typing import Any, Final

import orjson

from server.delivery.records import Message, MessageKind, Request, cut

URL: Final = "https://events.pagerduty.com/v2/enqueue"
_MOST_SUMMARY: Final = 1_024
_ACTIONS: Final = {
    MessageKind.CALL: ("trigger",),
    MessageKind.UPDATE: (),  # a trigger for what a person resolved there would call again
    MessageKind.ACKNOWLEDGED: ("acknowledge",),
    MessageKind.RESOLVED: ("resolve",),
    MessageKind.TEST: ("trigger", "resolve"),
}


def requests(message: Message, *, routing_key: str, url: str = URL) -> tuple[Request, ...]:
    """Events of the incident's dedup_key: PagerDuty takes the same trigger twice for one, and finds by it what is to be
    resolved. The delivery's id is among the details."""
    return tuple(_request(message, action, routing_key, url) for action in _ACTIONS[message.kind])


def _request(message: Message, action: str, routing_key: str, url: str) -> Request:
    event: dict[str, Any] = {"routing_key": routing_key, "event_action": action, "dedup_key": message.key}
    if action == "trigger":
        event |= {"client": "Assay", "payload": _payload(message)}
        links = [(message.link, "Open in Assay"), (message.runbook, "Runbook")]
        event["links"] = [{"href": to, "text": text} for to, text in links if to and to.startswith("https://")]
    return Request(url=url, body=orjson.dumps(event), headers={"content-type": "application/json"})


def _payload(message: Message) -> dict[str, Any]:
    severity = "critical" if message.pages else "info" if message.kind is MessageKind.TEST else "warning"
    return {
        "summary": cut(f"{message.headline}: {message.text}", _MOST_SUMMARY),
        "source": message.app or "assay",
        "severity": severity,
        "timestamp": message.at,
        "component": message.monitor,
        "group": message.app or None,
        "class": message.series,
        "custom_details": {"delivery": message.id, "tenant": message.tenant, **dict(message.lines())},
    }
