"""One request to an address that was checked right before, and to no other: no redirect is followed, no proxy of the
environment is used, what is answered is not read. All of it, however slowly the receiver answers, has one deadline."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from typing import Final

import httpx

from server.delivery.records import NotDelivered, Request
from server.urls import callee

DEADLINE_S: Final = 15.0
MOST_ASKED_S: Final = 3_600.0  # a receiver that asks to be left alone for longer is asked again
_REFUSED: Final = frozenset({400, 413, 415, 422})  # this message, not its sender
_KEPT: Final = 300


def post(request: Request, *, private: bool, deadline_s: float = DEADLINE_S) -> None:
    """Sends it. Raises NotDelivered."""
    try:
        where = callee(request.url, private=private)
    except ValueError as error:
        raise NotDelivered(str(error)[:_KEPT]) from None
    headers = {"user-agent": "assay", **request.headers, "host": where.host}
    try:
        found = asyncio.run(_sent(request, where.url, where.name, headers, deadline_s))
    except TimeoutError:
        raise NotDelivered(f"no answer within {deadline_s:.0f} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}"[:_KEPT]) from None
    status, after = found
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise NotDelivered(f"answered with {status}, which leads elsewhere: redirects are not followed")
    raise NotDelivered(f"answered with {status}", for_good=status in _REFUSED, after_s=_asked(status, after))


async def _sent(
    request: Request, url: str, name: str, headers: dict[str, str], deadline_s: float
) -> tuple[int, str | None]:
    async with asyncio.timeout(deadline_s):
        async with httpx.AsyncClient(
            timeout=deadline_s, trust_env=False, follow_redirects=False, verify=_certificates()
        ) as client:
            built = client.build_request(
                request.method, url, content=request.body, headers=headers, extensions={"sni_hostname": name}
            )
            answered = await client.send(built, stream=True)
            await answered.aclose()  # what it says is not read: it may be of a machine that is not ours to show
            return answered.status_code, answered.headers.get("retry-after")


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _asked(status: int, after: str | None) -> float | None:
    """The seconds that a receiver asks for with 429 or 503; a date is left to our own waits."""
    if status not in (429, 503) or after is None or not after.strip().isascii() or not after.strip().isdigit():
        return None
    return min(MOST_ASKED_S, float(after.strip()[:9]))
