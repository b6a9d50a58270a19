"""Runs over stored sessions, and what a run is foreseen to cost from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Principal, Role
from evaluators.datasets.records import example_of
from evaluators.datasets.service import Options, add_examples
from server.running import Runner
from store.control.records import ReleaseSpec
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.store.build import agent_trace, fill
from tests.waiting import wait_until

BY = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann", key_id=None)
EXAMPLES: list[dict[str, Any]] = [
    {"example_id": "t1", "input": "question", "metadata": {"task_id": 1}, "expected": {"answer": "answer 1"}},
    {"example_id": "t2", "input": "question", "expected": {"answer": "answer 4"}},
    {"example_id": "old", "input": "question", "source": {"session_id": "s5", "user_id": "maria"}},
    {"example_id": "none", "input": "question"},
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("traces"), gateway_port=1) as made:
        examples = [example_of(one) for one in EXAMPLES]
        add_examples(made.services.control, AIRLINE, "golden", examples, Options(create=True), by=BY)
        rows = []
        for number, named in enumerate(({"assay.task_id": "1"}, {"assay.task_id": "1"}, {"assay.task_id": "1"},
                                        {"assay.example_id": "t2"}, {}, {"assay.task_id": "9"}), 1):  # fmt: skip
            rows += agent_trace(number, at_s=60 * number, tenant=AIRLINE, session_id=f"s{number}",
                                attributes=named, user_id=f"u{number}")  # fmt: skip
        fill(made.services.lake, rows)
        runner = Runner(made.services)
        runner.start()
        yield made
        runner.close()


def begun(shell: Shell, status: int = 201, **body: Any) -> dict[str, Any]:
    said = {"release": "r1", "app": "airline", "source": "traces", "evaluators": ["answer_match", "cost"], **body}
    answer = shell.client.post("/api/v1/runs", json=said, headers=shell.headers(Role.POWER_USER))
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def got(shell: Shell, path: str) -> Any:
    return shell.client.get(f"/api/v1/runs/{path}", headers=shell.headers(Role.VIEWER)).json()


def ended(shell: Shell, run: dict[str, Any]) -> dict[str, Any]:
    wait_until(lambda: got(shell, run["run_id"])["status"] in ("done", "failed"), 60, "the run to end")
    found: dict[str, Any] = got(shell, run["run_id"])
    return found


def test_stored_sessions_are_trials_of_the_examples_that_they_name(shell: Shell) -> None:
    run = ended(shell, begun(shell, dataset="golden"))
    assert (run["status"], run["trials"], run["n_done"], run["n_failed"]) == ("done", 3, 5, 1)
    trials = got(shell, f"{run['run_id']}/trials")["items"]
    assert [(one["example_id"], one["trial"], one["session_id"]) for one in trials[:5]] == [
        ("t1", 0, "s1"), ("t1", 1, "s2"), ("t1", 2, "s3"), ("t2", 0, "s4"), ("old", 0, "s5")
    ]  # fmt: skip
    assert (trials[5]["example_id"], trials[5]["status"]) == ("none", "failed")
    assert trials[5]["error"] == "no stored session of this release is of this trial"
    first = trials[0]
    assert (first["output"], first["cost_usd"], first["trace_ids"]) == ("answer 1", 0.002, [f"{1:032x}"])
    metrics = {one["metric"]: one for one in run["metrics"]}
    assert metrics["answer_match"]["mean"] == pytest.approx((1 / 3 + 1) / 2), "of examples, not of trials"
    assert metrics["answer_match"]["unscored"] == {"not_expected": 1, "not_finished": 1}


def test_k_of_them_at_most_and_more_than_there_are_is_refused(shell: Shell) -> None:
    run = ended(shell, begun(shell, dataset="golden", trials=2))
    trials = got(shell, f"{run['run_id']}/trials")["items"]
    assert len(trials) == run["n_trials"] == 8
    assert run["n_failed"] == 4, "one of t2, one of old, two of none"
    answer = begun(shell, 422, dataset="golden", trials=4)
    assert "no example has more than 3 stored sessions" in answer["detail"]


def test_each_session_is_an_example_where_there_is_no_dataset(shell: Shell) -> None:
    run = ended(shell, begun(shell, evaluators=["outcome", "latency"]))
    assert (run["dataset"], run["dataset_version"], run["n_done"]) == ("-", 0, 6)
    trials = got(shell, f"{run['run_id']}/trials")["items"]
    assert [one["example_id"] for one in trials] == [f"s{n}" for n in range(1, 7)]
    assert "compares" not in str(run["metrics"])
    again = ended(shell, begun(shell, evaluators=["outcome", "latency"]))
    assert again["content_hash"] == run["content_hash"], "the same sessions are the same examples"


def test_what_a_run_costs_is_foreseen_from_stored_sessions(shell: Shell) -> None:
    told = ReleaseSpec(app="airline", name="r1", endpoint="http://127.0.0.1:1")
    shell.services.control.register_release(AIRLINE, told, by=BY)
    foreseen = begun(shell, 200, dataset="golden", source="release", trials=5, dry_run=True)
    assert (foreseen["n_calls"], foreseen["n_sessions"], foreseen["of"]) == (20, 6, "release")
    assert (foreseen["usd"], foreseen["usd_p95"]) == (pytest.approx(0.04), pytest.approx(0.04))
    assert foreseen["tokens"] == pytest.approx(20 * 220)
    other = begun(shell, 200, dataset="golden", source="release", release="r9", dry_run=True)
    assert (other["of"], other["usd"]) == ("app", pytest.approx(0.008))


def test_an_erased_users_output_is_gone_from_trials(shell: Shell) -> None:
    run = ended(shell, begun(shell, dataset="golden"))
    assert shell.services.control.forget_trials(AIRLINE, ["u4"], ["s1"]) >= 2
    trials = got(shell, f"{run['run_id']}/trials")["items"]
    outputs = {one["session_id"]: one["output"] for one in trials}
    assert outputs.keys() & {"s1", "s2", "s4"} == {"s2"}
    assert outputs["s2"] == "answer 2"
    gone = [one for one in trials if one["session_id"].startswith("erased-")]
    assert len(gone) >= 2
    assert {one["output"] for one in gone} == {None}
    assert got(shell, f"{run['run_id']}/scores")["items"], "the app works on with the run"
    every = ended(shell, begun(shell, evaluators=["outcome"]))
    shell.services.control.forget_trials(AIRLINE, [], ["s2"])
    names = [one["example_id"] for one in got(shell, f"{every['run_id']}/trials")["items"]]
    assert "s2" not in names
    assert len(set(names)) == every["n_trials"]
