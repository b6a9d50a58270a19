"""The analysis as a whole: each word is reached by what it stands for, and nothing that is missing ships."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from experiments.analysed import Analysis, Finding, Looked, VariantAnalysis, Word
from experiments.analysis import analyse
from experiments.records import (
    Arm,
    Better,
    Definition,
    ExperimentStatus,
    Horizon,
    MetricKind,
    MetricRole,
    MetricSpec,
)
from experiments.shown import as_json
from experiments.statistics.records import Effect, NoEffect, Why
from tests.experiments.definitions import PRIMARY, definition
from tests.experiments.looked import days, drawn, exposure, looked, summed

COST = MetricSpec(name="cost", role=MetricRole.GUARDRAIL, better=Better.LOWER, margin=0.05)

CLEAR = Effect(
    control=0.6,
    treatment=0.7,
    n_control=1_500,
    n_treatment=1_500,
    estimate=0.1,
    se=0.02,
    low=0.0,
    high=0.0,
    level=0.95,
    method="ppi",
)


def told(rows: pl.DataFrame, *others: pl.DataFrame, changed: dict[str, Any] | None = None, **given: Any) -> Analysis:
    """The analysis of a definition changed by `given`, looked at as `changed` says."""
    made = definition(**({"horizon": Horizon(units=4_000), "strata": ("tier",)} | given))
    return analyse(made, summed(rows, *others), looked(rows, **(changed or {})))


def variant(analysis: Analysis, metric: str = "resolution") -> VariantAnalysis:
    return next(one for one in analysis.metrics if one.spec.name == metric).variants[0]


def test_a_clear_winner_ships_before_the_horizon_with_caution() -> None:
    found = told(drawn(3_000, lift=0.1))
    assert found.decision.word is Word.SHIP
    assert found.decision.variant == "treatment"
    assert found.fraction == 0.75
    assert "Nobody said how units were split" not in " ".join(found.decision.reasons)
    assert variant(found).finding is Finding.BETTER
    assert "Expect less than" in (found.decision.caution or "")
    effect = variant(found).effect
    assert isinstance(effect, Effect)
    assert effect.low > 0
    assert f"{effect.treatment:.1%} against {effect.control:.1%}" in found.decision.headline


def test_a_clear_loser_is_not_shipped() -> None:
    found = told(drawn(3_000, lift=-0.1))
    assert found.decision.word is Word.DO_NOT_SHIP
    assert "is worse" in found.decision.headline


def test_nothing_yet_keeps_running_and_says_how_long() -> None:
    found = told(drawn(2_000))
    assert found.decision.word is Word.KEEP_RUNNING
    assert found.decision.days_left == 14  # half of the units in 14 days
    assert "50% of the planned units" in found.decision.headline


def test_nothing_at_the_horizon_is_inconclusive() -> None:
    assert told(drawn(4_000)).decision.word is Word.INCONCLUSIVE
    stopped = {"status": ExperimentStatus.STOPPED}
    assert "it was stopped and it is not settled" in told(drawn(2_000), changed=stopped).decision.headline
    empty = told(drawn(2).clear(), changed=stopped)
    assert empty.decision.headline == "Inconclusive: it was stopped before any unit was exposed"


def test_without_a_horizon_it_holds_at_any_look() -> None:
    found = told(drawn(2_000), horizon=None)
    assert found.decision.word is Word.KEEP_RUNNING
    assert found.decision.days_left is None
    assert told(drawn(4_000, lift=0.1), horizon=None).decision.word is Word.SHIP


def test_not_started_and_no_unit_and_no_look_are_said() -> None:
    none = drawn(2).clear()
    assert told(none, changed={"started_at_ns": None}).decision.word is Word.NOT_STARTED
    empty = told(none)
    assert empty.decision.word is Word.KEEP_RUNNING
    assert "no unit has been exposed yet" in empty.decision.headline
    missing = variant(empty).effect
    assert isinstance(missing, NoEffect)
    assert missing.why is Why.NO_UNITS
    early = told(drawn(50), changed={"days": ()})
    assert "first day is complete" in early.decision.headline
    assert isinstance(variant(early).effect, NoEffect)


def test_a_failed_check_blocks_a_winner_and_says_why() -> None:
    found = told(drawn(3_000, lift=0.1), changed={"exposure": exposure(drawn(3_000), renamed={"b": 900})})
    assert found.decision.word is Word.UNHEALTHY
    assert "renamed variant" in found.decision.headline
    assert any("'b' (900 units)" in one for one in found.decision.reasons)


def test_one_arm_alone_is_unhealthy_and_has_no_effect() -> None:
    alone = drawn(500).with_columns(variant=pl.lit("control"))
    found = told(alone)
    assert found.decision.word is Word.UNHEALTHY
    effect = variant(found).effect
    assert isinstance(effect, NoEffect)
    assert effect.why is Why.ONE_ARM


def test_a_winner_waits_for_its_guardrail() -> None:
    won, costs = drawn(3_000, lift=0.1), drawn(3_000, metric="cost", seed=1, base=0.3)
    assert told(won, costs, metrics=(PRIMARY, COST)).decision.word is Word.SHIP
    tight = replace(COST, margin=0.001)
    open_ = told(won, costs, metrics=(PRIMARY, tight))
    assert open_.decision.word is Word.KEEP_RUNNING
    assert variant(open_, "cost").finding is Finding.UNSETTLED
    assert any("cost is not settled" in one for one in open_.decision.reasons)
    without_margin = told(won, costs, metrics=(PRIMARY, replace(COST, margin=None)))
    assert without_margin.decision.word is Word.SHIP  # it must not be shown worse, and is not


def test_a_harmed_guardrail_stops_a_winner_with_both_numbers() -> None:
    won, costs = drawn(3_000, lift=0.1), drawn(3_000, metric="cost", seed=1, base=0.3, lift=0.2)
    found = told(won, costs, metrics=(PRIMARY, COST))
    assert found.decision.word is Word.DO_NOT_SHIP
    harmed = variant(found, "cost")
    assert harmed.finding is Finding.WORSE
    assert isinstance(harmed.effect, Effect)
    assert f"{harmed.effect.treatment:.4g} against {harmed.effect.control:.4g}" in found.decision.headline


def test_worse_within_the_margin_is_not_worse() -> None:
    wide = replace(COST, margin=0.3)
    costs = drawn(3_000, metric="cost", seed=1, base=0.3, lift=0.2)
    found = told(drawn(3_000, lift=0.1), costs, metrics=(PRIMARY, wide))
    assert variant(found, "cost").finding is Finding.NOT_WORSE
    assert found.decision.word is Word.SHIP


def test_guardrails_are_corrected_by_holm() -> None:
    """One of eight is shown worse alone (at 5%), and not among eight."""
    rows = drawn(3_000)
    harmed = drawn(3_000, metric="g0", seed=1, base=0.3, lift=0.08)
    others = [drawn(3_000, metric=f"g{one}", seed=one + 40, base=0.3) for one in range(1, 8)]
    others = [one.with_columns(variant=rows["variant"], day=rows["day"]) for one in others]

    def finding(n: int) -> VariantAnalysis:
        specs = tuple(replace(COST, name=f"g{one}", margin=None) for one in range(n))
        return variant(told(rows, harmed, *others, metrics=(PRIMARY, *specs)), "g0")

    alone, among = finding(1), finding(8)
    assert alone.p_adjusted is not None
    assert among.p_adjusted == pytest.approx(8 * alone.p_adjusted)


def test_a_metric_whose_judge_is_not_certified_decides_nothing() -> None:
    lack = NoEffect(why=Why.NOT_CERTIFIED, text="kappa .41 [.3, .5], needed .6")
    found = told(drawn(3_000, lift=0.1), changed={"corrected": {("resolution", "treatment"): lack}})
    assert found.decision.word is Word.INCONCLUSIVE
    assert "not certified" in found.decision.headline
    assert variant(found).finding is Finding.MISSING
    assert found.sequence == ()


def test_a_corrected_effect_takes_the_place_of_the_raw_one() -> None:
    found = told(drawn(3_000), changed={"corrected": {("resolution", "treatment"): CLEAR}})
    effect = variant(found).effect
    assert isinstance(effect, Effect)
    assert (effect.estimate, variant(found).corrected) == (0.1, True)
    assert effect.high - effect.low > 2 * 1.96 * 0.02  # at the boundary of this look, not at a fixed one
    assert found.decision.word is Word.SHIP


def test_pooled_and_stratified_disagree_and_the_stratified_one_is_the_headline() -> None:
    """Treatment is better within both tiers, but gets the hard tier: over all it looks worse."""
    easy, hard = drawn(4_000, base=0.8, lift=0.06, seed=1), drawn(4_000, base=0.3, lift=0.06, seed=2)
    tenth = pl.col("unit").str.ends_with("0")
    parts = [
        easy.with_columns(tier=pl.lit("easy")).filter((pl.col("variant") == "control") | tenth),
        hard.with_columns(tier=pl.lit("hard")).filter((pl.col("variant") == "treatment") | tenth),
    ]
    rows = pl.concat(parts)
    rows = rows.with_columns(unit=pl.int_range(pl.len()).cast(pl.String))
    found = told(rows, horizon=Horizon(units=rows.height))
    metric = found.metrics[0]
    assert metric.stratified_headline
    one = metric.variants[0]
    assert isinstance(one.pooled, Effect)
    assert isinstance(one.stratified, Effect)
    assert one.pooled.estimate < 0 < one.stratified.estimate
    assert one.effect == one.stratified
    assert found.decision.word is Word.UNHEALTHY  # chance does not split like this
    assert any(
        "Within tier it is higher" in text and "decided after the assignment" in text for text in found.decision.reasons
    )


def test_several_treatments_share_alpha_and_the_best_is_named() -> None:
    arms = tuple(Arm(variant=one, release=one, weight=1.0) for one in ("control", "a", "b"))
    rows = drawn(4_500, lift=0.12, arms=("control", "a", "b"))
    found = told(rows, arms=arms, horizon=Horizon(units=6_000))
    assert found.decision.word is Word.SHIP
    effect = variant(found).effect
    assert isinstance(effect, Effect)
    assert effect.level == pytest.approx(0.975)
    assert "best of 2" in (found.decision.caution or "")


def test_a_primary_with_a_margin_ships_what_is_not_worse() -> None:
    cheaper = replace(PRIMARY, margin=0.1)
    found = told(drawn(4_000), metrics=(cheaper,))
    assert variant(found).finding is Finding.NOT_WORSE
    assert found.decision.word is Word.SHIP
    assert found.decision.caution is None


def test_quantiles_need_observations_and_take_them() -> None:
    p95 = MetricSpec(
        name="p95", role=MetricRole.GUARDRAIL, better=Better.LOWER, kind=MetricKind.QUANTILE, quantile=0.95
    )
    rows = drawn(3_000, lift=0.1)
    lacking = variant(told(rows, metrics=(PRIMARY, p95)), "p95").effect
    assert isinstance(lacking, NoEffect)
    assert lacking.why is Why.NO_OBSERVATIONS
    values = rows.select("unit", "variant", value=pl.int_range(pl.len()).shuffle(seed=1).cast(pl.Float64))
    given = told(rows, metrics=(PRIMARY, p95), changed={"observations": {"p95": values}})
    assert isinstance(variant(given, "p95").effect, Effect)


def test_what_came_after_the_last_complete_day_is_not_looked_at() -> None:
    rows = drawn(3_000)
    shorter = told(rows, changed={"days": days(7)})
    effect = variant(shorter).effect
    assert isinstance(effect, Effect)
    assert effect.n_control + effect.n_treatment == rows.filter(pl.col("day") <= days(7)[-1]).height
    assert len(shorter.sequence) <= 7


def test_what_crossed_once_stays_decided() -> None:
    """A boundary that was crossed by the horizon's look is not lost when later units come."""
    rows = pl.concat(
        [drawn(4_000, lift=0.1, n_days=7), drawn(800, lift=0.1, seed=3).with_columns(day=pl.lit(days(8)[-1]))]
    )
    found = told(rows, changed={"days": days(8)})
    assert found.fraction is not None
    assert found.fraction > 1
    assert found.decision.word is Word.SHIP


