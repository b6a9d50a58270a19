"""POST /api/v1/comparisons and assay eval compare, over runs in the control database with scores in the lake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from evaluators.evidence import pending, read_run
from evaluators.runs.planning import score_id, session_of
from server.cli import eval_compare
from server.routes.comparisons import ComparisonMade
from store.control.run_records import RunSource, RunSpec, RunStatus, TrialRecord, TrialStatus
from store.scores import NewScore, append_scores
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

BY = Principal(tenant=AIRLINE, role=Role.ADMIN, name="tests")
EVALUATORS = ("answer_exact@1", "mood@3")
HOSTILE = "e|x`<b>\x1b[2J$(id)"
N = 30


def spec(**changes: Any) -> RunSpec:
    known = RunSpec(
        app="desk",
        release="v1",
        dataset="golden",
        dataset_version=1,
        content_hash="c0ffee",
        evaluators=EVALUATORS,
        k=2,
        source=RunSource.RELEASE,
    )
    return replace(known, **changes)


def made(shell: Shell, run_id: str, answers: Any, tenant: TenantId = AIRLINE, **changes: Any) -> str:
    """A finished run. `answers(example number, trial)` is the value, None for a trial that failed, or why unscored."""
    about, control = spec(**changes), shell.services.control
    names = [HOSTILE if n == 0 else f"ex{n}" for n in range(N)]
    trials = [
        TrialRecord(
            run_id=run_id,
            example_id=name,
            trial=trial,
            position=n * about.k + trial,
            session_id=session_of(run_id, name, trial),
            stratum="refunds" if n % 2 else "search",
        )
        for n, name in enumerate(names)
        for trial in range(about.k)
    ]
    control.start_run(tenant, run_id, about, trials, by=BY)
    done, scores, ids = [], [], []
    for one in trials:
        value = answers(one.position // about.k, one.trial)
        status = TrialStatus.FAILED if value is None else TrialStatus.DONE
        tokens: dict[str, Any] = {"input_tokens": 100, "output_tokens": 20} if one.position % 7 else {}
        done.append(replace(one, status=status, latency_ms=800.0 + one.position, cost_usd=0.01, scored=True, **tokens))
        for named in about.evaluators:
            name, _, version = named.partition("@")
            known = {"run_id": run_id, "example_id": one.example_id, "trial": one.trial}
            said = "not_finished: the trial failed" if value is None else str(value)
            told: dict[str, Any] = {"value": value} if isinstance(value, float) else {"unscored": said}
            scores.append(
                NewScore(
                    evaluator=name,
                    evaluator_version=version,
                    evaluator_kind=EvaluatorKind.RULE,
                    target=TargetKind.EXAMPLE,
                    session_id=one.session_id,
                    metadata=known,
                    **told,
                )
            )
            ids.append(score_id(run_id, one.example_id, one.trial, named))
    control.put_trials(tenant, done)
    append_scores(shell.services.store.tenant(tenant), scores, ids=ids, author="t", now_ns=shell.services.clock())
    control.end_run(tenant, run_id, RunStatus.DONE, reason=None, summary={})
    return run_id


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("comparisons")) as running:
        made(running, "run_good", lambda n, trial: 1.0)
        made(running, "run_bad", lambda n, trial: float(n % 3 > 0), release="v2")
        made(running, "run_torn", lambda n, trial: None if n < 4 else "evaluator_failed: x" if n < 6 else 1.0)
        made(running, "run_other", lambda n, trial: 1.0, content_hash="decaf", dataset_version=2)
        made(running, "run_judged", lambda n, trial: 1.0, evaluators=("answer_exact@2", "mood@3"))
        yield running


def compared(shell: Shell, expect: int = 200, tenant: TenantId = AIRLINE, **body: Any) -> dict[str, Any]:
    asked = {"run_a": "run_good", "run_b": "run_bad", **body}
    answer = shell.client.post("/api/v1/comparisons", json=asked, headers=shell.headers(Role.VIEWER, tenant))
    assert answer.status_code == expect, answer.text
    told: dict[str, Any] = answer.json()
    if expect == 200:
        ComparisonMade.model_validate(told)
    return told


def metric(told: dict[str, Any], name: str = "mood") -> dict[str, Any]:
    (found,) = [one for one in told["metrics"] if one["metric"] == name]
    return dict(found)


def test_two_runs_are_compared_by_metric_and_stratum(shell: Shell) -> None:
    told = compared(shell)
    assert [one["metric"] for one in told["metrics"]] == ["answer_exact", "cost_usd", "latency_ms", "mood", "tokens"]
    found = metric(told)
    assert (found["n"], found["n_worse"], found["n_tied"]) == (N, 10, 20)
    assert (found["baseline"], found["candidate"]) == (1.0, pytest.approx(2 / 3))
    assert (found["test"], found["finding"]) == ("sign_flip_exact", "worse")
    assert found["p_harm"] == 2.0**-10
    assert found["low"] < found["difference"] < found["high"] < 0
    assert len(found["worst"]) == 10
    assert found["worst"][0]["diff"].startswith("/trace_diff?a=run_good.")
    assert {one["stratum"] for one in told["strata"]} == {"refunds", "search"}
    assert metric(told, "cost_usd")["lack"] == "all_ties"
    assert metric(told, "cost_usd")["finding"] == "unknown"
    assert metric(told, "tokens")["unscored_baseline"] == {"not_recorded": 9}
    assert told["run_b"]["release"] == "v2"


def test_what_is_missing_is_counted_and_never_a_number(shell: Shell) -> None:
    found = metric(compared(shell, run_b="run_torn"))
    assert found["n"] == N - 6
    assert found["unpaired"] == {"candidate: evaluator_failed": 2, "candidate: not_finished": 4}
    assert found["unscored_candidate"] == {"evaluator_failed": 4, "not_finished": 8}
    assert (found["candidate"], found["p_two_sided"], found["lack"]) == (1.0, None, "all_ties")


def test_a_run_reads_back_with_a_row_for_every_trial(shell: Shell) -> None:
    services = shell.services
    found = read_run(services.control, services.store.tenant(AIRLINE), AIRLINE, "run_torn")
    assert (found.k, found.finished, found.evaluators) == (2, True, {"answer_exact": "1", "mood": "3"})
    by_metric = dict(found.rows.group_by("metric").len().rows())
    assert by_metric == dict.fromkeys(("answer_exact", "mood", "latency_ms", "cost_usd", "tokens"), 2 * N)
    assert not found.rows.filter(found.rows["value"].is_null() == found.rows["unscored"].is_null()).height


def test_an_evaluator_of_latency_is_the_metric_and_not_the_trials_own_figure(shell: Shell) -> None:
    timed = (*EVALUATORS, "latency_ms@1")
    made(shell, "run_timed", lambda n, trial: 1.0, evaluators=timed)
    services = shell.services
    found = read_run(services.control, services.store.tenant(AIRLINE), AIRLINE, "run_timed")
    assert found.rows.filter(found.rows["metric"] == "latency_ms")["value"].unique().to_list() == [1.0]
    told = metric(compared(shell, run_b="run_timed"), "latency_ms")
    assert told["lack"] == "other_version"
    assert "its trials' own figures, the candidate by latency_ms@1" in told["detail"]


def test_scores_that_are_still_to_come_are_told_from_those_that_will_not(shell: Shell) -> None:
    services, control = shell.services, shell.services.control
    ready = spec(k=1)
    trials = [
        TrialRecord(run_id="run_half", example_id=f"ex{n}", trial=0, position=n, session_id=f"h{n}", status=status)
        for n, status in enumerate((TrialStatus.WAITING, TrialStatus.CALLING, TrialStatus.FAILED, TrialStatus.DONE))
    ]
    control.start_run(AIRLINE, "run_half", ready, trials, by=BY)
    found = read_run(control, services.store.tenant(AIRLINE), AIRLINE, "run_half")
    mood = found.rows.filter(found.rows["metric"] == "mood").sort("example_id")
    assert [one.split(":")[0] for one in mood["unscored"]] == [*["not_finished"] * 3, "not_scored"]
    assert mood.select(pending()).to_series().to_list() == [True, True, False, True]


def test_metrics_margins_and_all_examples(shell: Shell) -> None:
    told = compared(shell, metrics=["mood"], margins={"mood": 0.1}, every_example=True, worst=1000, strata=[])
    (found,) = told["metrics"]
    assert len(found["worst"]) == N
    assert found["worst"][-1]["difference"] == 0
    assert found["needed"] == pytest.approx(6.1826 * (2 / 9) * 30 / 29 / 0.01, abs=1.5)
    assert told["strata"] == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"run_b": "run_nowhere"}, 404, "there is no run"),
        ({"run_b": "run_other"}, 422, "run both over one version of a dataset"),
        ({"metrics": ["polish"]}, 422, "neither run has a metric polish"),
        ({"margins": {"polish": 0.1}}, 422, "neither run has a metric polish"),
        ({"strata": ["payments"]}, 422, "no example is of stratum payments"),
        ({"alpha": 0.9}, 422, "alpha"),
        ({"margins": {"mood": -1}}, 422, "margins"),
        ({"created_by": "me"}, 422, "created_by"),
    ],
)
def test_what_cannot_be_compared_is_refused(shell: Shell, body: dict[str, Any], status: int, says: str) -> None:
    assert says in json.dumps(compared(shell, expect=status, **body))


def test_runs_of_another_tenant_are_not_there(shell: Shell) -> None:
    assert compared(shell, expect=404, tenant=SHOP)["code"] == "not_found"


def test_scores_of_two_versions_of_an_evaluator_are_not_compared(shell: Shell) -> None:
    found = metric(compared(shell, run_b="run_judged"), "answer_exact")
    assert (found["finding"], found["lack"], found["n"]) == ("unknown", "other_version", 0)
    assert found["detail"] == "the baseline was scored by answer_exact@1, the candidate by answer_exact@2"


def test_a_table_and_markdown_say_it_and_obey_no_name(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    with served(shell.services) as url:
        parser = argparse.ArgumentParser()
        eval_compare.add_arguments(parser)
        where = ["run_good", "run_bad", "--url", url, "--key", shell.keys[AIRLINE, Role.VIEWER]]
        assert eval_compare.run(parser.parse_args([*where, "--metric", "mood"])) == 0
        printed = capsys.readouterr().out
        assert "WORSE" in printed
        assert "\x1b" not in printed
        assert printed.count("assay traces diff --") == 10
        assert eval_compare.run(parser.parse_args([*where, "--markdown", "--metric", "mood"])) == 0
        shown = capsys.readouterr().out
        assert "<b>" not in shown
        assert "**Worst regressions of mood**" in shown
        rows = [line for line in shown.splitlines() if re.match(r"\| (ex\d|e\\)", line)]
        assert len(rows) == 10
        assert eval_compare.run(parser.parse_args([*where, "--json"])) == 0
        assert json.loads(capsys.readouterr().out)["alpha"] == 0.05


def test_the_table_has_strata_of_one_metric_alone(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    with served(shell.services) as url:
        parser = argparse.ArgumentParser()
        eval_compare.add_arguments(parser)
        where = ["run_good", "run_bad", "--url", url, "--key", shell.keys[AIRLINE, Role.VIEWER]]
        assert eval_compare.run(parser.parse_args(where)) == 0
    printed = capsys.readouterr().out
    shown = {line.split(" · ")[0].strip() for line in printed.splitlines() if " · " in line}
    assert len(shown) == 1
    assert f"worst regressions of {shown.pop()}" in printed
