"""Which correction: prediction-powered where labels were drawn from the targets asked about, else Rogan-Gladen."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import scipy

from evaluators.statistics.estimates import Interval, Lack, Unestimated
from evaluators.statistics.rates import FloatArray
from judges.correction.beta import chain_beta
from judges.correction.ppi import PpiMean, logit, ppi_mean, two_phase_mean
from judges.correction.records import Corrected, Judged, Labels, Method, equal_chances
from judges.correction.rogan import right_shares, rogan_gladen

LEAST_LABELS: Final = 10  # drawn from the population; below it an interval says next to nothing
LEAST_OF_GRADES: Final = 20  # of values between 0 and 1, whose interval leans on their spread alone
RARE: Final = 15  # labels of the rarer class under which the log odds are not normal enough
FEW_ERRORS: Final = 5  # judge and people apart so often at least, or the judge's errors have not shown their spread


def corrected(
    judged: Judged,
    elsewhere: Labels | None = None,
    *,
    level: float = 0.95,
    method: Method | None = None,
    lam: float | None = None,
    finite: bool = False,
    seed: int = 0,
) -> Corrected | Unestimated:
    """The rate, or mean, of what people would say of the targets of which `judged` was drawn.

    Labels with a known `p_human` were drawn from these targets: with LEAST_LABELS of them it is PPI++. Otherwise all
    other labels, those of `elsewhere` and those whose chance is not known, tell how often the judge is right, and it is
    Rogan-Gladen. `method` takes one of them and never the other. `lam` None is the best one; `finite` asks about
    exactly the targets of `judged`, not about more of the kind. Unestimated, with how many labels are missing, where
    neither holds.
    """
    if len(judged.judge) == 0:
        return Unestimated(reason=Lack.NO_EXAMPLES, detail="the judge has judged nothing here")
    drawn = _drawn(judged)
    n_drawn, needed = int(drawn.sum()), LEAST_LABELS if judged.binary else LEAST_OF_GRADES
    if method is Method.PPI or (method is None and n_drawn >= needed):
        if n_drawn < needed:
            return _too_few(n_drawn, needed)
        own = replace(judged, label=np.where(drawn, judged.label, np.nan))
        return _powered(own, level=level, lam=lam, finite=finite, seed=seed)
    return _shifted(judged, drawn, elsewhere, level, n_drawn, needed)


def _drawn(judged: Judged) -> np.ndarray:
    """Which labels were drawn with a known chance. Where all are certain (a chance of 1) and not every target has one,
    they were chosen by hand and stand for themselves alone."""
    known = judged.labelled & ~np.isnan(judged.p_human)
    by_hand = not judged.labelled.all() and bool((judged.p_human[known] == 1).all())
    return known & (not by_hand)


def _too_few(n: int, needed: int) -> Unestimated:
    told = f"{n} labels were drawn from these targets with a known chance: label {needed - n} more"
    return Unestimated(reason=Lack.TOO_FEW, detail=told)


def _powered(judged: Judged, *, level: float, lam: float | None, finite: bool, seed: int) -> Corrected | Unestimated:
    n, whole = int(judged.labelled.sum()), len(judged.judge)
    finite = finite and bool((judged.p_judge == 1).all())
    found = _mean(judged, lam, finite)
    interval, se = _interval(judged, found, level, finite, seed)
    if interval is None:
        return Unestimated(reason=Lack.ZERO_VARIANCE, detail=f"all {n} labels are the same, and so is the judge")
    value = min(interval.high, max(interval.low, found.value))
    human, human_value = _human_only(judged, level)
    return Corrected(
        value=value,
        se=se,
        interval=interval,
        raw=_raw(judged),
        method=Method.PPI,
        why=_why(judged, n),
        n_labels=n,
        n_judged=whole,
        effective_n=_effective(judged, value, se, n),
        lam=found.lam,
        human_value=human_value,
        human=human,
        note=_note(judged, found, n),
    )


def _why(judged: Judged, n: int) -> str:
    if n == len(judged.judge):
        return "every target has a label: the judge's word is not needed"
    chance = "the same chance" if equal_chances(judged) else "a known chance, by which it is weighed"
    return f"{n} labels were drawn from these targets, each with {chance}"


def _mean(judged: Judged, lam: float | None, finite: bool) -> PpiMean:
    if not equal_chances(judged):
        return two_phase_mean(judged, lam, finite=finite)
    seen = judged.labelled
    return ppi_mean(judged.label[seen], judged.judge[seen], judged.judge[~seen], lam, finite=finite)


def _interval(judged: Judged, found: PpiMean, level: float, finite: bool, seed: int) -> tuple[Interval | None, float]:
    """The interval and the standard error."""
    if finite and judged.labelled.all():
        return Interval(low=found.value, high=found.value, level=level, method="all_labelled"), 0.0
    seen = judged.labelled
    few = _of_rarer(judged, found.n) < RARE or int((judged.label != judged.judge)[seen].sum()) < FEW_ERRORS
    if judged.binary and few:
        return chain_beta(judged, level, finite=finite, seed=seed)
    return logit(found, level), found.se


def _of_rarer(judged: Judged, n: float) -> float:
    """Labels of the rarer class, at most as many as they count for by their weights."""
    label, weights = judged.label[judged.labelled], _weights(judged)
    share, counted = float(weights @ label), int(label.sum())
    return min(counted, len(label) - counted, n * share, n * (1 - share))


def _weights(judged: Judged) -> FloatArray:
    seen = judged.labelled
    weights = 1 / (judged.p_judge[seen] * judged.p_human[seen])
    found: FloatArray = weights / weights.sum()
    return found


def _human_only(judged: Judged, level: float) -> tuple[Interval | None, float]:
    """What the labels say alone, by the like interval."""
    alone = replace(judged, judge=np.zeros(len(judged.judge)))
    found = two_phase_mean(alone, 0.0)
    if judged.binary and _of_rarer(judged, found.n) < RARE:
        ones, tail = found.n * found.value, (1 - level) / 2
        posterior = scipy.stats.beta(0.5 + ones, 0.5 + max(0.0, found.n - ones))
        low = 0.0 if found.value <= 0 else float(posterior.ppf(tail))
        high = 1.0 if found.value >= 1 else float(posterior.isf(tail))
        return Interval(low=low, high=high, level=level, method="jeffreys"), found.value
    return logit(found, level), found.value


def _raw(judged: Judged) -> float:
    weights = 1 / judged.p_judge
    return float(weights @ judged.judge / weights.sum())


def _effective(judged: Judged, value: float, se: float, n: int) -> float:
    """Labels of a simple random sample whose mean has this standard error."""
    if not se > 0:
        return float(len(judged.judge))
    label, weights = judged.label[judged.labelled], _weights(judged)
    if judged.binary:
        inside = min(1 - 0.5 / n, max(0.5 / n, value))
        return inside * (1 - inside) / se**2
    return float(weights @ (label - weights @ label) ** 2) / se**2


def _note(judged: Judged, found: PpiMean, n: int) -> str:
    told = []
    if found.lam < 0.1 and n < len(judged.judge):
        told.append("the judge's word hardly helps: it says little about what people say")
    stand_for = float((1 / (judged.p_judge * judged.p_human))[judged.labelled].sum()) / float(
        (1 / judged.p_judge).sum()
    )
    if not 0.7 <= stand_for <= 1.4:
        told.append(
            f"by their chances the {n} labels stand for {stand_for:.0%} of what was judged: labels are still to come, "
            "or they were drawn from a part of it"
        )
    return "; ".join(told)


def _shifted(
    judged: Judged, drawn: np.ndarray, elsewhere: Labels | None, level: float, n_drawn: int, needed: int
) -> Corrected | Unestimated:
    """Rogan-Gladen, of labels whose chance is not known and of those of elsewhere."""
    unknown = judged.labelled & ~drawn
    own = judged.labelled if n_drawn < needed else unknown
    given = [Labels(judge=judged.judge[own], label=judged.label[own]), *([] if elsewhere is None else [elsewhere])]
    label, judge = np.concatenate([g.label for g in given]), np.concatenate([g.judge for g in given])
    if len(label) == 0 or (not unknown.any() and elsewhere is None):
        return _too_few(n_drawn, needed)
    if not all(bool(((one == 0) | (one == 1)).all()) for one in (label, judge, judged.judge)):
        return Unestimated(reason=Lack.NOT_BINARY, detail="labels of another population correct only pass or fail")
    if len(set(label.tolist())) == 1:
        said = "pass" if label[0] == 1 else "fail"
        return Unestimated(
            reason=Lack.ONE_CLASS, detail=f"all {len(label)} labels say {said}: label some of the others"
        )
    weights = 1 / judged.p_judge
    shares = right_shares(label, judge)
    found = rogan_gladen(_raw(judged), float(weights.sum() ** 2 / (weights @ weights)), shares, level)
    if isinstance(found, Unestimated):
        return found
    inside = min(1 - 0.5 / len(label), max(0.5 / len(label), found.value))
    return Corrected(
        value=found.value,
        se=found.se,
        interval=found.interval,
        raw=_raw(judged),
        method=Method.ROGAN_GLADEN,
        why=f"{len(label)} labels are of other targets, or it is not known with what chance they were drawn",
        n_labels=len(label),
        n_judged=len(judged.judge),
        effective_n=inside * (1 - inside) / found.se**2,
        sensitivity=shares.q1,
        specificity=shares.q0,
        note="holds only if the judge errs here as often as where it was labelled",
    )
