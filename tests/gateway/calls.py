"""Calls as the model door leaves them, for tests of what becomes of them."""

from __future__ import annotations

import secrets
from typing import Any

from core.clock import NS_PER_MS
from core.ids import tenant_id
from gateway.records import Attempt, CacheOutcome, Call, Caller, CallKind, Target, Usage, VirtualModel

MAIN = Target(upstream="main", model="sim-1")
SPARE = Target(upstream="spare", model="sim-1-mini")
MODEL = VirtualModel(name="support-fast", kind=CallKind.CHAT, targets=(MAIN, SPARE))


def caller(**fields: Any) -> Caller:
    """A caller of the tenant default, with everything said."""
    said: dict[str, Any] = {"app": "my-agent", "team": "support", "user": "u1", "session": "s1", "release": "v2"}
    return Caller(**{"tenant": tenant_id("default"), "key_id": "k1", "variant": "treatment"} | said | fields)


def answered(started_ns: int, **fields: Any) -> Call:
    """A call that was answered at the first attempt; `fields` override."""
    ended_ns = started_ns + 20 * NS_PER_MS
    made: dict[str, Any] = {
        "id": f"call_{secrets.token_hex(12)}",
        "kind": CallKind.CHAT,
        "caller": caller(),
        "asked": "support-fast",
        "model": MODEL,
        "body": {"model": "support-fast", "messages": [{"role": "user", "content": "Where is <EMAIL_1>?"}]},
        "streamed": False,
        "started_ns": started_ns,
        "policy_ms": {"masking": 0.25, "limits": 0.01},
        "masked": {"email": 1},
        "cache": CacheOutcome.MISS,
        "attempts": [Attempt(target=MAIN, started_ns=started_ns, ended_ns=ended_ns, status=200, key=1)],
        "answered_by": MAIN,
        "provider": "openai",
        "usage": Usage(input_tokens=100, output_tokens=10, cached_tokens=40, reported=True),
        "cost_usd": 0.00125,
        "response_id": "chatcmpl-1",
        "response_model": "sim-1",
        "finish_reasons": ["stop"],
        "output": [{"role": "assistant", "content": "Gone."}],
        "upstream_ns": 19 * NS_PER_MS,
        "ended_ns": ended_ns,
        "status": 200,
    }
    return Call(**(made | fields))
