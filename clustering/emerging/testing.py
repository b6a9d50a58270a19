"""Which clusters are new or growing: test, minimum effect, users, false-discovery rate.

A cluster below the minimum effect or number of users keeps its place among the tests with p = 1. So p is still at least
as large as under the null it should be, and Benjamini-Hochberg holds its rate over what is told. Choosing after it
instead, of those it rejects the ones with an effect, holds no rate: what is left may be the false ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from scipy import stats

from clustering.emerging.dispersion import Fitted, fit
from clustering.emerging.effects import finding, large_enough, told_level
from clustering.emerging.predictive import Pair, pair_of, tails
from clustering.emerging.records import Counts, Design, Finding, Flags, Found, Ints, Untested
from evaluators.statistics.multiplicity import benjamini_hochberg

_HOPELESS: Final = 0.25


def find(counts: Counts, design: Design, *, share: float = 1.0, before: Mapping[str, float] | None = None) -> Found:
    """The clusters whose rate of failure is higher now than in the periods before.

    `share` of the week's error this look may spend and `before`, the week's least p of each cluster, are those of
    `looks.look`; left out, it is a look by itself. Findings are ordered by q, then by the ratio's lower bound; a
    cluster is among them only if it grew by the counts of this look. A share of 0 finds nothing. Where even
    without dispersion p would be above a quarter it is 1: it can change nothing.
    """
    earlier = dict(before or {})
    tested = np.flatnonzero(_testable(counts))
    if not len(tested) or share <= 0:
        return _nothing(counts, design, len(tested), earlier)
    known = _fit(counts, tested)
    pairs = [pair_of(counts, known.weights, at) for at in tested.tolist()]
    p = [tails(pair)[0] if promising else 1.0 for pair, promising in zip(pairs, _promising(pairs), strict=True)]
    passes = [
        one < 0.5 and _grew(counts, at, pair, design) for at, pair, one in zip(tested.tolist(), pairs, p, strict=True)
    ]
    ids = [counts.cluster_ids[at] for at in tested]
    least = dict(earlier)
    for name, one, ok in zip(ids, p, passes, strict=True):
        least[name] = min(earlier.get(name, 1.0), one / share if ok else 1.0)
    q = dict(zip(least, benjamini_hochberg(list(least.values())), strict=True))
    chosen = [k for k, name in enumerate(ids) if passes[k] and q[name] <= design.fdr]
    level = told_level(design, max(1, sum(one <= design.fdr for one in q.values())), len(least))
    found = [
        finding(counts, int(tested[k]), pairs[k], design, p_value=p[k], q_value=q[ids[k]], level=level) for k in chosen
    ]
    return Found(
        findings=tuple(sorted(found, key=_first)),
        n_clusters=len(counts.cluster_ids),
        n_tested=len(tested),
        untested=_untested(counts),
        dispersion=known.shared,
        overall_ratio=_overall(counts, tested),
        fdr=design.fdr,
        least={name: one for name, one in least.items() if one < 1},
    )


def _testable(counts: Counts) -> Flags:
    return np.asarray((counts.exposure.sum(axis=1) > 0) & (counts.exposure_now > 0))


def _promising(pairs: Sequence[Pair]) -> Flags:
    """Whether the Poisson test, the least that p can be, is at most a quarter."""
    now = np.array([one.now for one in pairs])
    n = now + np.array([one.before for one in pairs])
    share = np.array([one.exposure_now / (one.exposure_now + one.exposure) for one in pairs])
    return np.asarray(stats.binom.sf(now - 1, n, share) <= _HOPELESS)


def _untested(counts: Counts) -> dict[Untested, int]:
    without = Counter(
        Untested.NO_HISTORY if not known else Untested.NO_EXPOSURE
        for known, now in zip(counts.exposure.sum(axis=1) > 0, counts.exposure_now > 0, strict=True)
        if not (known and now)
    )
    return dict(without)


def _fit(counts: Counts, tested: Ints) -> Fitted:
    """Fitted to the tested clusters; rows of weights by the place among all."""
    known = fit(counts.history[tested], counts.exposure[tested], counts.now[tested], counts.exposure_now[tested])
    weights = np.zeros((len(counts.cluster_ids), known.weights.shape[1]))
    weights[tested] = known.weights
    return Fitted(weights=weights, shared=known.shared)


def _grew(counts: Counts, at: int, pair: Pair, design: Design) -> bool:
    return bool(counts.n_users[at] >= design.min_users) and large_enough(pair, design)


def _first(one: Finding) -> tuple[float, float, str]:
    return one.q_value, -one.low, one.cluster_id


def _overall(counts: Counts, tested: Ints) -> float | None:
    """Failures now by those expected, over the clusters that were there before."""
    known = tested[~counts.born[tested]]
    rates = counts.history[known].sum(axis=1) / counts.exposure[known].sum(axis=1)
    expected = float((rates * counts.exposure_now[known]).sum())
    return float(counts.now[known].sum()) / expected if expected > 0 else None


def _nothing(counts: Counts, design: Design, n_tested: int, before: dict[str, float]) -> Found:
    return Found(
        findings=(),
        n_clusters=len(counts.cluster_ids),
        n_tested=n_tested,
        untested=_untested(counts),
        dispersion=None,
        overall_ratio=None,
        fdr=design.fdr,
        least=before,
    )
