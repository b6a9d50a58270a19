"""`assay labels` and `assay annotate`: what they print, their keys, and their exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.records import Principal, Role
from judges.records import Rubric, ScaleKind
from judges.stored import rubric_record
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.server.test_label_queues import judged_sessions
from tests.stack import REPOSITORY
from tests.store.build import agent_trace, fill
from tests.waiting import wait_until

SEVERAL = Rubric(
    name="themes", version=1, kind=ScaleKind.MULTI_LABEL, labels=("rude", "slow", "wrong"),
    passing=frozenset({"slow"}), text="What is it?",
)  # fmt: skip


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("labels")) as running:
        judged_sessions(running, 20)
        admin = Principal(tenant=AIRLINE, role=Role.ADMIN, name="admin")
        running.services.control.add_rubric(rubric_record(AIRLINE, SEVERAL), by=admin)
        evil = agent_trace(900, tenant=AIRLINE, session_id="evil\x1b[2J")
        fill(running.services.lake, [evil[0] | {"input": "\x1b]0;owned\x07hi"}, *evil[1:]])
        yield running


@pytest.fixture(scope="module")
def url(shell: Shell) -> Iterator[str]:
    with served(shell.services) as address:
        yield address


class Desk:
    """The command with the key of one annotator."""

    def __init__(self, shell: Shell, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
        self.shell, self.url, self.capsys, self.monkeypatch = shell, url, capsys, monkeypatch

    def __call__(self, *words: str, role: Role = Role.POWER_USER, keys: str | None = None) -> tuple[int, str, str]:
        if keys is not None:
            self.monkeypatch.setattr(sys, "stdin", io.StringIO(keys))
        code = main([*words, "--url", self.url, "--key", self.shell.keys[AIRLINE, role]])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def json(self, *words: str, role: Role = Role.POWER_USER) -> Any:
        code, out, err = self(*words, "--json", role=role)
        assert code == ExitCode.OK, err
        return json.loads(out)

    def queue(self, name: str, *sessions: str, **options: str) -> str:
        given = {"judge": "kind", "app": "airline", **options}
        self.json("labels", "create", name, *[word for key, value in given.items() for word in (f"--{key}", value)])
        if sessions:
            self.json("labels", "add", name, *[word for one in sessions for word in ("--session", one)])
        return name


@pytest.fixture
def desk(shell: Shell, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(shell, url, capsys, monkeypatch)


def test_a_queue_is_made_drawn_shown_and_deleted(desk: Desk) -> None:
    desk.queue("whole", annotators="2", reserve="10m")
    code, out, err = desk("labels", "sample", "whole", "--n", "12", "--floor", "2", "--dry-run")
    assert (code, "fail / high" in out, "nothing was drawn" in err) == (0, True, True)
    told = desk.json("labels", "sample", "whole", "--n", "12", "--floor", "2", "--seed", "1")
    assert told["n_new"] >= 10
    code, out, _ = desk("labels", "show", "whole")
    assert (code, "needs_review 1" in out, "draw 1 of 20" in out) == (0, True, True)
    assert "whole" in desk("labels", "list", "--app", "airline")[1]
    assert desk.json("labels", "list", "--app", "none")["items"] == []
    code, out, err = desk("labels", "delete", "whole")
    assert (code, "would delete whole" in out, "add --yes" in err) == (0, True, True)
    assert desk("labels", "delete", "whole", "--yes")[0] == ExitCode.OK
    assert desk("labels", "show", "whole")[0] == ExitCode.NOT_FOUND
    assert desk("labels", "sample", "x", "--n", "5", "--sessions", "--judge", "kind")[0] == ExitCode.USAGE
    assert desk("labels", "create", "x", "--app", "a", "--rubric", "helpful@z")[0] == ExitCode.USAGE
    assert desk("labels", "create", "x", "--app", "a", role=Role.USER)[0] == ExitCode.NOT_ALLOWED


def test_a_sitting_by_keyboard(desk: Desk, shell: Shell) -> None:
    name = desk.queue("keys", "s1", "s2", "s3", "s4")
    keys = ["?", "r", "n", "kind of", "2", "b", "1", "l", "s", "too short", "x", "9", "t", "pass", "q"]
    code, out, err = desk("annotate", "airline", "--queue", name, role=Role.USER, keys="\n".join(keys))
    assert code == ExitCode.OK, err
    assert "1/4" in out
    assert "user > question 1" in out
    assert "[1] fail   [2] pass" in out
    assert "Did it help?" in out  # r
    assert "you said pass" in out  # b
    assert "3 tasks done" in err
    found = {one["item"]: one for one in desk.json("labels", "adjudicate", name)["items"]} or {}
    assert found == {}  # nobody disagrees
    rows = {one.item: one for one in shell.services.control.label_tasks(AIRLINE, name)[1]}
    assert (rows["s1"].label, rows["s2"].label, rows["s3"].status.value) == ("fail", None, "skipped")
    assert (rows["s4"].label, rows["s2"].position) == ("pass", 4)  # given back, to the end
    said = shell.services.control.annotations(AIRLINE, name)
    assert [one.note for one in said if one.task_id == rows["s1"].task_id] == ["kind of"]
    code, _, err = desk("annotate", "airline", "--queue", name, role=Role.USER, keys="2\n")
    assert (code, "nothing is left for you" in err) == (0, True)


def test_several_labels_are_toggled_and_sent_by_enter(desk: Desk, shell: Shell) -> None:
    desk.json("labels", "create", "themes", "--app", "airline", "--rubric", "themes@1")
    desk.json("labels", "add", "themes", "--session", "s1")
    code, out, _ = desk("annotate", "airline", "--queue", "themes", role=Role.USER, keys="1\n2\n3\n1\n\n")
    assert (code, "slow*" in out) == (0, True)
    (task,) = shell.services.control.label_tasks(AIRLINE, "themes")[1]
    assert task.label == "slow,wrong"


def test_scripts_take_and_answer(desk: Desk, tmp_path: Path) -> None:
    name = desk.queue("script", "s1", "s2", "s3", "s4")
    where = ("annotate", "airline", "--queue", name)
    held = desk.json(*where, role=Role.USER)["task"]["task_id"]
    assert desk.json(*where, "--answer", "pass", role=Role.USER)["task_id"] == held
    code, out, _ = desk(*where, "--skip", "no", role=Role.USER)
    assert (code, out.endswith(": skipped\n")) == (0, True)
    third = desk.json(*where, role=Role.USER)["task"]["task_id"]
    lines = tmp_path / "labels.jsonl"
    lines.write_text(
        f'{{"task_id": "{third}", "labels": ["fail"]}}\nnonsense\n{{"task_id": "no", "labels": ["pass"]}}\n'
    )
    code, out, err = desk(*where, "--answers", str(lines), role=Role.USER)
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, [sorted(one) for one in told]) == (
        1,
        [["label", "status", "task_id"], ["error", "line"], ["error", "line"]],
    )
    assert "labels.jsonl:2: is not JSON" in err
    assert desk(*where, "--answer", "maybe", role=Role.USER)[0] == ExitCode.USAGE
    assert desk(*where, "--answer", "pass", role=Role.USER)[0] == ExitCode.OK
    assert desk(*where, "--answer", "pass", role=Role.USER)[0] == ExitCode.NOT_FOUND
    assert desk("annotate", "airline", "--queue", "none", role=Role.USER)[0] == ExitCode.NOT_FOUND
    assert desk("annotate", "none", role=Role.USER)[0] == ExitCode.USAGE
    assert desk(*where, "--task", "t", role=Role.USER)[0] == ExitCode.USAGE


def test_who_may_decides_by_keyboard_and_labels_are_exported(desk: Desk, shell: Shell, tmp_path: Path) -> None:
    name = desk.queue("judge-it", "s1", "s2", annotators="2")
    for role, answers in ((Role.USER, "1\n1\n"), (Role.ADMIN, "2\n2\n")):
        desk("annotate", "airline", "--queue", name, role=role, keys=answers)
    code, out, err = desk("labels", "adjudicate", name, keys="x\nn\n=1+1\n2\nl\n")
    assert (code, "1 task decided, 1 left" in err) == (0, True)
    assert "user of airline: fail" in out
    assert "admin of airline: pass" in out
    (left,) = desk.json("labels", "adjudicate", name)["items"]
    assert desk("labels", "adjudicate", name, "--task", left["task_id"], "--label", "fail")[0] == ExitCode.OK
    file = tmp_path / "labels.csv"
    assert desk("labels", "export", name, "--format", "csv", "--out", str(file))[0] == ExitCode.OK
    rows = list(csv.DictReader(file.open()))
    assert [(row["label"], row["how"], row["n_answers"]) for row in rows] == [
        ("pass", "adjudicated", "2"), ("fail", "adjudicated", "2"),
    ]  # fmt: skip
    assert rows[0]["note"] == "'=1+1"  # no formula
    lines = desk("labels", "export", name)[1].splitlines()
    assert [json.loads(line)["probability"] for line in lines] == [1.0, 1.0]
    assert desk("labels", "assign", name, "--from", "ann")[1].startswith("0 tasks")


def test_text_of_conversations_is_shown_and_never_obeyed(desk: Desk) -> None:
    name = desk.queue("evil")
    desk.json("labels", "sample", name, "--n", "30", "--sessions", "--since", "all", "--floor", "0")
    _, out, _ = desk("annotate", "airline", "--queue", name, role=Role.USER, keys="1\n" * 40)
    assert "\x1b" not in out
    assert "owned" in out


def test_a_terminal_gives_single_keys_and_is_put_back(shell: Shell, url: str, desk: Desk) -> None:
    name = desk.queue("tty", "s1", "s2")
    ours, theirs = pty.openpty()
    words = ["annotate", "airline", "--queue", name, "--url", url, "--key", shell.keys[AIRLINE, Role.USER]]
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli.main", *words],
        cwd=REPOSITORY, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"}, text=True,
    )  # fmt: skip
    import termios

    before = termios.tcgetattr(ours)
    try:
        wait_until(lambda: termios.tcgetattr(ours)[3] & termios.ICANON == 0, 60, "the command to wait for a key")
        os.write(ours, b"\x1b[A2")  # an arrow is passed over
        control = shell.services.control
        wait_until(lambda: control.label_tasks(AIRLINE, name)[1][0].label == "pass", 60, "the label to be kept")
        wait_until(lambda: termios.tcgetattr(ours)[3] & termios.ICANON == 0, 60, "the next task")
        os.write(ours, b"q")
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        after = termios.tcgetattr(ours)
        os.close(ours)
        os.close(theirs)
    assert (process.returncode, "1 task done" in out) == (0, True), out
    assert after[3] == before[3]
