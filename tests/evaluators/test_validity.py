"""The figures of validity in the specs and in the docs are those that the real trajectories give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from benchmarks.evaluators.recorded import TAU_BENCH, tau2, tau_bench
from benchmarks.evaluators.validity import RESULT, auc, kappa, measured, said
from evaluators.catalogue import BY_NAME, find, named
from evaluators.rules.validity import VALIDITY

RECORDED = json.loads(RESULT.read_text(encoding="utf-8"))
needs_shared = pytest.mark.skipif(not TAU_BENCH.exists(), reason="the data folder beside the repository is not here")


@pytest.mark.parametrize("name", VALIDITY)
def test_the_specs_say_what_was_measured(name: str) -> None:
    figures = said(RECORDED, named(find(name)))
    assert VALIDITY[name] == figures
    assert (BY_NAME[name].spec.validity or "").startswith(figures)


def test_write_set_says_what_is_published_and_why_ours_is_another_figure() -> None:
    said_of_it = find("write_set").spec.validity or ""
    assert ".695" in said_of_it
    assert "definition" in said_of_it
    assert RECORDED["published"]["auc"] == 0.695


@needs_shared
def test_the_committed_figures_are_those_of_the_trajectories() -> None:
    found = measured(tau_bench(), intervals=False)
    for name in [*map(named, map(find, VALIDITY)), "fewer_messages", "writes_with_failed_and_handover"]:
        kept = {key: value for key, value in RECORDED["sets"]["tau_bench_v1"][name].items() if key != "auc_95"}
        assert found[name] == kept, name


@needs_shared
def test_the_trajectories_are_all_there_with_their_rewards() -> None:
    first, second = tau_bench(), tau2()
    assert (len(first), sum(one.passed for one in first)) == (120, 36)
    assert len(second) == 404
    assert {one.domain for one in second} == {"airline", "retail", "telecom"}


def test_auc_and_kappa_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(5)
    for _ in range(20):
        values, passed = chance.integers(0, 4, 50).astype(float), chance.random(50) < 0.4
        yes = values > 1
        assert auc(values, passed) == pytest.approx(roc_auc_score(passed, values), abs=1e-12)
        assert kappa(yes, passed) == pytest.approx(cohen_kappa_score(yes, passed), abs=1e-12)


def test_the_docs_say_these_figures() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluators.md").read_text(encoding="utf-8")
    rows = RECORDED["sets"]["tau_bench_v1"]
    for name in ("tool_f1@1", "tool_names_f1@1", "fewer_messages", "writes_with_failed", "write_set@1"):
        assert f"{rows[name]['auc']:.2f}".removeprefix("0") in page, name
    assert ".695" in page
