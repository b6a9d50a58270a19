"""All that is known of a judge's agreement with people, from one frame: the evidence behind its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from evaluators.statistics.rates import wilson
from judges.agreement.alternative import EPSILON, AlternativeTest, Annotators, alternative_test
from judges.agreement.ceiling import Ceiling, human_ceiling
from judges.agreement.certificate import BAR, Certificate, Standing, certify, labels_to_settle
from judges.agreement.classes import LabelAgreement, label_agreements, raw_agreement
from judges.agreement.coded import Coded, coded, ratings_of
from judges.agreement.coefficients import Scale, deciding, gwet, kappa, krippendorff, weighted_kappa
from judges.agreement.intervals import LEVEL, Coefficient
from judges.agreement.kappa import Weighting, bias_index, kappa_se, prevalence_index
from judges.agreement.plain import plain
from judges.agreement.tables import Table

WEEK_NS: Final = 7 * 86_400 * 1_000_000_000
MOST_WINDOWS: Final = 104
MOST_SEGMENTS: Final = 50


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Agreement within a segment, or a window [start_ns, end_ns) of time. There is no correction for the number of
    slices: of twenty, one bound is expected to be wrong."""

    n: int
    n_missing: int
    coefficient: Coefficient
    certificate: Certificate
    segment: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class AgreementReport:
    """Agreement of verdicts with labels. `n` items have both; missing verdicts are counted by their reason and are no
    class. `counts` are items [label][verdict]; `proportions` the same weighted by 1/p.

    `decided_by` names the coefficient that `certificate` is about: Cohen's kappa, or the quadratically weighted one of
    an ordinal scale.
    """

    labels: tuple[str, ...]
    ordinal: bool
    bar: float
    level: float
    seed: int
    n: int
    n_effective: float
    weighted: bool
    n_unknown_label: int
    missing: dict[str, int]
    missing_rate: Estimate | Unestimated
    counts: tuple[tuple[int, ...], ...]
    proportions: tuple[tuple[float, ...], ...]
    agreement: Estimate | Unestimated
    kappa: Coefficient
    kappa_se: float | Unestimated
    kappa_linear: Coefficient | None
    kappa_quadratic: Coefficient | None
    alpha: Coefficient
    gwet_ac: Coefficient
    prevalence_index: float | Unestimated
    bias_index: float | Unestimated
    by_label: tuple[LabelAgreement, ...]
    decided_by: str
    coefficient: Coefficient
    certificate: Certificate
    ceiling: Ceiling | Unestimated
    alternative: AlternativeTest | Unestimated
    annotators: tuple[str, ...]
    segments: tuple[Slice, ...]
    windows: tuple[Slice, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON: dicts, lists, text, numbers and None; no NaN."""
        told = plain(self)
        assert isinstance(told, dict)
        return told


def agreement_report(
    frame: pl.DataFrame,
    labels: Sequence[str],
    ordinal: bool = False,
    bar: float = BAR,
    seed: int = 0,
    *,
    annotations: pl.DataFrame | None = None,
    annotators: Annotators = Annotators.SKILLED,
    judged: pl.DataFrame | None = None,
    window_ns: int = WEEK_NS,
) -> AgreementReport:
    """Compares the verdicts of `frame` with its labels.

    `frame` has a row per target: verdict (str or null), label (str), and where known: missing (why there is no
    verdict), segment, at_ns, and p, the chance of having been labelled (or p_judge and p_human, whose product that is).
    `labels` are all that the rubric offers, from worst to best where `ordinal`; a verdict that is none of them is
    missing, a label that is none is left out and counted. `annotations` has a row per answer of a person: target,
    annotator, label; it needs `target` in the frame. `judged` has all that was judged, where the frame has
    only what has a label: what people disagree on has none yet, and is part of the ceiling all the same. Everything
    random follows from `seed`.

    Raises InvalidInput where columns are missing, labels repeat or a p lies outside 0 to 1.
    """
    scale = Scale(k=len(labels), ordinal=ordinal, seed=seed)
    if window_ns < 1:
        raise InvalidInput("a window is at least a nanosecond long", field="window_ns")
    given = coded(frame, labels)
    of = given.table()
    decisive = deciding(given, scale)
    return AgreementReport(
        labels=tuple(labels),
        ordinal=ordinal,
        bar=bar,
        level=LEVEL,
        seed=seed,
        n=of.n,
        n_effective=of.n_effective,
        weighted=of.weighted,
        n_unknown_label=given.n_unknown_label,
        missing=given.missing_by_reason(),
        missing_rate=_rate(given.n_missing, given.n),
        counts=tuple(tuple(int(cell) for cell in row) for row in of.counts),
        proportions=tuple(tuple(float(cell) / max(of.n, 1) for cell in row) for row in of.mass),
        certificate=_certificate(given, decisive, scale, bar, forecast=True),
        decided_by="quadratic_weighted_kappa" if ordinal else "cohen_kappa",
        coefficient=decisive,
        segments=_segments(given, scale.rough(), bar),
        windows=_windows(given, scale.rough(), bar, window_ns),
        **_coefficients(given, of, scale, labels),
        **_with_people(frame if judged is None else judged, given, labels, scale, annotations, annotators),
    )


def _coefficients(given: Coded, of: Table, scale: Scale, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "agreement": raw_agreement(of, scale.seed),
        "kappa": kappa(of, scale),
        "kappa_se": Unestimated(reason=Lack.UNEQUAL_WEIGHTS) if of.weighted else kappa_se(of),
        "kappa_linear": weighted_kappa(given, scale, Weighting.LINEAR) if scale.ordinal else None,
        "kappa_quadratic": weighted_kappa(given, scale, Weighting.QUADRATIC) if scale.ordinal else None,
        "alpha": krippendorff(given, scale),
        "gwet_ac": gwet(of, scale),
        "prevalence_index": prevalence_index(of),
        "bias_index": bias_index(of),
        "by_label": label_agreements(of, labels, scale.seed),
    }


def _with_people(
    frame: pl.DataFrame,
    given: Coded,
    labels: Sequence[str],
    scale: Scale,
    annotations: pl.DataFrame | None,
    annotators: Annotators,
) -> dict[str, Any]:
    if annotations is None or annotations.is_empty():
        none = Unestimated(reason=Lack.FEW_ANNOTATORS, detail="no answers of single people are given")
        return {"ceiling": none, "alternative": none, "annotators": ()}
    people = ratings_of(frame, annotations, labels)
    found = human_ceiling(people.ratings, people.judge, scale.k, scale.weighting, seed=scale.seed)
    tested = alternative_test(people.ratings, people.judge, ordinal=scale.ordinal, epsilon=EPSILON[annotators])
    return {"ceiling": found, "alternative": tested, "annotators": people.annotators}


def _certificate(given: Coded, of: Coefficient, scale: Scale, bar: float, *, forecast: bool) -> Certificate:
    settled = certify(of, given.table().n, bar)
    if not forecast or settled.standing is not Standing.UNDETERMINED or of.lower is None:
        return settled
    return certify(of, settled.n, bar, labels_to_settle(given.table(), scale.statistic, bar, scale.seed))


def _segments(given: Coded, scale: Scale, bar: float) -> tuple[Slice, ...]:
    """The segments with most items first, MOST_SEGMENTS of them."""
    found = [_slice(part, scale, bar, segment=name) for name, part in given.by_segment()]
    return tuple(sorted(found, key=lambda one: (-one.n, one.segment or ""))[:MOST_SEGMENTS])


def _windows(given: Coded, scale: Scale, bar: float, window_ns: int) -> tuple[Slice, ...]:
    """Windows of equal length from the epoch on, in order, the last MOST_WINDOWS that have an item."""
    found = given.by_window(window_ns)[-MOST_WINDOWS:]
    return tuple(
        _slice(part, scale, bar, start_ns=index * window_ns, end_ns=(index + 1) * window_ns) for index, part in found
    )


def _slice(given: Coded, scale: Scale, bar: float, **where: Any) -> Slice:
    found = deciding(given, scale)
    certificate = _certificate(given, found, scale, bar, forecast="segment" in where)
    return Slice(n=given.table().n, n_missing=given.n_missing, coefficient=found, certificate=certificate, **where)


def _rate(hits: int, n: int) -> Estimate | Unestimated:
    if not n:
        return Unestimated(reason=Lack.NO_EXAMPLES)
    return Estimate(value=hits / n, n=n, se=None, interval=wilson(hits, n, LEVEL))
