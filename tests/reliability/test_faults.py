"""The disk fails or the power goes: what the layer itself promises, and a short run of each campaign."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.reliability.crash_campaign import place_of
from tests.reliability.crash_load import request
from tests.reliability.faults_errands import begin, calls_of, one_round
from tests.reliability.faults_layer import ANY, FOREVER, SPACE, Action, Kind, Layer, compiler
from tests.reliability.faults_powerloss import recorded, tried_states
from tests.reliability.faults_sites import SORTS, Fault, Rounds, running
from tests.reliability.faults_states import Disk
from tests.thorough import often

pytestmark = pytest.mark.skipif(compiler() is None, reason="the fault layer needs a C compiler (cc)")

SCRIPT = """
import os, sqlite3, sys
from pathlib import Path
from store.durable import make_folder, replace_durably, sync_folder, write_durably
root = Path(sys.argv[1])
make_folder(root / "a" / "b")
replace_durably(root / "a" / "b" / "kept", b"1" * 2000)
with (root / "a" / "b" / "kept").open("r+b") as file:
    file.write(b"2" * 2000)
replace_durably(root / "a" / "b" / "replaced", b"old")
(root / "a" / "b" / "draft").write_bytes(b"new")
os.replace(root / "a" / "b" / "draft", root / "a" / "b" / "replaced")
make_folder(root / "c")
database = sqlite3.connect(root / "c" / "db")
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE t (x)")
database.execute("INSERT INTO t VALUES (7)")
database.commit()
(root / "lost").write_bytes(b"never synced")
write_durably(root / "nameless", b"synced, but not its name")
os._exit(0)
"""


def child(layer: Layer, *, check: bool = True) -> None:
    """Runs SCRIPT under the layer."""
    environment = {**os.environ, **layer.environment}
    subprocess.run([sys.executable, "-c", SCRIPT, str(layer.root)], env=environment, check=check, stderr=PIPE)


def after(layer: Layer, target: Path, kept: float) -> Path:
    """The state of the disk after everything recorded and a power loss."""
    disk = Disk(layer.root, empty=True)
    for call in layer.calls():
        disk.apply(call)
    disk.after(target, random.Random(0), kept=kept)
    return target / "a" / "b"


def test_what_was_not_synced_is_dropped_torn_or_kept(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "disk", tmp_path / "layer", record=True)
    layer.root.mkdir()
    child(layer)
    dropped = after(layer, tmp_path / "dropped", 0.0)
    assert not (tmp_path / "dropped" / "lost").exists()
    assert not (tmp_path / "dropped" / "nameless").exists()
    assert (dropped / "kept").read_bytes() == b"1" * 2000
    assert (dropped / "replaced").read_bytes() == b"old"
    torn = after(layer, tmp_path / "torn", 0.5)
    found = (torn / "kept").read_bytes()
    assert {found[at : at + 512] for at in (0, 512, 1024)} <= {b"1" * 512, b"2" * 512}
    kept = after(layer, tmp_path / "kept", 1.0)
    assert (kept / "kept").read_bytes() == b"2" * 2000
    assert (tmp_path / "kept" / "lost").read_bytes() == b"never synced"
    for state in (dropped, torn, kept):
        assert sqlite3.connect(state.parents[1] / "c" / "db").execute("SELECT x FROM t").fetchall() == [(7,)], (
            "SQLite is seen too"
        )


def test_a_failed_sync_drops_what_it_was_to_keep_and_a_later_one_does_not_bring_it_back(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "disk", tmp_path / "layer", record=True)
    layer.root.mkdir()
    layer.arm(Kind.SYNC, error=errno.EIO, n=1, match="/gate")
    script = """
import os, sys
file = os.open(sys.argv[1] + "/gate", os.O_WRONLY | os.O_CREAT)
os.write(file, b"first")
try:
    os.fsync(file)
except OSError as error:
    print(error.errno)
