"""assay backup, assay restore: everything acknowledged before, once; altered bytes are found; kills leave nothing."""

from __future__ import annotations

import io
import json
import shutil
import stat
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from server.cli.main import main
from tests.collector import otlp
from tests.collector.alone import Collector
from tests.killing import killed_at, n_changes
from tests.store.test_versions import answers, expected, unpacked, upgraded


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a command said and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def assay(*words: str) -> Ended:
    """Runs `assay WORDS` in this process; the kills below run it in its own."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return Ended(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of this release, with a request in the journal that no collector has stored yet."""
    folder = unpacked(tmp_path_factory.mktemp("filled"))
    (folder / "gateway.yaml").write_text("version: 1\n")
    (folder / "gates").mkdir()
    (folder / "gates" / "release.yaml").write_text("version: 1\n")
    (folder / "clustering" / "default").mkdir(parents=True)
    (folder / "clustering" / "default" / "tfidf-0.npz").write_bytes(b"what an embedder learned")
    return folder


def backed_up(data: Path, target: Path) -> dict[str, object]:
    done = assay("backup", str(target), "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["copy.tar.zst", "copy"])
def test_a_restored_folder_counts_and_answers_the_same(filled: Path, tmp_path: Path, name: str) -> None:
    target, data = tmp_path / name, tmp_path / "data"
    made = backed_up(filled, target)
    assert made["rows"] == {
        "spans": 80,
        "scores": 5,
        "events": 5,
        "quarantine": 1,
        "turns": 20,
        "sessions": 16,
        "rollups": 9,
        "embeddings": 0,
        "memberships": 0,
    }
    seen = assay("restore", str(target), "--data", str(data), "--dry-run", "--json")
    assert json.loads(seen.stdout) == made
    assert not data.exists()
    done = assay("restore", str(target), "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert answers(data) == answers(filled)
    upgraded(data)
    assert answers(data) == expected()
    for path in (*(data / "secrets").iterdir(), data / "control.db", *([target] if target.is_file() else [])):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((data / "secrets").stat().st_mode) == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "data"])
    assert (data / "gateway.yaml").read_text() == "version: 1\n"
    assert (data / "gates" / "release.yaml").read_text() == "version: 1\n"
    assert (data / "clustering" / "default" / "tfidf-0.npz").read_bytes() == b"what an embedder learned"
    assert not (filled / "lake" / "_backup").exists()


