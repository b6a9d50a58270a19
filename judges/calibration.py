"""What a calibration says of a judge: from pairs of verdict and label to a report, its state and its reason. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from evaluators.statistics.estimates import Estimate
from judges.agreement.alternative import Annotators
from judges.agreement.certificate import Standing
from judges.agreement.plain import plain
from judges.agreement.report import WEEK_NS, AgreementReport, agreement_report
from judges.canaries import FEWEST, CanaryKind, CanaryReport, Judged
from judges.leanings import Biases, Seen, biases
from judges.records import JudgeSpec, Missing, Rubric, ScaleKind, Usage

PASSES, FAILS = "passes", "does not pass"  # what is left of a verdict with several labels
NEARLY: Final = 0.9  # of all verdicts one way: it says little that it says it
APART: Final = 0.1  # by how much people have to differ from that
LEAST_OF_SEGMENT: Final = 10  # pairs; smaller ones say nothing of their own
MOST_SEGMENTS: Final = 20
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The canaries of a calibration: what they say, each with its verdict, and what they cost."""

    report: CanaryReport
    judged: tuple[Judged, ...]
    usage: Usage
    asked_again: tuple[tuple[str | None, ...], ...] = ()  # of each source the stored verdict and the new ones


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that a calibration is made of. `pairs` has the columns of judges/service_pairs.py, `annotations` target,
    annotator and label, by people who are `annotators`; `judged` is `pairs` with what has no label
    yet; `canaries` is None with the reason `no_canaries`."""

    spec: JudgeSpec
    rubric: Rubric
    pairs: pl.DataFrame
    n_verdicts: int
    judged: pl.DataFrame | None = None
    annotations: pl.DataFrame | None = None
    annotators: Annotators = Annotators.SKILLED
    seen: Sequence[Seen] = ()
    canaries: Ran | None = None
    no_canaries: str = "they were not asked for"
    app: str | None = None
    window: tuple[int, int] | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A calibration: `state` with the sentence `reason`, the bounds that decided it, over `n` pairs, and the whole
    `report` as plain JSON."""

    state: Standing
    reason: str
    kappa_low: float | None
    kappa_high: float | None
    n: int
    report: dict[str, Any]


def calibrated(found: Found, *, bar: float, seed: int, at_ns: int, window_ns: int = WEEK_NS) -> Calibrated:
    """The calibration; its series over time is by windows of `window_ns`. Raises InvalidInput as agreement_report
    does."""
    rubric = found.rubric
    frame, notes = _weighted(_large_segments(_simple(found.pairs, rubric)), found.notes)
    people = None if found.annotations is None else _simple(found.annotations, rubric)
    judged = None if found.judged is None else _simple(found.judged, rubric)
    labels = (FAILS, PASSES) if rubric.kind is ScaleKind.MULTI_LABEL else rubric.labels
    ordinal = rubric.kind is ScaleKind.ORDINAL
    agreed = agreement_report(
        frame,
        labels,
        ordinal,
        bar,
        seed,
        annotations=people,
        annotators=found.annotators,
        judged=judged,
        window_ns=window_ns,
    )
    ran = found.canaries
    leaning = biases(
        rubric,
        found.seen,
        [one.model for one in found.spec.models],
        asked_again=() if ran is None else ran.asked_again,
        seed=seed,
    )
    state, reason = _state(agreed, found)
    share = _shares(frame, rubric)
    report = {
        "version": VERSION,
        "judge": found.spec.name,
        "judge_version": found.spec.version,
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "rubric_digest": rubric.digest,
        "models": [one.text for one in found.spec.models],
        "app": found.app,
        "window": None if found.window is None else list(found.window),
        "at_ns": at_ns,
        "seed": seed,
        "annotators": found.annotators.value,
        "state": state.value,
        "reason": reason,
        "labels_more": agreed.certificate.labels_more,
        "n_verdicts": found.n_verdicts,
        "n_labels": frame.height,
        "label_kinds": dict(Counter(frame["label_kind"].drop_nulls().to_list())),
        "pass_rates": share,
        "notes": [*_plain_words(agreed, share, frame), *_disputed(judged, people), *notes],
        "agreement": agreed.as_json(),
        "biases": _biases(leaning),
        "canaries": _canaries(found),
    }
    of = agreed.certificate
    return Calibrated(state=state, reason=reason, kappa_low=of.lower, kappa_high=of.upper, n=agreed.n, report=report)


