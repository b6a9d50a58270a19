"""A gate fails closed: evidence that passes is damaged in every way we know, and none of them passes.

Each case takes the good evidence of evidence.py, which passes, does one thing to it, and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest

from evaluators.evidence import RunScores
from evaluators.records import Reason
from experiments.gates.records import Asked, Cause, GateDecision
from tests.experiments.gates import evidence
from tests.experiments.gates.evidence import (
    ASKED,
    BASELINE,
    CANDIDATE,
    HOUR,
    METRICS,
    N_EXAMPLES,
    NOW,
    POLICY,
    K,
    changed,
    decided,
    rewritten,
)

SIDES = ("baseline", "candidate")
FRACTIONS = {"one": 1, "some": 20, "all": N_EXAMPLES * K}
NO_SCORE = [reason for reason in Reason if reason is not Reason.NOT_EXPECTED]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is asked instead, and why that cannot pass."""

    name: str
    cause: Cause
    runs: dict[str, RunScores | None] = field(default_factory=dict)  # side -> instead of the good one
    policy: str = POLICY
    asked: Asked = ASKED
    now_ns: int = NOW


def _good(side: str) -> RunScores:
    return BASELINE if side == "baseline" else CANDIDATE


def _first(metric: str, n: int) -> pl.Expr:
    """The first n rows of a metric."""
    mine = pl.col("metric") == metric
    return mine & (mine.cum_sum() <= n)


def _of_whole_runs() -> Iterator[Fault]:
    for side in SIDES:
        good = _good(side)

        def fault(name: str, cause: Cause, side: str = side, good: RunScores = good, **fields: Any) -> Fault:
            return Fault(name=f"{side}: {name}", cause=cause, runs={side: changed(good, **fields)})

        yield Fault(name=f"{side}: no run", cause=Cause.NO_RUN, runs={side: None})
        for status in ("waiting", "running", "failed", "cancelled", ""):
            yield fault(f"status {status!r}", Cause.NOT_FINISHED, status=status)
        for release in ("v3", "", None, "V1"):
            yield fault(f"of release {release!r}", Cause.WRONG_RELEASE, release=release)
        for app in ("other", "", "desk "):
            yield fault(f"of app {app!r}", Cause.WRONG_APP, app=app)
        yield fault("other dataset", Cause.OTHER_DATASET, dataset="silver")
        for version in (0, 2, 4):
            yield fault(f"dataset version {version}", Cause.OTHER_DATASET, dataset_version=version)
        yield fault("other content", Cause.OTHER_DATASET, content_hash="c1" * 32)
        for hours in (48.1, 72, 24 * 365, 24 * 365 * 60):
            yield fault(f"ended {hours} h ago", Cause.STALE, finished_at_ns=int(NOW - hours * HOUR))
        for hours in (1, 24 * 365):
            yield fault(f"ends {hours} h from now", Cause.STALE, finished_at_ns=NOW + hours * HOUR)
        yield fault("no end", Cause.STALE, finished_at_ns=None)
        for k in (1, 3):
            fewer = good.rows.filter(pl.col("trial") < k)
            yield fault(f"{k} trials", Cause.TOO_FEW_TRIALS, k=k, rows=fewer)
        for k in (5, 8, 100):
            yield fault(f"k {k} with 4 trials", Cause.UNSCORED, k=k)
        yield fault("k 0", Cause.TOO_FEW_TRIALS, k=0)
        yield fault("more trials than k", Cause.CONTRADICTORY, k=4, rows=_shifted(good.rows))
        other = "run_v2" if side == "baseline" else "run_v1"
        yield fault("is the other's run", Cause.SAME_RUN, run_id=other)
        yield Fault(name=f"{side}: both sides", cause=Cause.WRONG_RELEASE, runs=dict.fromkeys(SIDES, good))
        named = Asked(app="desk", candidate=good.release or "", baseline=good.release or "")
        yield Fault(name=f"{side}: against itself", cause=Cause.SAME_RUN, runs=dict.fromkeys(SIDES, good), asked=named)


def _shifted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(trial=pl.when(pl.col("trial") == 0).then(9).otherwise(pl.col("trial")))


