"""assay erase: nothing of a user is left anywhere in the data folder, others keep everything, kills change nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collector.seal import MasterKey, unsealed
from core.errors import Corrupt
from core.ids import TenantId
from experiments.gates.bundle import verify
from gateway.spool_erasing import records
from server.gate_policy import read_policy
from store.lake import Lake
from store.repair import plan, repair
from tests.bytes_left import mentions
from tests.collector import otlp
from tests.collector.alone import Collector
from tests.killing import killed_at, n_changes
from tests.server.erasable import (
    MAIL,
    OTHER,
    PIECES,
    SESSION,
    TEXT,
    USER,
    bad,
    evaluation,
    event,
    fill_control,
    fill_spool,
    spans,
    trace_id,
)
from tests.stack import REPOSITORY
from tests.waiting import wait_until


def send(collector: Collector) -> None:
    """Two users of one tenant, the same id with another tenant; spans, scores, events and quarantine of each."""
    for body in (
        otlp.traces(*spans(1, USER, TEXT, "s-1"), *spans(2, OTHER, "fine", "s-2")),
        otlp.traces(*spans(3, USER, TEXT, "s-1", day=-1), *spans(4, None, TEXT, "s-1")),
        otlp.traces(*spans(5, OTHER, "fine", "s-1"), *spans(6, MAIL, "mail-marker-c0ffee", "s-6")),
        otlp.traces(*spans(9, None, TEXT, "")),  # whose it is stands in the spool of the gateway alone
    ):
        assert collector.post(body.SerializeToString())[0] == 200
    shop = collector.key_of("shop")
    assert collector.post(otlp.traces(*spans(7, USER, "kept-by-shop", "s-7")).SerializeToString(), key=shop)[0] == 200
    assert collector.post(bad(TEXT))[0] == 400
    assert collector.post(bad("kept-by-shop"), key=shop)[0] == 400
    for n, text in ((1, TEXT), (2, "fine")):
        assert collector.post(otlp.logs(evaluation(n, text), event(n, text)), "/v1/logs")[0] == 200


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a collector was killed on, so that its journal still holds the subject's spans; a log and a
    file taken aside mention the subject too."""
    data = tmp_path_factory.mktemp("filled")
    collector = Collector(data)
    with collector:
        send(collector)
        collector.drained()
        wait_until(lambda: is_derived(data), 60, "turns, sessions and rollups to be derived")
        assert collector.post(otlp.traces(*spans(8, USER, TEXT, SESSION)).SerializeToString())[0] == 200
        collector.kill()
    take_one_aside(data)
    control = collector.control()
    fill_control(control)
    control.close()
    fill_spool(data)
    (data / "run").mkdir(exist_ok=True)
    (data / "run" / "collector.log").write_text(f"looked at {USER} of {trace_id(1)}, kept: {trace_id(2)}\n")
    return data


def overrides_left(data: Path) -> list[str | None]:
    """The variants of the testers that are still known."""
    control = Collector(data).control()
    try:
        return sorted(control.experiment(TenantId("default"), "refund-prompt").overrides.values(), key=str)
    finally:
        control.close()


def examples_left(data: Path) -> list[tuple[list[str], int]]:
    """The examples of both versions by id, and how many each version says it lost."""
    control = Collector(data).control()
    try:
        both = [control.read_dataset(TenantId("default"), "golden", version) for version in (1, 2)]
    finally:
        control.close()
    return [([json.loads(line)["example_id"] for line in lines], found.n_erased) for found, lines in both]


def tasks_left(data: Path) -> tuple[list[str], int]:
    """The tasks of the label queue, and how many it says it lost."""
    control = Collector(data).control()
    try:
        queue, tasks = control.label_tasks(TenantId("default"), "triage")
    finally:
        control.close()
    return [one.task_id for one in tasks], queue.n_erased


def spooled(data: Path, tenant: str = "default") -> list[str]:
    """What is left in the gateway's spool of a tenant: file and text."""
    key = bytes.fromhex((data / "secrets" / "gateway-spool").read_text())
    found = []
    for one in records(data / "gateway" / "spool", key, tenant):
        assert one.content is not None
        words = [word for word in ("waits", "refused", "kept-by-shop") if word.encode() in one.content]
        found.append(f"{one.path.suffix or one.path.name}: {' '.join(words)}")
    return found


