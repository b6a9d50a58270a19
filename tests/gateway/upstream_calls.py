"""Calls and pools for tests of what stands behind `Upstreams`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.ids import tenant_id
from gateway.config import UpstreamConfig
from gateway.errors import CallFailed
from gateway.records import Answer, Call, Caller, CallKind, Target, VirtualModel
from gateway.upstreams.pool import Pool
from tests.gateway.fault_upstream import FaultUpstream, characters, fault_upstream

KEY = "sk-provider-0123456789abcdef"


def call_of(text: str, *, streamed: bool = False, on: tuple[str, ...] = ("main",), **body: Any) -> Call:
    """A call with one user message, for a model with a target at each of these upstreams."""
    given = {"model": "m", "messages": [{"role": "user", "content": text}], **body}
    kind = CallKind.EMBEDDINGS if "input" in given else CallKind.CHAT
    targets = tuple(Target(upstream=name, model=f"at-{name}") for name in on)
    return Call(
        id="call_1",
        kind=kind,
        caller=Caller(tenant=tenant_id("acme"), session="s 1", release="v1"),
        asked="m",
        model=VirtualModel(name="m", kind=kind, targets=targets),
        body=given,
        streamed=streamed,
        started_ns=1_790_000_000_000_000_000,
        n_input_characters=characters(given.get("input") or given["messages"]) + characters(given.get("tools")),
    )


class SkippedTime:
    """A clock that goes on at once when somebody sleeps. `slept` tells for how long each time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def seconds(self) -> float:
        """What time it is."""
        return time.monotonic() + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        """Does not."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def pool_of(configs: dict[str, dict[str, Any]], skipped: SkippedTime | None = None) -> AsyncIterator[Pool]:
    """A pool that does not really wait between attempts; chance is always one half."""
    made = {name: UpstreamConfig.model_validate({"keys": [KEY], **config}) for name, config in configs.items()}
    skipped = skipped or SkippedTime()
    pool = Pool(made, sleep=skipped.sleep, seconds=skipped.seconds, chance=lambda: 0.5)
    pool.start()
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def faulty(skipped: SkippedTime | None = None, **config: Any) -> AsyncIterator[tuple[Pool, FaultUpstream]]:
    """A pool with the fault upstream as `main`, and a sound one as `spare`."""
    async with fault_upstream() as (main, upstream), fault_upstream(is_sound=True) as (spare, _):
        patient = {"timeout_s": 5, "idle_timeout_s": 5, "breaker": {"failures": 1000}, **config}
        configs = {"main": {"base_url": main, **patient}, "spare": {"base_url": spare, "timeout_s": 5}}
        async with pool_of(configs, skipped) as pool:
            yield pool, upstream


async def asked(pool: Pool, call: Call) -> Answer | CallFailed:
    """The answer or the failure."""
    try:
        return await pool.ask(call)
    except CallFailed as error:
        return error


async def streamed(pool: Pool, call: Call) -> tuple[str, CallFailed | None]:
    """The text that came, and how it failed if it did."""
    text = ""
    try:
        stream = await pool.open(call)
    except CallFailed as error:
        return text, error
    try:
        async for chunks in stream:
            text += "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    except CallFailed as error:
        return text, error
    finally:
        await stream.close()
    return text, None


def text_of(answer: Answer | CallFailed) -> str:
    """What the answer says. Fails when it is a failure."""
    assert isinstance(answer, Answer), f"{answer!r}"
    return str(answer.body["choices"][0]["message"]["content"])
