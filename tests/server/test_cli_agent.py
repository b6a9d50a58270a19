"""`assay agent chat`, `assay serve agent` and `assay simulate`: their exit codes are those of docs/cli.md."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli.outcome import ExitCode

STRANGE = ("OPENAI_", "AZURE_", "ANTHROPIC_", "AWS_", "AGENT_", "ASSAY_", "OTEL_")


def assay(folder: Path, *words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    return subprocess.run(
        [sys.executable, "-m", "server.cli.main", *words],
        capture_output=True,
        text=True,
        input=typed,
        timeout=200,
        check=False,
        env={**kept, "ASSAY_DATA": str(folder), **more},
    )


@pytest.fixture
def closed() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize(
    "words",
    [
        ["agent"],
        ["agent", "shout"],
        ["agent", "chat", "--loud"],
        ["agent", "chat", "--url", "nowhere"],
        ["serve", "agents"],
        ["serve", "agent", "--port-base", "70000"],
        ["simulate", "--sesions", "3"],
        ["simulate", "--url", "ftp://127.0.0.1"],
    ],
)
def test_wrong_words_are_usage(tmp_path: Path, words: list[str]) -> None:
    done = assay(tmp_path, *words)
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert "Traceback" not in done.stderr


def test_simulate_needs_a_server(tmp_path: Path, closed: str) -> None:
    done = assay(tmp_path, "simulate", "--sessions", "1", "--url", closed)
    assert done.returncode == ExitCode.UNREACHABLE, done.stderr


def test_a_conversation_needs_none(tmp_path: Path, closed: str) -> None:
    done = assay(tmp_path, "agent", "chat", "--url", closed, typed="hello\n")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "assay: not traced: " in done.stderr


def test_the_agents_own_ends_are_handed_on(tmp_path: Path, closed: str) -> None:
    done = assay(tmp_path, "agent", "chat", "--url", closed, AGENT_PROVIDER="anthropic")
    assert (done.returncode, "ANTHROPIC_API_KEY" in done.stderr) == (ExitCode.USAGE, True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = assay(tmp_path, "serve", "agent", AGENT_PORT=str(port))
        assert done.returncode == ExitCode.USAGE
        assert f"port {port} on 127.0.0.1 is in use" in done.stderr
        done = assay(tmp_path, "serve", "agent", "--port-base", str(port - 5))
    assert done.returncode == ExitCode.USAGE
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
