"""The `assay` command: quick help, exit codes, short messages, whatever the terminal."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from core.records import SpanKind
from server.cli import connection
from server.cli.main import COMMANDS, main
from server.cli.outcome import CommandFailed, ExitCode
from tests.loopback import listening

KEY = "ask_of_credentials"


class Echo(BaseHTTPRequestHandler):
    """Answers what it was sent; a number as the last part of the path is the status of its problem."""

    def do_GET(self) -> None:
        """Any GET."""
        last = self.path.rsplit("/", 1)[-1]
        status = int(last) if last.isdigit() else 200
        body = b'{"path": "%s", "key": "%s", "detail": "so it is"}' % (
            self.path.encode(),
            (self.headers.get("Authorization") or "").encode(),
        )
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[str]:
    with listening(Echo) as url:
        yield url


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_URL", "ASSAY_API_KEY", "ASSAY_DATA", "ASSAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def client_of(*words: str) -> connection.ApiClient:
    import argparse

    parser = argparse.ArgumentParser()
    connection.add_connection_arguments(parser)
    return connection.client_of(parser.parse_args(words))


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_lists_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name}" in printed for name in COMMANDS)
    code = (
        "import sys; from server.cli.main import main; main(['--help']); "
        "heavy = {'pydantic', 'sqlalchemy', 'polars', 'duckdb', 'httpx', 'rich', 'fastapi', 'pyarrow', 'numpy'}; "
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(COMMANDS[name][0])
    assert callable(module.add_arguments)
    assert callable(module.run)
    assert main([name, "--help"]) == 0
    assert "exit codes" in capsys.readouterr().out


def test_no_words_and_wrong_words_are_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.USAGE
    assert main(["trces"]) == ExitCode.USAGE
    assert "did you mean 'traces'" in capsys.readouterr().err
    assert main(["--wrong"]) == ExitCode.USAGE
    assert main(["keys", "list", "--wrong"]) == ExitCode.USAGE
    assert main(["up", "--port-base", "70000"]) == ExitCode.USAGE


@pytest.mark.parametrize("command", ["traces", "sessions"])
def test_an_unknown_kind_is_usage_and_the_known_ones_are_listed(
    command: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "list", "--kind", "x", "--url", server]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "--kind" in said
    assert all(kind.value in said for kind in SpanKind)


def test_no_server_is_four_in_two_lines(tmp_path: Path) -> None:
    done = run("keys", "list", "--url", "http://127.0.0.1:9", "--data", str(tmp_path))
    assert done.returncode == ExitCode.UNREACHABLE
    assert len(done.stderr.splitlines()) <= 3
    assert "assay up" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--url", "ftp://x"),
        ("--url", "nonsense"),
        ("--url", "http://"),
        ("--url", "http://h:99999"),
        ("--url", "http://["),
    ],
)
def test_an_address_that_is_none_is_usage(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandFailed) as failed:
        client_of(*words)
    assert failed.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, ExitCode.NOT_ALLOWED),
        (403, ExitCode.NOT_ALLOWED),
        (404, ExitCode.NOT_FOUND),
        (422, ExitCode.USAGE),
        (400, ExitCode.USAGE),
        (409, ExitCode.FAILED),
        (500, ExitCode.FAILED),
        (503, ExitCode.FAILED),
    ],
)
def test_each_answer_has_its_exit_code(server: str, status: int, code: ExitCode) -> None:
    with pytest.raises(CommandFailed, match="so it is") as failed:
        client_of("--url", server, "--key", "k").get(f"/{status}")
    assert failed.value.code == code


def test_parameters_are_sent_as_given(server: str) -> None:
    answer = client_of("--url", server).get("/x", {"app": "a b", "attr": ["k=v", "l=m&n"], "none": None, "n": 5})
    assert answer["path"] == "/x?app=a+b&attr=k%3Dv&attr=l%3Dm%26n&n=5"
    assert answer["key"] == ""


def test_the_address_is_the_first_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ("--data", str(tmp_path))
    assert client_of(*data).url == connection.DEFAULT_URL
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").write_text('{"url": "http://127.0.0.1:5"}')
    assert client_of(*data).url == "http://127.0.0.1:5"
    monkeypatch.setenv("ASSAY_URL", "http://127.0.0.1:6/")
    assert client_of(*data).url == "http://127.0.0.1:6"
    assert client_of(*data, "--port-base", "100").url == "http://127.0.0.1:102"
    assert client_of(*data, "--port-base", "100", "--url", "http://h").url == "http://h"


def test_a_broken_credentials_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "credentials.json").write_bytes(b"\0\xff")
    assert main(["keys", "list", "--data", str(tmp_path)]) == ExitCode.USAGE
    assert "is not JSON" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = [sys.executable, "-m", "server.cli.main", "--version"]
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=240, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.FAILED, "")


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_poor_terminal_gets_text_too(environment: dict[str, str]) -> None:
    done = run("tracés\udcff", **environment)
    assert done.returncode == ExitCode.USAGE
    assert "Traceback" not in done.stderr


def test_wrong_settings_end_with_two(tmp_path: Path) -> None:
    done = run("up", "--data", str(tmp_path), "--host", "0.0.0.0")
    assert done.returncode == ExitCode.USAGE
    assert "--i-know" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_a_closed_stdout_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--version"]) == ExitCode.OK
    assert not sys.stdout.isatty()
