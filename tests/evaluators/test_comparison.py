"""Two runs compared: pairs, what is missing by reason, strata, the worst examples, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from core.errors import InvalidInput
from evaluators.comparison import MOST_STRATA, Compared, Comparison, compare
from evaluators.evidence import RunScores
from evaluators.pairing import Metric
from evaluators.records import Direction
from evaluators.statistics.estimates import Lack, Unestimated
from evaluators.statistics.paired import Paired, Test
from tests.importers.recorded import TAU2, needs_recordings, table

SHARE = Metric(name="right", bounds=(0.0, 1.0))


def run(run_id: str, rows: list[dict[str, object]], **changes: object) -> RunScores:
    """A finished run of the dataset golden@1 with these rows."""
    known = RunScores(
        run_id=run_id,
        app="shop",
        release="v1",
        dataset="golden",
        dataset_version=1,
        content_hash="c0ffee",
        k=1,
        finished_at_ns=1,
        status="done",
        evaluators={"right": "1"},
        rows=pl.DataFrame(rows, schema_overrides={"value": pl.Float64, "unscored": pl.String, "stratum": pl.String}),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def row(example: str, value: float | None, trial: int = 0, **more: object) -> dict[str, object]:
    """One score."""
    known = {"example_id": example, "trial": trial, "metric": "right", "value": value, "unscored": None}
    session = {"stratum": None, "session_id": f"{example}.{trial}", "trace_id": None}
    return {**known, **session, **more}


def one(found: Comparison) -> Compared:
    """The only metric; fails when there are more."""
    assert len(found.metrics) == 1
    return found.metrics[0]


def difference(found: Compared) -> Paired:
    """The difference; fails when there is none."""
    assert isinstance(found.found, Paired), found.found
    return found.found


def test_of_many_strata_the_largest_are_compared() -> None:
    rows = [row(f"e{n}", float(n % 2), stratum="all" if n < 20 else f"s{n // 2}") for n in range(200)]
    found = compare(run("a", rows), run("b", rows, release="v2"), [SHARE])
    assert len(found.strata) == MOST_STRATA
    assert "all" in {part.stratum for part in found.strata}
    assert len(compare(run("a", rows), run("b", rows, release="v2"), [SHARE], strata=["s99"]).strata) == 1


def test_examples_are_paired_and_what_is_missing_is_counted_by_reason() -> None:
    before = run("a", [row("e1", 1.0), row("e2", 0.0), row("e3", 1.0), row("e5", 1.0)])
    after = run(
        "b",
        [
            row("e1", 0.0),
            row("e2", 0.0),
            row("e3", None, unscored="evaluator_failed: KeyError: 'x'"),
            row("e4", 1.0),
            row("e5", float("nan")),
        ],
    )
    found = one(compare(before, after, [SHARE]))
    told = difference(found)
    assert (told.n, told.difference, told.n_worse, told.n_tied) == (2, -0.5, 1, 1)
    assert (found.baseline, found.candidate) == (0.5, 0.0)
    assert dict(found.unpaired) == {
        "baseline: no_trial": 1,
        "candidate: evaluator_failed": 1,
        "candidate: not_finite": 1,
    }
    assert dict(found.unscored_candidate) == {"evaluator_failed": 1, "not_finite": 1}
    assert [(each.example_id, each.difference) for each in found.worst] == [("e1", -1.0)]


def test_trials_are_averaged_by_example_and_twice_the_same_is_no_more_evidence() -> None:
    rng = np.random.default_rng(8)
    values = rng.integers(0, 2, (2, 30, 4)).astype(float)

    def runs(times: int) -> list[RunScores]:
        return [
            run(
                name,
                [
                    row(f"e{n}", float(value), trial + 4 * again)
                    for again in range(times)
                    for n in range(30)
                    for trial, value in enumerate(values[side, n])
                ],
            )
            for side, name in enumerate("ab")
        ]

    once, twice = (one(compare(runs(times)[0], runs(times)[1], [SHARE])) for times in (1, 2))
    assert difference(once).n == difference(twice).n == 30
    assert difference(twice).se == pytest.approx(difference(once).se, rel=1e-12)
    assert difference(twice).p_two_sided == difference(once).p_two_sided
    assert (once.k_baseline, twice.k_candidate) == (4, 8)
    assert once.spread is not None
    assert once.spread.within == pytest.approx(float(values.var(axis=2, ddof=1).mean()))


def test_lower_is_better_turns_the_difference_and_not_the_means() -> None:
    rng = np.random.default_rng(9)
    before = [row(f"e{n}", 900 + float(rng.normal(0, 50)), metric="latency_ms") for n in range(80)]
    after = [row(f"e{n}", 1100 + float(rng.normal(0, 50)), metric="latency_ms") for n in range(80)]
    found = one(compare(run("a", before), run("b", after)))
    told = difference(found)
    assert found.metric.direction is Direction.LOWER
    assert found.baseline == pytest.approx(900, abs=20)
    assert found.candidate == pytest.approx(1100, abs=20)
    assert told.difference == pytest.approx(-200, abs=30)
    assert told.p_harm is not None
    assert told.p_harm < 1e-10
    assert len(found.worst) == 10
    assert found.worst[0].difference == min(each.difference for each in found.worst)
    assert found.needed is not None
    assert found.needed < 80


def test_the_worst_name_the_telling_trials() -> None:
    before = run("a", [row("e1", 0.0, 0), row("e1", 1.0, 1), row("e2", 1.0)])
    after = run("b", [row("e1", 0.0, 0), row("e1", 0.0, 1), row("e2", 1.0)])
    worst = one(compare(before, after, [SHARE])).worst[0]
    assert (worst.example_id, worst.baseline, worst.candidate) == ("e1", 0.5, 0.0)
    assert (worst.session_baseline, worst.session_candidate) == ("e1.1", "e1.0")


def test_strata_are_compared_each_for_itself() -> None:
    rows = [row(f"{part}{n}", 1.0, stratum=part) for part in ("refund", "search") for n in range(20)]
    worse = [{**each, "value": float(each["stratum"] == "search")} for each in rows]
    found = compare(run("a", rows), run("b", worse), [SHARE])
    by_stratum = {each.stratum: difference(each).difference for each in found.strata}
    assert by_stratum == {"refund": -1.0, "search": 0.0}
    assert compare(run("a", rows), run("b", worse), [SHARE], strata=()).strata == ()
    with pytest.raises(InvalidInput, match="no example is of stratum payments"):
        compare(run("a", rows), run("b", worse), strata=["payments"])


def test_other_examples_are_refused_and_the_same_ones_of_another_version_are_not() -> None:
    before = run("a", [row("e1", 1.0), row("e2", 1.0)], examples={"e1": "x", "e2": "y"})
    after = run("b", [row("e1", 1.0), row("e2", 0.0)], content_hash="other", dataset_version=2)
    with pytest.raises(InvalidInput, match="run a is over golden@1, run b over golden@2; run both over one version"):
        compare(before, after)
    with pytest.raises(InvalidInput, match="1 examples are the same, 1 have another content"):
        compare(before, replace(after, examples={"e1": "x", "e2": "z"}))
    assert difference(one(compare(before, replace(after, examples={"e1": "x", "e2": "y"}), [SHARE]))).n == 2


def test_scores_of_another_version_are_not_compared() -> None:
    rows = [row("e1", 1.0), row("e2", 1.0)]
    found = one(compare(run("a", rows), run("b", rows, evaluators={"right": "2"})))
    assert isinstance(found.found, Unestimated)
    assert found.found.reason is Lack.OTHER_VERSION
    assert "right@1" in found.found.detail


def test_nothing_in_common_is_no_difference() -> None:
    found = one(compare(run("a", [row("e1", 1.0)]), run("b", [row("e2", 1.0)])))
    assert found.found == Unestimated(reason=Lack.NO_EXAMPLES)
    assert (found.baseline, found.n, found.needed) == (None, 0, None)


def test_unknown_metrics_and_doubled_scores_are_refused() -> None:
    rows = [row("e1", 1.0)]
    with pytest.raises(InvalidInput, match="neither run has a metric polish; they have right"):
        compare(run("a", rows), run("b", rows), ["polish"])
    with pytest.raises(InvalidInput, match="two scores of right for example e1, trial 0"):
        run("a", [*rows, *rows])


def test_a_run_that_goes_on_is_said_to() -> None:
    rows = [row("e1", 1.0), row("e2", 0.0)]
    assert compare(run("a", rows), run("b", rows, status="running")).notes == (
        "run b is running: only what is scored so far is compared",
    )


ARMS = ("airline__gpt-4.1_{}", "retail__gpt-4.1_{}", "telecom__gpt-4.1_{}", "telecom__gpt-4.1_{}_nouser")


@needs_recordings
@pytest.mark.parametrize(
    ("files", "n", "base", "tuned", "p"),
    [
        (ARMS[:1], 20, 10, 13, 0.508),
        (ARMS[1:2], 40, 34, 34, 1.0),
        (ARMS[2:3], 40, 18, 30, 0.00049),
        (ARMS[3:], 40, 20, 34, 0.0013),
        (ARMS, 140, 82, 111, 5.7e-05),
    ],
)
def test_the_published_comparison_of_a_fine_tuned_model(
    files: tuple[str, ...], n: int, base: int, tuned: int, p: float
) -> None:
    outcomes = table(TAU2 / "outcomes.csv")

    def of(arm: str) -> RunScores:
        wanted = {f"{name.format(arm)}.jsonl.gz": name for name in files}
        rows = [
            row(f"{wanted[each['file']]} {each['task_id']}", float(each["success"]), stratum=each["domain"])
            for each in outcomes
            if each["file"] in wanted
        ]
        return run(arm, rows)

    found = one(compare(of("base"), of("sft"), ["right"]))
    told = difference(found)
    assert told.test is Test.MCNEMAR_EXACT
    assert told.n == n
    assert (found.baseline, found.candidate) == pytest.approx((base / n, tuned / n))
    assert told.p_two_sided == pytest.approx(p, rel=0.02)
