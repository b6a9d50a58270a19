"""Taking records out of a spool: nothing of them is left, the others arrive, and a gateway may have it open."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web

from core.errors import StorageFailed
from gateway.exporter import Exporter
from gateway.spool import Spool
from gateway.spool_erasing import Lying, erase, held, records

KEY = bytes(range(32))


def opened(folder: Path) -> Spool:
    return Spool(folder, KEY)


def drained(spool: Spool, tenant: str = "default") -> list[bytes]:
    found: list[bytes] = []
    while (batch := spool.peek(tenant, most=7, most_bytes=1 << 20)) is not None:
        found.extend(batch.contents)
        spool.done(batch)
    return found


def contents(folder: Path, tenant: str = "default") -> list[bytes | None]:
    return [one.content for one in records(folder, KEY, tenant)]


def taken(folder: Path, word: bytes, tenant: str = "default") -> int:
    """Erases the records with a word, and those that cannot be read; how many."""
    with held(folder, tenant, 5.0):
        found = [one for one in records(folder, KEY, tenant) if one.content is None or word in one.content]
        erase(folder, found)
    return len(found)


def test_a_spool_that_is_open_gives_the_others_and_counts_no_damage(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for n in range(20):
        spool.append("default", b"%d of %s" % (n, b"ann" if n % 3 else b"bob"))
    spool.append("other", b"of ann")
    first = spool.peek("default", most=4, most_bytes=1 << 20)
    assert first is not None
    spool.done(first)
    assert taken(tmp_path, b"ann") == 13, "what was sent lies in the file still, and goes too"
    spool.append("default", b"new of ann")
    left = [b"%d of bob" % n for n in range(6, 20, 3)]
    assert contents(tmp_path)[2:] == [*left, b"new of ann"]
    assert drained(spool) == [*left, b"new of ann"]
    assert drained(spool, "other") == [b"of ann"]
    assert (spool.n_damaged, spool.n_queued, spool.n_bytes) == (0, 0, 0)


def test_a_start_finds_what_an_erasure_left(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for text in (b"of ann", b"of bob", b"of ann too"):
        spool.append("default", text)
    spool.close()
    assert taken(tmp_path, b"ann") == 2
    assert taken(tmp_path, b"ann") == 0
    again = opened(tmp_path)
    assert again.n_queued == 3
    assert drained(again) == [b"of bob"]
    assert again.n_damaged == 0


def test_what_was_refused_goes_too_and_more_may_be_refused(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for text in (b"of ann", b"of bob", b"of ann too"):
        spool.set_aside("default", text)
    assert taken(tmp_path, b"ann") == 2
    spool.set_aside("default", b"of cid")
    assert contents(tmp_path) == [b"of bob", b"of cid"]
    path = tmp_path / "default" / "refused"
    os.truncate(path, path.stat().st_size - 1)  # its process was killed
    assert taken(tmp_path, b"ann") == 1
    spool.set_aside("default", b"of dan")
    assert contents(tmp_path) == [b"of bob", b"of dan"]


@pytest.mark.parametrize("is_open", [False, True])
def test_what_nobody_can_read_goes(tmp_path: Path, is_open: bool) -> None:
    spool = opened(tmp_path)
    for n in range(4):
        spool.append("default", b"%d" % n + b"x" * 50)
    spool.close()
    (path,) = (tmp_path / "default").glob("*.spans")
    raw = bytearray(path.read_bytes())
    raw[24 + 71 + 30] ^= 1  # in the second record
    path.write_bytes(raw[:-5])  # and the last one torn
    (tmp_path / "default" / f"{7:015}.spans").write_bytes(b"no file of spans" * 9)
    again = opened(tmp_path) if is_open else None
    assert taken(tmp_path, b"none") == (2 if is_open else 3), "a gateway that starts takes the torn end off itself"
    assert path.read_bytes()[24 + 71 + 4 : 24 + 142] == bytes(67)
    assert path.stat().st_size == 24 + 3 * 71
    assert (tmp_path / "default" / f"{7:015}.spans").stat().st_size == 0
    if again is not None:
        again.close()
    assert [text[:1] for text in drained(opened(tmp_path))] == [b"0", b"2"]


def test_a_kill_in_the_middle_is_made_good_by_the_next(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for _ in range(3):
        spool.append("default", b"of ann" * 20)
    (one, two, _) = records(tmp_path, KEY, "default")
    half = Lying(path=two.path, at=two.at, n_bytes=two.n_bytes // 2, content=None)
    erase(tmp_path, [one, half])
    assert taken(tmp_path, b"ann") == 2
    assert contents(tmp_path) == drained(spool) == []


def test_while_it_is_held_nothing_is_sent_and_what_went_is_never_sent(tmp_path: Path) -> None:
    """A collector that refuses at first: what waits to be tried again is read again."""
    got: list[bytes] = []
    answers = [503]

    async def take(request: web.Request) -> web.Response:
        got.append(await request.read())
        return web.Response(status=answers[0])

    async def until(done: object) -> None:
        while not done():  # type: ignore[operator]
            await asyncio.sleep(0.005)

    async def go() -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        exporter = Exporter(opened(tmp_path), f"http://127.0.0.1:{runner.addresses[0][1]}", lambda _: "key")
        await exporter.start()
        for text in (b"<of ann>", b"<of bob>"):
            exporter.send("default", text)
        await until(lambda: got)
        assert b"ann" in got[0]
        await asyncio.to_thread(_hold_and_take, tmp_path, answers)
        n_before = len(got)
        await until(lambda: exporter.status().queued == 0)
        assert got[n_before:] == [b"<of bob>"]
        assert (exporter.status().sent, exporter.status().damaged) == (1, 0)
        await exporter.close()
        await runner.cleanup()

    asyncio.run(asyncio.wait_for(go(), 60))


def _hold_and_take(folder: Path, answers: list[int]) -> None:
    with held(folder, "default", 30.0):
        answers[0] = 200
        erase(folder, [one for one in records(folder, KEY, "default") if b"ann" in (one.content or b"")])


def test_a_batch_on_its_way_is_waited_for(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append("default", b"of ann")
    with spool.sending("default") as is_allowed:
        assert is_allowed
        with pytest.raises(StorageFailed, match="has been sending"), held(tmp_path, "default", 0.05):
            pass
    with held(tmp_path, "default", 0.05), spool.sending("default") as is_allowed:
        assert not is_allowed
    with held(tmp_path, "nobody", 0.05):
        assert not (tmp_path / "nobody").exists()