def control_holds_the_others(data: Path) -> None:
    """Of the run, the judge's job and the gate what is about somebody else is left, and the bundle verifies."""
    control, tenant = Collector(data).control(), TenantId("default")
    try:
        trials = control.trials(tenant, "run_1")
        assert [one.output for one in trials] == [None, "fine"]
        assert [one.session_id == one.example_id for one in trials] == [True, True]
        _, targets = control.first_slice(tenant, "judging_1") or (0, [])
        assert [one.session_id for one in targets][1:] == ["s-2", "s-2"]
        assert [one.raw for one in control.verdicts(tenant, [f"{n:064x}" for n in range(2)]).values()] == ["fine"]
        bundle = json.loads(control.gate_bundle(tenant, "gate_1"))
        verify(bundle, read_policy)
        found = control.gate(tenant, "gate_1")
        assert (found.told, found.digest, bundle["n_forgotten"]) == (bundle["decision"], bundle["digest"], 2)
    finally:
        control.close()


def is_derived(data: Path) -> bool:
    if traces_of(data, "turns") != {trace_id(n) for n in (1, 2, 3, 4, 5, 6, 9)}:
        return False
    lake = Lake(data / "lake")
    journal = f"journal-{json.loads((data / 'journal' / 'journal.json').read_bytes())['number']}"
    return len({lake.txn_version(table, journal) for table in ("turns", "sessions", "rollups")}) == 1


