"""Data of an earlier release opens in this one, whenever the upgrade is killed; data of a later one is refused."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import Corrupt
from core.windows import Window
from store.compaction import pack
from store.engine import DuckDBEngine
from store.lake import Lake
from store.schema import ADDED
from store.tenant import Store
from store.versions import FORMAT, NewerData, format_of, note_format, require_format
from tests.collector.alone import Collector
from tests.collector.otlp import START_NS
from tests.killing import killed_at, n_changes
from tests.stack import REPOSITORY
from tests.store import old_answers
from tests.thorough import often

# Written by the release before there were formats, with tests/store/golden/README.md's traffic: 20 traces of 4 spans in
# the lake, one more in a journal that its collector was killed on.
GOLDEN = Path(__file__).parent / "golden"
BEFORE_FORMATS = GOLDEN / "before-formats.tar.zst"
FORMAT_1 = GOLDEN / "format-1.tar.zst"
FORMAT_2 = GOLDEN / "format-2.tar.zst"
N_TRACES, SPANS_EACH = 21, 4
OPENS = ("server.cli.main", "erase", "--user", "nobody")  # a dry run: it opens everything and changes nothing


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return unpacked(tmp_path)


def unpacked(folder: Path, archive: Path = BEFORE_FORMATS) -> Path:
    with (
        pa.input_stream(str(archive), compression="zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")
    return folder / "data"


def answers(data: Path) -> list[tuple[object, ...]]:
    """What a reader sees of every trace: its turn merged from its parts, and its spans."""
    store = Store(Lake(data / "lake"), DuckDBEngine(data / "lake"))
    tenant = store.tenant("default")
    window = Window(start_ns=START_NS - 10 * 86_400 * 10**9, end_ns=START_NS + 10 * 86_400 * 10**9)
    columns = ["trace_id", "span_id", "name", "user_id", "session_id", "input", "output", "input_tokens"]
    spans = tenant.frame(tenant.table("spans").select(*columns), window).sort("trace_id", "span_id").rows()
    turns = tenant.frame(tenant.table("turns").select("trace_id", "n_spans", "input_tokens"), window)
    return [*spans, *turns.group_by("trace_id").sum().sort("trace_id").rows()]


def expected() -> list[tuple[object, ...]]:
    """The traffic of the fixture, as it was sent."""
    spans = [
        (
            f"{n:032x}",
            f"{n * 10 + i:08x}".encode().hex(),
            f"step {i}",
            f"user-{n // 8}",
            f"session-{n // 4}",
            f"question {n}.{i}",
            f"answer {n}.{i} to [EMAIL]",
            100 + n,
        )
        for n in range(1, N_TRACES + 1)
        for i in range(SPANS_EACH)
    ]
    # Two of the four spans of a trace are model calls, and neither is a root.
    return [*spans, *((f"{n:032x}", SPANS_EACH, 2 * (100 + n)) for n in range(1, N_TRACES + 1))]


def upgraded(data: Path) -> None:
    """Starts and stops this release on the folder, and compares everything."""
    collector = Collector(data)
    with collector:
        collector.drained()
        assert collector.stop() == 0
    assert answers(data) == expected()
    ledger = collector.ledger()
    assert (ledger["spans"].received, ledger["spans"].stored, ledger["spans"].quarantined) == (85, 84, 1)
    assert (ledger["log_records"].received, ledger["log_records"].stored) == (10, 10)
    assert all(row.counts.balanced for row in ledger.values())
    assert format_of(data) == FORMAT


def test_data_of_an_earlier_release_opens_with_the_same_answers(old: Path) -> None:
    assert format_of(old) == 0
    upgraded(old)


@pytest.mark.timeout(900)
def test_an_upgrade_killed_anywhere_is_gone_on_with(old: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(old, tmp_path / "whole"))
    n = n_changes(whole, *OPENS, "--data", str(whole))
    assert n > 1
    for i in sorted({1, 1 + n // 2, n}):
        data = Path(shutil.copytree(old, tmp_path / str(i)))
        assert killed_at(i, data, *OPENS, "--data", str(data))
        upgraded(data)


@pytest.mark.timeout(900)
def test_a_killed_step_of_an_old_database_is_taken_again(old: Path, tmp_path: Path) -> None:
    from tests.store.test_control_migrations import KILLED

    survived, n, every = False, 0, often(1, 4)
    while not survived:
        n += every if n else 1
        data = Path(shutil.copytree(old, tmp_path / str(n)))
        url = f"sqlite:///{data / 'control.db'}"
        child = subprocess.run([sys.executable, "-c", KILLED, url, str(n)], check=False, timeout=120, cwd=REPOSITORY)
        survived = child.returncode == 0
        collector = Collector(data)
        assert {signal: row.stored for signal, row in collector.ledger().items()} == {"spans": 80, "log_records": 10}
        control = collector.control()
        assert len(control.list_keys(control.all_tenants()[0].id)) >= 2
        assert all(control.verify(tenant.id).ok for tenant in control.all_tenants())
        control.close()
    assert n > 2


def differing(found: Any, was: Any) -> list[str]:
    """Where an answer is another than the recorded one; what it has more than that (a new column) is none."""
    match was:
        case dict():
            return [f"{key}: {each}" for key in was for each in differing(found.get(key), was[key])]
        case list() if isinstance(found, list) and len(found) == len(was):
            return [f"{n}: {each}" for n, pair in enumerate(zip(found, was, strict=True)) for each in differing(*pair)]
        case float() if isinstance(found, float) and math.isclose(found, was, rel_tol=1e-12):
            return []
        case _:
            return [] if found == was else [f"{str(found)[:200]} for {str(was)[:200]}"]


def rollup_levels(lake: Lake, date: str) -> set[str]:
    files = [file for file in lake.snapshot("rollups").files if file.date == date]
    return {level for file in files for level in lake.read(file, ["level"]).column("level").to_pylist()}


def test_data_of_format_1_answers_as_it_did_then_also_when_it_is_packed_anew(tmp_path: Path) -> None:
    data = unpacked(tmp_path, FORMAT_1)
    recorded = json.loads((tmp_path / "answers.json").read_bytes())
    assert (format_of(data), len(recorded["traces"])) == (1, 91)
    n = n_changes(Path(shutil.copytree(data, tmp_path / "whole")), *OPENS, "--data", str(tmp_path / "whole"))
    assert killed_at(1 + n // 2, data, *OPENS, "--data", str(data))
    collector = Collector(data)
    with collector:
        collector.drained()
        assert collector.stop() == 0
    assert format_of(data) == FORMAT
    assert differing(old_answers.answers(data), recorded) == []
    assert all(row.counts.balanced for row in collector.ledger().values())
    assert (collector.ledger()["spans"].stored, collector.ledger()["spans"].quarantined) == (273, 0)

    lake = Lake(data / "lake")
    plain = {"turn", "AGENT", "LLM", "TOOL"}
    days = sorted({file.date for file in lake.snapshot("rollups").files})
    assert [rollup_levels(lake, day) for day in days] == [plain, plain]
    for table in lake.tables():
        for day in days:
            if files := [file for file in lake.snapshot(table).files if file.date == day]:
                pack(lake, table, files)
    assert [{level[-3:] for level in rollup_levels(lake, day)} for day in days] == [{"/1m", "/1h"}] * 2
    assert differing(old_answers.answers(data), recorded) == []


def test_data_of_format_2_gets_the_tables_of_clusters_and_answers_as_it_did(tmp_path: Path) -> None:
    data = unpacked(tmp_path, FORMAT_2)
    recorded = json.loads((tmp_path / "answers.json").read_bytes())
    assert (format_of(data), len(recorded["traces"])) == (2, 98)
    assert not [table for table in ADDED if (data / "lake" / table).exists()]
    n = n_changes(Path(shutil.copytree(data, tmp_path / "whole")), *OPENS, "--data", str(tmp_path / "whole"))
    assert killed_at(1 + n // 2, data, *OPENS, "--data", str(data))
    collector = Collector(data)
    with collector:
        collector.drained()
        assert collector.stop() == 0
    assert format_of(data) == FORMAT
    assert differing(old_answers.answers(data), recorded) == []
    assert (collector.ledger()["spans"].stored, collector.ledger()["spans"].quarantined) == (294, 0)
    lake = Lake(data / "lake")
    assert {table: lake.snapshot(table).files for table in ADDED} == dict.fromkeys(ADDED, ())


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "collector"),
        ("serve", "server"),
        ("up", "--no-dashboard", "--port-base", "21870"),
        ("erase", "--user", "x"),
        ("remap",),
        ("tenants", "list"),
        ("doctor", "--repair"),
        ("backup", "copy.tar.zst"),
    ],
    ids=" ".join,
)
def test_newer_data_is_refused_untouched_by_every_command(old: Path, command: tuple[str, ...]) -> None:
    (old / "format.json").write_text(json.dumps({"format": FORMAT + 1, "release": "9.1.0"}))
    before = database(old)
    done = subprocess.run(
        [sys.executable, "-m", "server.cli.main", *command, "--data", str(old)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "Assay 9.1.0" in done.stderr
    assert f"formats up to {FORMAT}" in done.stderr
    assert database(old) == before
    assert list((old / "journal").glob("*.seg"))


def database(data: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(data / "control.db")
    try:
        return sorted(connection.execute("SELECT name FROM sqlite_master").fetchall())
    finally:
        connection.close()


def test_the_number_is_written_once_and_an_unreadable_one_is_an_error(tmp_path: Path) -> None:
    require_format(tmp_path)
    note_format(tmp_path, "1.0")
    assert format_of(tmp_path) == FORMAT
    note_format(tmp_path, "1.1")
    assert json.loads((tmp_path / "format.json").read_bytes())["release"] == "1.0"
    (tmp_path / "format.json").write_text("{")
    with pytest.raises(Corrupt):
        require_format(tmp_path)
    (tmp_path / "format.json").write_text('{"format": 99, "release": "7"}')
    with pytest.raises(NewerData, match="run Assay 7 or later"):
        require_format(tmp_path)
