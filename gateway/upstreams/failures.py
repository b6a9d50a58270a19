"""Why an attempt failed, what is to be done about it, and what may be said of it.

What may help: a retry here (connect errors, timeouts before the first chunk, 408, 409, 425, 429, 5xx, an unreadable
200), another key (401, 402, 403, 429), another target (all of these). What will not: any other 4xx, which is about the
request and is told to the caller as the provider said it, cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

import orjson

from gateway.depth import MOST_DEPTH, is_too_deep
from gateway.errors import BadCall, CallFailed, UpstreamFailed

_AGAIN: Final = frozenset({408, 409, 425})
_NOT_THE_CALLERS: Final = frozenset({401, 402, 403})
_MOST_SAID: Final = 600
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SECRETS: Final = re.compile(
    r"""(?ix) \b(?:sk|pk|rk|gsk|xai|key)-[\w*.\-]{6,} | \bBearer\s+[^\s"',;}]+
    | \b(?:x-)?api[-_]?key["']?\s*[:=]\s*["']?[^\s"',;}]+ | \bAuthorization["']?\s*[:=]\s*["']?[^"',;}]+"""
)
REMOVED: Final = "[removed]"


class Then(StrEnum):
    """What may help after a failed attempt."""

    TELL = "tell"  # nothing: the caller's request is at fault
    RETRY = "retry"  # the same target again, after a pause
    LIMITED = "limited"  # the same target with another key, or after the time it asks for
    REFUSED = "refused"  # the key is not good: another key, another target
    ELSEWHERE = "elsewhere"  # another target


class AttemptFailed(Exception):
    """One attempt failed. `reason` is a short word; `error` is what the caller is told if nothing else works.

    `sick`: the circuit breaker counts it. `status` 0: there was no answer.
    """

    def __init__(
        self,
        reason: str,
        error: CallFailed,
        *,
        then: Then = Then.RETRY,
        status: int = 0,
        sick: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.then = then
        self.status = status
        self.sick = sick
        self.retry_after_s = retry_after_s


def from_status(upstream: str, status: int, error: CallFailed, retry_after_s: float | None) -> AttemptFailed:
    """What an answer that is not 200 means; `error` is what the wire made of it."""
    reason = f"http_{status}"
    if status in _NOT_THE_CALLERS:
        said = f"the upstream {upstream} does not accept the gateway's key ({status}); check upstreams.{upstream}.keys"
        refused = UpstreamFailed(said, code="upstream_key_refused")
        return AttemptFailed(reason, refused, then=Then.REFUSED, status=status, sick=False)
    if status == 429:
        return AttemptFailed(reason, error, then=Then.LIMITED, status=status, sick=False, retry_after_s=retry_after_s)
    if status in _AGAIN or status >= 500:
        return AttemptFailed(reason, error, status=status, sick=status >= 500, retry_after_s=retry_after_s)
    if 400 <= status < 500:
        return AttemptFailed(reason, error, then=Then.TELL, status=status, sick=False)
    return AttemptFailed(reason, error, then=Then.ELSEWHERE, status=status)


def error_for(status: int, message: str, *, kind: str = "", code: str = "", param: str | None = None) -> CallFailed:
    """What a provider's error answer is to the caller: its own status where the request is at fault or the provider is
    busy, 502 where the provider is broken. The texts are the provider's; `Cleaner` has to see them."""
    said = message or f"the provider answered {status} without saying why"
    if status == 429:
        return UpstreamFailed(said, status=429, kind="rate_limit_error", code=code or "rate_limit_exceeded")
    if status in _NOT_THE_CALLERS or status in _AGAIN or status >= 500:
        told = 503 if status in (503, 529) else 504 if status in (408, 504) else 502
        return UpstreamFailed(said, status=told, code=code or f"upstream_http_{status}")
    if 400 <= status < 500:
        return BadCall(said, status=status, kind=kind or None, code=code or None, param=param)
    return UpstreamFailed(f"the provider answered {status} instead of an answer", code=f"upstream_http_{status}")


def garbage(what: str) -> UpstreamFailed:
    """An answer that cannot be read. `what` is ours, never the provider's text."""
    return UpstreamFailed(f"the upstream's answer cannot be used: {what}", code="upstream_garbage")


def object_in(raw: bytes, what: str = "it") -> dict[str, Any]:
    """The JSON object that an upstream said. Raises UpstreamFailed: it is none, or deeper than can be passed on."""
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise garbage(f"{what} is not JSON" + (", but HTML" if raw.lstrip()[:1] == b"<" else "")) from None
    if not isinstance(given, dict):
        raise garbage(f"{what} is no JSON object")
    if is_too_deep(given, raw):
        raise garbage(f"{what} is nested deeper than {MOST_DEPTH} lists and objects")
    return given


def text_in(value: object) -> str:
    """A provider's field where a text is expected; anything else is none."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


class Cleaner:
    """Takes an upstream's keys, and what looks like a key, out of texts that came from a provider."""

    def __init__(self, keys: Iterable[str]) -> None:
        found = set()
        for key in filter(None, keys):
            found |= {re.escape(key), re.escape(quote(key, safe=""))}
            if len(key) >= 16:  # a key that is shown in part
                found |= {re.escape(key[:8]) + r"\S*", r"\S*" + re.escape(key[-8:])}
        self._keys = re.compile("|".join(sorted(found, key=len, reverse=True))) if found else None

    def text(self, said: str) -> str:
        """At most 600 characters on one line, without keys."""
        said = _CONTROLS.sub(" ", said[: 16 * _MOST_SAID])
        if self._keys is not None:
            said = self._keys.sub(REMOVED, said)
        return _SECRETS.sub(REMOVED, said)[:_MOST_SAID]

    def error(self, error: CallFailed) -> CallFailed:
        """The same error, cleaned in place."""
        error.message = self.text(error.message)
        error.args = (error.message,)
        error.code = self.text(error.code)[:100]
        error.kind = self.text(error.kind)[:100]
        error.param = None if error.param is None else self.text(error.param)[:200]
        return error


def all_failed(failed: list[tuple[str, AttemptFailed]]) -> CallFailed:
    """What the caller is told when no target answered: one failure as it is, several in one sentence.

    `failed`: the last failure at each target, with its upstream's name. A target that cannot do what is asked does not
    hide one that could and failed.
    """
    told = [each for each in failed if each[1].reason != "unsupported"] or failed[:1]
    if len(told) == 1:
        return told[0][1].error
    waits = [f.error.retry_after_s for _, f in told if f.error.retry_after_s is not None]
    statuses = {f.error.status for _, f in told}
    kinds = {f.error.kind for _, f in told}
    said = "; ".join(f"{name}: {f.reason}" for name, f in told)
    return UpstreamFailed(
        f"no upstream answered: {said}",
        status=statuses.pop() if len(statuses) == 1 else 502,
        kind=kinds.pop() if len(kinds) == 1 else None,
        code="upstreams_failed",
        retry_after_s=min(waits) if waits else None,
    )
