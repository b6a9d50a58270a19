"""The supervisor with small real child processes, and `assay up` with the real parts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from core.keytext import issue
from server.bootstrap import bootstrap
from server.settings import Settings
from server.supervisor import STOP_WITHIN_S
from tests.stack import free_port_base, running_stack
from tests.waiting import wait_until

# Runs a supervisor over parts given as name=python code; prints a line when ready and every line it is told to say.
PROGRAM = """
import json, sys
from pathlib import Path
from server.supervisor import CannotStart, Part, Supervisor, require_free_ports
told = json.loads(sys.argv[1])
supervisor = Supervisor(Path(told["run_dir"]), say=lambda line: print(line, flush=True))
try:
    supervisor.lock()
    require_free_ports("127.0.0.1", {"door": told["port"]})
    supervisor.start(
        Part(name=name, command=[sys.executable, "-c", code, str(told["port"])], ports=told["ports"].get(name, []))
        for name, code in told["parts"].items()
    )
    if supervisor.wait_ready(20):
        supervisor.write_state({"url": "http://127.0.0.1:1"})
        print("ready", flush=True)
        supervisor.watch()
except CannotStart as problem:
    print(f"cannot start: {problem}", flush=True)
finally:
    supervisor.stop()
    print("stopped", flush=True)