def test_what_is_known_now_alone_decides_past_the_horizon_too() -> None:
    """A judged metric has one effect, that of now; a day past the horizon does not make it undecided."""
    late = drawn(800, seed=3).with_columns(day=pl.lit(days(8)[-1]))
    rows = pl.concat([drawn(4_000, n_days=7), late])
    found = told(rows, changed={"days": days(8), "corrected": {("resolution", "treatment"): CLEAR}})
    assert found.decision.word is Word.SHIP


def test_json_is_json_and_has_no_figure_where_there_is_none() -> None:
    for rows in (drawn(3_000, lift=0.1), drawn(2).clear()):
        shown = json.loads(json.dumps(as_json(told(rows)), allow_nan=False))
        assert set(shown) >= {"decision", "arms", "health", "metrics", "sequence", "strata", "exposure", "fraction"}
    nothing = shown["metrics"][0]["variants"][0]
    assert (nothing["effect"], nothing["p_adjusted"], nothing["bayes"]) == (None, None, None)
    assert nothing["why_missing"]


def test_the_order_of_rows_changes_nothing() -> None:
    rows = drawn(1_000)
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=5)
    assert as_json(told(rows)) == as_json(told(mixed))


def test_not_a_number_has_no_effect() -> None:
    frame = summed(drawn(500)).with_columns(y=pl.lit(float("nan")))
    made: Definition = definition(horizon=Horizon(units=1_000))
    at: Looked = looked(drawn(500))
    effect = variant(analyse(made, frame, at)).effect
    assert isinstance(effect, NoEffect)
    assert effect.why is Why.NOT_FINITE
