"""Health: each thing that can be wrong is found and named, and what chance does is not."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import polars as pl

from experiments import sums
from experiments.analysed import ArmExposure, Exposure, Health, HealthCheck, HealthStatus
from experiments.health import health
from tests.experiments.definitions import definition
from tests.experiments.looked import START, drawn, exposure

FINE = drawn(2_000)


def checked(check: HealthCheck, seen: Exposure, frame: pl.DataFrame | None = None) -> list[Health]:
    return [one for one in health(definition(), sums.no_sums() if frame is None else frame, seen) if one.check is check]


def only(check: HealthCheck, **changed: Any) -> Health:
    found = checked(check, exposure(FINE, **changed))
    assert len(found) == 1
    return found[0]


def test_a_healthy_experiment_fails_nothing() -> None:
    found = health(definition(), sums.no_sums(), exposure(FINE, n_crossed=0))
    assert {one.status for one in found} <= {HealthStatus.OK, HealthStatus.UNKNOWN}
    assert {one.check for one in found} == set(HealthCheck) - {HealthCheck.MIX}


def test_srm_is_found_and_stays_found() -> None:
    lost = FINE.with_row_index().filter((pl.col("variant") == "control") | (pl.col("index") % 2 == 0))
    found = checked(HealthCheck.SRM, exposure(lost))[0]
    assert found.status is HealthStatus.FAILED
    assert "wanted 50.0%" in found.text
    later = pl.DataFrame(
        {"day": [START + dt.timedelta(days=40)] * 2, "variant": ["control", "treatment"], "n_units": [0, 500]}
    )
    mended = exposure(lost)
    mended = replace(mended, by_day=pl.concat([mended.by_day, later.cast(mended.by_day.schema)]))
    assert checked(HealthCheck.SRM, mended)[0].status is HealthStatus.FAILED


def test_srm_within_a_stratum_is_found_though_the_whole_is_fine() -> None:
    control = pl.when(pl.col("tier") == "pro").then(pl.lit("control")).otherwise(pl.lit("treatment"))
    half = FINE.with_columns(
        variant=pl.when(pl.col("unit").str.contains("[1-4]$")).then(control).otherwise(pl.col("variant"))
    )
    found = checked(HealthCheck.STRATUM_SRM, exposure(half))
    assert {one.stratum for one in found} >= {"tier=pro"}
    assert all(one.status is HealthStatus.FAILED for one in found)
    assert "decided after the assignment" in found[0].text


def test_a_table_without_a_known_split_is_told_apart_by_its_mix() -> None:
    same = exposure(FINE, weights_known=False)
    assert checked(HealthCheck.SRM, same)[0].status is HealthStatus.UNKNOWN
    assert checked(HealthCheck.MIX, same)[0].status is HealthStatus.OK
    sorted_by_tier = FINE.with_columns(
        variant=pl.when(pl.col("tier") == "pro").then(pl.lit("control")).otherwise("variant")
    )
    found = checked(HealthCheck.MIX, exposure(sorted_by_tier, weights_known=False))[0]
    assert found.status is HealthStatus.FAILED
    assert "Chance did not make these arms" in found.text


def test_missing_outcomes_that_hit_one_arm_fail() -> None:
    def arms(*without: int) -> tuple[ArmExposure, ...]:
        return tuple(
            ArmExposure(variant=name, n_units=1_000, n_sessions=1_000, n_mature=1_000, n_without=n)
            for name, n in zip(("control", "treatment"), without, strict=True)
        )

    assert only(HealthCheck.MISSING_OUTCOMES, arms=arms(100, 110)).status is HealthStatus.OK
    one_sided = only(HealthCheck.MISSING_OUTCOMES, arms=arms(40, 140))
    assert one_sided.status is HealthStatus.FAILED
    assert "control 40 of 1,000 (4.0%)" in one_sided.text
    assert only(HealthCheck.MISSING_OUTCOMES, arms=arms(300, 310)).status is HealthStatus.WARNING


def test_telemetry_that_one_arm_loses_fails_and_unknown_is_said() -> None:
    assert only(HealthCheck.TELEMETRY_LOSS).status is HealthStatus.UNKNOWN
    arms = tuple(
        ArmExposure(variant=name, n_units=1_000, n_sessions=1_000, n_sent=1_000, n_lost=n)
        for name, n in (("control", 3), ("treatment", 60))
    )
    assert only(HealthCheck.TELEMETRY_LOSS, arms=arms).status is HealthStatus.FAILED


def test_what_chance_does_not_do_fails_above_one_in_a_hundred() -> None:
    for check, field in (
        (HealthCheck.MULTIPLE_EXPOSURE, "n_multiple"),
        (HealthCheck.CROSSOVER, "n_crossed"),
        (HealthCheck.OUTCOMES_BEFORE_EXPOSURE, "n_before_exposure"),
        (HealthCheck.CLOCK_SKEW, "n_skewed"),
    ):
        assert only(check, **{field: 0}).status is HealthStatus.OK
        assert only(check, **{field: 5}).status is HealthStatus.WARNING
        assert only(check, **{field: 50}).status is HealthStatus.FAILED
    assert only(HealthCheck.CROSSOVER, n_crossed=None).status is HealthStatus.UNKNOWN


def test_one_unit_of_a_few_blocks_nothing_and_two_do() -> None:
    few = drawn(27)
    for n, status in ((1, HealthStatus.WARNING), (2, HealthStatus.FAILED)):
        [found] = checked(HealthCheck.CROSSOVER, exposure(few, n_crossed=n))
        assert found.status is status


def test_a_renamed_variant_is_named() -> None:
    found = only(HealthCheck.RENAMED_VARIANT, renamed={"treatment_b": 400})
    assert found.status is HealthStatus.FAILED
    assert "'treatment_b' (400 units)" in found.text
    assert only(HealthCheck.RENAMED_VARIANT, renamed={"tester": 1}).status is HealthStatus.WARNING


def test_an_effect_that_turns_with_use_is_a_novelty() -> None:
    def by_age(first: float, later: float) -> pl.DataFrame:
        ages = [("0", drawn(3_000, lift=first, seed=1)), ("1", drawn(3_000, lift=later, seed=2))]
        frames = [sums.of_units(rows) for _, rows in ages]
        return sums.added(
            *(
                frame.with_columns(attribute=pl.lit(sums.AGE), level=pl.lit(age))
                for (age, _), frame in zip(ages, frames, strict=True)
            )
        )

    def found(first: float, later: float) -> Health:
        return checked(HealthCheck.NOVELTY, exposure(FINE), by_age(first, later))[0]

    assert found(0.05, 0.05).status is HealthStatus.OK
    assert found(0.15, 0.05).status is HealthStatus.WARNING
    turned = found(0.1, -0.1)
    assert turned.status is HealthStatus.FAILED
    assert turned.variant == "treatment"


def test_no_unit_yet_is_unknown_not_fine() -> None:
    found = checked(HealthCheck.SRM, exposure(FINE.clear()))[0]
    assert found.status is HealthStatus.UNKNOWN
    assert found.p_value is None
