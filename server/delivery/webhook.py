"""Any receiver of ours or yours: the message as JSON, signed as all webhooks of Assay are (docs/deploying.md)."""

from __future__ import annotations

import json
from collections.abc import Callable

from monitors.alert_records import plain
from server.delivery.records import Message, Request
from server.signing import signature_of


def requests(message: Message, *, url: str, key: str, now_s: Callable[[], float]) -> tuple[Request, ...]:
    """One message. `id` in it, and x-assay-delivery, is the same each time it is sent; `incident_key` the same in all
    messages of an incident."""
    told = {
        **message.payload,
        "id": message.id,
        "incident_key": message.key,
        "kind": message.kind.value,
        "tenant": message.tenant,
        "incident": message.incident,
        "at": message.at,
        "link": message.link,
    }
    body, timestamp = json.dumps(plain(told)).encode(), str(int(now_s()))  # any number, and any half of a character
    headers = {
        "content-type": "application/json",
        "x-assay-timestamp": timestamp,
        "x-assay-signature": signature_of(key, timestamp, body),
    }
    return (Request(url=url, body=body, headers=headers),)
