"""By how much a cluster's failures grew: the ratio of rates with its interval, and the minimum effect."""

from __future__ import annotations

from clustering.emerging.predictive import Pair, lower_bound, tails, upper_bound
from clustering.emerging.records import Counts, Design, Finding, Kind


def large_enough(pair: Pair, design: Design) -> bool:
    """Whether the one-sided lower bound of the ratio at `design.bound_level` is above `design.min_ratio`.

    Asked as a test at that ratio, which is what the bound inverts.
    """
    return tails(pair, design.min_ratio)[0] < 1 - design.bound_level


def told_level(design: Design, n_chosen: int, n_tested: int) -> float:
    """The level of an interval told because it was chosen: 1 - (1 - level) chosen / tested.

    Of all intervals told in this way at most 1 - level are expected to miss (false-coverage rate; Benjamini, Yekutieli
    2005, JASA 100:71, procedure 1), where intervals at the plain level around the largest of many ratios miss far more.
    """
    return 1 - (1 - design.level) * n_chosen / n_tested


def finding(
    counts: Counts, at: int, pair: Pair, design: Design, *, p_value: float, q_value: float, level: float
) -> Finding:
    """What is told of the cluster at this place of `counts`; the interval is at `level`."""
    new = pair.before == 0 or pair.ratio >= design.new_ratio
    return Finding(
        cluster_id=counts.cluster_ids[at],
        kind=Kind.NEW if new else Kind.GROWING,
        p_value=p_value,
        q_value=q_value,
        rate_ratio=pair.ratio,
        low=lower_bound(pair, (1 - level) / 2),
        high=upper_bound(pair, (1 - level) / 2),
        level=level,
        at_least=lower_bound(pair, 1 - design.bound_level),
        n=pair.now,
        n_before=pair.before,
        expected=pair.before * pair.exposure_now / pair.exposure,
        n_users=int(counts.n_users[at]),
        first_seen_ns=int(counts.first_seen_ns[at]),
    )
