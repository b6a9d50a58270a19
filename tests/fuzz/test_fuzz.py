"""The fuzz campaign of `make test`: 20,000 inputs, and every input that was ever kept for what it showed."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.collector.alone import Collector
from tests.fuzz.doors import METHOD, exchange, grpc_statuses, http2_request
from tests.fuzz.inputs import kept, seeds
from tests.fuzz.mutate import fields_of, written
from tests.fuzz.run import campaign
from tests.fuzz.target import Target
from tests.thorough import often
from tests.waiting import wait_until


def test_every_input_that_was_kept_is_answered(tmp_path: Path) -> None:
    inputs = kept()
    assert inputs

    def answered() -> None:
        target = Target(tmp_path)
        for start in range(0, len(inputs), 50):
            target.run(inputs[start : start + 50])

    with ThreadPoolExecutor(1) as alone:  # it runs an event loop, and a browser's may be running in this thread
        alone.submit(answered).result()


def test_fields_are_written_as_they_were_read() -> None:
    for each in seeds(8):
        if not each.is_json and not each.is_gzip:
            assert b"".join(map(written, fields_of(each.body) or [])) == each.body


def test_20_000_mutants(tmp_path: Path) -> None:
    args = argparse.Namespace(
        runs=20_000,
        workers=min(os.cpu_count() or 1, 2),
        seed=20_261_121,
        seconds=float("inf"),
        out=tmp_path,
        checked=False,
    )
    figures = campaign(args)
    assert figures["found"] == []
    assert figures["runs"] >= 20_000
    assert figures["through_doors"] >= 200


def test_what_a_grpc_door_says_of_broken_framing_is_heard(tmp_path: Path) -> None:
    """A status of a fault, which would be 2, is seen among what comes back."""
    with Collector(tmp_path) as collector:
        key = (b"authorization", b"Bearer " + collector.key.encode())
        calls = {
            0: http2_request(METHOD.encode(), key, message=b"\0\0\0\0\0"),
            3: http2_request(METHOD.encode(), key, message=b"\0\0\0\0\x04\xff\xff\xff\xff"),
            12: http2_request(b"/no.such/Method", key, message=b"\0\0\0\0\0"),
            13: http2_request(METHOD.encode(), key, (b"grpc-encoding", b"gzip"), message=b"\1\0\0\0\1x"),
            16: http2_request(METHOD.encode(), message=b"\0\0\0\0\0"),
        }
        said = {status: exchange(collector.base, raw, until=b"grpc-status") for status, raw in calls.items()}
        heard = {status: grpc_statuses(each) for status, each in said.items()}
        assert heard == {status: {status} for status in calls}
        assert collector.stop() == 0


def test_a_path_that_is_not_utf_8_does_not_close_the_grpc_door(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        sound = http2_request(METHOD.encode())
        for _ in range(2):
            exchange(collector.base, http2_request(b"/secret\xff/path"))
            wait_until(lambda: answers(collector.base, sound), 60, "the gRPC door to answer again")
        wait_until(lambda: "opening it again" in collector.log(), 60, "the door to be opened anew, and said so")
        wait_until(lambda: answers(collector.base, sound), 60, "the gRPC door to answer again")
        assert b"secret" not in (tmp_path / "collector.log").read_bytes()
        assert collector.stop() == 0


def test_a_collector_stopped_while_its_grpc_door_dies_ends_well(tmp_path: Path) -> None:
    for each in range(often(6, 3)):  # whether the door has noticed by then is chance; this order failed in one of four
        folder = tmp_path / str(each)
        folder.mkdir()
        with Collector(folder) as collector:
            exchange(collector.base, http2_request(b"/secret\xff/path"))
            assert collector.stop() == 0
            assert b"secret" not in (folder / "collector.log").read_bytes()


def answers(port: int, request: bytes) -> bool:
    """Whether the door says anything to a request."""
    return b"grpc-status" in exchange(port, request)
