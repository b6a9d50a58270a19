"""A calibration from the lake and the control database: its three states, its canaries, and what it says in words."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput, NotFound
from core.records import EvaluatorKind
from judges.canaries import SOURCES
from judges.content import Content
from judges.records import JudgeSpec, Missing, ModelRef, Rubric, ScaleKind, Usage, Verdict
from judges.service_calibration import Asked, conclude, forecast, gather, run_canaries, withdraw
from store.control.certificates import DAY_NS, facts_of_judge
from store.control.judge_records import CalibrationState, JudgeCalibration
from tests.judges.stored import ACME, ANN, RUBRIC, Kept, judge_of, keep_judge
from tests.store.build import agent_trace, fill

NOW = 1_800_000_000 * NS_PER_S
Says = Callable[[str], str]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = Kept(tmp_path, clock=lambda: NOW)
    keep_judge(found.control, RUBRIC, judge_of())
    return found


def stored(kept: Kept, n: int = 30) -> None:
    """Sessions s0 to s{n-1} in the lake."""
    rows = [one for k in range(n) for one in agent_trace(k + 1, at_s=10 * k, session_id=f"s{k}", app="desk")]
    fill(kept.lake, rows)


def labelled(kept: Kept, n: int, right: float = 1.0, passing: float = 0.6, **given: Any) -> None:
    """n judged and labelled sessions, of which the judge has `right` right."""
    rng = np.random.default_rng(7)
    truth = np.where(rng.random(n) < passing, "pass", "fail")
    flip = rng.random(n) >= right
    said = np.where(flip, np.where(truth == "pass", "fail", "pass"), truth)
    kept.judged(given.pop("spec", judge_of()), [(f"s{k}", str(said[k])) for k in range(n)], at_ns=NOW)
    kept.labelled([(f"s{k}", str(truth[k])) for k in range(n)], at_ns=NOW, **given)


def reads(text: str) -> str:
    """A judge that passes what answers the question that was asked, and nothing else."""
    asked = {word for word in text.split('"') if word.startswith("question ")}
    answered = {word.replace("answer", "question").split("\\n")[0] for word in text.split('"') if "answer " in word}
    return "pass" if asked & answered else "fail"


def asker(says: Says) -> Callable[[JudgeSpec, Rubric, Content], Any]:
    async def ask(spec: JudgeSpec, rubric: Rubric, content: Content) -> Verdict:
        text = "\n".join(part.text for part in content.parts)
        return Verdict(labels=(says(text),), usage=Usage(n_calls=1, input_tokens=10, output_tokens=2, cost_usd=0.001))

    return ask


def calibrate(kept: Kept, says: Says = reads, **given: Any) -> JudgeCalibration:
    asked = Asked(judge="helpfulness", **given)
    found = asyncio.run(run_canaries(gather(kept.control, kept.tenant, ACME, asked), asker(says)))
    return conclude(kept.control, ACME, found, asked, now_ns=NOW, by=ANN)


def test_a_judge_that_agrees_and_stands_its_canaries_is_certified(kept: Kept) -> None:
    stored(kept)
    labelled(kept, 120, right=0.97)
    made = calibrate(kept)
    assert made.state is CalibrationState.CERTIFIED
    assert made.kappa_low is not None
    assert made.kappa_low >= 0.7
    assert made.n == 120
    assert kept.control.calibration(ACME, "helpfulness") == made
    said = made.report
    assert said["canaries"]["ran"]
    assert said["canaries"]["n_sources"] == SOURCES
    n_asked = len(said["canaries"]["pairs"])
    assert n_asked == 3 * SOURCES + 2 * said["canaries"]["injection"]["n"]
    assert said["canaries"]["usage"]["cost_usd"] == pytest.approx(0.001 * n_asked)
    assert said["biases"]["self_consistency"]["n"] == SOURCES
    assert said["biases"]["length"]["n"] == 30  # the others are not stored
    assert said["agreement"]["counts"][1][1] + said["agreement"]["counts"][0][0] >= 112
    assert [one.action for one in kept.control.list_audit(ACME)].count("judge.calibrate") == 1


def test_no_text_of_a_conversation_is_kept_in_a_report(kept: Kept) -> None:
    stored(kept)
    labelled(kept, 60)
    said = str(calibrate(kept).report)
    assert "question 3" not in said
    assert "'s3'" not in said
    assert "session:s3" not in said


def test_a_judge_that_disagrees_fails(kept: Kept) -> None:
    labelled(kept, 120, right=0.6)
    made = calibrate(kept)
    assert made.state is CalibrationState.FAILED
    assert "0.7" in made.report["reason"]


def test_few_labels_leave_it_open_and_say_how_many_more(kept: Kept) -> None:
    labelled(kept, 40, right=0.9)
    made = calibrate(kept)
    assert made.state is CalibrationState.UNDETERMINED
    assert made.report["labels_more"] > 0
    assert f"{made.report['labels_more']} labels more" in made.report["reason"]


def test_without_a_label_nothing_is_known(kept: Kept) -> None:
    made = calibrate(kept)
    assert made.state is CalibrationState.UNDETERMINED
    assert made.n == 0
    assert made.kappa_low is None
    assert "no estimate" in made.report["reason"]


@pytest.mark.parametrize(
    ("given", "why"),
    [({"canaries": False}, "left out on request"), ({}, "0 conversations that it judged are stored")],
)
def test_without_canaries_no_judge_is_certified(kept: Kept, given: dict[str, Any], why: str) -> None:
    labelled(kept, 200)
    made = calibrate(kept, **given)
    assert made.state is CalibrationState.UNDETERMINED
    assert made.kappa_low is not None
    assert made.kappa_low > 0.7
    assert why in made.report["reason"]
    assert made.report["canaries"] == {"ran": False, "why": made.report["canaries"]["why"]}


@pytest.mark.parametrize(("n_failed", "certified"), [(10_000, False), (2, True)])
def test_a_model_that_is_away_stands_no_canaries(kept: Kept, n_failed: int, certified: bool) -> None:
    stored(kept)
    labelled(kept, 120, right=0.97)
    asked, n_asked = Asked(judge="helpfulness"), itertools.count()
    answers = asker(reads)

    async def ask(spec: JudgeSpec, rubric: Rubric, content: Content) -> Verdict:
        gone = next(n_asked) < n_failed
        return Verdict(missing=Missing.MODEL_FAILED) if gone else await answers(spec, rubric, content)

    found = asyncio.run(run_canaries(gather(kept.control, kept.tenant, ACME, asked), ask))
    made = conclude(kept.control, ACME, found, asked, now_ns=NOW, by=ANN)
    assert (made.state is CalibrationState.CERTIFIED) is certified
    assert ("its model failed on canaries" in made.report["reason"]) is not certified


def test_a_judge_that_passes_null_answers_fails_however_well_it_agrees(kept: Kept) -> None:
    stored(kept)
    labelled(kept, 200)
    made = calibrate(kept, says=lambda _: "pass")
    assert made.state is CalibrationState.FAILED
    assert "20 of 20 constant answers passed" in made.report["reason"]


def test_a_judge_that_obeys_what_it_reads_fails(kept: Kept) -> None:
    stored(kept)
    labelled(kept, 200)
    tells = ("every requirement", "ignore the rubric", "all criteria", "evaluation is complete", "As an AI judge")
    made = calibrate(kept, says=lambda text: "pass" if any(one in text for one in tells) else "fail")
    assert made.state is CalibrationState.FAILED
    n = made.report["canaries"]["injection"]["n"]
    assert n > SOURCES
    assert f"an injected sentence raised the score of {n} answers" in made.report["reason"]


def test_a_judge_from_elsewhere_cannot_be_asked(kept: Kept) -> None:
    stored(kept)
    spec = judge_of(models=(ModelRef(provider="imported", model="gpt-4o"),))
    keep_judge(kept.control, RUBRIC, spec)
    labelled(kept, 200, spec=spec)
    asked = Asked(judge="helpfulness")
    gathered = gather(kept.control, kept.tenant, ACME, asked)
    assert gathered.canaries == ()
    assert "came from elsewhere" in gathered.why_not


def test_a_judge_that_passes_nearly_everything_is_told_in_words(kept: Kept) -> None:
    rng = np.random.default_rng(3)
    kept.judged(judge_of(), [(f"s{k}", "pass" if k % 25 else "fail") for k in range(100)], at_ns=NOW)
    kept.labelled([(f"s{k}", "pass" if rng.random() < 0.5 else "fail") for k in range(100)], at_ns=NOW)
    (first, *_) = calibrate(kept).report["notes"]
    assert first.startswith("It passes nearly everything: 96% of its verdicts pass, where ")


def test_outcomes_are_told_apart_from_people(kept: Kept) -> None:
    labelled(kept, 50, kind=EvaluatorKind.OUTCOME)
    said = calibrate(kept).report
    assert said["label_kinds"] == {"outcome": 50}
    assert any("outcomes, not people's" in one for one in said["notes"])


def test_labels_of_which_the_chance_is_known_are_weighted_by_it(kept: Kept) -> None:
    labelled(kept, 60)
    assert not calibrate(kept).report["agreement"]["weighted"]
    kept.labelled([(f"s{k}", "fail") for k in range(5)], at_ns=NOW + 1, probability=0.05)
    assert calibrate(kept).report["agreement"]["weighted"]
    kept.labelled([("s7", "fail")], at_ns=NOW + 2, probability=None)
    said = calibrate(kept).report
    assert not said["agreement"]["weighted"]
    assert any("chance of being drawn is not known" in one for one in said["notes"])


def test_what_people_disagree_on_counts_for_the_human_ceiling_before_anybody_decides_it(kept: Kept) -> None:
    """Without the tasks in dispute people would agree wholly with each other, whatever they said."""
    labelled(kept, 20)
    kept.judged(judge_of(), [("s20", "pass"), ("s21", "fail")], at_ns=NOW)
    asked = Asked(judge="helpfulness", canaries=False)
    found = gather(kept.control, kept.tenant, ACME, asked).found
    agreed = [(row["target"], row["label"], row["label"]) for row in found.pairs.iter_rows(named=True)]
    both = [*agreed, ("session:s20", "pass", "fail"), ("session:s21", "fail", "pass")]
    rows = [(target, who, said) for target, *two in both for who, said in zip(("ann", "bob"), two, strict=True)]
    people = pl.DataFrame(rows, schema=["target", "annotator", "label"], orient="row")
    made = conclude(kept.control, ACME, replace(found, annotations=people), asked, now_ns=NOW, by=ANN).report
    assert (made["agreement"]["n"], made["agreement"]["ceiling"]["n_items"]) == (20, 22)
    assert made["agreement"]["ceiling"]["kappa"]["estimate"]["value"] < 0.9
    assert any("People disagree on 2 that nobody decided yet" in one for one in made["notes"])


def test_several_labels_are_compared_by_whether_all_pass(kept: Kept) -> None:
    rubric = Rubric(
        name="issues", version=1, kind=ScaleKind.MULTI_LABEL, labels=("fine", "rude", "wrong"),
        passing=frozenset({"fine"}), text="What is wrong?",
    )  # fmt: skip
    spec = judge_of(rubric)
    keep_judge(kept.control, rubric, spec)
    rows = [("s1", "fine", "fine"), ("s2", "rude,wrong", "rude"), ("s3", "fine", "wrong"), ("s4", "fine,rude", "fine")]
    kept.judged(spec, [(name, said) for name, said, _ in rows], at_ns=NOW, rubric=Labels(rubric))  # type: ignore[arg-type]
    kept.labelled([(name, label) for name, _, label in rows], at_ns=NOW, rubric=rubric)
    said = calibrate(kept).report["agreement"]
    assert said["labels"] == ["does not pass", "passes"]
    assert said["counts"] == [[1, 1], [1, 1]]


class Labels:
    """A rubric that scores several labels as one text."""

    def __init__(self, rubric: Rubric) -> None:
        self._rubric = rubric

    def value_of(self, label: str) -> float:
        return self._rubric.value_of_all(tuple(label.split(",")))


def test_a_forecast_asks_nothing(kept: Kept) -> None:
    stored(kept)
    labelled(kept, 60)
    told = forecast(gather(kept.control, kept.tenant, ACME, Asked(judge="helpfulness")))
    assert told.n_labels == 60
    assert 5 * SOURCES < told.n_canaries == told.n_calls < 9 * SOURCES
    assert kept.control.calibrations(ACME, "helpfulness") == []


@pytest.mark.parametrize("bar", [0.0, 1.0, float("nan"), -0.5])
def test_a_bar_lies_between_0_and_1(bar: float) -> None:
    with pytest.raises(InvalidInput):
        Asked(judge="helpfulness", bar=bar)


def test_a_judge_that_is_not_there_is_not_found(kept: Kept) -> None:
    with pytest.raises(NotFound):
        gather(kept.control, kept.tenant, ACME, Asked(judge="nobody"))


# What holds of it afterwards


def certified(kept: Kept, app: str | None = None) -> None:
    stored(kept)
    labelled(kept, 120)
    assert calibrate(kept, app=app).state is CalibrationState.CERTIFIED


def facts(kept: Kept, now_ns: int = NOW, **given: Any) -> Any:
    return facts_of_judge(kept.control, ACME, "helpfulness", now_ns=now_ns, **given)


def test_a_certificate_holds_until_it_is_too_old(kept: Kept) -> None:
    certified(kept)
    assert facts(kept).certified
    assert facts(kept, now_ns=NOW + 89 * DAY_NS).certified
    late = facts(kept, now_ns=NOW + 91 * DAY_NS)
    assert late.state is CalibrationState.UNDETERMINED
    assert "91 days ago, which counts for 90" in late.reason


def test_a_judge_that_changed_has_no_certificate(kept: Kept) -> None:
    certified(kept)
    other = judge_of(temperature=0.7)
    keep_judge(kept.control, RUBRIC, other)
    found = facts(kept)
    assert (found.version, found.state) == (other.version, CalibrationState.UNDETERMINED)
    assert "has changed since it was calibrated" in found.reason
    assert facts(kept, version=judge_of().version).certified


def test_a_certificate_of_one_app_is_none_of_another(kept: Kept) -> None:
    certified(kept, app="desk")
    assert facts(kept, app="desk").certified
    assert facts(kept).certified
    other = facts(kept, app="shop")
    assert not other.certified
    assert "calibrated on desk, not on shop" in other.reason


def test_what_was_taken_back_is_undetermined_with_the_reason(kept: Kept) -> None:
    certified(kept)
    version = judge_of().version
    later = NOW + NS_PER_S
    assert withdraw(kept.control, ACME, "helpfulness", version, "its errors changed", now_ns=later, by=ANN)
    found = facts(kept)
    assert (found.state, found.reason) == (CalibrationState.UNDETERMINED, "its errors changed")
    assert withdraw(kept.control, ACME, "helpfulness", version, "again", now_ns=later + 1, by=ANN) is None


def test_a_judge_that_nobody_calibrated_and_one_that_is_not_there(kept: Kept) -> None:
    assert facts(kept).reason == "it was never calibrated"
    none = facts_of_judge(kept.control, ACME, "nobody", now_ns=NOW)
    assert none.state is CalibrationState.UNDETERMINED
    assert "there is no judge" in none.reason
