"""A tenant's quota, and its turn at reading large bodies: refused before anything is decoded, with a hint."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from auth.authenticator import Authenticator
from collector.admission import BURST_S, INLINE_BYTES, READING_BYTES, Quotas, Turns
from collector.intake import Intake
from collector.json_body import Transcoded
from collector.kinds import Signal
from core.clock import system_clock
from core.errors import Overloaded, TooLarge
from core.ids import tenant_id
from core.records import Role
from tests.collector.doors import Wire, body_of, refused, request_bytes, retry_delay_s
from tests.collector.inside import PEPPER, Inside, InsideDoor

NOISY, QUIET = tenant_id("noisy"), tenant_id("quiet")
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Time:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def hint_of(quotas: Quotas) -> int:
    """The hint with which the noisy tenant is refused; 0 when it is not."""
    try:
        quotas.check(NOISY)
    except Overloaded as error:
        return error.retry_after_s
    return 0


def test_a_bucket_is_emptied_goes_into_debt_and_fills_again() -> None:
    time = Time()
    quotas = Quotas({NOISY: 1_000}, time)
    for _ in range(int(BURST_S)):
        quotas.check(NOISY)
        quotas.charge(NOISY, 1_000)
    assert hint_of(quotas) == 1
    time.now += 0.5
    quotas.check(NOISY)
    quotas.charge(NOISY, 60_000)
    assert hint_of(quotas) == 3, "no longer than an exporter waits, though the debt takes a minute"
    time.now += 59
    assert hint_of(quotas) == 1
    time.now += 1
    assert hint_of(quotas) == 0
    time.now += 1e6
    quotas.charge(NOISY, int(BURST_S) * 1_000)
    assert hint_of(quotas) == 1, "what was not used for long is not saved up"


def test_a_quota_is_a_tenants_own_or_that_of_everybody() -> None:
    time = Time()
    quotas = Quotas({"*": 10, NOISY: 1_000}, time)
    for tenant, size in ((QUIET, 51), (NOISY, 4_999)):
        quotas.charge(tenant, size)
    assert hint_of(quotas) == 0
    with pytest.raises(Overloaded, match="10 bytes a second"):
        quotas.check(QUIET)
    none = Quotas({NOISY: 1}, time)
    none.charge(QUIET, 1 << 40)
    none.check(QUIET)


def test_large_bodies_of_a_tenant_are_read_one_at_a_time_and_others_do_not_wait_for_them() -> None:
    async def played() -> None:
        turns, goes_on = Turns(), threading.Event()
        first = asyncio.ensure_future(turns.run(NOISY, READING_BYTES - 1, goes_on.wait))
        second = asyncio.ensure_future(turns.run(NOISY, 33 << 10, lambda: 2))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="wait to be read"):
            await second
        assert await turns.run(NOISY, 10, lambda: 3) == 3, "a small one takes no thread"
        assert await turns.run(QUIET, 1 << 20, lambda: 4) == 4
        goes_on.set()
        assert await first
        assert await turns.run(NOISY, READING_BYTES * 2, lambda: 5) == 5, "one is always taken, whatever its size"

    asyncio.run(played())


def test_a_small_body_out_of_which_much_comes_has_its_turn_and_one_that_stays_small_waits_for_none(
    tmp_path: Path,
) -> None:
    inside, goes_on = Inside(tmp_path), threading.Event()
    inside.recover()
    keys = []
    for tenant in (NOISY, QUIET):
        inside.control.ensure_tenant(tenant)
        keys.append(inside.control.create_key(tenant, Role.INGEST, "test")[1])

    def transcode(body: bytes, signal: Signal) -> Transcoded:
        goes_on.wait()
        raise TooLarge("it was read", "body")

    async def played() -> None:
        intake = Intake(
            authenticator=Authenticator(inside.control.find_key, PEPPER),
            journal=inside.journal,
            backlog=inside.committer,
            clock=system_clock,
            tally=inside.tally,
            transcode=transcode,
        )
        noisy, quiet = (intake.principal(key) for key in keys)
        large = intake.receive(Signal.SPANS, b" " * (INLINE_BYTES + 1), is_json=True, principal=noisy)
        reading = asyncio.ensure_future(large)
        bombs = [gzip.compress(bytes(INLINE_BYTES + 1)), gzip.compress(bytes(8 << 20)) + gzip.compress(b"x")]
        waiting = [asyncio.ensure_future(intake.opened(bomb, noisy, gzip_limit=9 << 20)) for bomb in bombs]
        for body in (body_of(1), b""):
            packed = gzip.compress(body)
            assert await intake.opened(packed, noisy, gzip_limit=9 << 20) == body
        assert len(await intake.opened(bombs[1], quiet, gzip_limit=9 << 20)) == (8 << 20) + 1
        assert not reading.done()
        assert not any(each.done() for each in waiting), "what comes out of them is read when it is their turn"
        goes_on.set()
        with pytest.raises(TooLarge, match="it was read"):
            await reading
        assert [len(await each) for each in waiting] == [INLINE_BYTES + 1, (8 << 20) + 1]

    asyncio.run(played())
    inside.release()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[InsideDoor]:
    """Doors for a tenant with a quota of 400 bytes a second, 2,000 of which it has."""
    inside = Inside(tmp_path, tenant_bytes_s=(("acme", 400),))
    inside.recover()
    with InsideDoor(inside) as opened:
        yield opened
    inside.release()


def status_of(door: InsideDoor, body: bytes, *lines: str) -> tuple[int, bytes, dict[str, str]]:
    """The answer to one request."""
    with Wire(door.port) as wire:
        wire.send(request_bytes(body, door.key, *lines))
        return wire.answer()


def test_o26_over_its_quota_a_tenant_is_asked_to_come_again_at_both_doors(door: InsideDoor) -> None:
    assert status_of(door, body_of(1, {"text": "x" * 5_000}))[0] == 200
    answer = status_of(door, b"whatever it is, it is not read")
    status = refused(answer)
    assert (answer[0], answer[2]["retry-after"], retry_delay_s(status)) == (503, "3", 3)
    assert "quota of 400 bytes a second" in status.message
    with grpc.insecure_channel(f"127.0.0.1:{door.inside.settings.grpc_port}") as channel:
        call = channel.unary_unary(TRACES).future(body_of(), metadata=(("authorization", f"Bearer {door.key}"),))
        assert call.code() is grpc.StatusCode.UNAVAILABLE
        found = dict(call.trailing_metadata())
        assert RetryInfo.FromString(found["google.rpc.retryinfo-bin"]).retry_delay.seconds == 3
    assert door.inside.journal.last_position == 1


def test_a_gzip_body_is_charged_for_what_came_out_of_it(door: InsideDoor) -> None:
    packed = gzip.compress(body_of(1, {"text": "x" * 50_000}))
    assert len(packed) < 1_000
    assert status_of(door, packed, "content-encoding: gzip")[0] == 200
    assert status_of(door, body_of())[0] == 503
