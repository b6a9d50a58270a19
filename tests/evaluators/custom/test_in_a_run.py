"""An own evaluator in a server: listed, named in a run over stored sessions, and no faults of it end the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Role
from evaluators.catalogue import remove
from server.own_evaluators import install_own
from server.running import Runner
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.store.build import agent_trace, fill
from tests.waiting import wait_until

OWN = """
import os

def length(target):
    return len(target["trajectory"]["answer"])

def fragile(target):
    if target["trajectory"]["session_id"] == "s2":
        os._exit(1)
    return 1.0

def row(score, **more):
    named = {"name": "own_" + score.__name__, "version": "1", "dimension": "safety", "summary": "s"}
    return {**named, "score": score, **more}

EVALUATORS = [row(length, unit="count", direction="lower"), row(fragile)]
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    (folder / "broken.py").write_text("import nothing_here", encoding="utf-8")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    with running_shell(tmp_path_factory.mktemp("run"), gateway_port=1) as made:
        rows = [row for n in (1, 2, 3) for row in agent_trace(n, at_s=60 * n, tenant=AIRLINE, session_id=f"s{n}")]
        fill(made.services.lake, rows)
        own = install_own(folder)
        runner = Runner(made.services)
        runner.start()
        yield made
        runner.close()
        remove(own.evaluators)
        own.close()


def _get(shell: Shell, path: str) -> Any:
    return shell.client.get(f"/api/v1/{path}", headers=shell.headers(Role.VIEWER)).json()


def test_they_are_listed_after_those_built_in(shell: Shell) -> None:
    names = [one["name"] for one in _get(shell, "evaluators")["items"]]
    assert names[-2:] == ["own_length", "own_fragile"]
    shown = _get(shell, "evaluators/own_length")
    assert (shown["direction"], shown["unit"]) == ("lower", "count")
    assert shown["version"].startswith("1+")


def test_a_run_names_them_and_outlives_their_crash(shell: Shell) -> None:
    body = {"release": "r1", "app": "airline", "source": "traces", "evaluators": ["own_length", "own_fragile", "cost"]}
    begun = shell.client.post("/api/v1/runs", json=body, headers=shell.headers(Role.POWER_USER))
    assert begun.status_code == 201, begun.text
    path = f"runs/{begun.json()['run_id']}"
    wait_until(lambda: _get(shell, path)["status"] in ("done", "failed"), 60, "the run to end")
    run = _get(shell, path)
    assert (run["status"], run["n_done"]) == ("done", 3)
    metrics = {one["metric"]: one for one in run["metrics"]}
    assert metrics["own_length"]["mean"] == len("answer 1")
    assert metrics["own_fragile"]["mean"] == 1.0
    assert metrics["own_fragile"]["unscored"] == {"evaluator_failed": 1}


def test_another_version_of_the_file_is_refused(shell: Shell) -> None:
    body = {"release": "r1", "app": "airline", "source": "traces", "evaluators": ["own_length@1+000000000000"]}
    refused = shell.client.post("/api/v1/runs", json=body, headers=shell.headers(Role.POWER_USER))
    assert refused.status_code == 422
    assert "own_length is at version 1+" in refused.json()["detail"]
