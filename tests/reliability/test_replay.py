"""What `assay doctor --repair` makes anew from the journal: exactly the rows that the damaged file held."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from collector.rebuild import REBUILT
from core.errors import Corrupt
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.secret_file import read_or_create_secret
from store.lake import Lake
from tests.collector.inside import PEPPER, Inside
from tests.reliability.corruption_data import filled
from tests.store.test_damage import flip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that no test writes to."""
    folder = tmp_path_factory.mktemp("replay") / "data"
    filled(folder, random.Random(1))
    read_or_create_secret(folder / "secrets" / "pepper")
    (folder / "secrets" / "pepper").write_text(PEPPER.hex())
    return folder


@pytest.fixture
def data(tmp_path: Path, whole: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(whole, tmp_path / "data")


def rows_of(data: Path, table: str) -> list[str]:
    lake = Lake(data / "lake")
    frames = [pl.from_arrow(lake.read(file, verify=True)) for file in lake.snapshot(table).files]
    drop = ["payload", "ingested_at"]  # sealed under a fresh nonce; of the last request of the batch
    return sorted(repr(row) for frame in frames for row in frame.drop(drop, strict=False).rows())  # type: ignore[union-attr]


@pytest.mark.parametrize("table", REBUILT)
def test_a_damaged_file_is_made_anew_from_the_journal(
    data: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(data, table)
    victim = Lake(data / "lake").snapshot(table).files[4]
    flip(Path(victim.path), victim.size // 2)
    words = ["doctor", "--repair", "--json", "--data", str(data)]
    assert main(words) == ExitCode.FAILED
    (planned,) = json.loads(capsys.readouterr().out)["planned"]
    assert (planned["act"], planned["rows"]) == ("replay", victim.n_rows)
    assert main([*words, "--yes"]) == ExitCode.OK
    assert rows_of(data, table) == before
    assert Lake(data / "lake").damaged() == []


def test_where_the_journal_has_let_go_the_file_is_taken_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data / "journal").glob("*.key"):
        path.unlink()
    victim = Lake(data / "lake").snapshot("spans").files[0]
    flip(Path(victim.path), victim.size // 2)
    assert main(["doctor", "--repair", "--yes", "--data", str(data)]) == ExitCode.OK
    assert "take out of the table" in capsys.readouterr().out


def test_the_control_database_is_mended_too(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(data / "control.db")) as database, database:
        database.execute("UPDATE api_keys SET role = 'viewes' WHERE role = 'viewer' AND tenant = 'acme'")
    assert main(["doctor", "--repair", "--data", str(data)]) == ExitCode.FAILED
    assert re.search(r"put right: control database, row \d+ of api_keys", capsys.readouterr().out)
    assert main(["doctor", "--repair", "--yes", "--data", str(data)]) == ExitCode.OK
    assert main(["doctor", "--repair", "--data", str(data)]) == ExitCode.OK


def test_the_number_of_a_journal_is_checked(tmp_path: Path) -> None:
    life = Inside(tmp_path)
    number = life.journal.number
    life.release()
    path = tmp_path / "journal" / "journal.json"
    kept = json.loads(path.read_bytes())
    path.write_text(json.dumps(kept | {"number": number ^ 1}))
    with pytest.raises(Corrupt, match="does not fit its check"):
        Inside(tmp_path)
    path.write_text(json.dumps({"number": number}))
    again = Inside(tmp_path / "copy") if shutil.copytree(tmp_path / "journal", tmp_path / "copy" / "journal") else None
    assert again is not None
    assert again.journal.number == number
    assert "check" in json.loads((tmp_path / "copy" / "journal" / "journal.json").read_bytes())
    again.release()
