"""Metrics by name: what is built in, what an evaluator's name says, who tells a metric of scores."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from evaluators.catalogue import BY_NAME
from experiments.metrics import BUILT_IN, SAFETY, metric_of, scored_of, spec_of
from experiments.records import Better, MetricKind, MetricRole
from store.experiment_moments import Measure
from store.experiment_scores import Fold


def seen(*rows: tuple[str, str, str, int]) -> list[dict[str, Any]]:
    """As the store says who scored."""
    return [dict(zip(("evaluator", "kind", "target", "n"), row, strict=True)) for row in rows]


def test_what_is_built_in_says_which_way_is_better_and_what_may_be_lost() -> None:
    p95 = spec_of("p95_latency", MetricRole.GUARDRAIL)
    assert (p95.kind, p95.quantile, p95.better, p95.margin, p95.relative) == (
        *(MetricKind.QUANTILE, 0.95, Better.LOWER),
        *(0.1, True),
    )
    resolution = spec_of("resolution", MetricRole.PRIMARY)
    assert (resolution.better, resolution.binary, resolution.margin) == (Better.HIGHER, True, None)
    cost = spec_of("cost", MetricRole.GUARDRAIL, margin=0.02)
    assert (cost.margin, cost.relative, BUILT_IN["cost"].measure) == (0.02, False, Measure.COST_USD)
    assert set(SAFETY) <= set(BY_NAME)


def test_any_evaluator_is_a_metric_and_another_name_needs_a_direction() -> None:
    assert metric_of("user_frustration").better is Better.LOWER
    assert metric_of("tokens").measure is Measure.TOKENS  # what is built in comes before an evaluator of that name
    with pytest.raises(InvalidInput, match="did you mean resolution"):
        spec_of("resolutoin", MetricRole.PRIMARY)
    own = spec_of("csat", MetricRole.GUARDRAIL, better=Better.HIGHER)
    assert (own.better, own.binary, own.margin, own.relative) == (Better.HIGHER, False, 0.02, False)


def test_who_saw_how_it_ended_tells_resolution_before_who_worked_it_out() -> None:
    rule, outcome = ("resolution", "rule", "session", 900), ("task_success", "outcome", "session", 10)
    (told,) = scored_of(BUILT_IN["resolution"], seen(rule, outcome)).told
    assert (told.evaluator, told.kind) == ("task_success", EvaluatorKind.OUTCOME)
    (told,) = scored_of(BUILT_IN["resolution"], seen(rule, ("task_success", "judge", "session", 5))).told
    assert (told.evaluator, told.kind, told.target) == ("resolution", EvaluatorKind.RULE, TargetKind.SESSION)
    people = ("task_success", "human", "session", 50)
    assert scored_of(BUILT_IN["resolution"], seen(people)).told == ()


def test_safety_is_told_by_all_that_look_for_a_breach() -> None:
    found = scored_of(
        BUILT_IN["safety"], seen(("pii_leak", "rule", "session", 9), ("policy_caps", "rule", "session", 9))
    )
    assert [(one.evaluator, one.lower_is_better) for one in found.told] == [("pii_leak", True), ("policy_caps", False)]
    assert found.fold is Fold.SAFE