def test_nothing_is_overwritten(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    backed_up(filled, target)
    assert assay("backup", str(target), "--data", str(filled)).returncode == 1
    inside = assay("backup", str(filled / "copy"), "--data", str(filled))
    assert (inside.returncode, "is in the data folder" in inside.stderr) == (2, True)
    assert not (filled / "copy").exists()
    data = tmp_path / "data"
    data.mkdir()
    (data / "mine").write_text("x")
    refused = assay("restore", str(target), "--data", str(data))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert [path.name for path in data.iterdir()] == ["mine"]
    assert assay("restore", str(tmp_path / "none"), "--data", str(data)).returncode == 6


def test_a_lake_that_is_not_where_it_was_said_to_be_is_not_taken_for_an_empty_one(filled: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(filled, data, ignore=shutil.ignore_patterns("lake"))
    refused = assay("backup", str(tmp_path / "copy"), "--data", str(data))
    assert (refused.returncode, "there is no lake at" in refused.stderr) == (4, True)
    assert not (data / "lake").exists()
    config = tmp_path / "settings.toml"
    config.write_text(f'lake = "{filled / "lake"}"\n')
    done = assay("backup", str(tmp_path / "copy"), "--data", str(data), "--config", str(config), "--json")
    assert json.loads(done.stdout)["rows"]["spans"] == 80


@pytest.mark.timeout(900)
def test_every_altered_missing_or_added_file_is_found(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    backed_up(filled, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    chosen = [*files[:: max(1, len(files) // 3)], target / "summary.json", target / "manifest.json"]
    for path in chosen:
        content = path.read_bytes()
        for altered in (content[: len(content) // 2], None):
            if altered is None:
                path.unlink()
            else:
                path.write_bytes(altered)
            refused = assay("restore", str(target), "--data", str(tmp_path / "data"))
            assert refused.returncode == 1, (path, altered is None, refused.stdout)
            assert not (tmp_path / "data").exists()
        path.write_bytes(content)
    (target / "more").write_text("x")
    assert assay("restore", str(target), "--data", str(tmp_path / "data")).returncode == 1


def test_every_altered_byte_of_a_packed_backup_is_found(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.tar.zst"
    backed_up(filled, target)
    content = target.read_bytes()
    for i in range(3):
        at = len(content) * (2 * i + 1) // 6
        target.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        assert assay("restore", str(target), "--data", str(tmp_path / "data")).returncode == 1, at
    target.write_bytes(content[: len(content) * 9 // 10])
    refused = assay("restore", str(target), "--data", str(tmp_path / "data"))
    assert refused.returncode == 1
    assert "whole backup" in refused.stderr


@pytest.mark.timeout(900)
def test_kills_leave_nothing_that_the_next_one_minds(filled: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(filled, tmp_path / "source"))
    backup = ("server.cli.main", "backup", str(tmp_path / "copy"), "--data", str(data))
    n = n_changes(data, *backup)
    shutil.rmtree(tmp_path / "copy")
    for i in range(3):
        assert killed_at(1 + i * (n - 1) // 3, data, *backup)
        assert not (tmp_path / "copy").exists()
    backed_up(data, tmp_path / "copy")
    assert answers(data) == answers(filled)
    restore = ("server.cli.main", "restore", str(tmp_path / "copy"), "--data", str(tmp_path / "restored"))
    for at in (2, 20, 40):
        assert killed_at(at, tmp_path, *restore)
        assert not (tmp_path / "restored").exists()
    assert assay(*restore[1:]).returncode == 0
    assert answers(tmp_path / "restored") == answers(filled)


@pytest.mark.timeout(900)
def test_a_backup_under_load_holds_every_span_acknowledged_before_it_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    stop = threading.Event()
    acknowledged: list[str] = []

    def send(collector: Collector, sender: int) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            ids = [f"{sender}{n:05d}{i:02d}".encode() for i in range(10)]
            trace = f"{sender + 1:08x}{n:08x}" * 2
            spans = [otlp.span({"session.id": trace}, trace_id=bytes.fromhex(trace), span_id=one) for one in ids]
            assert collector.post(otlp.traces(*spans).SerializeToString())[0] == 200
            acknowledged.extend(one.hex() for one in ids)

    with Collector(data) as collector:
        threads = [threading.Thread(target=send, args=(collector, i), daemon=True) for i in range(2)]
        for thread in threads:
            thread.start()
        for i in range(3):
            before = set(acknowledged)
            backed_up(data, tmp_path / f"{i}.tar.zst")
            (tmp_path / f"{i}.json").write_text(json.dumps(sorted(before)))
        stop.set()
        for thread in threads:
            thread.join(30)
    assert len(acknowledged) > 200
    for i in range(3):
        restored = tmp_path / f"restored-{i}"
        assert assay("restore", str(tmp_path / f"{i}.tar.zst"), "--data", str(restored)).returncode == 0
        with Collector(restored) as collector:
            collector.drained()
            assert collector.stop() == 0
        spans = collector.stored()
        before = set(json.loads((tmp_path / f"{i}.json").read_text()))
        assert before <= set(spans["span_id"])
        assert spans["span_id"].is_unique().all()
        row = collector.ledger()["spans"]
        assert row.counts.balanced
        assert (row.stored, row.duplicate) == (spans.height, 0)
        turns = collector.stored("turns").group_by("trace_id").agg(pl.col("n_spans").sum()).sort("trace_id")
        assert turns.rows() == spans.group_by("trace_id").len().sort("trace_id").rows()
