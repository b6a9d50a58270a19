"""A data folder knows its lake, its control database and its secrets: no command works with others, and nothing of what
was acknowledged goes where nobody looks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from server.bootstrap import bootstrap
from server.cli.main import main
from server.erasing import Erasing, resume_in_child
from server.settings import Settings, load_settings
from store.instance import FILE, instance_of
from store.lake import Lake
from tests.collector import otlp
from tests.collector.alone import Collector
from tests.server.erasable import OTHER, TEXT, USER, spans
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, `lake` beside it with one trace of a user, and acknowledged spans in the journal only."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "data").mkdir()
    with Collector(folder / "data", lake=str(folder / "lake")) as collector:
        assert collector.post(otlp.traces(*spans(1, USER, TEXT, "s-1")).SerializeToString())[0] == 200
        collector.drained()
        wait_until(lambda: rows(folder / "lake") == 3, 60, "the first trace to be stored")
        assert collector.post(otlp.traces(*spans(2, OTHER, "fine", "s-2")).SerializeToString())[0] == 200
        collector.kill()
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`, with its lake where the copy has it, and a settings file that names it."""
    shutil.copytree(made, tmp_path / "place")
    place = tmp_path / "place"
    known = json.loads((place / "data" / FILE).read_bytes())
    assert known["lake"] == str(made / "lake")
    (place / "data" / FILE).write_text(json.dumps({**known, "lake": str(place / "lake")}))
    (place / "assay.toml").write_text(f'lake = "{place / "lake"}"\n')
    return place


def rows(lake: Path) -> int:
    return sum(file.n_rows for file in Lake(lake).snapshot("spans").files)


