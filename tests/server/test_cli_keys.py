"""Whose key a client command sends: the key of a data folder goes to the instance of that folder and nowhere else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from server.cli import connection
from server.cli.main import main
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.serve import dashboard_environment
from server.settings import Settings
from tests.loopback import listening

KEY = "ask_of_the_folder"


@dataclass
class Door:
    """A listener that knows no key: answers 401 as the API does, and keeps the credentials it was sent."""

    url: str = ""
    credentials: list[str | None] = field(default_factory=list)


@contextmanager
def open_door() -> Iterator[Door]:
    """Listens on a free loopback port."""
    door = Door()

    class Answers(BaseHTTPRequestHandler):
        """Refuses everybody."""

        def do_GET(self) -> None:
            """Any GET."""
            door.credentials.append(self.headers.get("Authorization") or self.headers.get("x-api-key"))
            body = json.dumps({"detail": "the key is not known"}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with listening(Answers) as door.url:
        yield door


@pytest.fixture
def doors() -> Iterator[tuple[Door, Door]]:
    with ExitStack() as stack:
        yield stack.enter_context(open_door()), stack.enter_context(open_door())


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_URL", "ASSAY_API_KEY", "ASSAY_DATA", "ASSAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def folder(path: Path, url: str, running: dict[str, str] | None = None) -> Path:
    """A data folder whose credentials.json names `url`, and the state.json of a running instance if there is one."""
    (path / "run").mkdir(parents=True)
    (path / "credentials.json").write_text(json.dumps({"key": KEY, "url": url}))
    if running is not None:
        (path / "run" / "state.json").write_text(json.dumps(running))
    return path


def client_of(*words: str) -> connection.ApiClient:
    parser = argparse.ArgumentParser()
    connection.add_connection_arguments(parser)
    return connection.client_of(parser.parse_args(words))


def test_the_local_key_goes_to_its_own_instance_only(tmp_path: Path) -> None:
    data = ("--data", str(folder(tmp_path / "d", "http://127.0.0.1:7777")))
    assert client_of(*data).key == KEY
    assert client_of(*data).url == "http://127.0.0.1:7777"
    for same in ("http://127.0.0.1:7777/", "http://localhost:7777", "http://LOCALHOST:7777", "http://[::1]:7777"):
        assert client_of(*data, "--url", same).key == KEY
    assert client_of(*data, "--port-base", "7775").key == KEY
    for other in (
        "http://127.0.0.1:7778",
        "http://localhost:1",
        "http://localhost",
        "https://127.0.0.1:7777",
        "http://127.0.0.2:7777",
        "http://assay.example:7777",
        "http://127.0.0.1.evil.example:7777",
        "http://127.0.0.1:7777@evil.example",
        "http://evil.example:7777#@127.0.0.1:7777",
    ):
        assert client_of(*data, "--url", other).key is None, other
    assert client_of(*data, "--port-base", "9000").key is None
    assert client_of(*data, "--url", "http://localhost:1", "--key", "mine").key == "mine"
    assert KEY not in repr(client_of(*data))


def test_the_running_instance_says_where_the_key_belongs(tmp_path: Path) -> None:
    data = ("--data", str(folder(tmp_path / "d", "http://127.0.0.1:7777", {"url": "http://127.0.0.1:8888"})))
    assert (client_of(*data).url, client_of(*data).key) == ("http://127.0.0.1:8888", KEY)
    assert client_of(*data, "--url", "http://localhost:8888").key == KEY
    assert client_of(*data, "--url", "http://127.0.0.1:7777").key is None


def test_a_key_without_an_address_goes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text(json.dumps({"key": KEY}))
    with pytest.raises(CommandFailed, match="restored and never started"):
        client_of("--data", str(tmp_path))
    assert client_of("--data", str(tmp_path), "--url", "http://127.0.0.1:7777").key is None


@pytest.mark.parametrize("how", ["--url", "--port-base", "ASSAY_URL"])
def test_another_instance_on_this_machine_never_sees_the_key(
    tmp_path: Path,
    doors: tuple[Door, Door],
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, other = doors
    words = ["traces", "list", "--data", str(folder(tmp_path / "d", own.url))]
    match how:
        case "ASSAY_URL":
            monkeypatch.setenv("ASSAY_URL", other.url)
        case "--port-base":
            words += [how, str(int(other.url.rpartition(":")[2]) - connection.API_OFFSET)]
        case _:
            words += [how, other.url]
    assert main(words) == ExitCode.NOT_ALLOWED
    said = capsys.readouterr().err
    assert (own.credentials, other.credentials) == ([], [None])
    assert f"was not sent, it belongs to {own.url}" in said
    assert all(way in said for way in ("--data DIR", "--key", "ASSAY_API_KEY"))
    assert len(said.splitlines()) <= 3
    assert KEY not in said


def test_an_import_keeps_the_key_from_a_strange_collector(
    tmp_path: Path, doors: tuple[Door, Door], capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = doors
    path = tmp_path / "one.json"
    span = {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    words = ["import", "otlp", str(path), "--data", str(folder(tmp_path / "d", own.url)), "--otlp-url", other.url]
    assert main(words) == ExitCode.NOT_ALLOWED
    said = capsys.readouterr().err
    assert "nothing was sent" in said
    assert (own.credentials, other.credentials) == ([], [])
    assert len(said.splitlines()) <= 3


@pytest.mark.parametrize("source", ["--key", "ASSAY_API_KEY", "folder", "none"])
def test_a_refused_key_is_named_by_where_it_came_from(
    tmp_path: Path,
    doors: tuple[Door, Door],
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, _ = doors
    data = folder(tmp_path / "d", own.url) if source == "folder" else tmp_path
    words = ["traces", "list", "--data", str(data), "--url", own.url]
    if source == "--key":
        words += ["--key", "mine"]
    if source == "ASSAY_API_KEY":
        monkeypatch.setenv("ASSAY_API_KEY", "mine")
    assert main(words) == ExitCode.NOT_ALLOWED
    hints = {
        "--key": "the key that was sent is that of --key",
        "ASSAY_API_KEY": "the key that was sent is that of ASSAY_API_KEY",
        "folder": f"the key of {data} was sent",
        "none": f"assay: there is no {tmp_path / 'credentials.json'} here: ",
    }
    sent = {"--key": "Bearer mine", "ASSAY_API_KEY": "Bearer mine", "folder": f"Bearer {KEY}", "none": None}
    assert own.credentials == [sent[source]]
    said = capsys.readouterr().err
    assert "the key is not known" in said
    assert hints[source] in said
    assert "mine" not in said.replace("terminal", "")


def test_the_dashboard_gets_the_key_of_its_own_server_only(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text(json.dumps({"key": KEY, "dashboard_key": "ask_of_the_dashboard"}))
    settings = Settings(data=tmp_path, api_port=7777)
    own = dashboard_environment(settings, {"ASSAY_BOOTSTRAP_KEY": "b"})
    assert own == {"ASSAY_URL": "http://127.0.0.1:7777", "ASSAY_API_KEY": "ask_of_the_dashboard"}
    other = {"ASSAY_URL": "http://127.0.0.1:8888"}
    assert dashboard_environment(settings, other) == other
    chosen = other | {"ASSAY_API_KEY": "mine"}
    assert dashboard_environment(settings, chosen) == chosen