"""

LISTENS = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    while True: time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
FAILS = "import sys; print('no luck today', file=sys.stderr); sys.exit(1)"


@contextmanager
def supervised(
    folder: Path, parts: dict[str, str], *, port: int, ports: dict[str, list[int]] | None = None
) -> Iterator[subprocess.Popen[str]]:
    told = {"run_dir": str(folder / "data" / "run"), "parts": parts, "port": port, "ports": ports or {}}
    words = [sys.executable, "-c", PROGRAM, json.dumps(told)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def state_of(folder: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads((folder / "data" / "run" / "state.json").read_text())
    return found


@pytest.fixture
def port() -> int:
    return free_port_base(1)


def test_parts_are_waited_for_and_ended(tmp_path: Path, port: int) -> None:
    with supervised(tmp_path, {"door": LISTENS}, port=port, ports={"door": [port]}) as process:
        assert next_line(process) == "ready"
        socket.create_connection(("127.0.0.1", port)).close()
        child = state_of(tmp_path)["pids"]["door"]
        process.send_signal(signal.SIGINT)
        assert next_line(process) == "stopping door; what was acknowledged is kept"
        assert next_line(process) == "stopped"
        assert process.wait(10) == 0
    assert not psutil.pid_exists(child)
    assert not (tmp_path / "data" / "run" / "state.json").exists()


def test_a_part_that_dies_comes_back(tmp_path: Path, port: int) -> None:
    with supervised(tmp_path, {"door": LISTENS}, port=port, ports={"door": [port]}) as process:
        assert next_line(process) == "ready"
        os.kill(state_of(tmp_path)["pids"]["door"], signal.SIGKILL)
        assert next_line(process) == "the door ended (signal SIGKILL); starting it again"
        wait_until(lambda: _connects(port), 20, "the door to open again")


def test_a_part_that_keeps_dying_is_started_more_and_more_slowly(tmp_path: Path, port: int) -> None:
    dies = "import time; time.sleep(0.3)"
    with supervised(tmp_path, {"mayfly": dies}, port=port) as process:
        lines = [next_line(process) for _ in range(4)]
    assert lines[0] == "ready"
    assert [line.partition(" again")[2] for line in lines[1:]] == ["", " in 1 s", " in 2 s"]


def test_a_part_that_cannot_start_is_quoted(tmp_path: Path, port: int) -> None:
    with supervised(tmp_path, {"door": FAILS}, port=port, ports={"door": [port]}) as process:
        assert next_line(process) == "cannot start: the door could not start: no luck today"


def test_a_part_that_does_not_listen_to_the_signal_is_ended(tmp_path: Path, port: int) -> None:
    with supervised(tmp_path, {"stubborn": STUBBORN}, port=port) as process:
        assert next_line(process) == "ready"
        child = psutil.Process(state_of(tmp_path)["pids"]["stubborn"])
        wait_until(lambda: child.num_threads() and _ignores_term(child.pid), 20, "the part to refuse SIGTERM")
        process.terminate()
        process.wait(STOP_WITHIN_S + 10)
    assert not child.is_running()


def test_a_data_folder_has_one_instance(tmp_path: Path, port: int) -> None:
    with supervised(tmp_path, {"door": LISTENS}, port=port, ports={"door": [port]}) as first:
        assert next_line(first) == "ready"
        with supervised(tmp_path, {}, port=port) as second:
            assert next_line(second).startswith(f"cannot start: an Assay is running on {tmp_path / 'data'} already")
        assert state_of(tmp_path)["pids"], "the first one's state is still there"
    with supervised(tmp_path, {}, port=port) as third:
        assert next_line(third) == "ready"


def test_a_port_in_use_is_named(tmp_path: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), supervised(tmp_path, {}, port=port) as process:
        assert next_line(process).startswith(f"cannot start: port {port} (door) is in use")


def test_bootstrap_keeps_what_is_valid_and_replaces_what_is_not(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    first = bootstrap(settings)
    path = tmp_path / "data" / "credentials.json"
    assert json.loads(path.read_text()) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert bootstrap(settings) == first
    moved = bootstrap(Settings(data=tmp_path / "data", api_port=9999))
    assert (moved["url"], moved["key"]) == ("http://127.0.0.1:9999", first["key"])
    path.write_text(json.dumps({**first, "key": "edited by hand"}))
    assert bootstrap(settings)["key"] not in (first["key"], "edited by hand")


def test_the_first_key_may_come_from_outside(tmp_path: Path) -> None:
    wanted = issue()
    settings = Settings.model_validate({"data": tmp_path / "data", "bootstrap_key": wanted})
    assert bootstrap(settings)["key"] == wanted
    assert bootstrap(settings)["key"] == wanted


def test_up_serves_restarts_and_stops(tmp_path: Path) -> None:
    wanted = issue()
    with running_stack(tmp_path, environment={"ASSAY_BOOTSTRAP_KEY": wanted}) as stack:
        assert stack.key == wanted
        wait_until((stack.data_dir / "run" / "state.json").exists, 60, "everything to be ready")
        assert httpx.get(f"{stack.url}/api/v1/me", headers=stack.headers).json()["role"] == "admin"
        state = json.loads((stack.data_dir / "run" / "state.json").read_text())
        heavy = {"polars", "duckdb", "numba", "sqlalchemy", "pydantic"}
        loaded = Path(f"/proc/{stack.pid}/maps").read_text()
        assert not [name for name in heavy if f"/{name}" in loaded]

        os.kill(state["pids"]["server"], signal.SIGKILL)
        wait_until(lambda: _answers(f"{stack.url}/healthz"), 60, "the server to come back")
        listed = stack.cli("keys", "list", "--json")
        assert listed.returncode == 0
        assert len(json.loads(listed.stdout)["items"]) == 2

        again = stack.cli("up", "--data", str(stack.data_dir), "--port-base", str(stack.port_base))
        assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
        assert "already" in again.stderr

        children = [child.pid for child in psutil.Process(stack.pid).children(recursive=True)]
        os.kill(stack.pid, signal.SIGTERM)
        wait_until(lambda: not psutil.pid_exists(stack.pid) or _is_zombie(stack.pid), 15, "`assay up` to end")
        assert not [pid for pid in children if psutil.pid_exists(pid)]
    log = stack.log_path.read_text()
    assert "assay: stopping server, collector; what was acknowledged is kept" in log
    shown = (f"key        {wanted}", f"authorization=Bearer%20{wanted}")  # once each, for the person at the terminal
    assert [log.count(wanted), *map(log.count, shown)] == [2, 1, 1]


def test_the_parts_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        wait_until((stack.data_dir / "run" / "state.json").exists, 60, "everything to be ready")
        children = psutil.Process(stack.pid).children(recursive=True)
        os.kill(stack.pid, signal.SIGKILL)
        wait_until(lambda: not any(child.is_running() for child in children), 20, "the parts to end too")


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _ignores_term(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
    return bool(ignored & (1 << (signal.SIGTERM - 1)))


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
