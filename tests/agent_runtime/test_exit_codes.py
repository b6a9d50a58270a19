"""How `serve`, `chat` and `simulate` end: with which exit code, and what they say. docs/cli.md has the table."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from agent_runtime.__main__ import FAILED, INTERRUPTED, OK, UNREACHABLE, USAGE, main
from agent_runtime.simulation.world import World
from agent_runtime.state import StateFile
from tests.agent_runtime.fronts import Front, front
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
STRANGE = ("OPENAI_", "AZURE_", "ANTHROPIC_", "AWS_", "AGENT_", "ASSAY_", "OTEL_")


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    return {**kept, "AGENT_DATA": str(folder / "agent"), "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def started(folder: Path, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m agent_runtime WORDS` with open pipes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_runtime", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(folder, **more),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(folder: Path, *words: str, typed: str = "", **more: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with started(folder, *words, **more) as process:
        out, err = process.communicate(typed, timeout=200)
        return process.returncode, out, err


Main = Callable[..., tuple[int, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """The command in this process, for what ends before anything is opened: exit code and standard error."""

    def called(*words: str, **more: str) -> tuple[int, str]:
        for name in os.environ:
            if name.startswith(STRANGE):
                monkeypatch.delenv(name)
        for name, value in {"AGENT_DATA": str(tmp_path / "agent"), **more}.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(list(words))
        except SystemExit as ends:  # argparse's way
            code = int(str(ends.code))
        return code, capsys.readouterr().err

    return called


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def base_url(server: Front) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{server.url}/v1"}


def test_a_conversation_that_went_well(tmp_path: Path) -> None:
    code, out, err = ended(tmp_path, "chat", typed="hello\nwhere is my order?\n")
    assert code == OK, err
    assert out.count("you>") == 3  # the third finds the end of input
    assert "Traceback" not in err


def test_a_conversation_whose_model_server_is_not_there(tmp_path: Path, free: int) -> None:
    more = {"OPENAI_BASE_URL": f"http://127.0.0.1:{free}/v1", "AGENT_MODEL_RETRIES": "0"}
    code, out, err = ended(tmp_path, "chat", typed="hello\n", **more)
    assert code == FAILED
    assert f"the model server http://127.0.0.1:{free}/v1/ does not answer; check OPENAI_BASE_URL" in err
    assert "Something went wrong on my side" in out
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"AGENT_PROVIDER": "azure"}, "AZURE_OPENAI_ENDPOINT"),
        ({"AGENT_PROVIDER": "azzure"}, "unknown provider 'azzure'"),
        ({"AGENT_MODEL_TIMEOUT_S": "soon"}, "AGENT_MODEL_TIMEOUT_S: "),
    ],
)
def test_settings_that_cannot_be(here: Main, more: dict[str, str], says: str) -> None:
    code, err = here("chat", **more)
    assert code == USAGE
    assert says in err


def test_a_folder_that_another_agent_has_or_that_cannot_be_read(tmp_path: Path) -> None:
    held = StateFile(tmp_path / "agent")
    try:
        code, _, err = ended(tmp_path, "chat")
    finally:
        held.close()
    assert (code, "in use by another agent runtime" in err) == (USAGE, True)
    held.path.write_bytes(b"no database" * 100)
    code, _, err = ended(tmp_path, "chat")
    assert (code, "cannot be opened" in err) == (FAILED, True)


def test_ctrl_c_at_the_prompt(tmp_path: Path) -> None:
    with started(tmp_path, "chat") as process:
        assert process.stdout is not None
        said = ""
        while "you>" not in said:
            said += process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_ctrl_c_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    with front("openai", "sim-1", silent=True) as server, started(tmp_path, "chat", **base_url(server)) as process:
        assert process.stdin is not None
        process.stdin.write("where is my order?\n")
        process.stdin.flush()
        wait_until(lambda: server.seen, 120, "the model to be asked")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken(here: Main, tmp_path: Path, taken: int) -> None:
    code, err = here("serve", "--port", str(taken))
    assert code == USAGE
    assert f"port {taken} on 127.0.0.1 is in use; stop what uses it, or set AGENT_PORT" in err
    assert not (tmp_path / "agent").exists()  # nothing was started


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--port", "70000"), "AGENT_PORT: "),
        (("--host", "0.0.0.0"), "set AGENT_API_KEY"),
        (("--host", "no.such.host.invalid"), "cannot be used"),
        (("--speed", "3"), "unrecognized arguments"),
    ],
)
def test_a_door_that_cannot_be(here: Main, words: tuple[str, ...], says: str) -> None:
    code, err = here("serve", *words, **({"AGENT_API_KEY": "k"} if "no.such" in words[1] else {}))
    assert code == USAGE
    assert says in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_served_agent_ends_well_when_it_is_told_to(tmp_path: Path, free: int, number: signal.Signals) -> None:
    with started(tmp_path, "serve", "--port", str(free)) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"the agent answers on http://127.0.0.1:{free}\n"
        body = {"user_id": "u-1", "text": "hello"}
        answer = httpx.post(f"http://127.0.0.1:{free}/v1/sessions/s1/turns", json=body, timeout=60)
        assert answer.json()["status"] == "answered"
        process.send_signal(number)
        assert process.wait(60) == OK
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "words",
    [
        ["--sessions", "-1"],
        ["--sessions", "many"],
        ["--speed", "nan"],
        ["--per-minute", "0"],
        ["--outcome-delay", "-1"],
        ["--fault", "drop_confirmation"],
        ["--fault", "drop_confirmation:often"],
        ["--fidelity", "low"],
    ],
)
def test_simulate_with_values_that_are_none(words: list[str]) -> None:
    assert main(["simulate", *words]) == USAGE


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fault", "no_such_fault:0.1"], "no_such_fault"),
        (["--fault", "drop_confirmation:2"], "drop_confirmation"),
        (["--fault", "drop_confirmation:nan"], "drop_confirmation"),
        (["--baseline", "v1", "--release", "v1"], "each once"),
        (["--weeks", "2"], "--fidelity trace"),
    ],
)
def test_simulate_with_values_that_do_not_fit(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in os.environ:
        if name.startswith(STRANGE):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path))
    assert main(["simulate", "--sessions", "1", *words]) == USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("world", ["/dev/null/world.db", "garbage.db", "."])
def test_simulate_in_a_world_that_cannot_be_opened(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"no database" * 100)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path))
    assert main(["simulate", "--sessions", "1", "--world", str(tmp_path / world)]) == FAILED
    assert "agent_runtime: " in capsys.readouterr().err


def test_simulate_without_the_assay_that_it_was_told_of(tmp_path: Path, free: int) -> None:
    code, _, err = ended(tmp_path, "simulate", "--sessions", "1", ASSAY_URL=f"http://127.0.0.1:{free}")
    assert code == UNREACHABLE
    assert "Assay could not be reached" in err
    assert "Traceback" not in err


def test_simulate_stopped_in_the_middle(tmp_path: Path) -> None:
    file = tmp_path / "world.db"
    with started(tmp_path, "simulate", "--sessions", "100000", "--world", str(file)) as process:
        wait_until(file.exists, 120, "the world")
        world = World.open(file)

        def n_ended() -> int:
            return len(world.rows("SELECT session_id FROM truth"))

        wait_until(n_ended, 120, "a session's end")
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == INTERRUPTED
        world.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