def _state(agreed: AgreementReport, found: Found) -> tuple[Standing, str]:
    """A canary that beat chance fails a judge whatever else shows; without canaries none is certified."""
    of = agreed.certificate
    if found.canaries is not None and not found.canaries.report.passed:
        return Standing.FAILED, _beaten(found.canaries.report)
    if found.canaries is None and of.standing is Standing.CERTIFIED:
        said = f"{of.reason}, but nobody knows what it says of null answers: canaries were not run"
        return Standing.UNDETERMINED, f"{said} ({found.no_canaries})"
    if found.canaries is not None and of.standing is Standing.CERTIFIED and (few := _unheard(found.canaries)):
        said = f"{of.reason}, but nobody knows what it says of {few} answers: its model failed on canaries"
        return Standing.UNDETERMINED, f"{said}; calibrate it again"
    return of.standing, of.reason


def _unheard(ran: Ran) -> str:
    """The kinds of canaries of which too few were answered: a model that is away passes none and proves nothing."""
    asked = Counter(one.canary.kind for one in ran.judged)
    failed = Counter(one.canary.kind for one in ran.judged if one.verdict.missing is Missing.MODEL_FAILED)
    return ", ".join(kind.value for kind in asked if failed[kind] and asked[kind] - failed[kind] < FEWEST)


def _beaten(report: CanaryReport) -> str:
    said = [
        f"{one.n_passed} of {one.n} {one.kind.value} answers passed, where chance is {one.chance:g} "
        f"(p {one.p_adjusted:.2g})"
        for one in report.nulls
        if one.beats_chance
    ]
    if report.injection.shifts:
        found = report.injection
        said.append(
            f"an injected sentence raised the score of {found.n_up} answers and lowered that of {found.n_down} "
            f"(p {found.p_adjusted:.2g})"
        )
    return f"it does not stand the canaries: {'; '.join(said)}"


def _simple(frame: pl.DataFrame, rubric: Rubric) -> pl.DataFrame:
    """Verdicts and labels of several labels as whether all of them pass."""
    if rubric.kind is not ScaleKind.MULTI_LABEL:
        return frame
    passing = sorted(rubric.passing)

    def whether(name: str) -> pl.Expr:
        every = pl.col(name).str.split(",").list.eval(pl.element().is_in(passing)).list.all()
        said = pl.when(every).then(pl.lit(PASSES)).otherwise(pl.lit(FAILS))
        return pl.when(pl.col(name).is_not_null()).then(said).alias(name)

    return frame.with_columns(whether(name) for name in ("verdict", "label") if name in frame.columns)


def _large_segments(frame: pl.DataFrame) -> pl.DataFrame:
    """With the largest segments only; pairs of the others are in none."""
    counts = frame["segment"].drop_nulls().value_counts().filter(pl.col("count") >= LEAST_OF_SEGMENT)
    kept = counts.sort(["count", "segment"], descending=[True, False]).head(MOST_SEGMENTS)["segment"]
    return frame.with_columns(segment=pl.when(pl.col("segment").is_in(kept.implode())).then("segment"))


