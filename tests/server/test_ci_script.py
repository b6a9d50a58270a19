"""The script for CI against the real API on loopback, and a local server that speaks GitHub's and GitLab's comments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from core.records import Role
from tests.loopback import listening
from tests.server.gate_runs import keep
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.server.test_gates import POLICY, named
from tests.stack import free_port_base

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "ci" / "assay_gate.py"
PASS, FAIL, USAGE, INCONCLUSIVE = 0, 1, 2, 3


@dataclass
class Comments:
    """What a forge was asked: its comments by number, and each request."""

    url: str = ""
    kept: dict[int, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, credential
    refuses: bool = False


@contextmanager
def forge() -> Iterator[Comments]:
    """A server that keeps comments as GitHub's issues API and GitLab's notes API do."""
    told = Comments()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(200, [{"id": number, "body": body} for number, body in told.kept.items()])

        def do_POST(self) -> None:
            told.kept[len(told.kept) + 1] = self._body()
            self._say(201, {"id": len(told.kept)})

        def do_PATCH(self) -> None:
            told.kept[int(self.path.rpartition("/")[2])] = self._body()
            self._say(200, {})

        do_PUT = do_PATCH  # noqa: N815

        def _body(self) -> str:
            return str(json.loads(self.rfile.read(int(self.headers["content-length"])))["body"])

        def _say(self, status: int, value: object) -> None:
            secret = self.headers.get("authorization") or self.headers.get("private-token") or ""
            told.asked.append((self.command, self.path, secret))
            raw = json.dumps({"message": "no"} if told.refuses else value).encode()
            self.send_response(403 if told.refuses else status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Answers) as told.url:
        yield told


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("ci")) as running:
        for made in (named("v1"), named("v2", better=0.08), named("v3", better=-0.45)):
            keep(running.services, AIRLINE, made)
        yield running


@pytest.fixture(scope="module")
def url(shell: Shell) -> Iterator[str]:
    with served(shell.services) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gate.yaml").write_text(POLICY)
    return tmp_path


def gate(
    folder: Path, key: str, *words: str, url: str, candidate: str = "v2", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the script as CI does: in a process of its own, isolated from what is installed."""
    about = {"ASSAY_URL": url, "ASSAY_API_KEY": key, "ASSAY_APP": "desk", "ASSAY_CANDIDATE": candidate}
    about |= {"ASSAY_BASELINE": "v1", "ASSAY_POLICY": "gate.yaml", "ASSAY_TRIES": "1", "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *words],
        cwd=folder,
        env={**about, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def key(shell: Shell) -> str:
    return shell.keys[AIRLINE, Role.USER]


def test_it_ends_as_the_gate_did_and_writes_what_ci_shows(url: str, key: str, folder: Path) -> None:
    summary, outputs = folder / "summary.md", folder / "outputs"
    shown = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs)}
    told = gate(folder, key, "--bundle", "gate.json", "--markdown", "gate.md", url=url, **shown)
    assert told.returncode == PASS, told.stderr
    assert summary.read_text() == (folder / "gate.md").read_text()
    assert "Assay gate: pass" in summary.read_text()
    assert re.fullmatch(r"decision=pass\ngate-id=gate_\w+\n", outputs.read_text())
    assert json.loads((folder / "gate.json").read_text())["decision"]["decision"] == "pass"
    worse = gate(folder, key, url=url, candidate="v3")
    assert (worse.returncode, "assay gate: fail" in worse.stdout) == (FAIL, True)
    assert "is worse" in worse.stdout
    assert gate(folder, key, url=url, candidate="v9").returncode == INCONCLUSIVE


def test_github_gets_one_comment_that_later_runs_replace(url: str, key: str, folder: Path) -> None:
    (folder / "event.json").write_text(json.dumps({"pull_request": {"number": 7}}))
    with forge() as comments:
        about = {"GITHUB_TOKEN": "t0k", "GITHUB_REPOSITORY": "acme/desk", "GITHUB_API_URL": comments.url}
        about["GITHUB_EVENT_PATH"] = str(folder / "event.json")
        comments.kept[1] = "of somebody"
        assert gate(folder, key, url=url, **about).returncode == PASS
        assert list(comments.kept) == [1, 2]
        assert gate(folder, key, url=url, candidate="v3", **about).returncode == FAIL
        assert list(comments.kept) == [1, 2]
        assert "Assay gate: fail" in comments.kept[2]
        assert comments.kept[1] == "of somebody"
        assert ("PATCH", "/repos/acme/desk/issues/comments/2", "Bearer t0k") in comments.asked
        assert comments.asked[0][1].startswith("/repos/acme/desk/issues/7/comments?")
        comments.refuses = True
        refused = gate(folder, key, url=url, candidate="v3", **about)
        assert (refused.returncode, "was not posted" in refused.stderr) == (FAIL, True)
        assert "t0k" not in refused.stderr + refused.stdout


def test_gitlab_gets_one_note(url: str, key: str, folder: Path) -> None:
    with forge() as comments:
        about = {"ASSAY_GITLAB_TOKEN": "glt", "CI_API_V4_URL": f"{comments.url}/api/v4"}
        about |= {"CI_PROJECT_ID": "12", "CI_MERGE_REQUEST_IID": "3"}
        for _ in range(2):
            assert gate(folder, key, url=url, **about).returncode == PASS
        assert list(comments.kept) == [1]
        place = "/api/v4/projects/12/merge_requests/3/notes"
        assert [(method, path.partition("?")[0]) for method, path, _ in comments.asked] == [
            *(("GET", place), ("POST", place), ("GET", place), ("PUT", f"{place}/1")),
        ]
        assert {secret for *_, secret in comments.asked} == {"glt"}


