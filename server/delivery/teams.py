"""Microsoft Teams: a workflow's webhook, which posts an Adaptive Card (the connectors before it were switched off)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from server.delivery.records import Message, Request, cut

_MOST_TEXT: Final = 2_000
_SCHEMA: Final = "http://adaptivecards.io/schemas/adaptive-card.json"


def requests(message: Message, *, url: str) -> tuple[Request, ...]:
    """One card. Teams knows no idempotency key: the delivery's id stands at its foot."""
    body: list[dict[str, Any]] = [_block(message.headline, size="Medium", weight="Bolder")]
    for name, text in message.lines():
        body += [_block(name, weight="Bolder", spacing="Medium"), _block(text)]
    body.append(_block(f"{message.tenant} · {message.at} · {message.id}", size="Small", isSubtle=True))
    card: dict[str, Any] = {"$schema": _SCHEMA, "type": "AdaptiveCard", "version": "1.4", "body": body}
    if message.link is not None:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in Assay", "url": message.link}]
    kept = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    sent = orjson.dumps({"type": "message", "attachments": [kept]})
    return (Request(url=url, body=sent, headers={"content-type": "application/json"}),)


def _block(text: str, **more: object) -> dict[str, Any]:
    return {"type": "TextBlock", "text": _plain(cut(text, _MOST_TEXT)), "wrap": True, **more}


def _plain(text: str) -> str:
    """Text in which no link of Markdown can hide where it leads."""
    return text.replace("[", "\\[").replace("](", "]\\(")
