"""Where a change happened: how much of it each release, model, tool, cluster or segment carries, with intervals.

The change of a mean between two windows splits exactly over the groups of a dimension (Kitagawa 1955, JASA 50:1168;
Oaxaca 1973, Int. Econ. Rev. 14:693, with both windows' means as reference): with shares w and means r of group g,

    C_g = w1 (r1 - c) - w0 (r0 - c),  c = (R0 + R1) / 2,      sum of C_g = R1 - R0
    within_g = (w0 + w1)/2 (r1 - r0),  mix_g = C_g - within_g = (w1 - w0) ((r0 + r1)/2 - c)

Intervals are by the delta method: each is a smooth function of means over sessions, whose influence per session is
1_g (a y + b) - d y. A group that one window lacks has the other's mean there: all that it brings is mix. The rest of
traffic without the group is held beside it: where that did not change, the group is where it happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from monitors.diagnosis.contributions import Attribution, Contribution, Groups, Interval, Split, Verdict
from monitors.diagnosis.records import Floats

LEAST_N: Final = 20.0  # sessions of both windows in a group that is told for itself
MOST_GROUPS: Final = 100
OTHERS: Final = "(others)"
LEVEL: Final = 0.95
_PRIOR_N: Final = 5.0  # a group's variance is that of all where it has few sessions
_TINY: Final = 1e-12


def attribution_of(groups: Groups, *, n_looks: int = 1, level: float = LEVEL) -> Attribution:
    """How the change of the mean splits over these groups, those with most of it first.

    `n_looks` is how many groups of all dimensions are looked at beside one another: each interval is widened for having
    been chosen among them (Šidák). Raises InvalidInput where a window has no session.
    """
    large = np.flatnonzero(groups.n.sum(axis=0) >= LEAST_N)
    kept = groups.taken(large) if groups.overlapping else folded(groups)
    if (kept.whole_n <= 0).any():
        raise InvalidInput("each window needs at least one session", field="groups")
    looks = max(1, n_looks, len(kept.values))
    z = float(scipy.stats.norm.isf((1 - level ** (1 / looks)) / 2))
    parts = _Parts(kept)
    found = [_contribution(parts, at, z) for at in range(len(kept.values))]
    ranked = sorted(found, key=lambda one: (-abs(one.total.value), one.value))
    return Attribution(
        dimension=groups.dimension,
        change=parts.whole(float(scipy.stats.norm.isf((1 - level) / 2))),
        split=None if groups.overlapping else parts.split(float(scipy.stats.norm.isf((1 - level) / 2))),
        contributions=tuple(ranked),
        verdict=_verdict(ranked),
    )


def where(dimensions: Sequence[Groups], *, level: float = LEVEL) -> tuple[Attribution, ...]:
    """The dimensions by how well one of their groups explains the change; those that explain nothing come last.

    A dimension without sessions in a window is left out.
    """
    usable = [one for one in dimensions if (one.whole_n > 0).all() and len(one.values)]
    n_looks = sum(min(MOST_GROUPS, len(one.values)) for one in usable)
    found = [attribution_of(one, n_looks=n_looks, level=level) for one in usable]
    order = {Verdict.ONLY_HERE: 0, Verdict.MORE_HERE: 1, Verdict.EVERYWHERE: 2, Verdict.UNCHANGED: 3}
    return tuple(sorted(found, key=lambda one: (order[one.verdict], -one.lead, one.dimension)))


def folded(groups: Groups) -> Groups:
    """With the small groups, and those beyond the largest 100, as one."""
    sizes = groups.n.sum(axis=0)
    largest = np.argsort(-sizes, kind="stable")[:MOST_GROUPS]
    keep = np.isin(np.arange(len(sizes)), largest) & (sizes >= LEAST_N)
    if keep.all():
        return groups
    kept, rest = groups.taken(np.flatnonzero(keep)), groups.taken(np.flatnonzero(~keep))
    return Groups(
        dimension=groups.dimension,
        values=(*kept.values, OTHERS),
        n=np.append(kept.n, rest.n.sum(axis=1, keepdims=True), axis=1),
        total=np.append(kept.total, rest.total.sum(axis=1, keepdims=True), axis=1),
        squares=np.append(kept.squares, rest.squares.sum(axis=1, keepdims=True), axis=1),
    )


class _Parts:
    """Shares, means and variances of the groups in both windows, (2, G), and what they say of the whole."""

    def __init__(self, groups: Groups) -> None:
        self.values = groups.values
        self.n = groups.whole_n
        self.mean = groups.whole_total / self.n
        self.var = np.maximum(groups.whole_squares / self.n - self.mean**2, 0.0)
        self.group_n = groups.n
        self.w = groups.n / self.n[:, None]
        there = groups.n > 0
        r = np.divide(groups.total, groups.n, out=np.zeros_like(groups.n), where=there)
        squares = np.divide(groups.squares, groups.n, out=np.zeros_like(groups.n), where=there)
        own = np.maximum(squares - r**2, 0.0)
        # One session has no variance, and neither have five that all went well: a part of that of all stands in.
        self.s2 = (groups.n * own + _PRIOR_N * self.var[:, None]) / (groups.n + _PRIOR_N)
        self.r = np.where(there, r, r[::-1])
        self.there = there
        self.c = float(self.mean.mean())

    def whole(self, z: float) -> Interval:
        """R1 - R0."""
        return _interval(float(self.mean[1] - self.mean[0]), float(np.sqrt((self.var / self.n).sum())), z)

    def total_of(self, at: int, z: float) -> Interval:
        """C_g."""
        w, r = self.w[:, at], self.r[:, at]
        value = float(w[1] * (r[1] - self.c) - w[0] * (r[0] - self.c))
        half_dw = (w[1] - w[0]) / 2
        variance = sum(self._variance(k, at, 1.0, -self.c, half_dw) for k in (0, 1))
        return _interval(value, float(np.sqrt(variance)), z)

    def within_of(self, at: int, z: float) -> Interval:
        """(w0 + w1)/2 (r1 - r0); nothing where a window lacks the group."""
        if not self.there[:, at].all():
            return _interval(0.0, 0.0, z)
        w, r = self.w[:, at], self.r[:, at]
        wide = float(w.mean())
        variance = sum(self._variance(k, at, *self._of_within(k, at), 0.0) for k in (0, 1))
        return _interval(wide * float(r[1] - r[0]), float(np.sqrt(variance)), z)

    def split(self, z: float) -> Split:
        """The change within groups and that of the mix, added up; for groups that do not overlap."""
        both = np.flatnonzero(self.there.all(axis=0))
        within = float((self.w.mean(axis=0) * (self.r[1] - self.r[0]))[both].sum())
        var_within = var_mix = 0.0
        for k in (0, 1):
            a, b = np.zeros(len(self.values)), np.zeros(len(self.values))
            for at in both:
                a[at], b[at] = self._of_within(k, int(at))
            var_within += self._variance_of_all(k, a, b)
            # The mix is the change less the within: influence +-y less that of the within.
            sign = 1.0 if k == 1 else -1.0
            var_mix += self._variance_of_all(k, sign - a, -b)
        change = float(self.mean[1] - self.mean[0])
        return Split(
            within=_interval(within, float(np.sqrt(var_within)), z),
            mix=_interval(change - within, float(np.sqrt(var_mix)), z),
        )

    def rest_of(self, at: int, z: float) -> Interval | None:
        """The change of all sessions but the group's; None where a window has none."""
        n = self.n - self.group_n[:, at]
        if (n <= 0.5).any():
            return None
        total = self.n * self.mean - self.group_n[:, at] * np.where(self.there[:, at], self.r[:, at], 0.0)
        mean = total / n
        square = self.n * (self.var + self.mean**2)
        own = np.where(self.there[:, at], self.s2[:, at] + self.r[:, at] ** 2, 0.0)
        var = np.maximum((square - self.group_n[:, at] * own) / n - mean**2, 0.05 * self.var)
        return _interval(float(mean[1] - mean[0]), float(np.sqrt((var / n).sum())), z)

    def _of_within(self, k: int, at: int) -> tuple[float, float]:
        """a and b of the influence of a session in window k on the within part of its group."""
        w, r = self.w[:, at], self.r[:, at]
        slope = float(w.mean() / w[k]) * (1.0 if k == 1 else -1.0)
        return slope, float(r[1] - r[0]) / 2 - slope * float(r[k])

    def _variance(self, k: int, at: int, a: float, b: float, d: float) -> float:
        """Variance of a mean over window k of 1_g (a y + b) - d y. The sign of k = 0 plays no part but in d."""
        w, r, s2 = float(self.w[k, at]), float(self.r[k, at]), float(self.s2[k, at])
        d = d if k == 1 else -d
        rest = max(0.0, 1 - w)
        other = (float(self.mean[k]) - w * r) / rest if rest > _TINY else 0.0
        inside, outside = (a - d) * r + b, -d * other
        first = w * inside + rest * outside
        second = w * (inside**2 + (a - d) ** 2 * s2) + rest * (outside**2 + d**2 * float(self.var[k]))
        return float(max(0.0, second - first**2) / self.n[k])

    def _variance_of_all(self, k: int, a: Floats, b: Floats) -> float:
        """Variance of a mean over window k of the sum over groups of 1_g (a_g y + b_g)."""
        inside = a * self.r[k] + b
        first = float((self.w[k] * inside).sum())
        second = float((self.w[k] * (inside**2 + a**2 * self.s2[k])).sum())
        return max(0.0, second - first**2) / float(self.n[k])


