"""Calls through the gateway as its spans tell them, made by the gateway's own writer and sent over OTLP."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any, Final

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.ids import TenantId
from gateway.records import Attempt, CacheOutcome, Call, Caller, CallKind, Target, Usage, VirtualModel
from gateway.spans import span_of
from tests.dashboard import hostile
from tests.stack import Stack

APP: Final = "parcel-desk"
OTHER_APP: Final = "shelf-search"
HOSTILE_APP: Final = "gateway " + hostile.EVERYTHING[:60]
N_OK: Final = 60
_MS: Final = 1_000_000
_S: Final = 1_000_000_000
EAST, WEST = Target(upstream="east", model="sim-1"), Target(upstream="west", model="sim-1-mini")
BUDGET: Final = (
    "the budget desk-day of the app 'parcel-desk' has spent {} of 0.00001 USD this day (UTC), 0.00 USD are held for "
    "calls under way, and this call may cost 0.00003 USD; it begins anew at 2026-11-22T00:00:00Z"
)
FAST: Final = VirtualModel(name="support-fast", kind=CallKind.CHAT, targets=(EAST, WEST))
_POLICIES: Final = {
    "limits": 0.004,
    "budgets": 0.006,
    "content": 0.05,
    "masking": 0.16,
    "routing": 0.002,
    "cache": 0.03,
}


def send(stack: Stack, calls: list[Call]) -> list[str]:
    """Sends the spans of calls in one request; the trace id of each."""
    bodies = [span_of(call, content=False) for call in calls]
    headers = {**stack.headers, "Content-Type": "application/x-protobuf"}
    httpx.post(f"{stack.otlp_http}/v1/traces", content=b"".join(bodies), headers=headers).raise_for_status()
    found = (ExportTraceServiceRequest.FromString(body) for body in bodies)
    return [one.resource_spans[0].scope_spans[0].spans[0].trace_id.hex() for one in found]


def day(stack: Stack) -> list[str]:
    """A day of calls of APP, some of OTHER_APP: answered, from the cache, failed over, failed, refused, left by their
    caller; with masked values. Trace ids of the refused ones, oldest first."""
    chance = random.Random(7)
    now = time.time_ns()
    calls = [_answered(now - int(chance.uniform(0, 23.5 * 3600) * _S), chance) for _ in range(N_OK)]
    calls += [_from_cache(now - (2 + n) * 1800 * _S, CacheOutcome.EXACT) for n in range(10)]
    calls += [_from_cache(now - (3 + n) * 2100 * _S, CacheOutcome.SEMANTIC) for n in range(4)]
    calls += [_moved_on(now - (1 + n) * 3000 * _S, chance) for n in range(5)]
    calls += [_failed(now - (1 + n) * 5000 * _S) for n in range(3)]
    left = _answered(now - 4000 * _S, chance)
    left.aborted, left.error, left.error_message = True, "client_disconnected", "the caller went away"
    calls.append(left)
    calls += [_answered(now - 7000 * _S, chance, app=OTHER_APP) for _ in range(6)]
    send(stack, calls)
    return send(stack, refused(now))


def refused(now: int) -> list[Call]:
    """Four refused calls, oldest first."""
    why = (
        ("budget", BUDGET.format("0.00003")),
        ("content", "Not here."),
        ("budget", BUDGET.format("0.00004")),
        ("limit_requests", "600 requests a minute are allowed for key 0a1b2c3d4e5f; try again in 12 s"),
    )
    return [_refused(now - (600 - 60 * n) * _S, code, said) for n, (code, said) in enumerate(why)]


def attack(stack: Stack) -> str:
    """A refused call whose every text is hostile; its trace id."""
    bad = Target(upstream=hostile.EVERYTHING[:80], model=hostile.EVERYTHING[:80])
    model = VirtualModel(name=hostile.EVERYTHING[:80], kind=CallKind.CHAT, targets=(bad,))
    call = _call(time.time_ns() - 60 * _S, 40, app=HOSTILE_APP, model=model)
    call.refused, call.error, call.error_message = hostile.EVERYTHING[:80], "refused", hostile.EVERYTHING[:900]
    call.masked, call.policy_ms = {hostile.EVERYTHING[:40]: 3}, {hostile.EVERYTHING[:40]: 0.2}
    about: dict[str, Any] = {"started_ns": call.started_ns, "ended_ns": call.ended_ns, "error": "refused"}
    call.attempts = [Attempt(target=EAST, **about), Attempt(target=bad, **about)]
    call.flags = ["content:" + hostile.EVERYTHING[:90]]
    call.fallback_reason = hostile.EVERYTHING[:60]
    return send(stack, [call])[0]


def within_an_agent(stack: Stack) -> tuple[str, str]:
    """A call that an agent's own span of it encloses, with the same tokens and cost: the ids of trace and of the
    gateway's span."""
    call = _answered(time.time_ns() - 90 * _S, random.Random(3), app=OTHER_APP)
    call.masked, call.flags = {"email": 2}, ["content:legal-threat"]
    sent = ExportTraceServiceRequest.FromString(span_of(call, content=False))
    ours = sent.resource_spans[0].scope_spans[0].spans[0]
    agents = sent.resource_spans.add()
    agents.CopyFrom(sent.resource_spans[0])
    agents.scope_spans[0].scope.name = "pydantic-ai"
    outer = agents.scope_spans[0].spans[0]
    outer.span_id, outer.parent_span_id = bytes(range(8)), b""
    outer.start_time_unix_nano -= 5 * _MS
    outer.end_time_unix_nano += 5 * _MS
    said = [each for each in outer.attributes if each.key.startswith("gen_ai.")]
    del outer.attributes[:]
    outer.attributes.extend(said)
    ours.parent_span_id = outer.span_id
    headers = {**stack.headers, "Content-Type": "application/x-protobuf"}
    httpx.post(f"{stack.otlp_http}/v1/traces", content=sent.SerializeToString(), headers=headers).raise_for_status()
    return ours.trace_id.hex(), ours.span_id.hex()


