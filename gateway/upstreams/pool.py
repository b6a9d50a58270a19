"""All upstreams: who is asked, how often, with which key, and when the next one is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp

from core.clock import Clock, system_clock, to_datetime
from gateway.config import UpstreamConfig
from gateway.errors import BadCall, CallFailed, UpstreamFailed
from gateway.records import Answer, Call, Target
from gateway.upstreams.failures import AttemptFailed, Then, all_failed, from_status, garbage
from gateway.upstreams.keyring import EVERY_MODEL
from gateway.upstreams.openai import usage_of
from gateway.upstreams.retries import Chance, pause_s, retry_after_s
from gateway.upstreams.running import Running, Seconds, Waiting
from gateway.upstreams.slot import Slot
from gateway.upstreams.stream import UpstreamStream
from gateway.upstreams.transport import Transport, read_error, read_whole, timed_out
from gateway.upstreams.wire import OpenStream, Outgoing

REFUSED_REST_S: Final = 60.0  # a key that was not accepted
LIMITED_REST_S: Final = 1.0  # a key that was told to wait, not for how long
_LOG = logging.getLogger("assay.gateway")
Found = TypeVar("Found")
Attempting = Callable[[Running, Outgoing], Awaitable[Found]]


class Pool:
    """Behind `Upstreams`. `start` in the event loop, `close` at the end; `use` takes another configuration while calls
    are under way: they keep what they began with, and an upstream that did not change keeps its state."""

    def __init__(
        self,
        upstreams: Mapping[str, UpstreamConfig],
        *,
        clock: Clock = system_clock,
        seconds: Seconds = time.monotonic,
        chance: Chance = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._seconds, self._chance, self._sleep = clock, seconds, chance, sleep
        self._transport = Transport()
        self._slots: dict[str, Slot] = {}
        self.use(upstreams)

    def start(self) -> None:
        """Makes the session; needs a running event loop."""
        self._transport.start()

    async def close(self) -> None:
        """Drops every connection."""
        await self._transport.close()

    def use(self, upstreams: Mapping[str, UpstreamConfig]) -> None:
        """From now on these upstreams answer."""
        was = self._slots
        self._slots = {
            name: was[name] if name in was and was[name].config == config else Slot(name, config)
            for name, config in upstreams.items()
        }

    def status(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """A row per upstream; see Health. For a tenant, figures of an upstream that others call too are left out."""
        return [slot.shown(self._seconds(), tenant) for slot in self._slots.values()]

    async def ask(self, call: Call) -> Answer:
        """A whole answer from the first target that gives one. Raises CallFailed."""
        return await self._first(call, self._ask)

    async def open(self, call: Call) -> OpenStream:
        """A stream whose first chunk has arrived. Raises CallFailed."""
        return await self._first(call, self._open)

    async def _first(self, call: Call, attempting: Attempting[Found]) -> Found:
        failures: list[tuple[str, AttemptFailed]] = []
        targets = call.model.targets
        for place, target in enumerate(targets):
            slot = self._slots.get(target.upstream)
            try:
                if slot is None:
                    raise _gone(target)
                return await self._at(call, target, slot, attempting, is_last=place == len(targets) - 1)
            except AttemptFailed as failed:
                call.fallback_reason = call.fallback_reason or failed.reason
                if failed.then is Then.TELL:
                    raise failed.error from failed
                failures.append((target.upstream, failed))
        raise all_failed(failures)

    async def _at(
        self, call: Call, target: Target, slot: Slot, attempting: Attempting[Found], *, is_last: bool
    ) -> Found:
        """One target, with its retries, within its time. Raises AttemptFailed."""
        until = self._seconds() + slot.config.timeout_s
        n_retries, failed = 0, None
        while True:
            key = slot.keys.take(target.model, self._seconds())
            if key is None:
                is_worth_a_wait = is_last or failed is not None  # others are there for a call that has not begun here
                failed = failed or _no_key(slot, target, self._seconds())
                if failed.then is Then.REFUSED or n_retries >= slot.config.retries or not is_worth_a_wait:
                    raise failed
                n_retries += 1
                await self._pause(call, slot.keys.wait_s(target.model, self._seconds()), n_retries, until, failed)
                continue
            try:
                return await self._run(call, target, slot, key, attempting, until)
            except AttemptFailed as this:
                failed = this
            call.fallback_reason = call.fallback_reason or failed.reason
            if failed.then in (Then.LIMITED, Then.REFUSED):
                self._rest(slot, target, key[0], failed)
                continue
            if failed.then is not Then.RETRY or n_retries >= slot.config.retries:
                raise failed
            n_retries += 1
            # A kept connection that the upstream had just closed is no reason to wait.
            if failed.reason != "disconnected" or n_retries > 1:
                await self._pause(call, failed.retry_after_s, n_retries, until, failed)

    async def _run(
        self,
        call: Call,
        target: Target,
        slot: Slot,
        key: tuple[int, str],
        attempting: Attempting[Found],
        until: float,
    ) -> Found:
        """One attempt. Raises AttemptFailed."""
        try:
            outgoing = slot.wire.request(call, target, key[1])
        except BadCall as error:
            raise AttemptFailed("unsupported", error, then=Then.ELSEWHERE, sick=False) from error
        self._check_open(slot)
        running = Running(call, target, slot, key[0], self._clock, self._seconds)
        try:
            async with asyncio.timeout(max(0.001, until - self._seconds())):
                return await attempting(running, outgoing)
        except AttemptFailed as failed:
            running.failed(failed)
            raise
        except TimeoutError:
            late = timed_out(f"the upstream {slot.name} did not answer within {slot.config.timeout_s:g} s")
            running.failed(late)
            raise late from None
        except BaseException:
            running.given_up()
            raise

    async def _ask(self, running: Running, outgoing: Outgoing) -> Answer:
        slot, call = running.slot, running.call
        with Waiting(call):
            response = await self._send(running, outgoing)
            try:
                await read_whole(response, running.body, slot.config.max_answer_bytes)
            finally:
                response.release()
        try:
            answer = slot.wire.answer(call, bytes(running.body))
        except CallFailed as error:
            reason = "garbage" if error.code == "upstream_garbage" else "error_in_200"
            raise AttemptFailed(reason, error, status=200) from error
        running.told = usage_of(answer.get("usage"))
        running.answered()
        running.ended()
        return Answer(body=answer)

    async def _open(self, running: Running, outgoing: Outgoing) -> OpenStream:
        reader = running.slot.wire.reader(running.call)
        with Waiting(running.call):
            response = await self._send(running, outgoing)
            try:
                if response.content_type != "text/event-stream":
                    await read_whole(response, running.body, running.slot.config.max_answer_bytes)
                    raise AttemptFailed("garbage", garbage("it is no stream of events"), status=200)
                running.reader = reader
                stream = UpstreamStream(response, reader, running)
                await stream.begin()
            except BaseException:
                response.close()
                raise
        running.answered()
        return stream

    async def _send(self, running: Running, outgoing: Outgoing) -> aiohttp.ClientResponse:
        """Raises AttemptFailed unless the answer is 200."""
        slot, call = running.slot, running.call
        headers = slot.headers(call, outgoing.headers)
        response = await self._transport.send(slot.url(outgoing.path), headers, outgoing.body, slot.timeout)
        running.attempt.status = response.status
        call.simulated = call.simulated or response.headers.get("x-assay-simulated") == "true"
        if response.status == 200:
            return response
        try:
            error = slot.wire.error(response.status, await read_error(response))
        finally:
            response.release()
        wait = retry_after_s(response.headers, to_datetime(self._clock()))
        error.retry_after_s = wait
        raise from_status(slot.name, response.status, error, wait)

    def _check_open(self, slot: Slot) -> None:
        if slot.health.in_flight >= slot.config.max_in_flight:
            said = f"{slot.config.max_in_flight} calls are under way at the upstream {slot.name} already"
            busy = UpstreamFailed(said, status=503, code="upstream_busy", retry_after_s=1.0)
            raise AttemptFailed("busy", busy, then=Then.ELSEWHERE, sick=False)
        if not slot.breaker.allow(self._seconds()):
            wait = max(1.0, slot.breaker.wait_s(self._seconds()))
            said = f"the upstream {slot.name} failed often lately and is left alone for {wait:.0f} s"
            is_open = UpstreamFailed(said, status=503, code="upstream_breaker_open", retry_after_s=wait)
            raise AttemptFailed("breaker_open", is_open, then=Then.ELSEWHERE, sick=False)

    def _rest(self, slot: Slot, target: Target, key: int, failed: AttemptFailed) -> None:
        now = self._seconds()
        if failed.then is Then.REFUSED:
            slot.keys.rest(key, EVERY_MODEL, now + REFUSED_REST_S)
            return
        is_out_of_money = failed.error.code == "insufficient_quota"
        rest = REFUSED_REST_S if is_out_of_money else failed.retry_after_s or LIMITED_REST_S
        slot.keys.rest(key, target.model, now + rest)

    async def _pause(
        self, call: Call, asked_s: float | None, n_retries: int, until: float, failed: AttemptFailed
    ) -> None:
        """Waits before the next attempt. Raises `failed` when that would take too long."""
        pause = pause_s(asked_s, n_retries, self._chance, until - self._seconds())
        if pause is None:
            raise failed
        with Waiting(call):
            await self._sleep(pause)


def _gone(target: Target) -> AttemptFailed:
    error = UpstreamFailed(f"there is no upstream {target.upstream} any more", code="upstream_gone")
    return AttemptFailed("gone", error, then=Then.ELSEWHERE)


def _no_key(slot: Slot, target: Target, now: float) -> AttemptFailed:
    if slot.keys.all_refused(now):
        return from_status(slot.name, 401, UpstreamFailed(""), None)
    wait = slot.keys.wait_s(target.model, now)
    said = f"the upstream {slot.name} asked to wait for {wait:.1f} s"
    error = UpstreamFailed(said, status=429, kind="rate_limit_error", code="rate_limit_exceeded", retry_after_s=wait)
    return AttemptFailed("http_429", error, then=Then.LIMITED, sick=False, retry_after_s=wait)