def _contribution(parts: _Parts, at: int, z: float) -> Contribution:
    total, within = parts.total_of(at, z), parts.within_of(at, z)
    whole = float(parts.mean[1] - parts.mean[0])
    w = parts.w[:, at]
    return Contribution(
        value=parts.values[at],
        n_before=float(parts.group_n[0, at]),
        n_now=float(parts.group_n[1, at]),
        share_before=float(w[0]),
        share_now=float(w[1]),
        before=float(parts.r[0, at]) if parts.there[0, at] else None,
        now=float(parts.r[1, at]) if parts.there[1, at] else None,
        total=total,
        within=within.value,
        mix=total.value - within.value,
        part=total.value / whole if abs(whole) > _TINY else None,
        rest=parts.rest_of(at, z),
    )


def _verdict(ranked: Sequence[Contribution]) -> Verdict:
    """What the leading group says: it alone, it more than others, all alike, or nothing."""
    lead = ranked[0] if ranked else None
    if lead is None or lead.total.low <= 0 <= lead.total.high:
        return Verdict.UNCHANGED
    if lead.rest is None or lead.part is None:
        return Verdict.EVERYWHERE
    if lead.part > 0.5 and lead.rest.low <= 0 <= lead.rest.high and abs(lead.rest.value) < abs(lead.own_change) / 4:
        return Verdict.ONLY_HERE
    apart = abs(lead.own_change) > 1.5 * abs(lead.rest.value)
    return Verdict.MORE_HERE if apart and lead.part > max(lead.share_before, lead.share_now) else Verdict.EVERYWHERE


def _interval(value: float, se: float, z: float) -> Interval:
    return Interval(value=value, se=se, low=value - z * se, high=value + z * se)
