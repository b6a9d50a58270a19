"""Opsgenie's Alert API: https://docs.opsgenie.com/docs/alert-api"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import orjson

from server.delivery.records import Message, MessageKind, Request, cut

URL: Final = "https://api.opsgenie.com"
_MOST_MESSAGE: Final = 130
_MOST_TEXT: Final = 15_000
_MOST_TAG: Final = 50


def requests(message: Message, *, api_key: str, url: str = URL) -> tuple[Request, ...]:
    """Requests of the incident's alias: of one that is open it counts the same alert again and makes no other."""
    match message.kind:
        case MessageKind.CALL:
            return (_request(url, "", _alert(message), api_key),)
        case MessageKind.UPDATE:
            return (_request(url, _of(message, "notes"), _note(message), api_key),)
        case MessageKind.ACKNOWLEDGED:
            return (_request(url, _of(message, "acknowledge"), _note(message), api_key),)
        case MessageKind.RESOLVED:
            return (_request(url, _of(message, "close"), _note(message), api_key),)
        case MessageKind.TEST:
            ends = _request(url, _of(message, "close"), _note(message), api_key)
            return (_request(url, "", _alert(message), api_key), ends)


def _request(url: str, path: str, body: dict[str, Any], api_key: str) -> Request:
    headers = {"content-type": "application/json", "authorization": f"GenieKey {api_key}"}
    return Request(url=f"{url.rstrip('/')}/v2/alerts{path}", body=orjson.dumps(body), headers=headers)


def _of(message: Message, what: str) -> str:
    return f"/{quote(message.key, safe='')}/{what}?identifierType=alias"


def _alert(message: Message) -> dict[str, Any]:
    priority = "P1" if message.pages else "P5" if message.kind is MessageKind.TEST else "P3"
    said = "\n\n".join(f"{name}: {text}" for name, text in message.lines())
    return {
        "message": cut(message.headline, _MOST_MESSAGE),
        "alias": message.key,
        "description": cut(said, _MOST_TEXT),
        "tags": [cut(one, _MOST_TAG) for one in (message.app, message.monitor) if one],
        "details": {"delivery": message.id, "tenant": message.tenant},
        "entity": message.app or "assay",
        "source": "Assay",
        "priority": priority,
    }


def _note(message: Message) -> dict[str, Any]:
    return {"source": "Assay", "user": "Assay", "note": cut(f"{message.text} ({message.id})", _MOST_TEXT)}
