"""The gateway's process: another file without a dropped connection, keys as they come and go, its end."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from core.ids import KeyId, TenantId
from core.keytext import parse
from core.records import Role
from server.control_access import open_control
from server.settings import Settings
from tests.loopback import listening
from tests.server.gateways import MODELS, Running, config_of, running_gateway
from tests.waiting import wait_until

BODY = {"model": "fast", "messages": [{"role": "user", "content": "Where is order A-1001?"}]}
OTHER = "\nmodels:\n  fast: {targets: [{upstream: simulated, model: sim-1-large}]}\n"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A gateway whose file a test may change."""
    with running_gateway(tmp_path) as found:
        yield found


class Load:
    """Calls without a pause over kept connections, whole and streamed ones in turn."""

    def __init__(self, running: Running, n_threads: int = 4) -> None:
        self.models: list[str] = []
        self.broken: list[str] = []
        self._running = running
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(n_threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        url = f"{self._running.url}/v1/chat/completions"
        with httpx.Client(headers=self._running.headers, timeout=30) as client:
            streamed = False
            while not self._stop.is_set():
                streamed = not streamed
                try:
                    answer = client.post(url, json={**BODY, "stream": streamed})
                except httpx.HTTPError as error:
                    self.broken.append(repr(error))
                    continue
                if answer.status_code != 200 or (streamed and not answer.text.endswith("data: [DONE]\n\n")):
                    self.broken.append(f"{answer.status_code}: {answer.text[-200:]}")
                self.models.append(answer.headers.get("x-assay-model", ""))


def test_another_file_is_used_without_a_dropped_call(running: Running) -> None:
    with Load(running) as load:
        for n, (text, model) in enumerate(((OTHER, "sim-1-large"), (MODELS, "sim-1-mini"), (OTHER, "sim-1-large"))):
            running.file.write_text(f"{config_of(running.provider, text)}# {n}\n")
            wait_until(lambda model=model: model in load.models[-4:], 15, f"{model} to answer")  # type: ignore[misc]
            running.file.write_text("upsteams: {}\n")
            running.process.send_signal(signal.SIGHUP)
            wait_until(_told_bad(running), 15, "the bad file to be told")
            assert load.models[-1] == model, "the configuration before holds"
    assert load.broken == []
    assert len(load.models) > 20
    log = running.log.read_text()
    assert f"{running.file}:1: upsteams: is not known; did you mean 'upstreams'?" in log
    assert log.count("read again and in use") == 3


def _told_bad(running: Running) -> Callable[[], bool]:
    return lambda: running.status()["config"]["problems"] != []  # type: ignore[index]


def test_a_call_under_way_ends_with_what_it_began(tmp_path: Path) -> None:
    """A slow stream of the first configuration goes on while the second, without its upstream, answers others."""
    with running_gateway(tmp_path, speed="0.5") as running:
        url = f"{running.url}/v1/chat/completions"
        with httpx.stream("POST", url, json={**BODY, "stream": True}, headers=running.headers, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            running.file.write_text("models: {}\n")
            running.process.send_signal(signal.SIGHUP)
            listed = f"{running.url}/v1/models"
            wait_until(lambda: httpx.get(listed, headers=running.headers).json()["data"] == [], 10, "no models")
            assert httpx.post(url, json=BODY, headers=running.headers).status_code == 404
            assert [line for line in lines if line][-1] == "data: [DONE]"


def test_keys_come_and_go_while_it_runs(running: Running) -> None:
    def status(key: str) -> int:
        return httpx.get(f"{running.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

    control = open_control(Settings(data=running.data, port_base=running.port_base))
    try:
        _, key = control.create_key(TenantId("default"), Role.USER, "new")
        wait_until(lambda: status(key) == 200, 15, "a new key to work")
        wait_until(lambda: _used(control.list_keys(TenantId("default")), key), 15, "its use to be noted")
        control.revoke_key(TenantId("default"), KeyId(parse(key).key_id))
        wait_until(lambda: status(key) == 401, 15, "a revoked key to be refused")
    finally:
        control.close()


def _used(keys: object, text: str) -> bool:
    return any(key.key_id == parse(text).key_id and key.last_used_at_ns for key in keys)  # type: ignore[attr-defined]


def test_keys_hold_while_the_database_cannot_be_read(running: Running) -> None:
    database = sqlite3.connect(running.data / "control.db", isolation_level=None)
    database.execute("ALTER TABLE api_keys RENAME TO api_keys_away")
    try:
        trouble = "the trouble to be told"
        wait_until(lambda: running.status()["directory"]["trouble"] != "", 15, trouble)  # type: ignore[index]
        assert httpx.post(f"{running.url}/v1/chat/completions", json=BODY, headers=running.headers).status_code == 200
    finally:
        database.execute("ALTER TABLE api_keys_away RENAME TO api_keys")
        database.close()
    wait_until(lambda: running.status()["directory"]["trouble"] == "", 15, "the trouble to be over")  # type: ignore[index]


def test_spans_are_sent_with_a_key_of_its_own_that_nobody_else_reads(running: Running) -> None:
    httpx.post(f"{running.url}/v1/chat/completions", json=BODY, headers=running.headers)
    path = running.data / "secrets" / "gateway-keys.json"
    wait_until(path.exists, 10, "the gateway's key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    control = open_control(Settings(data=running.data, port_base=running.port_base))
    try:
        (own,) = [key for key in control.list_keys(TenantId("default")) if key.name == "gateway"]
    finally:
        control.close()
    assert own.role is Role.INGEST
    text = json.loads(path.read_text())["default"]
    assert parse(text).key_id == own.key_id
    assert text not in running.log.read_text()
    assert text not in json.dumps(running.status())


class Endless(BaseHTTPRequestHandler):
    """An upstream whose stream never ends."""

    def do_POST(self) -> None:
        """Pieces until nobody reads."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        choice = {"index": 0, "delta": {"content": "more "}, "finish_reason": None}
        piece = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
        pause = threading.Event()
        try:
            while not pause.wait(0.1):
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_stop_ends_streams_that_do_not_end(tmp_path: Path) -> None:
    with listening(Endless) as upstream, running_gateway(tmp_path, _one_upstream(upstream)) as running:
        url = f"{running.url}/v1/chat/completions"
        with httpx.stream("POST", url, json={**BODY, "stream": True}, headers=running.headers, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            running.process.send_signal(signal.SIGTERM)
            rest = _until_the_end(lines)
        assert "data: [DONE]" not in rest
        assert running.process.wait(20) == 0


def _one_upstream(url: str) -> str:
    return f"""  endless: {{base_url: "{url}/v1"}}
models: {{fast: {{targets: [{{upstream: endless, model: m}}]}}}}
"""


def _until_the_end(lines: Iterator[str]) -> list[str]:
    found: list[str] = []
    try:
        found.extend(lines)
    except httpx.HTTPError as error:
        found.append(repr(error))
    return found


def test_a_taken_port_is_told(running: Running) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "server.cli.main", "serve", "gateway", "--data", str(running.data)]
    done = subprocess.run(
        [*command, "--port-base", str(running.port_base)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert f"port {running.port_base + 4} (gateway) on 127.0.0.1 cannot be used" in done.stderr


def test_what_is_no_http_is_refused_in_openais_shape(running: Running) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", running.port_base + 4), timeout=10) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nx: " + b"y" * 200_000 + b"\r\n\r\n")
        answer = connection.makefile("rb").read().decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 431 ")
    assert json.loads(body)["error"]["code"] == "headers_too_large"
