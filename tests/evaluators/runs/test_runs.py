"""Runs through the API: a release that is asked, a file of outputs, what fails, what is cancelled, what it costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Principal, Role
from evaluators.datasets.records import example_of
from evaluators.datasets.service import Options, add_examples
from server.running import Runner
from store.control.records import ReleaseSpec
from tests.evaluators.runs.agents import Agent, Call, running
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.waiting import wait_until

BY = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann", key_id=None)
EXAMPLES = [
    {"example_id": "greet", "input": {"turns": ["hello", "bye"]}, "expected": {"answer": "you said bye"}},
    {
        "example_id": "ask a/b",
        "input": "how much?",
        "expected": {"answer": "nothing"},
        "metadata": {"stratum": "money"},
    },
    {"example_id": "spare", "input": "third", "split": "dev", "source": {"user_id": "maria"}},
]

SAID = "turn 1: answered 422: no such thing for [EMAIL]"
SECOND_TRIAL = {"example_id": "greet", "trial": 1, "output": ""}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("runs"), gateway_port=1) as made:
        examples = [example_of(one) for one in EXAMPLES]
        add_examples(made.services.control, AIRLINE, "golden", examples, Options(create=True), by=BY)
        runner = Runner(made.services)
        runner.start()
        yield made
        runner.close()


@pytest.fixture
def agent(shell: Shell, request: pytest.FixtureRequest) -> Iterator[Agent]:
    with running() as made:
        made.name = f"v-{request.node.name}"[:100]
        shell.services.control.register_release(
            AIRLINE, ReleaseSpec(app="desk", name=made.name, endpoint=made.url), by=BY
        )
        yield made


def ask(shell: Shell, path: str = "", role: Role = Role.VIEWER, tenant: Any = AIRLINE, **params: Any) -> Any:
    return shell.client.get(f"/api/v1/runs{path}", params=params, headers=shell.headers(role, tenant))


def begun(shell: Shell, agent: Agent | None = None, status: int = 201, **body: Any) -> dict[str, Any]:
    if agent is not None:
        body = {"release": agent.name, "trace_wait_s": 0, **body}
    said = {"dataset": "golden", "evaluators": ["answer_match", "latency", "cost"], **body}
    answer = shell.client.post("/api/v1/runs", json=said, headers=shell.headers(Role.POWER_USER))
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(shell: Shell, run: dict[str, Any]) -> dict[str, Any]:
    path = f"/{run['run_id']}"
    wait_until(lambda: ask(shell, path).json()["status"] in ("done", "failed", "cancelled"), 60, "the run to end")
    found: dict[str, Any] = ask(shell, path).json()
    return found


def trials_of(shell: Shell, run: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(shell, f"/{run['run_id']}/trials").json()["items"]
    return found


def test_a_release_is_asked_turn_by_turn_and_every_trial_is_scored(shell: Shell, agent: Agent) -> None:
    run = begun(shell, agent, trials=2, split="test")
    assert (run["status"], run["n_trials"], run["app"], run["dataset_version"]) == ("waiting", 4, "desk", 1)
    run = ended(shell, run)
    assert (run["status"], run["n_done"], run["n_failed"], run["n_scored"], run["reason"]) == ("done", 4, 0, 4, None)
    assert run["cost_usd"] == pytest.approx(0.006)
    assert len(agent.requests) == 6
    assert set(agent.paid.values()) == {1}
    assert agent.most_at_once <= 4
    assert len({call.user_id for call in agent.requests}) == 4, "each trial has a user of its own"
    first = next(call for call in agent.requests if call.text == "hello")
    assert first.headers["traceparent"].startswith("00-")
    assert f"assay.run_id={run['run_id']}" in first.headers["baggage"]
    assert "assay.example_id=greet,assay.trial=" in first.headers["baggage"]
    assert first.headers["idempotency-key"] == first.message_id

    trials = trials_of(shell, run)
    assert [(one["example_id"], one["trial"]) for one in trials] == [
        ("greet", 0), ("ask a/b", 0), ("greet", 1), ("ask a/b", 1)
    ]  # fmt: skip
    assert (trials[0]["output"], trials[0]["input_tokens"], trials[0]["n_calls"]) == ("you said bye", 20, 2)
    assert trials[1]["stratum"] == "money"
    scores = ask(shell, f"/{run['run_id']}/scores").json()["items"]
    matches = {(one["example_id"], one["trial"]): one["value"] for one in scores if one["metric"] == "answer_match"}
    assert matches == {("greet", 0): 1.0, ("greet", 1): 1.0, ("ask a/b", 0): 0.0, ("ask a/b", 1): 0.0}
    metric = next(one for one in run["metrics"] if one["metric"] == "answer_match")
    assert (metric["mean"], metric["n_trials"], metric["n_examples"], metric["n_unscored"]) == (0.5, 4, 2, 0)
    assert metric["low"] < 0.5 < metric["high"]
    lake = shell.client.get("/api/v1/scores", params={"since": "1h", "target": "example", "limit": 1000},
                            headers=shell.headers(Role.VIEWER)).json()["items"]  # fmt: skip
    assert {one["score_id"] for one in scores} <= {one["score_id"] for one in lake}


def test_what_an_agent_refuses_is_tried_again_and_what_it_breaks_fails_that_trial_only(
    shell: Shell, agent: Agent
) -> None:
    seen: list[str] = []

    def answer(call: Call) -> tuple[int, dict[str, str], Any] | None:
        seen.append(call.message_id)
        if call.text == "how much?":
            return 422, {}, {"error": {"message": "no such thing for ann@example.com"}}
        if seen.count(call.message_id) == 1:
            return 429, {"retry-after": "1"}, {"error": {"message": "busy"}}
        return None

    agent.answer = answer
    run = ended(shell, begun(shell, agent, split="test"))
    assert (run["status"], run["n_done"], run["n_failed"]) == ("done", 1, 1)
    good, bad = trials_of(shell, run)
    assert (good["status"], good["n_calls"]) == ("done", 4)
    assert (bad["status"], bad["error"], bad["n_calls"]) == ("failed", SAID, 1)
    scores = ask(shell, f"/{run['run_id']}/scores", example_id="ask a/b").json()["items"]
    assert {one["unscored"].split(":")[0] for one in scores} == {"not_finished"}
    assert set(agent.paid.values()) == {1}


def test_a_trial_that_takes_too_long_fails_and_the_others_go_on(shell: Shell, agent: Agent) -> None:
    stuck = threading.Event()

    def answer(call: Call) -> None:
        if call.text == "how much?":
            stuck.wait(20)

    agent.answer = answer
    run = ended(shell, begun(shell, agent, split="test", timeout_s=2, attempts=1))
    stuck.set()
    assert (run["status"], run["n_done"], run["n_failed"]) == ("done", 1, 1)
    assert "no answer after 1 tries: the last got no answer in time" in trials_of(shell, run)[1]["error"]


def test_a_budget_ends_a_run_early_and_says_so(shell: Shell, agent: Agent) -> None:
    run = ended(shell, begun(shell, agent, trials=5, concurrency=1, max_cost_usd=0.0045))
    assert (run["status"], run["n_failed"]) == ("cancelled", 0)
    assert run["cost_usd"] <= 0.007
    assert "the budget of $0.0045 is spent" in run["reason"]
    assert run["n_scored"] == run["n_done"]


def test_a_cancelled_run_asks_nothing_more_and_scores_what_it_has(shell: Shell, agent: Agent) -> None:
    agent.answer = lambda call: agent.held.clear() if len(agent.requests) == 3 else None
    run = begun(shell, agent, trials=20, concurrency=1)
    wait_until(lambda: not agent.held.is_set(), 30, "the third call")
    refused = shell.client.post(f"/api/v1/runs/{run['run_id']}/cancel", headers=shell.headers(Role.VIEWER))
    assert refused.status_code == 403
    answer = shell.client.post(f"/api/v1/runs/{run['run_id']}/cancel", headers=shell.headers(Role.POWER_USER))
    assert (answer.json()["status"], answer.json()["reason"]) == ("cancelled", "cancelled by power_user of airline")
    agent.held.set()
    wait_until(lambda: ask(shell, f"/{run['run_id']}").json()["metrics"], 30, "the figures")
    assert len(agent.requests) <= 4


def test_outputs_of_a_file_are_scored_and_a_missing_one_is_a_failed_trial(shell: Shell) -> None:
    outputs = [
        {"example_id": "greet", "output": "you said bye", "usage": {"cost_usd": 0.5}, "latency_ms": 12},
        {"example_id": "ask a/b", "error": "crashed at ann@example.com"},
    ]
    run = begun(shell, app="desk", release="file-1", source="file", outputs=outputs)
    run = ended(shell, run)
    assert (run["status"], run["n_done"], run["n_failed"], run["cost_usd"]) == ("done", 1, 2, 0.5)
    trials = trials_of(shell, run)
    assert [one["error"] for one in trials] == [None, "crashed at [EMAIL]", "the file has no output of this trial"]
    metrics = {one["metric"]: one for one in run["metrics"]}
    assert metrics["answer_match"]["mean"] == 1.0
    assert metrics["answer_match"]["unscored"] == {"not_finished": 2}
    assert metrics["latency_ms"]["mean"] == 12


def test_foreseeing_begins_nothing(shell: Shell, agent: Agent) -> None:
    before = len(ask(shell).json()["items"])
    told = begun(shell, agent, status=200, trials=3, dry_run=True)
    assert (told["n_examples"], told["n_trials"], told["n_calls"]) == (3, 9, 12)
    assert (told["usd"], told["of"]) == (None, "nothing")
    assert told["evaluators"][0] == "answer_match@1"
    assert len(ask(shell).json()["items"]) == before
    assert agent.requests == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"dataset": "nothing"}, 404, "nothing"),
        ({"evaluators": ["answer_mach"]}, 422, "answer_match"),
        ({"evaluators": ["retrieval"]}, 422, "no example expects"),
        ({"split": "train"}, 422, "its splits: dev, test"),
        ({"trials": 0}, 422, "trials"),
        ({"trials": 101}, 422, "trials"),
        ({"timeout_s": 0}, 422, "timeout_s"),
        ({"release": "unknown", "app": None}, 422, "name the app"),
        ({"release": "unknown", "app": "desk"}, 422, "not registered with an endpoint"),
        ({"source": "traces", "app": "desk"}, 422, "no stored session"),
        ({"source": "file", "app": "desk"}, 422, "has its outputs"),
        ({"source": "file", "app": "desk", "outputs": [{"example_id": "x", "output": ""}]}, 422, "does not have"),
        ({"source": "file", "app": "desk", "outputs": [{"example_id": "greet"}]}, 422, "no text called output"),
        (
            {"source": "file", "app": "desk", "trials": 1, "outputs": [SECOND_TRIAL]},
            422, "trials 0 to 0",
        ),
        ({"outputs": [{}]}, 422, "source file"),
        ({"dataset": None}, 422, "needs a dataset"),
        ({"nonsense": 1}, 422, "nonsense"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_and_nothing_is_written(
    shell: Shell, body: dict[str, Any], status: int, said: str
) -> None:
    before = len(ask(shell).json()["items"])
    sent = {"dataset": "golden", "evaluators": ["answer_match"], "release": "v0", "app": "desk", **body}
    answer = shell.client.post("/api/v1/runs", json=sent, headers=shell.headers(Role.POWER_USER))
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert len(ask(shell).json()["items"]) == before


def test_another_tenant_sees_no_run_and_a_user_begins_none(shell: Shell, agent: Agent) -> None:
    run = ended(shell, begun(shell, agent, limit=1))
    assert ask(shell, tenant=SHOP).json()["items"] == []
    for path in ("", "/trials", "/scores"):
        assert ask(shell, f"/{run['run_id']}{path}", tenant=SHOP).status_code == 404
    sent = {"dataset": "golden", "release": agent.name}
    assert shell.client.post("/api/v1/runs", json=sent, headers=shell.headers(Role.USER)).status_code == 403
    listed = ask(shell, status="done", release=agent.name).json()["items"]
    assert [one["run_id"] for one in listed] == [run["run_id"]]