def assay(capsys: pytest.CaptureFixture[str], place: Path, *words: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of one command on `place`/data."""
    code = main([*words, "--data", str(place / "data")])
    said = capsys.readouterr()
    return code, said.out, said.err


COMMANDS = [
    ("erase", "--user", USER, "--yes"),
    ("remap",),
    ("tenants", "list"),
    ("keys", "create", "--offline", "--name", "new"),
    ("backup", "copy.tar.zst"),
    ("doctor", "--offline"),
    ("doctor", "--repair", "--yes"),
    ("serve", "collector"),
    ("serve", "server"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_works_with_another_lake_or_control_database(
    place: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    journal = sorted((place / "data" / "journal").glob("*.seg"))
    code, _, said = assay(capsys, place, *words)
    assert (code, str(place / "lake") in said, str(place / "data" / "lake") in said) == (2, True, True), said
    assert "assay adopt" in said
    monkeypatch.setenv("ASSAY_CONTROL_URL", "postgresql://somebody:hunter2@nowhere:1/other")
    code, _, said = assay(capsys, place, *words, "--config", "assay.toml")
    assert (code, str(place / "data" / "control.db") in said) == (2, True), said
    assert "postgresql://nowhere:1/other" in said
    assert "hunter2" not in said
    assert sorted((place / "data" / "journal").glob("*.seg")) == journal
    assert not (place / "data" / "lake").exists()
    assert not (place / "copy.tar.zst").exists()


def test_with_its_settings_file_an_erasure_finds_what_there_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(place / "assay.toml"))
    code, said, _ = assay(capsys, place, "erase", "--user", USER, "--yes", "--json", *config)
    (receipt,) = json.loads(said)["erasures"]
    assert (code, receipt["traces"], rows(place / "lake")) == (0, 1, 3)
    assert assay(capsys, place, "remap", "--json", *config)[0] == 0
    assert assay(capsys, place, "tenants", "list", *config)[0] == 0


def test_a_folder_of_an_earlier_release_is_noted_with_the_lake_that_the_ledger_counts(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "data" / FILE).unlink()
    Lake(place / "data" / "lake")
    monkeypatch.chdir(place)
    for words in (("erase", "--user", USER, "--yes"), ("remap",), ("backup", "copy.tar.zst"), ("serve", "collector")):
        code, _, said = assay(capsys, place, *words)
        assert (code, "has nothing of what the ledger" in said) == (2, True), said
        assert not (place / "data" / FILE).exists()
    assert assay(capsys, place, "adopt")[0] == 0
    assert not (place / "data" / FILE).exists(), "without --yes nothing is noted"
    (place / "data" / "control.db").rename(place / "control.db")
    code, _, said = assay(capsys, place, "serve", "collector", "--config", "assay.toml")
    assert (code, "there is no control database at" in said) == (2, True), said
    (place / "control.db").rename(place / "data" / "control.db")
    assert assay(capsys, place, "tenants", "list", "--config", "assay.toml")[0] == 0
    known = instance_of(place / "data")
    assert known is not None
    assert (known.lake, known.control, sorted(known.secrets)) == (
        str(place / "lake"),
        "control.db",
        ["master.key", "pepper"],
    )


def test_a_lake_whose_disk_is_not_mounted_gets_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(place / "assay.toml"))
    (place / "lake").rename(place / "unmounted")
    code, _, said = assay(capsys, place, "serve", "collector", *config)
    assert (code, "has nothing of what the ledger" in said) == (2, True), said
    assert list((place / "data" / "journal").glob("*.seg"))
    code, said, _ = assay(capsys, place, "adopt", "--yes", *config)
    assert (code, "acknowledged spans are not in it" in said) == (0, True)
    assert assay(capsys, place, "erase", "--user", USER, "--yes", *config)[0] == 0
    assert rows(place / "lake") == 3, "what was in the journal is in the lake that was chosen on purpose"


def test_a_move_on_purpose_is_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "lake").rename(place / "moved")
    config = place / "assay.toml"
    config.write_text(f'lake = "{place / "moved"}"\n')
    before = (place / "data" / FILE).read_bytes()
    code, said, _ = assay(capsys, place, "adopt", "--config", str(config))
    assert (code, str(place / "moved") in said, "nothing was changed" in said) == (0, True, True)
    assert (place / "data" / FILE).read_bytes() == before
    assert assay(capsys, place, "adopt", "--yes", "--config", str(config))[0] == 0
    assert assay(capsys, place, "backup", str(place / "copy"), "--config", str(config))[0] == 0


@pytest.mark.parametrize("name", ["master.key", "pepper"])
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_secret_that_is_another_or_gone_is_refused_and_not_made_anew(
    place: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = place / "data" / "secrets" / name, ("--config", str(place / "assay.toml"))
    good = path.read_text()
    if damage == "flipped":
        path.write_text(("1" if good[0] == "0" else "0") + good[1:])
    else:
        path.unlink()
    left = path.read_text() if path.exists() else None
    for words in (("serve", "collector"), ("serve", "server"), ("erase", "--user", USER, "--yes"), ("tenants", "list")):
        code, _, said = assay(capsys, place, *words, *config)
        assert (code, str(path) in said, "from a backup" in said) == (2, True, True), said
    code, said, _ = assay(capsys, place, "doctor", "--offline", "--no-scrub", "--json", *config)
    (check,) = [check for check in json.loads(said)["checks"] if check["name"] == "secrets"]
    assert (code, check["status"]) == (1, "fail")
    assert (path.read_text() if path.exists() else None) == left
    path.write_text(good)
    assert assay(capsys, place, "tenants", "list", *config)[0] == 0


def test_a_restored_folder_is_another_instance_and_has_no_address(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, config = place / "data", ("--config", str(place / "assay.toml"))
    bootstrap(load_settings(place / "assay.toml", data=data))
    assert assay(capsys, place, "backup", str(place / "copy"), *config)[0] == 0
    (place / "r").mkdir()
    assert assay(capsys, place / "r", "restore", str(place / "copy"))[0] == 0
    restored = json.loads((place / "r" / "data" / "credentials.json").read_bytes())
    original = json.loads((data / "credentials.json").read_bytes())
    assert ("url" in original, restored) == (True, {k: v for k, v in original.items() if k != "url"})
    ours, theirs = instance_of(place / "r" / "data"), instance_of(data)
    assert ours is not None
    assert theirs is not None
    assert (ours.id != theirs.id, ours.lake, ours.secrets) == (True, "lake", theirs.secrets)
    code, _, said = assay(capsys, place / "r", "keys", "revoke", restored["key_id"])
    assert (code, "never started" in said) == (4, True)
    code, said, _ = assay(capsys, place / "r", "doctor", "--json")
    assert (code, json.loads(said)["examined"]) == (0, str(place / "r" / "data"))
    assert assay(capsys, place / "r", "tenants", "list")[0] == 0


def test_an_erasure_that_the_server_begins_works_where_relative_paths_led(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    settings = Settings(data=Path("data"), lake="lake", control_url="sqlite:///data/control.db")
    erasing = Erasing(settings)
    try:
        begun = erasing.begin(erasing.control.all_tenants()[0].id, USER)
        resume_in_child(settings)
        wait_until(lambda: not erasing.under_way(), 120, "the child to have erased")
        receipt = erasing.control.erasure(begun.tenant, begun.erasure_id).receipt
    finally:
        erasing.close()
    assert receipt is not None
    assert (receipt["traces"], rows(place / "lake")) == (1, 3)
