"""Examples that say the same are one example: averaged trial by trial, whatever their ids."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from evaluators.datasets.records import example_of
from evaluators.repeats import once, repeats
from experiments.gates.records import GateDecision
from tests.experiments.gates.evidence import BASELINE, CANDIDATE, decided


def test_the_first_id_stands_for_what_repeats_it_and_another_expectation_is_another_example() -> None:
    told = [
        {"example_id": "b", "input": "how much?", "expected": {"answer": "3"}},
        {"example_id": "a", "input": {"turns": ["how much?"]}, "expected": {"answer": "3"}, "split": "dev"},
        {"example_id": "c", "input": "how much?", "expected": {"answer": "4"}},
        {"example_id": "d", "input": "how much?", "expected": {"answer": "3"}, "metadata": {"shop": "2"}},
    ]
    assert repeats([example_of(one) for one in told]) == {"b": "a"}


def test_scores_of_repeats_are_averaged_and_one_that_has_none_leaves_it_to_the_others() -> None:
    rows = [
        {"example_id": name, "trial": trial, "metric": "m", "value": value, "unscored": None if value else "failed"}
        for name, trial, value in (("a", 0, 1.0), ("b", 0, 0.5), ("a", 1, None), ("b", 1, 1.0), ("c", 0, None))
    ]
    made = once(replace(CANDIDATE, rows=pl.DataFrame(rows, infer_schema_length=None)), {"b": "a"})
    found = {(row["example_id"], row["trial"]): (row["value"], row["unscored"]) for row in made.rows.to_dicts()}
    assert found == {("a", 0): (0.75, None), ("a", 1): (1.0, None), ("c", 0): (None, "failed")}
    assert once(CANDIDATE, {}) is CANDIDATE


def test_one_example_under_many_ids_passes_no_gate() -> None:
    assert decided().decision is GateDecision.PASS
    first, *others = sorted(BASELINE.examples)
    one = dict.fromkeys(others, first)
    assert decided(once(BASELINE, one), once(CANDIDATE, one)).decision is GateDecision.INCONCLUSIVE
