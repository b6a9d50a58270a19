"""A run that is watched beside its baseline's ends once harm is proved, pays for no more, and says why."""

from __future__ import annotations

import pytest

from evaluators.datasets.records import example_of
from evaluators.datasets.service import Options, add_examples
from evaluators.runs import early_stop
from tests.evaluators.runs.agents import Agent, Call
from tests.evaluators.runs.test_runs import BY, agent, ask, begun, ended, shell
from tests.server.shell import AIRLINE, Shell

__all__ = ["agent", "shell"]  # fixtures
N = 100


@pytest.fixture(scope="module")
def many(shell: Shell) -> str:
    examples = [{"example_id": f"e{n}", "input": f"q{n}", "expected": {"answer": f"you said q{n}"}} for n in range(N)]
    made = [example_of(one) for one in examples]
    add_examples(shell.services.control, AIRLINE, "many", made, Options(create=True), by=BY)
    return "many"


def _wrong(call: Call) -> tuple[int, dict[str, str], dict[str, str]]:
    return 200, {}, {"reply": "I cannot say", "status": "answered"}


def test_a_run_that_is_worse_ends_before_all_is_paid_and_one_that_is_as_good_does_not(
    shell: Shell, agent: Agent, many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_stop, "LOOK_EVERY_S", 0.0)
    baseline = ended(shell, begun(shell, agent, dataset=many, evaluators=["answer_match"]))
    assert (baseline["status"], baseline["n_done"]) == ("done", N)
    same = ended(shell, begun(shell, agent, dataset=many, evaluators=["answer_match"], stop_against=baseline["run_id"]))
    assert (same["status"], same["n_done"], same["params"]["stop_metrics"]) == ("done", N, ["answer_match"])

    agent.answer = _wrong
    worse = ended(
        shell,
        begun(
            shell,
            agent,
            dataset=many,
            evaluators=["answer_match"],
            stop_against=baseline["run_id"],
            concurrency=1,
            per_minute=600,
        ),
    )
    assert worse["status"] == "cancelled"
    assert worse["n_done"] < N // 2
    assert worse["n_scored"] == worse["n_done"], "what was paid is scored"
    assert worse["reason"].startswith("harm in answer_match is proved after ")
    assert f"of {N} examples: difference -1.000" in worse["reason"]
    assert worse["reason"].endswith("trials were not asked")


def test_what_cannot_be_watched_is_refused_and_says_why(shell: Shell, agent: Agent, many: str) -> None:
    run = ended(shell, begun(shell, agent, dataset=many, evaluators=["answer_match", "latency"]))
    other = {"dataset": many, "evaluators": ["answer_match", "latency"], "stop_against": run["run_id"]}
    refused = begun(shell, agent, 422, **other, stop_metrics=["latency_ms"])
    assert refused["field"] == "stop_metrics"
    assert "latency_ms cannot end a run" in refused["detail"]
    refused = begun(shell, agent, 422, **(other | {"dataset": "golden"}))
    assert refused["field"] == "stop_against"
    assert "other examples" in refused["detail"]
    refused = begun(shell, agent, 422, dataset=many, stop_metrics=["answer_match"])
    assert refused["field"] == "stop_against"
    assert begun(shell, agent, 404, **(other | {"stop_against": "run_none"}))["code"] == "not_found"
    assert ask(shell, f"/{run['run_id']}").json()["n_done"] == N