os.write(file, b" second")
os.fsync(file)
folder = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(folder)
"""
    command = [sys.executable, "-c", script, str(layer.root)]
    done = subprocess.run(command, env={**os.environ, **layer.environment}, check=True, capture_output=True)
    assert int(done.stdout) == errno.EIO
    after(layer, tmp_path / "state", 0.0)
    assert (tmp_path / "state" / "gate").read_bytes() == bytes(5) + b" second"


def test_the_call_that_is_meant_fails(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "disk", tmp_path / "layer")
    layer.root.mkdir()
    with layer.listed() as calls:
        child(layer)
    assert {kind for kind, _ in calls} >= {Kind.OPEN, Kind.WRITE, Kind.SYNC, Kind.RENAME, Kind.MKDIR}
    assert (Kind.RENAME, "a/b/replaced") in calls
    for k in range(0, len(calls), 9):
        shutil.rmtree(layer.root)
        layer.root.mkdir()
        layer.arm(skip=k, n=1)
        child(layer, check=False)
        kind, path = calls[k]
        assert (layer.first_failed[0], place_of(layer.first_failed[1])) == (kind, place_of(path))
        assert layer.n_failed == 1


def test_after_a_power_loss_everything_acknowledged_is_there(tmp_path: Path) -> None:
    calls, key = recorded(tmp_path, seconds=2.0)
    outcome = tried_states(calls, key, tmp_path, n=often(10, 5), seed=20261121)
    assert outcome.wrong == []
    assert (outcome.missing, outcome.duplicated, outcome.altered) == (0, 0, 0)
    assert outcome.acked > 100


JOURNAL_FAULTS = [
    Fault(kinds=Kind.SYNC, error=errno.EIO, n=FOREVER, match="/journal/"),
    Fault(kinds=SPACE, error=errno.ENOSPC, n=FOREVER, match="/journal/", action=Action.SHORT),
]
OTHER_FAULTS = [
    Fault(kinds=ANY, error=errno.EIO, n=FOREVER, match="/lake/spans/"),
    Fault(kinds=Kind.SYNC, error=errno.EIO, n=1, match="_delta_log"),
    Fault(kinds=SPACE, error=errno.ENOSPC, n=FOREVER, match="control.db"),
]


def test_a_disk_that_fails_stops_the_acknowledgement_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path) as rounds:
        for fault in (*JOURNAL_FAULTS, *OTHER_FAULTS):
            rounds.run(fault)
        _grpc_is_refused(rounds)
        verdict = rounds.judged()
    assert rounds.problems == []
    assert rounds.n_hit == len(JOURNAL_FAULTS) + len(OTHER_FAULTS)
    assert rounds.n_refused >= len(JOURNAL_FAULTS)
    assert verdict.sound, verdict


def test_what_a_failing_disk_refuses_a_writer_an_erasure_and_a_backup_works_afterwards(tmp_path: Path) -> None:
    with running(tmp_path) as rounds:
        for errand in begin(rounds):
            calls = calls_of(rounds, errand)
            for sort in (SORTS[0], SORTS[2]):
                own = [kind for kind, _ in calls if kind & sort.kinds]
                one_round(rounds, errand, replace(sort, skip=len(own) // 2))
        verdict = rounds.judged()
    assert rounds.problems == []
    assert rounds.n_hit >= rounds.n // 2
    assert rounds.n_refused
    assert verdict.sound, verdict


def _grpc_is_refused(rounds: Rounds) -> None:
    """Over gRPC the refusal is UNAVAILABLE, and says when to come again."""
    rounds.layer.arm(SPACE, error=errno.ENOSPC, match="/journal/")
    body, _ = request(random.Random(4), 1, 1)
    metadata = [(name.lower(), value) for name, value in rounds.stack.headers.items()]
    with grpc.insecure_channel(rounds.stack.otlp_grpc) as channel:
        export = TraceServiceStub(channel).Export  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refused:
            export(ExportTraceServiceRequest.FromString(body), metadata=metadata, timeout=20)
    rounds.layer.lift()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    hint = RetryInfo()
    assert Status.FromString(details).details[0].Unpack(hint)
    assert hint.retry_delay.seconds >= 1