def test_without_a_pull_request_or_token_nothing_is_posted(url: str, key: str, folder: Path) -> None:
    with forge() as comments:
        about = {"GITHUB_REPOSITORY": "acme/desk", "GITHUB_API_URL": comments.url}
        assert gate(folder, key, url=url, **about).returncode == PASS
        assert gate(folder, key, url=url, GITHUB_TOKEN="t0k", **about).returncode == PASS
        assert comments.asked == []


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"ASSAY_API_KEY": ""}, USAGE, "ASSAY_API_KEY is not set"),
        ({"ASSAY_API_KEY": "ask_wrong"}, INCONCLUSIVE, "answered 401"),
        ({"ASSAY_URL": "ftp://x"}, USAGE, "is no address"),
        ({"ASSAY_URL": "http://assay.example"}, USAGE, "use https://"),
        ({"ASSAY_URL": ""}, USAGE, "--url is missing"),
        ({"ASSAY_CANDIDATE": ""}, USAGE, "--candidate is missing"),
        ({"ASSAY_POLICY": "none.yaml"}, USAGE, "cannot be read"),
        ({"ASSAY_POLICY": ""}, USAGE, "give one of"),
        ({"ASSAY_POLICY_NAME": "x"}, USAGE, "give one of"),
        ({"ASSAY_POLICY": "", "ASSAY_POLICY_NAME": "none"}, USAGE, "no policy none.yaml"),
        ({"ASSAY_TRIES": "many"}, USAGE, "invalid int"),
    ],
)
def test_what_keeps_it_from_asking_is_said(
    url: str, key: str, folder: Path, variables: dict[str, str], code: int, said: str
) -> None:
    about = {"url": url, **variables}
    about["url"] = about.pop("ASSAY_URL", about["url"])
    told = gate(folder, key, **about)
    assert (told.returncode, said in told.stderr) == (code, True), told.stderr
    assert "Traceback" not in told.stderr


def test_a_policy_that_cannot_be_used_is_usage(url: str, key: str, folder: Path) -> None:
    (folder / "gate.yaml").write_text(POLICY.replace("match", "mach"))
    told = gate(folder, key, url=url)
    assert (told.returncode, "did you mean 'answer_match'" in told.stderr) == (USAGE, True), told.stderr


@contextmanager
def answering(status: int, body: bytes, content_length: int | None = None) -> Iterator[tuple[str, list[int]]]:
    """A server that says one thing to everything, and how often it was asked."""
    n_asked: list[int] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            n_asked.append(1)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", str(len(body) if content_length is None else content_length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Answers) as url:
        yield url, n_asked


GOOD = {"decision": "pass", "gate_id": "gate_1", "markdown": "", "reasons": []}


@pytest.mark.parametrize(
    ("status", "answer", "n_asked"),
    [
        (200, b"<html>welcome</html>", 1),
        (200, b"", 1),
        (200, b"null", 1),
        (200, b"[" * 100_000, 1),
        (200, json.dumps({**GOOD, "decision": "PASS"}).encode(), 1),
        (200, json.dumps({**GOOD, "decision": ["pass"]}).encode(), 1),
        (200, json.dumps({**GOOD, "gate_id": "x\ndecision=pass"}).encode(), 1),
        (200, json.dumps({"decision": "pass"}).encode(), 1),
        (302, b"", 1),
        (500, b"{}", 1),
        (503, b'{"detail": "later"}', 2),
        (429, b"x", 2),
    ],
)
def test_what_is_no_decision_is_no_pass(folder: Path, status: int, answer: bytes, n_asked: int) -> None:
    with answering(status, answer) as (address, asked):
        told = gate(folder, "ask_x", url=address, ASSAY_TRIES="2")
        assert told.returncode == INCONCLUSIVE, told.stderr
        assert len(asked) == n_asked
        assert "Traceback" not in told.stderr


def test_a_server_that_is_away_or_breaks_off_is_inconclusive(folder: Path) -> None:
    away = gate(folder, "ask_x", url=f"http://127.0.0.1:{free_port_base(1)}", ASSAY_TRIES="2")
    assert (away.returncode, "no answer" in away.stderr) == (INCONCLUSIVE, True)
    with answering(200, b"{", content_length=100) as (address, _):
        assert gate(folder, "ask_x", url=address, ASSAY_TIMEOUT_S="1").returncode == INCONCLUSIVE
    with answering(200, json.dumps(GOOD).encode()) as (address, _):  # the one that passes
        assert gate(folder, "ask_x", url=address).returncode == PASS


def test_the_action_and_the_snippet_name_what_the_script_reads() -> None:
    action = yaml.safe_load((SCRIPT.parent / "github" / "action.yml").read_text())
    (step,) = action["runs"]["steps"]
    assert "${{" not in step["run"]  # inputs are never part of the script
    read = set(re.findall(r'env\("(\w+)"', SCRIPT.read_text())) | {"ASSAY_API_KEY"}
    read |= {f"ASSAY_{name}" for name in ("APP", "CANDIDATE", "BASELINE")}
    assert set(step["env"]) - {"ASSAY_BUNDLE"} <= read
    assert {f"inputs.{name}" for name in action["inputs"]} == set(re.findall(r"inputs\.[\w-]+", str(step["env"])))
    snippet = yaml.safe_load((SCRIPT.parent / "gitlab" / "assay-gate.yml").read_text())
    assert set(snippet[".assay-gate"]["variables"]) <= read
