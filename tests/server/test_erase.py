"""assay erase: nothing of a user is left anywhere in the data folder, others keep everything, kills change nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.seal import MasterKey, unsealed
from core.errors import Corrupt
from core.ids import TenantId
from core.records import Principal, Role, TargetKind
from store.control.label_records import AnnotationRecord
from store.control.labelling import TaskChange
from store.lake import Lake
from store.repair import plan, repair
from tests.bytes_left import mentions
from tests.collector import otlp
from tests.collector.alone import Collector
from tests.killing import killed_at, n_changes
from tests.stack import REPOSITORY
from tests.store.control_rows import experimented, queue_of, task_of
from tests.waiting import wait_until

USER, MAIL = "subject-7f3a9c", "subject.7f3a9c@example.org"
TEXT = "marker-b51e77d2 said the subject"
OTHER = "another-user-1"
DAY_NS = 86_400 * 10**9
PIECES = [USER.encode(), b"marker-b51e77d2"]


def trace_id(n: int) -> str:
    return f"{n:08x}" + "a7" * 12


def spans(n: int, user: str | None, text: str, session: str, day: int = 0) -> list[Span]:
    """A trace of three spans, of which the second alone says whose it is."""
    made = []
    for i in range(3):
        attributes = {"session.id": session, "note": text, "gen_ai.input.messages": text}
        if i == 1 and user is not None:
            attributes["user.id"] = user
        start = otlp.START_NS + day * DAY_NS + n * 10**9 + i
        parent = b"" if i == 0 else f"{n * 10:08x}".encode()
        made.append(
            otlp.span(
                attributes,
                trace_id=bytes.fromhex(trace_id(n)),
                span_id=f"{n * 10 + i:08x}".encode(),
                parent_span_id=parent,
                start_time_unix_nano=start,
                end_time_unix_nano=start + 1000,
            )
        )
    return made


def bad(text: str) -> bytes:
    """A request whose span has an invalid id and says whose it is."""
    return otlp.traces(otlp.span({"user.id": USER, "note": text}, span_id=b"abc")).SerializeToString()


def evaluation(n: int, text: str) -> LogRecord:
    attributes = {
        "gen_ai.evaluation.name": "tone",
        "gen_ai.evaluation.score.value": 0.5,
        "gen_ai.evaluation.explanation": text,
    }
    ids = {"trace_id": bytes.fromhex(trace_id(n)), "span_id": f"{n * 10:08x}".encode()}
    return otlp.log_record("gen_ai.evaluation.result", attributes, **ids)


def event(n: int, text: str) -> LogRecord:
    ids = {"trace_id": bytes.fromhex(trace_id(n)), "span_id": f"{n * 10:08x}".encode()}
    return otlp.log_record("gen_ai.user.message", {"note": text}, {"content": text}, **ids)


def send(collector: Collector) -> None:
    """Two users of one tenant, the same id with another tenant; spans, scores, events and quarantine of each."""
    for body in (
        otlp.traces(*spans(1, USER, TEXT, "s-1"), *spans(2, OTHER, "fine", "s-2")),
        otlp.traces(*spans(3, USER, TEXT, "s-1", day=-1), *spans(4, None, TEXT, "s-1")),
        otlp.traces(*spans(5, OTHER, "fine", "s-1"), *spans(6, MAIL, "mail-marker-c0ffee", "s-6")),
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
        assert collector.post(otlp.traces(*spans(8, USER, TEXT, "s-8")).SerializeToString())[0] == 200
        collector.kill()
    take_one_aside(data)
    fill_dataset(data)
    fill_queue(data)
    fill_experiment(data)
    (data / "run").mkdir(exist_ok=True)
    (data / "run" / "collector.log").write_text(f"looked at {USER} of {trace_id(1)}, kept: {trace_id(2)}\n")
    return data


def fill_queue(data: Path) -> None:
    """Label tasks over a session and a trace of the subject, one with the subject's text, and one of somebody else."""
    control, tenant = Collector(data).control(), TenantId("default")
    ann = Principal(tenant=tenant, role=Role.POWER_USER, name="ann")
    control.create_label_queue(queue_of(tenant), by=ann)
    new = [
        task_of(1, session_id="s-1", item="s-1"),
        task_of(2, session_id="", trace_id=trace_id(1), item=trace_id(1), target=TargetKind.TURN),
        task_of(3, session_id="i-3", item="i-3", target=TargetKind.EXAMPLE, user_id=USER, has_text=True),
        task_of(4, session_id="s-2", item="s-2"),
    ]
    control.add_label_tasks(tenant, "triage", lambda *_: (new, []), texts={"task_3": {"answer": TEXT}}, by=ann)
    note = AnnotationRecord(queue="triage", task_id="task_1", annotator="ann", labels=("pass",), note=TEXT)
    change = TaskChange(task=replace(new[0], answered={"ann": True}), said=note)
    control.change_label_task(tenant, "triage", "task_1", lambda *_: change, by=ann)
    control.close()


def fill_experiment(data: Path) -> None:
    """A running experiment with the subject and somebody else as testers."""
    control, tenant = Collector(data).control(), TenantId("default")
    ann = Principal(tenant=tenant, role=Role.POWER_USER, name="ann")
    experimented(control, tenant)
    control.set_overrides(tenant, "refund-prompt", {USER: "treatment", OTHER: "control"}, by=ann)
    control.close()


def overrides_left(data: Path) -> list[str | None]:
    """The variants of the testers that are still known."""
    control = Collector(data).control()
    try:
        return sorted(control.experiment(TenantId("default"), "refund-prompt").overrides.values(), key=str)
    finally:
        control.close()


def fill_dataset(data: Path) -> None:
    """Examples of the subject by its id, by a session and by metadata, and one of somebody else, in two versions."""
    other = {"user_id": OTHER, "session_id": "s-2"}
    sources: tuple[dict[str, str], ...] = ({"user_id": USER}, {"session_id": "s-1"}, {}, other)
    texts = (TEXT, TEXT, TEXT, "of another")
    lines = [
        json.dumps(
            {
                "example_id": f"e{n}",
                "split": "test",
                "source": source,
                "input": {"turns": [texts[n]]},
                "metadata": {"user_id": USER} if n == 2 else {},
            }
        ).encode()
        for n, source in enumerate(sources)
    ]
    control, ann = Collector(data).control(), Principal(tenant=TenantId("default"), role=Role.USER, name="ann")
    control.create_dataset(TenantId("default"), "golden", by=ann)
    first, _ = control.write_dataset(TenantId("default"), "golden", lines, None, "", by=ann)
    control.write_dataset(TenantId("default"), "golden", lines[1:], first, "", by=ann)
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


def is_derived(data: Path) -> bool:
    if traces_of(data, "turns") != {trace_id(n) for n in range(1, 7)}:
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
    assert left_of(data, PIECES) == []
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
        "spans": 9,
        "scores": 1,
        "events": 1,
        "quarantine": 1,
    }
    assert rows.keys() == files.keys() == {"spans", "scores", "events", "quarantine", *partial}
    assert receipt.pop("old_files") > 0
    assert receipt.pop("journal_segments") in (1, 2)  # the first may have been on its way out when the kill came
    assert receipt == {
        "traces": 4,
        "sessions": 2,
        "days": 2,
        "damaged_files": 1,
        "journal_damaged": 0,
        "log_places": 2,
        "control_rows": 4,  # tasks of a label queue, and a tester
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
