"""A signed message to an address that was checked right before, and to no other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import httpx
import orjson

from server.signing import signature_of
from server.urls import callee

TIMEOUT_S: Final = 10.0
_KEPT: Final = 500  # characters of what went wrong


class NotTold(Exception):
    """A message did not arrive; it is sent again."""


class NeverTold(Exception):
    """A message that will not arrive however often it is sent."""


def hook_name(address: str) -> str:
    """What a webhook is known by, which repeats no address."""
    return f"webhook:{sha256(address.encode()).hexdigest()[:32]}"


def post_signed(address: str, key: str, delivery: str, message: Mapping[str, Any], *, private: bool) -> None:
    """Posts `message` as JSON; `delivery` names it, each time it is sent. Raises NotTold."""
    body = orjson.dumps(message)
    timestamp = str(int(time.time()))
    headers = {
        "content-type": "application/json",
        "user-agent": "assay",
        "x-assay-delivery": delivery,
        "x-assay-timestamp": timestamp,
        "x-assay-signature": signature_of(key, timestamp, body),
    }
    try:
        where = callee(address, private=private)
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client:
            request = client.build_request(
                "POST",
                where.url,
                content=body,
                headers={**headers, "host": where.host},
                extensions={"sni_hostname": where.name},
            )
            answered = client.send(request, stream=True)
            status = answered.status_code
            answered.close()  # what it says is not read
    except (ValueError, httpx.HTTPError) as error:
        raise NotTold(str(error)[:_KEPT] or type(error).__name__) from error
    if not 200 <= status < 300:
        raise NotTold(f"answered with {status}")