def _of_evaluators() -> Iterator[Fault]:
    for side in SIDES:
        good = _good(side)
        for name in ("correctness", "grounding"):
            left = {key: value for key, value in good.evaluators.items() if key != name}
            yield Fault(
                name=f"{side}: not scored by {name}",
                cause=Cause.NO_EVALUATOR,
                runs={side: changed(good, evaluators=left)},
            )
        for name in METRICS:
            newer = {**good.evaluators, name: "9"}
            yield Fault(
                name=f"{side}: another version of {name}",
                cause=Cause.OTHER_EVALUATOR,
                runs={side: changed(good, evaluators=newer)},
            )
            without = good.rows.filter(pl.col("metric") != name)
            yield Fault(name=f"{side}: no {name}", cause=Cause.NO_METRIC, runs={side: changed(good, rows=without)})
    for name in METRICS:
        both = {s: changed(_good(s), rows=_good(s).rows.filter(pl.col("metric") != name)) for s in SIDES}
        yield Fault(name=f"no {name} in either", cause=Cause.NO_METRIC, runs=dict(both))
        silent = {s: rewritten(_good(s), pl.col("metric") == name, None, "not_expected: x") for s in SIDES}
        yield Fault(name=f"{name} expects nothing", cause=Cause.TOO_FEW_EXAMPLES, runs=dict(silent))


def _of_scores() -> Iterator[Fault]:
    for side in SIDES:
        good = _good(side)
        for metric in METRICS:
            for words, n in FRACTIONS.items():
                where = _first(metric, n)
                for value in (float("nan"), float("inf"), float("-inf")):
                    yield Fault(
                        name=f"{side}: {words} {metric} {value}",
                        cause=Cause.NOT_A_NUMBER,
                        runs={side: rewritten(good, where, value)},
                    )
                for reason in NO_SCORE:
                    yield Fault(
                        name=f"{side}: {words} {metric} {reason.value}",
                        cause=Cause.UNSCORED,
                        runs={side: rewritten(good, where, None, f"{reason.value}: broken")},
                    )
                yield Fault(
                    name=f"{side}: {words} {metric} without a reason",
                    cause=Cause.UNSCORED,
                    runs={side: rewritten(good, where, None)},
                )
            for value in (1.5, -0.5, 1e300):
                if metric != "latency_ms":
                    yield Fault(
                        name=f"{side}: {metric} {value}",
                        cause=Cause.CONTRADICTORY,
                        runs={side: rewritten(good, _first(metric, K), value)},
                    )


def _of_parts() -> Iterator[Fault]:
    for side in SIDES:
        good = _good(side)
        number = pl.col("example_id").str.slice(3).cast(pl.Int32)
        parts: dict[str, pl.Expr] = {
            "one trial": ~((number == 0) & (pl.col("trial") == 3)),
            "one example": number > 0,
            "half of the examples": number < N_EXAMPLES // 2,
            "59 examples": number < 59,
            "two examples": number < 2,
            "one left": number < 1,
            "last trials": pl.col("trial") < 3,
            "nothing": pl.lit(value=False),
        }
        for name, kept in parts.items():
            rows = good.rows.filter(kept)
            cause = Cause.NO_METRIC if name == "nothing" else Cause.UNSCORED
            yield Fault(name=f"{side}: {name}", cause=cause, runs={side: changed(good, rows=rows)})
    for n in (0, 1, 2, 5, 30, 59):
        runs: dict[str, RunScores | None] = {}
        for side in SIDES:
            number = pl.col("example_id").str.slice(3).cast(pl.Int32)
            known = dict(list(_good(side).examples.items())[:n])
            runs[side] = changed(_good(side), rows=_good(side).rows.filter(number < n), examples=known)
        cause = Cause.NO_METRIC if n == 0 else Cause.TOO_FEW_EXAMPLES
        yield Fault(name=f"{n} examples in both", cause=cause, runs=runs)
    unseen = {"ex_9999": "f" * 64}
    both = {s: changed(_good(s), examples={**_good(s).examples, **unseen}) for s in SIDES}
    yield Fault(name="an example that nobody tried", cause=Cause.UNSCORED, runs=dict(both))
    moved = CANDIDATE.rows.with_columns(example_id=pl.col("example_id").str.replace("ex_", "other_"))
    yield Fault(name="other examples", cause=Cause.UNSCORED, runs={"candidate": changed(CANDIDATE, rows=moved)})
    yield Fault(name="both missing", cause=Cause.NO_RUN, runs=dict.fromkeys(SIDES))


