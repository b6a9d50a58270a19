"""The report: what a frame may hold, what is counted, that it is plain JSON and always the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from judges.agreement.alternative import AlternativeTest, Annotators
from judges.agreement.ceiling import Ceiling
from judges.agreement.plain import plain
from judges.agreement.report import WEEK_NS, AgreementReport, agreement_report

LABELS = ["fail", "pass"]
STARS = ["1", "2", "3", "4", "5"]


def pairs(n: int, right: float = 0.92, seed: int = 0) -> pl.DataFrame:
    """n targets of a judge that is right so often, in two segments and ten weeks."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.7
    said = np.where(rng.random(n) < right, truth, ~truth)
    return pl.DataFrame(
        {
            "target": [f"s{at}" for at in range(n)],
            "verdict": ["pass" if one else "fail" for one in said],
            "label": ["pass" if one else "fail" for one in truth],
            "segment": ["de" if at % 4 == 0 else "en" for at in range(n)],
            "at_ns": [at * 10 * WEEK_NS // n for at in range(n)],
        }
    )


def of_cells(cells: list[list[int]]) -> pl.DataFrame:
    """A frame with so many items per [label][verdict]."""
    rows = [
        {"label": label, "verdict": verdict}
        for label, row in zip(LABELS, cells, strict=True)
        for verdict, times in zip(LABELS, row, strict=True)
        for _ in range(times)
    ]
    return pl.DataFrame(rows)


def stars(n: int, off: float = 0.3, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, n)
    said = np.clip(truth + (rng.random(n) < off) * rng.choice([-1, 1], n), 0, 4)
    return pl.DataFrame({"verdict": [STARS[one] for one in said], "label": [STARS[one] for one in truth]})


def answers(frame: pl.DataFrame, right: float = 0.9, people: int = 3) -> pl.DataFrame:
    """Each person's answer to each target."""
    rng = np.random.default_rng(9)
    rows: list[dict[str, Any]] = []
    for target, label in zip(frame["target"], frame["label"], strict=True):
        for one in range(people):
            other = "pass" if label == "fail" else "fail"
            rows.append({"target": target, "annotator": f"p{one}", "label": label if rng.random() < right else other})
    return pl.DataFrame(rows)


def test_a_good_judge_with_enough_labels_is_certified_and_a_poor_one_fails() -> None:
    good, poor = agreement_report(pairs(400, 0.97), LABELS), agreement_report(pairs(200, 0.7), LABELS)
    few = agreement_report(of_cells([[13, 3], [2, 32]]), LABELS)  # kappa .77
    assert [one.certificate.standing.value for one in (good, poor, few)] == ["certified", "failed", "undetermined"]
    assert few.certificate.labels_more is not None
    assert few.certificate.labels_more > 0
    assert "labels more would settle it" in few.certificate.reason
    assert good.decided_by == "cohen_kappa"
    assert good.coefficient == good.kappa


def test_it_is_plain_json_and_the_same_each_time_and_in_any_order() -> None:
    frame = pairs(120)
    people = answers(frame)
    report = agreement_report(frame, LABELS, annotations=people)
    text = json.dumps(report.as_json(), allow_nan=False)
    assert json.loads(text) == report.as_json()
    assert agreement_report(frame, LABELS, annotations=people) == report
    mixed = agreement_report(frame.sample(fraction=1.0, shuffle=True, seed=1), LABELS, annotations=people)
    assert mixed == report
    assert agreement_report(frame, LABELS, seed=1).kappa != report.kappa
    with pytest.raises(ValueError, match="nan"):
        plain({"a": float("nan")})
    with pytest.raises(TypeError):
        plain(object())


def test_missing_verdicts_are_counted_by_reason_and_are_no_class() -> None:
    frame = pairs(100).with_columns(missing=pl.lit(None, dtype=pl.String))
    verdict, missing = frame["verdict"].to_list(), frame["missing"].to_list()
    verdict[0], missing[0] = None, "refused"
    verdict[1], missing[1] = None, "refused"
    verdict[2] = None
    verdict[3] = "satisfied"
    report = agreement_report(frame.with_columns(verdict=pl.Series(verdict), missing=pl.Series(missing)), LABELS)
    assert report.missing == {"refused": 2, "label_not_offered": 1, "not_said": 1}
    assert (report.n, sum(map(sum, report.counts))) == (96, 96)
    assert isinstance(report.missing_rate, Estimate)
    assert report.missing_rate.value == pytest.approx(0.04)
    without = agreement_report(frame[4:], LABELS)
    assert without.kappa == report.kappa


def test_a_label_that_the_rubric_does_not_offer_is_left_out_and_counted() -> None:
    frame = pairs(50)
    label = frame["label"].to_list()
    label[7] = "maybe"
    report = agreement_report(frame.with_columns(label=pl.Series(label)), LABELS)
    assert (report.n, report.n_unknown_label) == (49, 1)


def test_segments_and_windows_each_have_their_own_certificate() -> None:
    report = agreement_report(pairs(400), LABELS)
    assert [(one.segment, one.n) for one in report.segments] == [("en", 300), ("de", 100)]
    assert [one.n for one in report.windows] == [40] * 10
    assert [one.start_ns for one in report.windows] == [at * WEEK_NS for at in range(10)]
    assert all(one.end_ns == (one.start_ns or 0) + WEEK_NS for one in report.windows)
    alone = agreement_report(pairs(400).filter(pl.col("segment") == "de"), LABELS)
    assert report.segments[1].coefficient.value == alone.kappa.value
    named = pairs(40).with_columns(segment=pl.lit(None, dtype=pl.String), at_ns=pl.lit(None, dtype=pl.Int64))
    bare = agreement_report(named, LABELS)
    assert (bare.segments, bare.windows) == ((), ())


def test_an_ordinal_scale_is_decided_by_quadratic_weights() -> None:
    report = agreement_report(stars(200), STARS, ordinal=True)
    assert report.decided_by == "quadratic_weighted_kappa"
    assert report.kappa_quadratic is not None
    assert report.kappa_linear is not None
    assert report.coefficient == report.kappa_quadratic
    values = [one.value for one in (report.kappa, report.kappa_linear, report.kappa_quadratic)]
    assert values == sorted(value for value in values if value is not None)
    estimate = report.kappa_quadratic.estimate
    assert isinstance(estimate, Estimate)
    assert estimate.interval is not None
    assert estimate.interval.method == "bca_bootstrap"
    perfect = agreement_report(stars(60, off=0.0), STARS, ordinal=True)
    assert perfect.coefficient.value == 1.0
    assert perfect.coefficient.lower is not None  # the posterior's, where no resample differs
    assert perfect.coefficient.lower < 1
    assert isinstance(report.bias_index, Unestimated)


def test_labels_sampled_unevenly_are_weighted_back() -> None:
    """Of fails every one was labelled, of passes each tenth: the weighted table is the whole one again."""
    whole = pairs(4_000, right=0.9, seed=4)
    rng = np.random.default_rng(5)
    p = np.where((whole["verdict"] == "fail").to_numpy(), 1.0, 0.1)
    labelled = whole.with_columns(p=pl.Series(p)).filter(pl.Series(rng.random(4_000) < p))
    true = agreement_report(whole, LABELS).kappa.value
    raw = agreement_report(labelled.drop("p"), LABELS)
    report = agreement_report(labelled, LABELS)
    assert true is not None
    assert raw.kappa.upper is not None
    assert raw.kappa.upper < true  # too few passes among those labelled
    assert report.kappa.lower is not None
    assert report.kappa.upper is not None
    assert report.kappa.lower < true < report.kappa.upper
    assert report.weighted
    assert report.n_effective < 0.8 * report.n
    assert isinstance(report.kappa_se, Unestimated)
    parts = labelled.with_columns(p_judge=pl.col("p"), p_human=pl.lit(1.0)).drop("p")
    assert agreement_report(parts, LABELS).kappa == report.kappa


def test_people_give_a_ceiling_and_a_second_test() -> None:
    frame = pairs(120)
    report = agreement_report(frame, LABELS, annotations=answers(frame), annotators=Annotators.EXPERTS)
    assert isinstance(report.ceiling, Ceiling)
    assert isinstance(report.alternative, AlternativeTest)
    assert report.alternative.epsilon == 0.2
    assert report.annotators == ("p0", "p1", "p2")
    without = agreement_report(frame, LABELS)
    assert isinstance(without.ceiling, Unestimated)
    assert isinstance(without.alternative, Unestimated)


def test_nothing_known_is_told_as_such() -> None:
    empty = agreement_report(pairs(4).clear(), LABELS)
    assert empty.kappa.estimate == Unestimated(reason=Lack.NO_EXAMPLES)
    assert empty.missing_rate == Unestimated(reason=Lack.NO_EXAMPLES)
    assert empty.certificate.standing.value == "undetermined"
    silent = agreement_report(pairs(4).with_columns(verdict=pl.lit(None, dtype=pl.String)), LABELS)
    assert (silent.n, silent.missing) == (0, {"not_said": 4})
    same = agreement_report(pairs(9).with_columns(verdict=pl.lit("pass"), label=pl.lit("pass")), LABELS)
    assert same.kappa.estimate == Unestimated(reason=Lack.ONE_CLASS)
    assert same.certificate.standing.value == "undetermined"
    assert isinstance(same.agreement, Estimate)
    for one in (empty, silent, same):
        assert isinstance(one, AgreementReport)
        json.dumps(one.as_json(), allow_nan=False)
    ordinal = agreement_report(stars(5).clear(), STARS, ordinal=True)
    json.dumps(ordinal.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("frame", "labels"),
    [
        (pairs(5).drop("verdict"), LABELS),
        (pairs(5).drop("label"), LABELS),
        (pairs(5), ["pass"]),
        (pairs(5), ["pass", "pass"]),
        (pairs(5).with_columns(p=pl.lit(0.0)), LABELS),
        (pairs(5).with_columns(p=pl.lit(1.5)), LABELS),
        (pairs(5).with_columns(p=pl.lit(None, dtype=pl.Float64)), LABELS),
    ],
)
def test_a_frame_that_says_something_else_is_refused(frame: pl.DataFrame, labels: list[str]) -> None:
    with pytest.raises(InvalidInput):
        agreement_report(frame, labels)