def _call(at: int, ms: float, *, app: str = APP, model: VirtualModel = FAST) -> Call:
    caller = Caller(
        tenant=TenantId("default"), key_id="0a1b2c3d4e5f", app=app, team="support", user="ann", session=f"s{at % 9}"
    )
    made: dict[str, Any] = {"body": {}, "streamed": False, "started_ns": at}
    call = Call(
        id=f"c{at}", kind=CallKind.CHAT, caller=replace(caller, release="v1"), asked=model.name, model=model, **made
    )
    call.ended_ns, call.upstream_ns, call.status = at + int(ms * _MS), int((ms - 0.4) * _MS), 200
    call.provider, call.policy_ms = "openai", dict(_POLICIES)
    return call


def _answered(at: int, chance: random.Random, app: str = APP) -> Call:
    call = _call(at, chance.lognormvariate(6, 0.5), app=app)
    call.cache, call.answered_by = CacheOutcome.MISS, EAST
    call.attempts = [Attempt(target=EAST, started_ns=at, ended_ns=call.ended_ns, status=200)]
    call.usage = Usage(input_tokens=chance.randint(200, 900), output_tokens=chance.randint(20, 200), reported=True)
    call.cost_usd = round(call.usage.input_tokens * 0.4e-6 + call.usage.output_tokens * 1.6e-6, 9)
    call.policy_ms = {name: ms * chance.uniform(0.7, 1.8) for name, ms in _POLICIES.items()}
    call.upstream_ns -= int(chance.uniform(0, 0.5) * _MS)
    if chance.random() < 0.4:
        call.masked = {"email": chance.randint(1, 2), "phone": 1} if chance.random() < 0.6 else {"card": 1}
    return call


def _from_cache(at: int, outcome: CacheOutcome) -> Call:
    call = _call(at, 0.6)
    call.cache, call.cost_usd, call.upstream_ns = outcome, 0.0, 0
    return call


def _moved_on(at: int, chance: random.Random) -> Call:
    call = _answered(at, chance)
    middle = at + 90 * _MS
    call.answered_by, call.fallback_reason = WEST, "status_503"
    call.attempts = [
        Attempt(target=EAST, started_ns=at, ended_ns=middle, status=503, error="503"),
        Attempt(target=WEST, started_ns=middle, ended_ns=max(middle, call.ended_ns), status=200),
    ]
    return call


def _failed(at: int) -> Call:
    call = _call(at, 30_000)
    call.attempts = [Attempt(target=EAST, started_ns=at, ended_ns=call.ended_ns, error="timeout")]
    call.cache, call.status, call.error, call.error_message = CacheOutcome.MISS, 504, "timeout", "east did not answer"
    return call


def _refused(at: int, code: str, said: str) -> Call:
    call = _call(at, 0.3)
    call.upstream_ns, call.status = 0, 429
    call.refused, call.error, call.error_message = code, code, said
    call.flags = ["content:no-weapons"] if code == "content" else []
    return call
