"""Streams before a real provider that fails: nothing is tried again once a chunk came, and everything is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import CallFailed, UpstreamFailed
from gateway.records import Call, Usage
from tests.gateway.fault_upstream import BROKEN, PLAIN, FaultUpstream
from tests.gateway.upstream_calls import KEY, call_of, faulty, streamed


def stream(
    text: str, on: tuple[str, ...] = ("main",), **config: Any
) -> tuple[Call, str, CallFailed | None, FaultUpstream]:
    """One streamed call: the call, its text, its failure."""

    async def run() -> tuple[Call, str, CallFailed | None, FaultUpstream]:
        async with faulty(**config) as (pool, upstream):
            call = call_of(text, streamed=True, on=on)
            said, failure = await streamed(pool, call)
            assert all(row["in_flight"] == 0 for row in pool.status())
            assert all(attempt.ended_ns >= attempt.started_ns > 0 for attempt in call.attempts)
            return call, said, failure, upstream

    return asyncio.run(run())


def words(n_words: int) -> str:
    """What the fault upstream says."""
    return "".join(f"word{n:03d} " for n in range(n_words))


@pytest.mark.parametrize("fault", [*PLAIN, "slow"])
def test_whole_streams_however_they_arrive(fault: str) -> None:
    call, said, failure, upstream = stream(f"words=8 fault={fault}")
    assert (said, failure) == (words(8), None)
    assert call.usage == Usage(input_tokens=upstream.ledger.told_input, output_tokens=16, reported=True)
    assert [attempt.error for attempt in call.attempts] == [""]
    assert upstream.asked[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("fault", ["close_last", "stall_last"])
def test_a_stream_that_said_all_is_whole_however_it_ends(fault: str) -> None:
    call, said, failure, _ = stream(f"words=8 fault={fault}", idle_timeout_s=0.3)
    assert (said, failure) == (words(8), None)
    assert call.usage.reported
    assert call.attempts[0].error == ""


@pytest.mark.parametrize("fault", ["http_500", "http_429", "close_first", "html", "error_first"])
def test_before_the_first_chunk_another_attempt_is_made(fault: str) -> None:
    call, said, failure, upstream = stream(f"id=a words=8 fault={fault}:1")
    assert (said, failure) == (words(8), None)
    assert len(call.attempts) == 2
    assert call.usage.reported
    assert call.usage.input_tokens == upstream.ledger.told_input


@pytest.mark.parametrize("fault", ["hang", "hang_head"])
def test_a_silent_stream_is_left_for_the_next_target_and_its_input_is_billed(fault: str) -> None:
    call, said, failure, upstream = stream(f"words=8 fault={fault}", on=("main", "spare"), timeout_s=0.3)
    assert (said, failure, call.fallback_reason) == (words(8), None, "timeout")
    first, second = (attempt.usage for attempt in call.attempts)
    assert first == Usage(input_tokens=upstream.ledger.untold_input)
    assert second is not None
    assert call.usage.input_tokens == first.input_tokens + second.input_tokens


REASONS = {
    "close_mid": ("disconnected", 502),
    "end_mid": ("cut_off", 502),
    "error_mid": ("error_event", 502),
    "garbage_mid": ("garbage", 502),
    "deep_mid": ("garbage", 502),
    "utf8_mid": ("garbage", 502),
    "huge_mid": ("garbage", 502),
    "stall_mid": ("timeout", 504),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_breaks_in_the_middle_fails_with_what_came_before_and_is_not_tried_again(fault: str) -> None:
    call, said, failure, upstream = stream(f"words=8 fault={fault} at=5", on=("main", "spare"), idle_timeout_s=0.3)
    assert said == words(5)
    assert isinstance(failure, UpstreamFailed)
    assert (call.attempts[0].error, failure.status) == REASONS[fault]
    assert len(call.attempts) == 1
    ledger = upstream.ledger
    assert call.usage == Usage(input_tokens=ledger.untold_input, output_tokens=ledger.untold_output, reported=False)
    assert KEY not in failure.message


def test_an_event_larger_than_the_bound_is_not_kept() -> None:
    call, said, failure, _ = stream("words=8 fault=huge_mid", max_answer_bytes=100_000)
    assert said == words(3)
    assert isinstance(failure, UpstreamFailed)
    assert call.attempts[0].error == "too_large"


def test_a_stream_that_never_ends_is_cut_at_the_largest_answer() -> None:
    call, said, failure, upstream = stream("words=8 fault=never_ends", max_answer_bytes=20_000)
    assert said.startswith(words(8))
    assert isinstance(failure, UpstreamFailed)
    assert failure.code == "upstream_answer_too_large"
    assert call.usage.output_tokens >= len(said) // 4
    assert upstream.ledger.told_output == 0


def test_a_stream_that_goes_on_for_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstreams.stream.STREAM_TIMES", 0.1)
    call, _, failure, _ = stream("words=8 fault=never_ends", timeout_s=5)
    assert isinstance(failure, UpstreamFailed)
    assert "went on for too long" in failure.message
    assert call.attempts[0].error == "timeout"


def test_a_caller_who_leaves_ends_the_upstreams_work() -> None:
    async def run() -> None:
        async with faulty(timeout_s=60) as (pool, upstream):
            call = call_of("fault=never_ends", streamed=True)
            opened = await pool.open(call)
            said = ""
            async for chunks in opened:
                said += "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
                if said:
                    break
            await opened.close()
            await opened.close()
            while upstream.ledger.n_open:
                await asyncio.sleep(0.005)
            row = pool.status()[0]
            assert (row["in_flight"], row["n_aborted"], row["n_errors"]) == (0, 1, 0)
            assert upstream.ledger.n_gone == 1
            assert call.attempts[0].error == "aborted"
            assert call.usage.input_tokens == upstream.ledger.gone_input
            assert -(-len(said) // 4) <= call.usage.output_tokens <= upstream.ledger.gone_output
            assert not call.usage.reported

    asyncio.run(run())


def test_cancelled_while_it_waits_for_the_first_chunk_or_the_next() -> None:
    async def run(fault: str) -> None:
        async with faulty(timeout_s=60, idle_timeout_s=60) as (pool, upstream):
            call = call_of(f"fault={fault}", streamed=True)
            task = asyncio.ensure_future(streamed(pool, call))
            while not upstream.ledger.n_untold:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while upstream.ledger.n_open:
                await asyncio.sleep(0.005)
            assert pool.status()[0]["in_flight"] == 0
            assert [attempt.error for attempt in call.attempts] == ["aborted"]
            assert call.usage.input_tokens == upstream.ledger.untold_input

    for fault in ("hang", "hang_head", "stall_mid"):
        asyncio.run(run(fault))


def test_connections_of_whole_streams_are_used_again() -> None:
    async def run() -> None:
        async with faulty() as (pool, upstream):
            for _ in range(20):
                assert (await streamed(pool, call_of("hello", streamed=True)))[1] is None
            assert upstream.ledger.n_open == 1

    asyncio.run(run())


def test_broken_streams_open_the_breaker() -> None:
    async def run() -> None:
        async with faulty(breaker={"failures": 2}) as (pool, _):
            for _ in range(2):
                await streamed(pool, call_of("fault=close_mid", streamed=True))
            assert pool.status()[0]["state"] == "open"

    asyncio.run(run())
