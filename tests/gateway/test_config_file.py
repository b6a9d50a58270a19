"""The gateway's file: every bad one is told in lines that name the place, and none tells a secret."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gateway.config_file import MAX_FILE_BYTES, BadConfig, LoadedConfig, load_config

CONFIGS = Path(__file__).parent / "configs"
BAD = sorted((CONFIGS / "bad").glob("*.yaml"))
ENVIRON = {"GOOD": "sk-good-hunter2", "EMPTY": " "}


def problems_of(path: Path, environ: dict[str, str] = ENVIRON) -> list[str]:
    with pytest.raises(BadConfig) as refused:
        load_config(path, environ)
    return list(refused.value.problems)


def loaded(folder: Path, text: str) -> LoadedConfig:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return load_config(path, ENVIRON)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_told_as_expected(path: Path) -> None:
    """`bad/NAME.txt` has the lines without the file's name. ASSAY_WRITE=1 writes them: read what changed."""
    found = [line.removeprefix(f"{path}:").replace(f"{path.parent}/", "") for line in problems_of(path)]
    expected = path.with_suffix(".txt")
    if os.environ.get("ASSAY_WRITE"):
        expected.write_text("\n".join(found) + "\n")
    assert found == expected.read_text().splitlines()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_problem_is_one_line_with_its_place_and_no_secret(path: Path) -> None:
    for line in problems_of(path):
        assert re.match(rf"{re.escape(str(path))}:[1-9]\d*: \S", line), line
        assert "\n" not in line
        assert "hunter2" not in line
        assert len(line) < 400


def test_there_are_expectations_for_every_bad_file_and_no_others() -> None:
    assert {path.stem for path in BAD} == {path.stem for path in (CONFIGS / "bad").glob("*.txt")}


def test_a_whole_file_is_read_and_its_secrets_are_looked_up() -> None:
    found = load_config(CONFIGS / "good" / "whole.yaml", ENVIRON)
    keys = [key.get_secret_value() for key in found.config.upstreams["openai"].keys]
    assert keys == ["sk-good-hunter2", "the key of a file"]
    assert found.config.upstreams["claude"].keys[0].get_secret_value() == "Bearer sk-good-hunter2"
    assert found.config.upstreams["azure"].api_version == "2024-10-21"
    assert found.config.policies.content[0].on == "both"
    assert found.config.models["support-fast"].cache == "off"
    assert found.secret_files == ((CONFIGS / "good" / "../key"),)
    for text in (repr(found), repr(found.config), str(found.config), found.config.model_dump_json()):
        assert "hunter2" not in text
        assert "the key of a file" not in text


def test_a_mark_of_utf_8_in_front_is_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "\ufeffversion: 1\n").config.version == 1


@pytest.mark.parametrize(
    ("raw", "line", "said"),
    [
        (b"version: 1\n# caf\xe9\n", ":2", "is not UTF-8 text"),
        ("version: 1\n".encode("utf-16"), ":1", "is UTF-16 text; save it as UTF-8"),
        (b"version: 1\nteams: {a: {apps: ['\0']}}\n", ":2", "has a NUL character; it is no text"),
        (b"#" * (MAX_FILE_BYTES + 1), "", f"is over {MAX_FILE_BYTES:,} bytes; that is no gateway configuration"),
        (b"a: " + b"[" * 5000, ":1", "is nested over 24 levels deep"),
        (b"version: 1\nb: \x07\n", ":2", "is not YAML: control characters are not allowed"),
    ],
)
def test_a_file_that_is_no_text_is_one_line(tmp_path: Path, raw: bytes, line: str, said: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(raw)
    assert problems_of(path) == [f"{path}{line}: {said}"]


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "none.yaml") == [f"{tmp_path}/none.yaml: cannot be read: No such file or directory"]
    assert problems_of(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"two\nlines\n", b"\xff\xfe\x00", b"x" * 70_000])
def test_a_file_of_a_secret_holds_one_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "key").write_bytes(raw)
    path = tmp_path / "gateway.yaml"
    path.write_text('upstreams: {main: {base_url: "http://127.0.0.1:1/v1", keys: ["${file:key}"]}}\n')
    (line,) = problems_of(path)
    assert f"names the file {tmp_path / 'key'}, which " in line


def test_the_digest_changes_with_the_file_and_with_the_files_of_secrets(tmp_path: Path) -> None:
    text = 'upstreams: {main: {base_url: "http://127.0.0.1:1/v1", keys: ["${file:key}"]}}\n'
    (tmp_path / "key").write_text("one\n")
    first = loaded(tmp_path, text).digest
    assert loaded(tmp_path, text).digest == first
    (tmp_path / "key").write_text("two\n")
    second = loaded(tmp_path, text).digest
    third = loaded(tmp_path, f"{text}# more\n").digest
    assert len({first, second, third}) == 3


def test_a_dollar_and_a_brace_can_be_written(tmp_path: Path) -> None:
    text = "policies: {content: [{name: a, words: ['$${env:GOOD}', '$5', '{}']}]}\n"
    assert loaded(tmp_path, text).config.policies.content[0].words == ("${env:GOOD}", "$5", "{}")


def test_what_does_not_fit_on_three_lines_is_counted() -> None:
    with pytest.raises(BadConfig) as refused:
        load_config(CONFIGS / "bad" / "wrong_types.yaml", ENVIRON)
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert lines[2] == f"and {len(refused.value.problems) - 2} more: assay gateway check"


def test_a_large_file_is_read_in_bounded_time(tmp_path: Path) -> None:
    """Many problems are cut, and many models cost no more than their number."""
    many = "".join(f"  m{n}: {{targets: [{{upstream: nowhere, model: m}}]}}\n" for n in range(5000))
    path = tmp_path / "gateway.yaml"
    path.write_text(f"models:\n{many}")
    assert len(problems_of(path)) == 50