def _of_policies() -> Iterator[Fault]:
    def fault(name: str, cause: Cause, old: str, new: str) -> Fault:
        assert old in POLICY
        return Fault(name=f"policy: {name}", cause=cause, policy=POLICY.replace(old, new))

    for n in (81, 1000, 1_000_000):
        yield fault(f"{n} examples wanted", Cause.TOO_FEW_EXAMPLES, "min_examples: 60", f"min_examples: {n}")
    for n in (5, 100):
        yield fault(f"{n} trials wanted", Cause.TOO_FEW_TRIALS, "min_trials: 4", f"min_trials: {n}")
    yield fault("half an hour", Cause.STALE, "max_age_h: 48", "max_age_h: 0.5")
    yield fault("another dataset", Cause.OTHER_DATASET, "dataset: golden", "dataset: silver")
    yield fault("another app", Cause.WRONG_APP, "app: desk", "app: shop")
    yield fault("a judge that is away", Cause.NO_EVALUATOR, "[correctness,", "[tone_judge, correctness,")
    yield fault("no such metric", Cause.NO_METRIC, "metric: correctness", "metric: tone_judge")
    for metric in METRICS:
        margin = '"10%"' if metric == "latency_ms" else "0.05"
        role = "primary" if metric == "correctness" else "guardrail"
        old = f"metric: {metric}, role: {role}, margin: {margin}"
        if metric != "correctness":
            yield fault(f"no loss of {metric}", Cause.UNSETTLED, old, old.replace(margin, "0"))
    yield fault("no loss of what is as good", Cause.UNSETTLED, '"10%"', '"0.001%"')


def _of_questions() -> Iterator[Fault]:
    for app, candidate, baseline, cause in (
        ("shop", "v2", "v1", Cause.WRONG_APP),
        ("desk", "v3", "v1", Cause.WRONG_RELEASE),
        ("desk", "v2", "v0", Cause.WRONG_RELEASE),
        ("desk", "v1", "v2", Cause.WRONG_RELEASE),
        ("desk", "", "", Cause.WRONG_RELEASE),
    ):
        asked = Asked(app=app, candidate=candidate, baseline=baseline)
        yield Fault(name=f"asked about {app} {candidate} {baseline}", cause=cause, asked=asked)
    for words, now in (("in three days", NOW + 72 * HOUR), ("before both ended", NOW - 5 * HOUR), ("at nought", 0)):
        yield Fault(name=f"asked {words}", cause=Cause.STALE, now_ns=now)


MAKERS: tuple[Callable[[], Iterator[Fault]], ...] = (
    *(_of_whole_runs, _of_evaluators, _of_scores, _of_parts, _of_policies, _of_questions),
)
FAULTS = [fault for maker in MAKERS for fault in maker()]


def test_what_is_damaged_below_passes_as_it_is() -> None:
    told = decided()
    assert told.decision is GateDecision.PASS, told.reasons
    assert not [one for one in told.reasons if one.blocks]


def test_there_are_enough_of_them() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 200


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_fault_passes(fault: Fault) -> None:
    runs: dict[str, RunScores | None] = {"baseline": BASELINE, "candidate": CANDIDATE, **fault.runs}
    told = decided(**runs, policy=fault.policy, asked=fault.asked, now_ns=fault.now_ns)
    assert told.decision is GateDecision.INCONCLUSIVE, told.reasons
    blocking = [one for one in told.reasons if one.blocks]
    assert fault.cause in {one.cause for one in blocking}, blocking
    assert all(one.text for one in blocking)
    assert told.settle or fault.cause is Cause.UNSETTLED


@pytest.mark.parametrize("side", SIDES)
def test_more_than_the_allowed_share_is_needed_to_pass(side: str) -> None:
    """A policy may allow some trials without a score; NaN and a share above it never."""
    allowing = POLICY.replace("max_age_h: 48", "max_age_h: 48, max_unscored_share: 0.05").replace(
        "min_trials: 4", "min_trials: 1"
    )

    def asked(n: int, value: float | None) -> GateDecision:
        worse = rewritten(_good(side), _first("grounding", n), value, "evaluator_failed: x")
        return decided(**{side: worse}, policy=allowing).decision

    assert asked(16, None) is GateDecision.PASS  # 16 of 320
    assert asked(17, None) is GateDecision.INCONCLUSIVE
    assert asked(1, float("nan")) is GateDecision.INCONCLUSIVE


def test_what_is_not_required_may_be_missing_in_both_runs_only() -> None:
    optional = POLICY.replace('margin: "10%",', 'margin: "10%", required: false,')
    without = {s: changed(_good(s), rows=_good(s).rows.filter(pl.col("metric") != "latency_ms")) for s in SIDES}
    assert decided(**without, policy=optional).decision is GateDecision.PASS
    assert decided(candidate=without["candidate"], policy=optional).decision is GateDecision.INCONCLUSIVE


def test_harm_fails_though_another_metric_is_missing() -> None:
    worse = evidence.run("v2", better=-0.4)
    without = changed(worse, rows=worse.rows.filter(pl.col("metric") != "latency_ms"))
    for candidate in (worse, without):
        told = decided(candidate=candidate)
        assert told.decision is GateDecision.FAIL
        assert told.reasons[0].cause is Cause.HARM
    assert decided(candidate=changed(without, status="running")).decision is GateDecision.INCONCLUSIVE
