"""A judged metric of an app from the scores in the lake: what is corrected, by what, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput, NotFound
from core.windows import Window
from evaluators.statistics.estimates import Lack, Unestimated
from judges.correction.drift import Drift
from judges.correction.records import Corrected, Method
from judges.records import JudgeSpec, Rubric, ScaleKind
from judges.service_corrected import CorrectedAsked, CorrectedMetric, LabelsAre, corrected_metric
from judges.stored import rubric_record, spec_json
from store.control.judge_records import CalibrationState, JudgeCalibration
from tests.judges.stored import ACME, ANN, RUBRIC, Kept, judge_of
from tests.store.build import agent_trace, fill

DAY: Final = 86_400
FROM_S: Final = 1_800_000_000 // DAY * DAY
EVER: Final = Window(start_ns=(FROM_S - DAY) * NS_PER_S, end_ns=(FROM_S + 100 * DAY) * NS_PER_S)


def keep(kept: Kept, rubric: Rubric = RUBRIC, **other: Any) -> JudgeSpec:
    """A rubric and a judge of it, as the API keeps them."""
    spec = judge_of(rubric, **other)
    kept.control.add_rubric(rubric_record(ACME, rubric), by=ANN)
    kept.control.put_judge(ACME, spec.name, spec.version, spec_json(spec), by=ANN)
    return spec


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path, clock=lambda: (FROM_S + 50 * DAY) * NS_PER_S)


def live(
    kept: Kept,
    spec: JudgeSpec,
    days: int,
    a_day: int,
    *,
    share: float = 0.2,
    rates: Sequence[float] | None = None,
    right: Sequence[float] | None = None,
    app: str = "desk",
    chance: float | None = None,
    seed: int = 1,
    **metadata: Any,
) -> tuple[int, int]:
    """Verdicts and labels of `days` days; how many targets people would pass, and how many labels."""
    rng = np.random.default_rng(seed)
    n_true = n_labels = 0
    for day in range(days):
        rate = 0.8 if rates is None else rates[day]
        sensitivity = 0.9 if right is None else right[day]
        truth = rng.random(a_day) < rate
        said = np.where(rng.random(a_day) < np.where(truth, sensitivity, 0.8), truth, ~truth)
        drawn = rng.random(a_day) < share
        names = [f"{app}-{day}-{i}" for i in range(a_day)]
        at_ns = (FROM_S + day * DAY + 3600) * NS_PER_S
        verdicts = [(name, "pass" if yes else "fail") for name, yes in zip(names, said, strict=True)]
        labels = [(names[i], "pass" if truth[i] else "fail") for i in np.flatnonzero(drawn)]
        kept.judged(spec, verdicts, at_ns=at_ns, app=app, probability=0.5, **metadata)
        if labels:
            kept.labelled(labels, at_ns=at_ns + DAY, probability=share if chance is None else chance)
        n_true, n_labels = n_true + int(truth.sum()), n_labels + len(labels)
    return n_true, n_labels


def asked(kept: Kept, **given: Any) -> CorrectedMetric:
    wanted = CorrectedAsked(**{"name": "helpfulness", "app": "desk", "window": EVER, **given})
    return corrected_metric(kept.tenant, kept.control, ACME, wanted, now_ns=kept.clock())


def rate(found: CorrectedMetric) -> Corrected:
    assert isinstance(found.rate, Corrected), found.rate
    return found.rate


def test_a_rate_has_its_days_the_raw_mean_beside_it_and_the_judges_state(kept: Kept) -> None:
    spec = keep(kept)
    n_true, n_labels = live(kept, spec, 6, 60)
    found = asked(kept)
    told = rate(found)
    assert (told.method, told.n_judged, told.n_labels) == (Method.PPI, 360, n_labels)
    assert told.interval.low < n_true / 360 < told.interval.high
    assert told.raw < n_true / 360 - 0.02
    assert [one.n_judged for one in found.days][:-1] == [60] * (len(found.days) - 1)
    assert found.days[-1].n_judged == 60 - found.n_waiting  # those after the last label
    assert found.days[-1].interval.low < 0.8 < found.days[-1].interval.high
    assert found.days[-1].raw == pytest.approx(told.raw, abs=0.02)
    widths = [one.interval.high - one.interval.low for one in found.days]
    assert widths[-1] < widths[0]
    assert found.certificate.state is CalibrationState.UNDETERMINED
    assert found.certificate.reason == "it was never calibrated"
    assert found.watched is not None
    assert found.watched.drift is Drift.NOTHING


def test_a_rubric_names_its_only_judge_and_no_one_of_several(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 2, 60)
    assert asked(kept, name="helped").spec.name == "helpfulness"
    keep(kept, name="second")
    with pytest.raises(InvalidInput, match="several judges judge by 'helped': name one of helpfulness, second"):
        asked(kept, name="helped")
    with pytest.raises(NotFound, match="no judge, and no rubric of one, is called 'nobody'"):
        asked(kept, name="nobody")


def test_labels_of_another_app_correct_by_rogan_gladen(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 2, 100, app="lab", share=0.8)
    live(kept, spec, 2, 100, share=0.0, seed=2)
    told = rate(asked(kept))
    assert told.method is Method.ROGAN_GLADEN
    assert told.interval.low < 0.8 < told.interval.high
    found = asked(kept)
    assert (found.days, found.watched) == ((), None)
    refused = asked(kept, method=Method.PPI).rate
    assert isinstance(refused, Unestimated)
    assert (refused.reason, found.certificate.certified) == (Lack.TOO_FEW, False)


def test_nothing_is_told_where_nothing_can_be_corrected(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 1, 50, share=0.0)
    found = asked(kept)
    assert found.rate == Unestimated(
        reason=Lack.TOO_FEW, detail="0 labels were drawn from these targets with a known chance: label 10 more"
    )
    assert asked(kept, app="nowhere").rate == Unestimated(
        reason=Lack.NO_EXAMPLES, detail="the judge has judged nothing of app nowhere there; it has verdicts: 50 of desk"
    )


def test_labels_that_were_chosen_by_hand_are_no_random_sample_unless_somebody_says_so(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 2, 100, chance=1.0)
    assert rate(asked(kept)).method is Method.ROGAN_GLADEN
    found = asked(kept, labels=LabelsAre.RANDOM)
    assert rate(found).method is Method.PPI
    assert "simple random sample" in found.notes[0]


def test_where_everything_is_labelled_the_labels_are_the_rate(kept: Kept) -> None:
    spec = keep(kept)
    n_true, _ = live(kept, spec, 2, 50, share=1.0, chance=0.3)
    told = rate(asked(kept))
    assert (told.method, told.n_labels) == (Method.PPI, 100)
    assert told.value == pytest.approx(n_true / 100)
    assert (told.why, told.note) == ("every target has a label: the judge's word is not needed", "")
    assert told.interval.low < told.value < told.interval.high  # of more of the kind


def test_labels_that_are_still_to_come_are_waited_for(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 3, 100, share=0.25, chance=0.5)  # half of those that were drawn have been answered
    live(kept, spec, 1, 40, share=0.0, seed=5)  # overwrites the first day's targets of the same names
    found = asked(kept)
    assert "labels are still to come" in rate(found).note
    assert found.days[-1].interval.low < 0.8 < found.days[-1].interval.high
    late = keep(kept, name="later")
    live(kept, late, 3, 100, share=0.25)
    kept.judged(late, [(f"new-{i}", "pass") for i in range(30)], at_ns=(FROM_S + 9 * DAY) * NS_PER_S)
    found = asked(kept, name="later")
    assert 30 <= found.n_waiting <= 40
    assert len(found.days) <= 3


def test_missing_verdicts_are_counted_and_trials_of_runs_are_not_traffic(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 2, 100)
    kept.judged(spec, [(f"gone-{i}", None) for i in range(30)], at_ns=(FROM_S + DAY) * NS_PER_S)
    found = asked(kept)
    assert found.missing == {"no_verdict_in_reply": 30}
    assert rate(found).n_judged == 200
    assert "13% of the targets have no verdict" in found.notes[0]


def test_release_segment_and_window_choose_targets(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 2, 60, share=0.5)
    live(kept, spec, 2, 40, share=0.5, app="desk", release="v2", segment="vip", seed=9)  # the first 40 of each day anew
    assert rate(asked(kept)).n_judged == 120
    assert rate(asked(kept, release="v2")).n_judged == 80
    assert rate(asked(kept, release="v1")).n_judged == 40
    assert rate(asked(kept, segment="vip")).n_judged == 80
    first = Window(start_ns=EVER.start_ns, end_ns=(FROM_S + DAY) * NS_PER_S)
    assert rate(asked(kept, window=first)).n_judged == 60


def test_what_the_sessions_spans_say_goes_before_what_the_verdict_says(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 1, 60, share=0.5)
    for i in range(3):
        fill(
            kept.lake,
            agent_trace(i + 1, at_s=FROM_S + 30 * DAY, tenant=ACME, session_id=f"desk-0-{i}", app="shop", release="v7"),
        )
    assert rate(asked(kept)).n_judged == 57
    found = asked(kept, app="shop", release="v7", window=Window(start_ns=0, end_ns=2**62))
    assert isinstance(found.rate, Corrected)
    assert (found.rate.n_judged, found.rate.method) == (3, Method.ROGAN_GLADEN)


@pytest.mark.parametrize(
    ("rates", "right", "drift"),
    [
        ([0.85] * 8 + [0.5] * 16, [0.9] * 24, Drift.PRODUCT),
        ([0.85] * 24, [0.9] * 8 + [0.5] * 16, Drift.JUDGE),
        ([0.85] * 24, [0.9] * 24, Drift.NOTHING),
    ],
)
def test_a_judge_that_drifts_is_told_from_a_product_that_does(
    kept: Kept, rates: list[float], right: list[float], drift: Drift
) -> None:
    spec = keep(kept)
    live(kept, spec, 24, 60, share=0.25, rates=rates, right=right)
    found = asked(kept, arl_days=100.0).watched
    assert found is not None
    assert found.drift is drift, found.why
    assert (found.first, len(found.days)) == ("2027-01-15", 16)
    assert found.rate is not None
    assert found.rate.low < 0.85 < found.rate.high
    if drift is Drift.PRODUCT:
        assert asked(kept, arl_days=100.0, baseline=0.6).watched != found
    short = asked(kept, window=Window(start_ns=EVER.start_ns, end_ns=(FROM_S + DAY) * NS_PER_S)).watched
    assert short is not None
    assert (short.drift, short.why) == (None, "the baseline needs 30 labels, and days after it")


def test_the_newest_calibration_says_whether_the_judge_is_certified(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 1, 60, share=0.5)
    made = JudgeCalibration(
        tenant=ACME,
        judge=spec.name,
        version=spec.version,
        at_ns=kept.clock() - 5,
        state=CalibrationState.CERTIFIED,
        report={"app": "desk", "reason": "it reaches the bar"},
        kappa_low=0.71,
        kappa_high=0.9,
        bar=0.7,
        n=200,
    )
    kept.control.put_calibration(made)
    assert asked(kept).certificate.certified
    other = replace(made, at_ns=kept.clock(), report={"app": "other"})
    kept.control.put_calibration(other)
    assert asked(kept).certificate.certified


def test_as_of_a_moment_nothing_counts_that_was_stored_later(kept: Kept) -> None:
    spec = keep(kept)
    live(kept, spec, 1, 60, share=0.5)
    found = asked(kept, as_of_ns=10**18).rate
    assert isinstance(found, Unestimated)
    assert found.detail == "the judge has judged nothing of app desk there; it has no verdict at all"


def test_a_scale_counts_from_its_passing_labels_on(kept: Kept) -> None:
    scale = replace(
        RUBRIC,
        name="stars",
        kind=ScaleKind.ORDINAL,
        labels=("bad", "fair", "good"),
        passing=frozenset({"fair", "good"}),
        anchors={"bad": "b", "fair": "f", "good": "g"},
    )
    spec = keep(kept, scale, name="stars")
    words = ["bad", "fair", "good", "good"] * 15
    at_ns = FROM_S * NS_PER_S
    kept.judged(spec, [(f"s{i}", word) for i, word in enumerate(words)], rubric=scale, at_ns=at_ns, probability=1.0)
    kept.labelled([(f"s{i}", words[i]) for i in range(40)], rubric=scale, at_ns=at_ns, probability=40 / 60)
    told = rate(asked(kept, name="stars"))
    assert told.raw == 0.75
    assert told.value == pytest.approx(0.75, abs=0.02)
