"""Whole answers before a real provider that fails: what is tried again, where, and what the caller is told."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.errors import BadCall, CallFailed, UpstreamFailed
from gateway.records import Answer, Call, Usage
from gateway.upstreams.pool import Pool
from tests.gateway.fault_upstream import FaultUpstream, fault_upstream
from tests.gateway.upstream_calls import KEY, SkippedTime, asked, call_of, faulty, pool_of, text_of


def errors(call: Call) -> list[str]:
    """How the attempts ended."""
    return [f"{attempt.target.upstream}:{attempt.error or 'ok'}" for attempt in call.attempts]


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def refused(pool: Pool, call: Call) -> CallFailed:
    """How a call failed. Fails when it was answered."""
    found = await asked(pool, call)
    assert isinstance(found, CallFailed), f"{found!r}"
    return found


def ask(text: str, on: tuple[str, ...] = ("main",), **config: Any) -> tuple[Call, Answer | CallFailed, FaultUpstream]:
    """One call before the faulty provider."""

    async def run() -> tuple[Call, Answer | CallFailed, FaultUpstream]:
        async with faulty(**config) as (pool, upstream):
            call = call_of(text, on=on)
            found = await asked(pool, call)
            assert all(row["in_flight"] == 0 for row in pool.status())
            assert all(attempt.ended_ns >= attempt.started_ns > 0 for attempt in call.attempts)
            return call, found, upstream

    return asyncio.run(run())


def test_a_whole_answer() -> None:
    call, found, upstream = ask("words=3 hello")
    assert text_of(found) == "word000 word001 word002 "
    assert errors(call) == ["main:ok"]
    assert call.answered_by is not None
    assert (call.answered_by.upstream, call.provider, call.fallback_reason) == ("main", "openai", "")
    assert call.usage == Usage(input_tokens=upstream.ledger.told_input, output_tokens=6, reported=True)
    assert call.upstream_ns > 0
    assert upstream.asked[0].body["model"] == "at-main"
    assert upstream.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert upstream.asked[0].headers["baggage"] == "session.id=s%201,assay.release=v1"


RETRIED = ["http_408", "http_500", "http_503", "http_529", "http_429"]
RETRIED += ["close_first", "html", "half_json", "deep", "cut", "not_http"]


@pytest.mark.parametrize("fault", RETRIED)
def test_what_may_work_the_second_time_is_tried_again(fault: str) -> None:
    call, found, upstream = ask(f"id=a fault={fault}:1")
    assert text_of(found)
    assert len(call.attempts) == 2
    assert call.fallback_reason == call.attempts[0].error
    assert upstream.ledger.n_requests == 2


@pytest.mark.parametrize("fault", [*RETRIED, "hang", "http_401", "http_403"])
def test_what_fails_always_is_answered_by_the_next_target(fault: str) -> None:
    call, found, _ = ask(f"fault={fault}", on=("main", "spare"), timeout_s=0.3 if fault == "hang" else 5)
    assert text_of(found)
    assert call.answered_by is not None
    assert call.answered_by.upstream == "spare"
    assert call.fallback_reason == call.attempts[0].error


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("http_408", 504, "upstream_http_408"),
        ("http_429", 429, "rate_limit_exceeded"),
        ("http_500", 502, "upstream_http_500"),
        ("http_503", 503, "upstream_http_503"),
        ("http_529", 503, "upstream_http_529"),
        ("http_401", 502, "upstream_key_refused"),
        ("close_first", 502, "upstream_disconnected"),
        ("cut", 502, "upstream_disconnected"),
        ("html", 502, "upstream_garbage"),
        ("not_http", 502, "upstream_garbage"),
        ("half_json", 502, "upstream_garbage"),
        ("deep", 502, "upstream_garbage"),
    ],
)
def test_what_the_caller_is_told_when_nothing_helps(fault: str, status: int, code: str) -> None:
    call, found, upstream = ask(f"fault={fault}")
    assert isinstance(found, UpstreamFailed)
    assert (found.status, found.code) == (status, code)
    assert upstream.ledger.n_requests == len(call.attempts) == (1 if fault == "http_401" else 3)
    assert call.answered_by is None


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_is_wrong_with_the_request_is_told_at_once_as_the_provider_said_it(status: int) -> None:
    call, found, _ = ask(f"fault=http_{status}", on=("main", "spare"))
    assert isinstance(found, BadCall)
    assert found.status == status
    assert found.message.startswith(f"answers {status} to ")
    assert errors(call) == [f"main:http_{status}"]


def test_a_refused_key_is_not_asked_with_again() -> None:
    async def run() -> None:
        async with faulty() as (pool, upstream):
            failed = await asked(pool, call_of("fault=http_401"))
            again = call_of("hello")
            assert isinstance(failed, CallFailed)
            assert failed.body() == (await refused(pool, again)).body()
            assert "check upstreams.main.keys" in failed.message
            assert again.attempts == []
            assert upstream.ledger.n_requests == 1

    asyncio.run(run())


def test_another_key_is_tried_when_one_is_refused_or_limited() -> None:
    async def run(fault: str) -> None:
        async with (
            fault_upstream() as (url, upstream),
            pool_of({"main": {"base_url": url, "keys": ["k1", "k2"]}}) as pool,
        ):
            call = call_of(f"fault={fault}:1 id=a")
            text_of(await asked(pool, call))
            assert [(attempt.key, attempt.status) for attempt in call.attempts] == [(1, int(fault[5:])), (2, 200)]
            assert pool.status()[0]["keys_resting"] == 1
            text_of(await asked(pool, call_of("x")))
            assert upstream.asked[-1].headers["authorization"] == "Bearer k2", "the other one rests"

    for fault in ("http_401", "http_403", "http_429"):
        asyncio.run(run(fault))


def test_a_limited_upstream_is_waited_for_as_long_as_it_asks_but_not_longer_than_ten_seconds() -> None:
    async def run(after: str, *on: str) -> tuple[Call, Answer | CallFailed, list[float]]:
        skipped = SkippedTime()
        async with faulty(skipped, timeout_s=60) as (pool, _):
            call = call_of(f"fault=http_429:1 id=a after={after}", on=on)
            return call, await asked(pool, call), skipped.slept

    call, found, slept = asyncio.run(run("4", "main", "spare"))
    assert text_of(found)
    assert errors(call) == ["main:http_429", "main:ok"]
    assert slept == [pytest.approx(4.2, abs=0.2)]  # a twentieth more, by the chance of this test
    call, found, slept = asyncio.run(run("30", "main", "spare"))
    assert (errors(call), slept) == (["main:http_429", "spare:ok"], [])
    call, found, slept = asyncio.run(run("30", "main"))
    assert isinstance(found, CallFailed)
    assert (errors(call), found.status, found.retry_after_s, slept) == (["main:http_429"], 429, 30.0, [])


def test_calls_that_come_while_an_upstream_asked_to_wait_go_elsewhere() -> None:
    async def run() -> None:
        async with faulty(timeout_s=60) as (pool, upstream):
            await asked(pool, call_of("fault=http_429 after=30"))
            call = call_of("hello", on=("main", "spare"))
            text_of(await asked(pool, call))
            assert (errors(call), call.fallback_reason) == (["spare:ok"], "http_429")
            failed = await refused(pool, call_of("hello"))
            assert (failed.status, upstream.ledger.n_requests) == (429, 1)
            assert 0 < (failed.retry_after_s or 0) <= 30

    asyncio.run(run())


def test_an_upstream_that_nobody_answers_at() -> None:
    async def run() -> None:
        async with faulty(base_url="http://127.0.0.1:9") as (pool, _):
            call = call_of("hello", on=("main", "spare"))
            text_of(await asked(pool, call))
            assert errors(call) == ["main:connect", "main:connect", "main:connect", "spare:ok"]
            assert call.fallback_reason == "connect"
            assert call.usage.reported
            failed = await refused(pool, call_of("hello"))
            assert (failed.status, failed.code) == (502, "upstream_connect")

    asyncio.run(run())


def test_an_upstream_whose_certificate_nobody_signed_is_not_asked(tmp_path: Path) -> None:
    async def run() -> None:
        async with fault_upstream(tls=self_signed(tmp_path)) as (url, upstream), faulty(base_url=url) as (pool, _):
            call = call_of("hello", on=("main", "spare"))
            text_of(await asked(pool, call))
            assert call.fallback_reason == "tls"
            failed = await refused(pool, call_of("hello"))
            assert (failed.status, failed.code) == (502, "upstream_tls")
            assert upstream.ledger.n_requests == 0

    asyncio.run(run())


def test_a_large_body_is_sent_whole() -> None:
    call, found, upstream = ask("hello " + "x" * (3 << 20))
    assert text_of(found)
    assert upstream.asked[0].body["messages"] == call.body["messages"]


def test_silence_is_not_waited_for_longer_than_the_time_limit_and_its_input_is_billed() -> None:
    call, found, upstream = ask("fault=hang", timeout_s=0.2)
    assert isinstance(found, UpstreamFailed)
    assert (found.status, found.code) == (504, "upstream_timeout")
    assert errors(call) == ["main:timeout"]
    assert call.usage == Usage(input_tokens=upstream.ledger.untold_input, reported=False)


def test_after_enough_failures_an_upstream_is_left_alone_and_then_tried_once() -> None:
    async def run() -> None:
        skipped = SkippedTime()
        breaker = {"failures": 3, "window_s": 30, "open_s": 20}
        async with faulty(skipped, retries=0, breaker=breaker) as (pool, upstream):
            for _ in range(3):
                await asked(pool, call_of("fault=http_500"))
            assert pool.status()[0]["state"] == "open"
            call = call_of("hello", on=("main", "spare"))
            text_of(await asked(pool, call))
            assert (call.fallback_reason, errors(call)) == ("breaker_open", ["spare:ok"])
            failed = await refused(pool, call_of("hello"))
            assert (failed.status, failed.code) == (503, "upstream_breaker_open")
            assert failed.retry_after_s == pytest.approx(20, abs=5)
            assert upstream.ledger.n_requests == 3
            await skipped.sleep(20)
            assert pool.status()[0]["state"] == "half_open"
            text_of(await asked(pool, call_of("hello")))
            assert pool.status()[0]["state"] == "closed"

    asyncio.run(run())


def test_a_refused_request_or_a_limit_says_nothing_about_the_upstreams_health() -> None:
    async def run() -> None:
        async with faulty(breaker={"failures": 1}) as (pool, _):
            for status in (400, 404, 429):
                await asked(pool, call_of(f"fault=http_{status}"))
            assert pool.status()[0]["state"] == "closed"

    asyncio.run(run())


def test_no_more_calls_at_once_than_the_upstream_takes() -> None:
    async def run() -> None:
        async with faulty(max_in_flight=2, timeout_s=30) as (pool, upstream):
            held = [asyncio.ensure_future(pool.ask(call_of("fault=hang"))) for _ in range(2)]
            while upstream.ledger.n_requests < 2:
                await asyncio.sleep(0.005)
            call = call_of("hello", on=("main", "spare"))
            text_of(await asked(pool, call))
            assert call.fallback_reason == "busy"
            failed = await refused(pool, call_of("hello"))
            assert (failed.status, failed.code) == (503, "upstream_busy")
            for each in held:
                each.cancel()
            await asyncio.wait(held)
            text_of(await asked(pool, call_of("hello")))

    asyncio.run(run())


def test_a_caller_who_leaves_takes_the_request_along() -> None:
    async def run() -> None:
        async with faulty(timeout_s=30, breaker={"failures": 1}) as (pool, upstream):
            call = call_of("fault=hang")
            task = asyncio.ensure_future(pool.ask(call))
            while not upstream.ledger.n_requests:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while upstream.ledger.n_open:
                await asyncio.sleep(0.005)
            row = pool.status()[0]
            assert (row["in_flight"], row["n_aborted"], row["n_errors"], row["state"]) == (0, 1, 0, "closed")
            assert errors(call) == ["main:aborted"]
            assert call.usage == Usage(input_tokens=upstream.ledger.untold_input, reported=False)

    asyncio.run(run())


def test_every_billed_attempt_counts() -> None:
    call, found, upstream = ask("fault=half_json:2 id=a words=5")
    text_of(found)
    ledger = upstream.ledger
    assert ledger.n_untold == 2
    assert call.usage.input_tokens == ledger.told_input + ledger.untold_input
    assert call.usage.output_tokens == ledger.told_output + ledger.untold_output
    assert not call.usage.reported
    assert [attempt.usage is not None and attempt.usage.reported for attempt in call.attempts] == [False, False, True]


def test_an_answer_without_usage_is_estimated() -> None:
    call, _, upstream = ask("fault=no_usage")
    ledger = upstream.ledger
    assert call.usage == Usage(input_tokens=ledger.untold_input, output_tokens=ledger.untold_output, reported=False)


def test_an_answer_that_is_too_large_is_not_kept() -> None:
    call, found, _ = ask("words=400", max_answer_bytes=1024)
    assert isinstance(found, UpstreamFailed)
    assert found.code == "upstream_answer_too_large"
    assert errors(call) == ["main:too_large"]


def test_embeddings() -> None:
    async def run() -> None:
        async with faulty() as (pool, upstream):
            call = call_of("", input=["one", "two"])
            answer = await pool.ask(call)
            assert answer.body["data"][0]["embedding"] == [0.1, 0.2]
            assert call.usage == Usage(input_tokens=upstream.ledger.told_input, reported=True)

    asyncio.run(run())


def test_a_new_configuration_keeps_the_state_of_upstreams_that_did_not_change() -> None:
    async def run(pool: Pool) -> None:
        main = {"main": pool._slots["main"].config}  # what the service hands in again
        await asked(pool, call_of("hello"))
        pool.use(main)
        assert [(row["upstream"], row["n_ok"]) for row in pool.status()] == [("main", 1)]
        gone = await refused(pool, call_of("hello", on=("spare",)))
        assert gone.code == "upstream_gone"
        pool.use({"main": main["main"].model_copy(update={"retries": 0})})
        assert [row["n_ok"] for row in pool.status()] == [0]

    async def around() -> None:
        async with faulty() as (pool, _):
            await run(pool)

    asyncio.run(around())
