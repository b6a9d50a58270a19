"""What became of a call, for a caller who asks with the header `x-assay-explain: 1`: its figures, at once."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.records import Call

ASKED: Final = b"x-assay-explain"  # the request's header
HEADER: Final = "x-assay-explained"  # the answer's, with JSON
_WANTED: Final = "explain"


def ask(call: Call) -> None:
    """The caller wants to know."""
    call.state[_WANTED] = True


def is_asked(call: Call) -> bool:
    """Whether the caller wants to know."""
    return _WANTED in call.state


def explained(call: Call) -> dict[str, Any]:
    """The figures of a call that is over. Nothing in it was said in the call."""
    return {
        "call_id": call.id,
        "policy_ms": {name: round(ms, 4) for name, ms in call.policy_ms.items()},
        "overhead_ms": round((call.ended_ns - call.started_ns - call.upstream_ns) / 1e6, 3),
        "upstream_ms": round(call.upstream_ns / 1e6, 3),
        "attempts": [
            {"upstream": each.target.upstream, "model": each.target.model, "status": each.status, "error": each.error}
            for each in call.attempts
        ],
        "fallback_reason": call.fallback_reason,
        "cache": call.cache.value,
        "masked": call.masked,
        "flags": call.flags,
        "refused": call.refused,
        "input_tokens": call.usage.input_tokens,
        "output_tokens": call.usage.output_tokens,
        "cost_usd": call.cost_usd,
        "simulated": call.simulated,
    }


def header(call: Call) -> str:
    """As a header's value, which has no characters above 126: names of files may have."""
    return orjson.dumps(explained(call)).decode("utf-8").encode("ascii", "backslashreplace").decode("ascii")


def comment(call: Call) -> bytes:
    """As a comment of an event stream, which clients pass over; empty when nobody asked."""
    return b": " + HEADER.encode() + b" " + orjson.dumps(explained(call)) + b"\n\n" if is_asked(call) else b""
