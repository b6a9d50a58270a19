"""How a judge does on each label: sensitivity, specificity, prevalence, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluators.statistics.estimates import Estimate, Interval, Lack, Unestimated
from evaluators.statistics.rates import wilson
from judges.agreement.intervals import DRAWS, LEVEL, posterior
from judges.agreement.tables import FloatArray, Table

SMALL: Final = 1e-12
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """One label against all others. `prevalence` is its share among people's labels, `verdicts` among the judge's;
    `sensitivity` P(judge says it | people say it), `specificity` P(judge does not | people do not), `precision`
    P(people say it | judge says it). Of two labels, the last one's sensitivity is the first one's specificity."""

    label: str
    prevalence: Estimate | Unestimated
    verdicts: Estimate | Unestimated
    sensitivity: Estimate | Unestimated
    specificity: Estimate | Unestimated
    precision: Estimate | Unestimated


def label_agreements(of: Table, labels: Sequence[str], seed: int) -> tuple[LabelAgreement, ...]:
    """One record per label, in the order of `labels` (K of them)."""
    rates = _Rates(of, seed)
    everything = np.ones((of.k, of.k), dtype=np.bool_)
    found = []
    for at, label in enumerate(labels):
        said, judged = np.zeros_like(everything), np.zeros_like(everything)
        said[at, :], judged[:, at] = True, True
        found.append(
            LabelAgreement(
                label=label,
                prevalence=rates.of(said, everything),
                verdicts=rates.of(judged, everything),
                sensitivity=rates.of(said & judged, said),
                specificity=rates.of(~said & ~judged, ~said),
                precision=rates.of(said & judged, judged),
            )
        )
    return tuple(found)


def raw_agreement(of: Table, seed: int) -> Estimate | Unestimated:
    """Share of items on which judge and people say the same."""
    return _Rates(of, seed).of(np.eye(of.k, dtype=np.bool_), np.ones((of.k, of.k), dtype=np.bool_))


class _Rates:
    """Shares of a table's cells: Wilson's interval of items that count alike, else the posterior's quantiles."""

    def __init__(self, of: Table, seed: int) -> None:
        self._table = of
        self._drawn: FloatArray | None = posterior(of, DRAWS, seed) if of.n and of.weighted else None

    def of(self, part: Mask, whole: Mask) -> Estimate | Unestimated:
        """Share of the items in cells `part` among those in `whole`, both masks of shape (K, K)."""
        n, hits = int(self._table.counts[whole].sum()), int(self._table.counts[part].sum())
        if n == 0:
            return Unestimated(reason=Lack.NO_EXAMPLES)
        value = float(self._table.mass[part].sum() / self._table.mass[whole].sum())
        if self._drawn is None:
            return Estimate(value=value, n=n, se=None, interval=wilson(hits, n, LEVEL))
        drawn = self._drawn[:, part].sum(axis=1) / np.maximum(self._drawn[:, whole].sum(axis=1), SMALL)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        interval = Interval(
            low=min(float(low), value), high=max(float(high), value), level=LEVEL, method="weighted_posterior"
        )
        return Estimate(value=value, n=n, se=float(drawn.std()), interval=interval)
