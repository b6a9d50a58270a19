"""What the reference agent keeps of a user goes with them, whether it runs, and however the erasure is asked for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest

from agent_runtime.state import StateFile
from tests.bytes_left import mentions
from tests.killing import killed_at, n_changes
from tests.stack import REPOSITORY, Stack, running_stack
from tests.waiting import wait_until

USER = "subject-of-the-agent-5c1/x"  # a slash: it stands in the path of the agent's door
DEMO = "u-" + blake2b(b"demo", digest_size=6).hexdigest()
SAID = "markerd41d8c"
STRANGE = ("OPENAI_", "AZURE_", "ANTHROPIC_", "AWS_", "AGENT_", "ASSAY_", "OTEL_")


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    return {**kept, "ASSAY_DATA": str(data), **more}


def chat(data: Path, *words: str, typed: str) -> None:
    command = [sys.executable, "-m", "server.cli.main", "agent", "chat", *words]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(data),
        input=typed,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not traced" not in done.stderr


@contextmanager
def serving(data: Path, key: str) -> Iterator[str]:
    """`assay serve agent` on the folder; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "server.cli.main", "serve", "agent"]
    base = json.loads((data / "run" / "state.json").read_text())["ports"]["OTLP gRPC"]
    given = environment(data, AGENT_PORT=str(port), AGENT_API_KEY=key)
    process = subprocess.Popen(
        [*command, "--port-base", str(base)], cwd=REPOSITORY, env=given, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "the agent answers" in process.stderr.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def erase(data: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server.cli.main", "erase", *words],
        cwd=REPOSITORY,
        env=environment(data, **more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def stored(stack: Stack, user: str) -> int:
    with stack.client() as client:
        return int(client.get("/api/v1/spans/count", params={"user_id": user, "since": "1h"}).json()["count"])


def agent_rows_of(stack: Stack, erasure_id: str) -> dict[str, int]:
    """What the receipt says of the agent, once the erasure is done."""

    def answer() -> Any:
        with stack.client() as client:
            return client.get(f"/api/v1/erasures/{erasure_id}").json()

    wait_until(lambda: answer()["state"] == "done", 240, "the erasure to be done")
    return dict(answer()["receipt"]["agent_rows"])


@pytest.mark.timeout(900)
def test_what_the_agent_keeps_of_a_user_goes_with_them(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        data = stack.data_dir
        chat(data, "--user", USER, typed=f"I prefer {SAID} socks. Where is my order?\n")
        chat(data, typed="Please refund my headlamp\nyes\n")
        in_agent_db = {str(p.relative_to(data)) for p in data.rglob("*.db*") if USER.encode() in p.read_bytes()}
        assert "agent/agent.db" in in_agent_db
        before = (data / "agent" / "agent.db").read_bytes()

        foreseen = erase(data, "--user", USER, "--json")
        assert foreseen.returncode == 0, foreseen.stderr
        rows = json.loads(foreseen.stdout)["agent_rows"]
        assert rows["turns"] == 1
        assert (data / "agent" / "agent.db").read_bytes() == before
        done = erase(data, "--user", USER, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        (receipt,) = json.loads(done.stdout)["erasures"]
        assert (receipt["agent_rows"], receipt["other_files"]) == (rows, [])
        assert receipt["rows"]["spans"] > 0
        assert mentions(data, [USER.encode(), SAID.encode()]) == []

        assert mentions(data / "agent", [DEMO.encode()])  # the shop has them, and a refund
        wait_until(lambda: stored(stack, DEMO) > 0, 60, "the demo customer's spans")
        done = erase(data, "--user", DEMO, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        (receipt,) = json.loads(done.stdout)["erasures"]
        assert (receipt["agent_rows"]["turns"], receipt["agent_rows"]["shop.users"]) == (2, 1)
        assert mentions(data, [DEMO.encode(), DEMO[2:].encode()]) == []

        running_agent(stack)
        chatting(data)


def chatting(data: Path) -> None:
    """An agent without a door holds the folder: the rest is erased, and the erasure waits for it."""
    held = StateFile(data / "agent")
    try:
        refused = erase(data, "--user", USER, "--yes")
    finally:
        held.close()
    assert (refused.returncode, "in use by an agent runtime; end it first" in refused.stderr) == (1, True)
    assert erase(data, "--resume").returncode == 0


def running_agent(stack: Stack) -> None:
    """Its own door is used, with its key; who does not know the key is told, and the erasure waits."""
    data, pieces = stack.data_dir, [USER.encode(), SAID.encode()]
    with serving(data, "k-1") as door:
        said = {"user_id": USER, "text": f"I prefer {SAID} socks. Where is my order?"}
        others = {"user_id": "somebody-else", "text": "Where is my order?"}
        for n, body in enumerate((said, others)):
            headers = {"authorization": "Bearer k-1"}
            answer = httpx.post(f"{door}/v1/sessions/s{n}/turns", json=body, headers=headers, timeout=60)
            assert answer.json()["status"] == "answered"
        with stack.client() as client:
            begun = client.post("/api/v1/erasures", json={"user_id": USER, "dry_run": False}).json()
            foreseen = client.post("/api/v1/erasures", json={"user_id": "somebody-else"}).json()
        assert foreseen["agent_rows"]["turns"] == 1
        wait_until(lambda: "AGENT_API_KEY" in stack.log_path.read_text() + logs(data), 120, "the refusal to be told")
        refused = erase(data, "--user", USER, "--yes")
        assert (refused.returncode, "set AGENT_API_KEY" in refused.stderr) == (1, True)
        assert mentions(data / "agent", pieces)

        done = erase(data, "--resume", "--json", AGENT_API_KEY="k-1")
        assert done.returncode == 0, done.stderr
        assert agent_rows_of(stack, begun["erasure_id"])["turns"] == 1
        assert mentions(data, pieces) == []  # the agent still runs
        assert mentions(data / "agent", [b"somebody-else"])
    with stack.client() as client:
        begun = client.post("/api/v1/erasures", json={"user_id": "somebody-else", "dry_run": False}).json()
    assert agent_rows_of(stack, begun["erasure_id"])["turns"] == 1
    assert mentions(data, [b"somebody-else"]) == []


def logs(data: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in (data / "run").glob("*.log*"))


@pytest.mark.timeout(900)
def test_forgetting_killed_anywhere_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(STRANGE):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path / "agent"))
    talk = [sys.executable, "-m", "agent_runtime", "chat", "--user", USER]
    subprocess.run(
        talk, cwd=REPOSITORY, input=f"I am {SAID}\n", text=True, check=True, capture_output=True, timeout=200
    )
    assert mentions(tmp_path / "agent", [USER.encode()])
    words = ("agent_runtime", "forget", "--user", USER, "--yes", "--json")
    whole = Path(copytree(tmp_path / "agent", tmp_path / "whole"))
    monkeypatch.setenv("AGENT_DATA", str(whole))
    n = n_changes(whole, *words)
    assert mentions(whole, [USER.encode(), SAID.encode()]) == []
    for i in sorted({1, n // 2, n}):
        data = Path(copytree(tmp_path / "agent", tmp_path / str(i)))
        monkeypatch.setenv("AGENT_DATA", str(data))
        assert killed_at(i, data, *words)
        again = [sys.executable, "-m", *words]
        done = subprocess.run(again, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=200)
        assert json.loads(done.stdout)["dry_run"] is False
        assert mentions(data, [USER.encode(), SAID.encode()]) == []