def take_one_aside(data: Path) -> None:
    """Damages the file with the subject's spans of the day before, and takes it out of the lake."""
    lake = Lake(data / "lake")
    file = min(lake.snapshot("spans").select("default"), key=lambda f: f.date)
    path = Path(file.path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1  # in the length of the footer: Parquet cannot say what is in it
    path.write_bytes(content)
    damage = lake.sound("spans", [file])[1]
    assert repair(lake, plan(lake, list(damage)))


def assay(data: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    command = [sys.executable, "-m", "server.cli.main", *words, "--data", str(data)]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, input=stdin, capture_output=True, text=True, timeout=180, check=False
    )


def opener(data: Path) -> dict[str, bytes]:
    master = MasterKey.open(data / "secrets" / "master.key")
    return {tenant: master.derived(f"quarantine/{tenant}") for tenant in ("default", "shop")}


def left_of(data: Path, pieces: list[bytes]) -> list[str]:
    """Mentions in all files but those of the tenant shop."""
    key = opener(data)["default"]

    def opened(payload: bytes) -> bytes:
        try:
            return unsealed(key, payload)
        except Corrupt:  # of the other tenant
            return b""

    return [found for found in mentions(data, pieces, opened) if "tenant=shop" not in found]


def rows_of(data: Path, tenant: str) -> dict[str, int]:
    """Rows by table."""
    lake = Lake(data / "lake")
    return {table: sum(f.n_rows for f in lake.snapshot(table).select(tenant)) for table in lake.tables()}


def traces_of(data: Path, table: str, tenant: str = "default") -> set[str]:
    lake = Lake(data / "lake")
    files = lake.snapshot(table).select(tenant)
    return {trace for file in files for trace in lake.read(file, ["trace_id"]).column("trace_id").to_pylist()}


def tree(data: Path) -> dict[str, bytes]:
    return {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}


def fresh(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def is_erased(data: Path) -> None:
    """Nothing is left of the subject, and of the others everything, whatever happened on the way."""
    assert left_of(data, [*PIECES, SESSION.encode(), trace_id(8).encode()]) == []
    assert spooled(data) == [".spans: waits", "refused: refused"]
    assert spooled(data, "shop") == [".spans: kept-by-shop"]
    control_holds_the_others(data)
    for table in ("spans", "turns"):
        assert traces_of(data, table) == {trace_id(n) for n in (2, 5, 6)}, table
        assert traces_of(data, table, "shop") == {trace_id(7)}
    assert traces_of(data, "scores") == traces_of(data, "events") == {trace_id(2)}
    assert rows_of(data, "default")["quarantine"] == 0
    assert rows_of(data, "shop")["quarantine"] == 1
    assert list((data / "journal").glob("*.seg")) == []
    assert examples_left(data) == [(["e3"], 3), (["e3"], 2)]
    assert tasks_left(data) == (["task_4"], 3)
    assert overrides_left(data) == ["control", "treatment"], "of somebody else, and of the one among the rows"
    key = opener(data)["shop"]
    assert any("payload" in found for found in mentions(data, [b"kept-by-shop"], lambda raw: unsealed(key, raw)))


def test_the_dry_run_counts_and_changes_nothing(filled: Path, tmp_path: Path) -> None:
    data = fresh(filled, tmp_path)
    before = tree(data / "lake")
    answer = assay(data, "erase", "--user", USER, "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["dry_run"]
    assert (found["traces"], found["sessions"]) == (3, 1)  # not those of the journal
    assert found["rows"] == {
        "spans": 6,
        "scores": 1,
        "events": 1,
        "quarantine": 1,
        "turns": found["rows"]["turns"],
        "sessions": found["rows"]["sessions"],
    }
    assert found["examples"] == 3
    assert tree(data / "lake") == before
    assert assay(data, "erase", "--user", USER).returncode == 0
    nobody = assay(data, "erase", "--user", "nobody-of-that-name")
    assert (nobody.returncode, nobody.stdout.startswith("nothing names this user;")) == (0, True)


def test_no_byte_of_the_subject_is_left_and_all_of_the_others(filled: Path, tmp_path: Path) -> None:
    data = fresh(filled, tmp_path)
    assert left_of(data, PIECES)
    for name in ("agent/agent.db.damaged", f"exports/{USER}.txt", "agent/nothing"):  # of others, who have to be told
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("" if "nothing" in name else f"said {USER}")
    answer = assay(data, "erase", "--user", "-", "--yes", "--json", stdin=f"{USER}\n")
    assert answer.returncode == 0, answer.stderr
    (receipt,) = json.loads(answer.stdout)["erasures"]
    assert len(receipt.pop("erasure_id")) == 12
    partial = {"turns", "sessions"}  # how many rows they were depends on how the requests were cut into batches
    rows, files = receipt.pop("rows"), receipt.pop("files")
    assert {t: n for t, n in rows.items() if t not in partial} == {
        "spans": 12,
        "scores": 1,
        "events": 1,
        "quarantine": 1,
    }
    assert rows.keys() == files.keys() == {"spans", "scores", "events", "quarantine", *partial}
    assert receipt.pop("old_files") > 0
    assert receipt.pop("journal_segments") in (1, 2)  # the first may have been on its way out when the kill came
    assert receipt == {
        "traces": 7,  # with two that were in the gateway alone
        "sessions": 4,
        "days": 2,
        "damaged_files": 1,
        "journal_damaged": 0,
        "gateway_spans": 5,
        "log_places": 2,
        "control_rows": 9,  # tasks of a label queue, a tester, a trial, a verdict, two targets, a decision
        "examples": 3,
        "agent_rows": {},
        "other_files": ["agent/agent.db.damaged", "exports"],
    }
    shutil.rmtree(data / "agent")
    shutil.rmtree(data / "exports")
    is_erased(data)
    assert (data / "run" / "collector.log").read_text() == f"looked at {'x' * 14} of {'x' * 32}, kept: {trace_id(2)}\n"
    again = assay(data, "erase", "--user", USER, "--json")
    assert json.loads(again.stdout)["rows"] == {}


@pytest.mark.timeout(900)
def test_a_kill_at_any_point_changes_nothing_about_the_end(filled: Path, tmp_path: Path) -> None:
    command = ("server.cli.main", "erase", "--user", USER, "--yes")
    whole = fresh(filled, tmp_path / "whole")
    n = n_changes(whole, *command, "--data", str(whole))
    assert n > 50
    for i in range(3):
        data = fresh(filled, tmp_path / str(i))
        assert killed_at(2 + i * (n - 2) // 3, data, *command, "--data", str(data))
        words = ("--resume",) if i % 2 else ("--user", USER, "--yes")
        answer = assay(data, "erase", *words)
        assert answer.returncode == 0, answer.stderr
        is_erased(data)
        control = Collector(data).control()
        try:
            assert control.verify(TenantId("default")).ok
            assert control.erasures(None, unfinished=True) == []
        finally:
            control.close()
