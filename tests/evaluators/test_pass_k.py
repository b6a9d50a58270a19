"""pass^k of trials that were ingested: the published figures through import, API and terminal; what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.importers.recorded import TAU_BENCH, needs_recordings
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.stack import Stack
from tests.store.build import agent_trace, fill

PUBLISHED = (0.3000, 0.1722, 0.1417, 0.1333)


@needs_recordings
@pytest.mark.timeout(300)
def test_pass_k_of_ingested_trajectories_is_the_published_one(stack: Stack) -> None:
    done = stack.cli("import", "tau-bench", str(TAU_BENCH), "--app", "tau-airline", "--json", timeout_s=200)
    assert done.returncode == 0, done.stderr
    with stack.client() as client:
        window = {"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
        answer = client.get("/api/v1/metrics/pass-k", params={"app": "tau-airline", "k": 4, **window})
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["items"]
    assert (item["n_tasks"], item["n_trials"], item["refused"]) == (30, 120, None)
    assert [round(one["value"], 4) for one in item["pass_hat"]] == list(PUBLISHED)
    first = item["pass_hat"][0]
    assert first["se"] > 1.4 * first["se_iid"]
    assert first["low"] == pytest.approx(first["value"] - 2.0452 * first["se"], abs=1e-3)
    said = stack.cli("metrics", "pass-k", "--app", "tau-airline", "--k", "4")
    assert said.returncode == 0, said.stderr
    assert [line.split()[2] for line in said.stdout.splitlines()[1:]] == ["0.3000", "0.1722", "0.1417", "0.1333"]
    more = stack.cli("metrics", "pass-k", "--app", "tau-airline", "--k", "5")
    assert more.returncode == ExitCode.USAGE
    assert "pass^5 needs 5 trials of every task: 30 of 30 have fewer, the least 4; k can be 4 at most" in more.stderr


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("outcomes")) as running:
        scores: list[dict[str, Any]] = []
        for n in range(16):
            release = "v1" if n < 8 else "v2"
            rows = agent_trace(n + 1, at_s=n * 10, tenant=AIRLINE, session_id=f"s{n}", app="desk", release=release)
            fill(running.services.lake, rows)
            task = n % 4 if n < 8 else n % 8
            scores.append(outcome(f"s{n}", float(n % 4 < 2), {"task_id": task, "trial": n // 4}))
        scores += [
            outcome("s3", 0.0, {"task_id": 3}, evaluator="other"),
            outcome("nobody", 1.0, {"task_id": 3}),
            {**outcome("s0", 0.0, {"task_id": 0}), "at": "2020-01-01T00:00:00Z"},  # said before: the later one holds
        ]
        scores += [
            {
                **outcome(f"s{n}", 1.0, {"example_id": "ex", "trial": n}, "end_state"),
                "evaluator_kind": "rule",
                "target": "example",
            }
            for n in range(3)
        ]
        sent = running.client.post("/api/v1/scores", json={"items": scores}, headers=running.headers())
        assert sent.status_code == 201, sent.text
        yield running


def outcome(session: str, value: float, metadata: dict[str, Any], evaluator: str = "solved") -> dict[str, Any]:
    """An outcome as it is sent."""
    kind = {"evaluator": evaluator, "evaluator_kind": "outcome", "target": "session"}
    return {**kind, "session_id": session, "value": value, "metadata": metadata}


def asked(shell: Shell, tenant: Any = AIRLINE, expect: int = 200, **params: Any) -> dict[str, Any]:
    known = {"app": "desk", "evaluator": "solved", "since": "1500w"}
    given = {name: value for name, value in {**known, **params}.items() if value is not None}
    answer = shell.client.get("/api/v1/metrics/pass-k", params=given, headers=shell.headers(Role.VIEWER, tenant))
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_release_stands_for_itself_and_says_where_trials_end(shell: Shell) -> None:
    told = asked(shell, k=2)
    first, second = told["items"]
    assert (first["release"], first["n_tasks"], first["n_trials"]) == ("v1", 4, 8)
    assert [one["value"] for one in first["pass_hat"]] == [0.5, 0.5]
    assert [one["value"] for one in first["pass_at"]] == [0.5, 0.5]
    assert (second["release"], second["least_trials"], len(second["pass_hat"])) == ("v2", 1, 1)
    assert second["refused"].startswith("pass^2 needs 2 trials of every task: 8 of 8 have fewer")


def test_trials_of_runs_count_by_the_evaluator_that_is_named(shell: Shell) -> None:
    (only,) = asked(shell, k=3, evaluator="end_state")["items"]
    assert (only["release"], only["n_tasks"], only["n_trials"]) == ("v1", 1, 3)
    assert [one["value"] for one in only["pass_hat"]] == [1.0, 1.0, 1.0]


def test_cost_per_resolved_session_by_release(shell: Shell) -> None:
    params = {"app": "desk", "evaluator": "solved", "since": "1500w"}
    headers = shell.headers(Role.VIEWER, AIRLINE)
    told = shell.client.get("/api/v1/metrics/cost-per-resolved", params=params, headers=headers).json()
    sessions = shell.client.get("/api/v1/sessions", params={"since": "1500w", "limit": 100}, headers=headers).json()
    costs = {one["session_id"]: one["cost_usd"] for one in sessions["items"]}
    first, second = told["items"]
    assert (first["release"], first["n_sessions"], first["n_resolved"]) == ("v1", 8, 4)
    assert first["value_usd"] == pytest.approx(sum(costs[f"s{n}"] for n in range(8)) / 4)
    assert (second["release"], second["n_resolved"], second["n_unknown"]) == ("v2", 4, 0)
    params["app"] = "nowhere"
    assert shell.client.get("/api/v1/metrics/cost-per-resolved", params=params, headers=headers).status_code == 404


def test_what_cannot_be_told_is_refused(shell: Shell) -> None:
    assert "k can be 1 at most" in asked(shell, expect=422, k=2, release="v2")["detail"]
    assert asked(shell, expect=422, k=3)["field"] == "k"
    assert asked(shell, expect=422, k=0)["field"] == "k"
    told = asked(shell, expect=422, evaluator=None)
    assert (told["field"], told["detail"]) == (
        "evaluator",
        "outcomes are of other, solved: say which evaluator's (--evaluator)",
    )
    assert asked(shell, expect=404, evaluator="mood")["code"] == "not_found"
    assert asked(shell, expect=404, app="nowhere")["code"] == "not_found"
    assert asked(shell, tenant=SHOP, expect=404)["code"] == "not_found"


def test_the_command_ends_as_the_answer_says(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:
        where = ["--url", url, "--key", shell.keys[AIRLINE, Role.VIEWER]]
        words = ["metrics", "pass-k", "--app", "desk", "--evaluator", "solved"]
        assert main([*words, "--k", "2", "--json", *where]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["k"] == 2
        assert main([*words, "--k", "2", *where]) == ExitCode.OK
        printed = capsys.readouterr()
        assert "v1" in printed.out
        assert "v2: pass^2 needs 2 trials" in printed.err
        assert main([*words, "--k", "9", *where]) == ExitCode.USAGE
        assert main(["metrics", "pass-k", "--app", "nowhere", *where]) == ExitCode.NOT_FOUND
        assert main([*words, "--k", "0", *where]) == ExitCode.USAGE
        capsys.readouterr()
        cost = ["metrics", "cost-per-resolved", "--app", "desk", "--evaluator", "solved", *where]
        assert main(cost) == ExitCode.OK
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["release", "v1", "v2"]
        assert main([*cost, "--k", "2"]) == ExitCode.USAGE
