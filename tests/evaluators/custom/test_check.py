"""`assay evaluators check`, on the example of the docs and on files with faults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from evaluators.catalogue import BY_NAME, every, find, install, remove
from evaluators.custom.load import load_file
from evaluators.custom.trying import example
from evaluators.records import Score
from server.cli.main import main
from tests.evaluators.conformance import conforms, well_described

PAGE = Path(__file__).resolve().parents[3] / "docs" / "custom-evaluators.md"
BROKEN = """
import random
EVALUATORS = [
    {"name": "chancy", "version": "1", "dimension": "safety", "summary": "s", "score": lambda target: random.random()},
    {"name": "raises", "version": "1", "dimension": "safety", "summary": "s", "score": lambda target: 1 / 0},
]
"""


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(_block("python"), encoding="utf-8")
    path.chmod(0o644)
    return path


def test_the_example_of_the_page_works(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluators", "check", str(own), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == []
    assert [one["evaluator"].split("+")[0] for one in told["evaluators"]] == ["apologises@1", "words_per_reply@2.1"]
    assert told["evaluators"][0]["score"] == {"value": 0.0, "passed": True}
    assert told["evaluators"][1]["score"]["value"] == 9.5
    assert main(["evaluators", "check", str(own)]) == 0
    assert "words_per_reply@2.1+" in capsys.readouterr().out


def test_the_example_of_an_endpoint_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONE_AUTHORIZATION", "Bearer x")
    path = tmp_path / "own.json"
    path.write_text(_block("json"), encoding="utf-8")
    path.chmod(0o644)
    loaded = load_file(path)
    assert loaded.problems == ()
    assert loaded.evaluators[0].wall_s == 6
    loaded.close()


def test_what_is_wrong_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.py"
    path.write_text(BROKEN, encoding="utf-8")
    path.chmod(0o644)
    assert main(["evaluators", "check", str(path)]) == 1
    told = capsys.readouterr().err
    assert "another score the second time" in told
    assert "ZeroDivisionError" in told
    path.write_text("import nothing_here", encoding="utf-8")
    assert main(["evaluators", "check", str(path)]) == 1
    assert "own.py: ModuleNotFoundError" in capsys.readouterr().err
    assert main(["evaluators", "check", str(tmp_path / "nowhere.py")]) == 1
    assert "it is no file" in capsys.readouterr().err


def test_installed_ones_are_found_by_name_and_version_and_conform(own: Path) -> None:
    loaded = load_file(own)
    n_before = len(BY_NAME)
    install(loaded.evaluators)
    try:
        found = find("words_per_reply")
        assert find(f"words_per_reply@{found.spec.version}") is found
        assert found in every()
        for one in loaded.evaluators:
            well_described(one)
            assert isinstance(conforms(one, example()), Score)
    finally:
        remove(loaded.evaluators)
        loaded.close()
    assert len(BY_NAME) == n_before
