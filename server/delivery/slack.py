"""Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from __future__ import annotations

from typing import Any, Final

import orjson

from server.delivery.records import Message, Request, cut, one_line

_MOST_HEADER: Final = 150
_MOST_SECTION: Final = 3_000


def requests(message: Message, *, url: str) -> tuple[Request, ...]:
    """One message of blocks. Slack knows no idempotency key: the delivery's id stands below each message."""
    header = {"type": "header", "text": {"type": "plain_text", "text": cut(message.headline, _MOST_HEADER)}}
    blocks: list[dict[str, Any]] = [header, *(_section(name, text) for name, text in message.lines())]
    told = f"{escaped(message.tenant)} · {message.at} · {message.id}"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": told}]})
    body = orjson.dumps({"text": escaped(f"{message.headline}: {one_line(message.text)}"), "blocks": blocks})
    return (Request(url=url, body=body, headers={"content-type": "application/json"}),)


def escaped(text: str) -> str:
    """Text in which nothing is a link, a mention or a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(name: str, text: str) -> dict[str, Any]:
    # Escaping makes a text longer, at most five times: it is cut before, so that no entity is cut in two.
    said = f"*{name}*\n{escaped(text)}"
    if len(said) > _MOST_SECTION:
        said = f"*{name}*\n{escaped(cut(text, 590))}"
    return {"type": "section", "text": {"type": "mrkdwn", "text": said}}