def _weighted(frame: pl.DataFrame, notes: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    """With the chance p of having been labelled, where it is known of every target: p_judge is 1 where it is not said.
    Else all count the same, and the notes say so."""
    bare = frame.drop("p_judge", "p_human")
    n_unknown = frame["p_human"].null_count()
    if frame.height and not n_unknown:
        p = frame["p_judge"].fill_null(1.0) * frame["p_human"]
        return bare.with_columns(p=p), [*notes]
    if not frame.height or n_unknown == frame.height:
        said = "how these targets came to be labelled is not known: all count the same, as if drawn at random"
    else:
        said = f"of {n_unknown} labels the chance of being drawn is not known: all count the same"
    return bare, [*notes, said] if frame.height else [*notes]


def _shares(frame: pl.DataFrame, rubric: Rubric) -> dict[str, float | None]:
    """How many verdicts and labels pass, where both are there."""
    both = frame.filter(pl.col("verdict").is_not_null())
    if not both.height or rubric.kind is ScaleKind.PAIRWISE:
        return {"judge": None, "people": None}
    passing = [PASSES] if rubric.kind is ScaleKind.MULTI_LABEL else sorted(rubric.passing)
    told = both.select(judge=pl.col("verdict").is_in(passing).mean(), people=pl.col("label").is_in(passing).mean())
    return {name: float(value) for name, value in told.row(0, named=True).items()}


def _plain_words(agreed: AgreementReport, share: Mapping[str, float | None], frame: pl.DataFrame) -> list[str]:
    """What figures hide from who reads only kappa."""
    found = []
    judge, people = share["judge"], share["people"]
    if judge is not None and people is not None:
        told = f"{100 * judge:.0f}% of its verdicts pass, where {100 * people:.0f}% of the labels do"
        if judge >= NEARLY and judge - people > APART:
            found.append(f"It passes nearly everything: {told}. That it passes something says little.")
        elif judge <= 1 - NEARLY and people - judge > APART:
            found.append(f"It passes nearly nothing: {told}. That it fails something says little.")
    if isinstance(agreed.kappa.estimate, Estimate) and (agreed.kappa.upper or 1.0) < 0:
        found.append("It is worse than chance: its verdicts say less than a coin that knows how often people pass.")
    elif agreed.kappa.lower is not None and agreed.kappa.upper is not None and agreed.kappa.lower <= 0:
        found.append("Chance is not ruled out: kappa's interval reaches below 0.")
    kinds = set(frame["label_kind"].drop_nulls().to_list())
    if kinds == {"outcome"}:
        found.append("The labels are outcomes, not people's: agreement is with what was measured.")
    elif len(kinds) > 1:
        found.append("Some labels are outcomes, not people's.")
    return found


def _disputed(judged: pl.DataFrame | None, people: pl.DataFrame | None) -> list[str]:
    """What people disagree on and nobody decided: the hard cases, which kappa does not see."""
    if judged is None or people is None:
        return []
    waiting = people.join(judged.filter(pl.col("label").is_null()).select("target"), on="target", how="semi")
    n = waiting.group_by("target").agg(pl.col("label").n_unique()).filter(pl.col("label") > 1).height
    said = "count for the ceiling and not for kappa: assay labels adjudicate"
    return [f"People disagree on {n} that nobody decided yet; they {said}."] if n else []


def _biases(leaning: Biases) -> dict[str, Any]:
    told = plain(leaning)
    assert isinstance(told, dict)
    return told


def _canaries(found: Found) -> dict[str, Any]:
    """The canaries with each verdict. No text of a conversation is kept: `content` is its hash."""
    ran = found.canaries
    if ran is None:
        return {"ran": False, "why": found.no_canaries}
    pairs = [
        {
            "kind": one.canary.kind.value,
            "source": one.canary.source,
            "content": one.canary.content.hash[:24],
            "injection": one.canary.injection,
            "pair": one.canary.pair,
            "labels": list(one.verdict.labels),
            "missing": None if one.verdict.missing is None else one.verdict.missing.value,
            "value": one.value,
            "passed": one.passed,
        }
        for one in ran.judged
    ]
    n = len({one.canary.source for one in ran.judged if one.canary.kind is CanaryKind.ORIGINAL})
    return {"ran": True, "n_sources": n, **plain(ran.report), "usage": plain(ran.usage), "pairs": pairs}
