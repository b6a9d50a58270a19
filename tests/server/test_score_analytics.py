"""Figures of scores over the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import store.score_samples
from core.records import EvaluatorKind, Role, TargetKind
from core.windows import FIRST_NS, LAST_NS, Window
from server.routes import score_analytics
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import agent_trace, fill, trace

ALWAYS = Window(start_ns=FIRST_NS, end_ns=LAST_NS)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("figures")) as running:
        spans = [span for n in range(20) for span in agent_trace(n + 1, tenant=AIRLINE, session_id=f"s{n}")]
        fill(running.services.lake, spans)
        rule = [said("exact", n, "rule", value=float(n % 2)) for n in range(20)]
        person = [said("exact", n, "human", value=float(n % 2), label="pass" if n % 2 else "fail") for n in range(15)]
        other = [said("mood", n, "rule", value=n / 20, metadata={"app": "elsewhere"}) for n in range(20)]
        missing = [said("mood", 99, "rule", unscored="no mood")]
        turn = {"evaluator": "exact", "evaluator_kind": "rule", "target": "turn", "trace_id": trace(1), "value": 0.5}
        for items in ([*rule, *person, *other, *missing, turn], [said("exact", 0, "rule", value=1.0)]):
            answer = running.client.post("/api/v1/scores", json={"items": items}, headers=running.headers(Role.USER))
            assert answer.status_code == 201, answer.text
        yield running


def said(name: str, n: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"evaluator": name, "evaluator_kind": kind, "target": "session", "session_id": f"s{n}", **more}


def asked(shell: Shell, path: str, role: Role = Role.VIEWER, whose: Any = AIRLINE, **params: Any) -> Any:
    return shell.client.get(
        f"/api/v1/scores/{path}", params={"since": "1d"} | params, headers=shell.headers(role, whose)
    )


def test_names_say_who_scored_what(shell: Shell) -> None:
    items = asked(shell, "names").json()["items"]
    found = {(one["evaluator"], one["kind"], one["target"]): (one["n"], one["n_unscored"]) for one in items}
    assert found[("exact", "rule", "session")] == (21, 0)
    assert found[("exact", "rule", "turn")] == (1, 0)
    assert found[("mood", "rule", "session")] == (21, 1)
    assert asked(shell, "names", whose=SHOP).json()["items"] == []


def test_one_score_in_figures(shell: Shell) -> None:
    told = asked(shell, "figures", evaluator="exact", kind="rule").json()
    (score,) = told["scores"]
    assert told["together"] is None
    assert (score["n"], score["mean"]["value"]) == (20, pytest.approx(11 / 20))  # s0 was scored anew
    assert score["mean"]["interval"]["method"] == "wilson"
    assert score["apps"] == {"airline": 20}
    assert [one["n"] for one in score["series"]] == [20]
    assert told["sample"] == {"n_scores": 21, "one_in": 1, "most": 100_000}
    turn = asked(shell, "figures", evaluator="exact", kind="rule", target="turn").json()["scores"][0]
    assert (turn["n"], turn["apps"]) == (1, {"airline": 1})


def test_two_scores_together(shell: Shell) -> None:
    told = asked(shell, "figures", evaluator="exact", kind="rule", against="exact", against_kind="human").json()
    both = told["together"]
    assert (both["n"], both["n_first"], both["n_second"], both["by"]) == (15, 5, 0, "passing")
    assert both["counts"] == [[7, 0], [1, 7]]
    assert both["kappa"]["estimate"]["interval"]["low"] < both["kappa"]["estimate"]["value"] < 1
    numbers = asked(shell, "figures", evaluator="exact", kind="rule", against="mood").json()["together"]
    assert numbers["kappa"]["estimate"]["reason"] == "other_labels"
    assert numbers["pearson"]["interval"] is not None


def test_the_app_is_the_scores_own_else_its_sessions(shell: Shell) -> None:
    assert asked(shell, "figures", evaluator="mood", kind="rule", app="elsewhere").json()["scores"][0]["n"] == 20
    assert asked(shell, "figures", evaluator="exact", kind="rule", app="airline").json()["scores"][0]["n"] == 20
    assert asked(shell, "figures", evaluator="exact", kind="rule", app="shop").json()["scores"][0]["n"] == 0


def test_of_many_scores_two_are_read_on_the_same_targets(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_analytics, "MOST_READ", 7)
    told = asked(shell, "figures", evaluator="exact", kind="rule", against="exact", against_kind="human").json()
    assert told["sample"]["one_in"] == 3
    store_of = shell.services.store.tenant(AIRLINE)
    read = [
        set(store.score_samples.sampled(store_of, "exact", kind, TargetKind.SESSION, ALWAYS, one_in=3).rows["target"])
        for kind in (EvaluatorKind.RULE, EvaluatorKind.HUMAN)
    ]
    assert read[1] <= read[0]
    assert 0 < len(read[0]) < 20
    assert told["scores"][0]["n"] == len(read[0])
    assert told["together"]["n"] == len(read[1])


@pytest.mark.parametrize(
    ("params", "field"),
    [({"bucket": "2h"}, "bucket"), ({"bucket": "all"}, "bucket"), ({"bucket": "1m", "since": "3650d"}, "bucket")],
)
def test_buckets_that_are_none_are_refused(shell: Shell, params: dict[str, Any], field: str) -> None:
    answer = asked(shell, "figures", evaluator="exact", kind="rule", **params)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


def test_a_score_that_nobody_gave_is_empty(shell: Shell) -> None:
    told = asked(shell, "figures", evaluator="nobody", kind="judge").json()
    assert (told["scores"][0]["n"], told["scores"][0]["mean"]["reason"]) == (0, "no_examples")
