"""The difference of two arms from their sums: delta method over units, Welch's t, a score interval for rare events.

A unit is a cluster. With M = y / s the metric of an arm, the variance of M is that of the mean over its n units of
(Y_u - M S_u) / mean(S), n - 1 in the divisor: the delta method of a ratio (Deng, Knoblich, Lu 2018, KDD, section 3);
with one observation a unit it is the variance of a mean. The difference has Welch's degrees of freedom (Welch 1947,
Biometrika 34:28) at every n: below 50 units an arm they matter, above they do no harm.

A few users with most of the sessions tell less than the number of users says. Kish's s^2 / ss is how many users with
equally many sessions tell as much; where that is below 50 it stands for n, in the divisor and in the degrees of freedom
(G* / (G* - 1) makes the variance unbiased and G* - 1 are Satterthwaite's degrees of freedom where the variance of a
unit's Y - M S grows with S; effective clusters: Carter, Schnepel, Steigerwald 2017, REStat 99:698). Below 2 one unit
has most of the observations, and there is no effect to tell.

Yes-or-no metrics of which an arm has fewer than 10 of either answer get the score interval of Miettinen and Nurminen
1985 (Stat Med 4:213), which is not empty at 0 of n. Units with several observations count there by Kish's number
s^2 / ss, which is right if all observations of a unit say the same and on the safe side otherwise.

What cannot be told: sums of doubles lose the spread of values whose standard deviation is less than 1e-5 of their size
(yy - y^2/n cancels). Such an arm counts as constant; where such values matter, subtract a fixed number before summing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import scipy

from core.errors import InvalidInput
from experiments.statistics.records import Effect, Moments, NoEffect, Why

FEW: Final = 50  # effective units in an arm, below which they stand for its number of units
LEAST: Final = 2  # effective units: below, one unit has most of the observations
RARE: Final = 10  # fewer answers of one kind in an arm: the normal approximation of its mean is not to be trusted
RESOLVED: Final = 1e-10  # of the sum of squares: what is left of it after cancellation is rounding
_FARTHEST: Final = 37.5  # sf(37.5) = 1e-307: beyond, no double tells


@dataclass(frozen=True, kw_only=True)
class ArmMean:
    """An arm's metric with the variance of that figure (0: every unit says the same) over n units. `effective`: as how
    many units they count; None: n."""

    mean: float
    variance: float
    n: int
    effective: float | None = None

    @property
    def df(self) -> float:
        """Of its variance."""
        return (self.n if self.effective is None else self.effective) - 1


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Treatment - control before a level is chosen. `df` of Welch's t; with `effective` (control, treatment: how many
    independent yes-or-no answers) the score interval is used and there is no `df`."""

    control: ArmMean
    treatment: ArmMean
    estimate: float
    se: float
    df: float | None
    effective: tuple[float, float] | None = None
    method: str = "delta_welch_t"

    @property
    def z(self) -> float:
        """The statistic on the normal's scale: the normal deviate with the p-value that the t (or score) has."""
        return self.against(0.0)

    def against(self, value: float) -> float:
        """The statistic where the difference is held against `value` instead of 0, as for a margin."""
        if self.effective is not None:
            return _score_z(self.control.mean, self.treatment.mean, *self.effective, value)
        return t_to_z((self.estimate - value) / self.se, self.df)

    def interval(self, z: float) -> tuple[float, float]:
        """The values that a two-sided test with normal boundary `z` does not reject."""
        if self.effective is not None:
            return _score_interval(self.control.mean, self.treatment.mean, *self.effective, z)
        half = z_to_t(z, self.df) * self.se
        return self.estimate - half, self.estimate + half

    def effect(self, z: float, level: float, method: str | None = None) -> Effect:
        """The effect with the interval of boundary `z`, said to hold at `level`. No p where both arms are constant."""
        low, high = self.interval(z)
        flat = self.control.variance == 0 and self.treatment.variance == 0 and self.estimate == 0
        return Effect(
            control=self.control.mean,
            treatment=self.treatment.mean,
            n_control=self.control.n,
            n_treatment=self.treatment.n,
            estimate=self.estimate,
            se=self.se,
            low=low,
            high=high,
            level=level,
            method=self.method if method is None else f"{method}+{self.method}",
            p_value=None if flat else float(2 * scipy.special.ndtr(-abs(self.z))),
            df=self.df,
        )


def difference(control: Moments, treatment: Moments, *, alpha: float, binary: bool = False) -> Effect | NoEffect:
    """Treatment - control at one look that was fixed before, two-sided at 1 - alpha.

    `binary`: every observation is 0 or 1. Raises InvalidInput for an alpha outside 0 to 1.
    """
    found = contrast(control, treatment, binary=binary)
    if isinstance(found, NoEffect):
        check_alpha(alpha)
        return found
    return found.effect(z_of(alpha), 1 - alpha)


def contrast(control: Moments, treatment: Moments, *, binary: bool = False) -> Contrast | NoEffect:
    """The difference before a level is chosen: what fixed and sequential designs share."""
    lack = unfit(control, treatment)
    if lack is not None:
        return lack
    if binary and min(_of_rarer(control), _of_rarer(treatment)) < RARE:
        return _rare(control, treatment)
    of_control, of_treatment = arm_mean(control), arm_mean(treatment)
    if of_control.variance == 0 and of_treatment.variance == 0:
        return NoEffect(
            why=Why.CONSTANT,
            text="All units of both arms say the same (or differ by less than 1e-5 of their size, which sums cannot "
            "tell): nothing to weigh. Look at whether the metric is measured at all.",
        )
    return of_arms(of_control, of_treatment)


def of_arms(control: ArmMean, treatment: ArmMean, *, method: str = "delta_welch_t") -> Contrast:
    """Welch's difference of two arms of which one at least has a variance: df = (a + b)^2 / (a^2 / (n_c - 1) +
    b^2 / (n_t - 1)), a and b the variances of the means, n as the arms count."""
    whole = control.variance + treatment.variance
    shares = ((control.variance / whole) ** 2, (treatment.variance / whole) ** 2)
    df = 1 / (shares[0] / control.df + shares[1] / treatment.df)
    return Contrast(
        control=control,
        treatment=treatment,
        estimate=treatment.mean - control.mean,
        se=math.sqrt(whole),
        df=df,
        method=method,
    )


def arm_mean(moments: Moments) -> ArmMean:
    """The metric of an arm and the variance of that figure; of at least two units with an observation."""
    effective = effective_units(moments)
    variance = spread(moments) * effective / (effective - 1) / moments.s**2
    return ArmMean(mean=moments.y / moments.s, variance=variance, n=moments.n, effective=effective)


def effective_units(moments: Moments) -> float:
    """As how many units an arm's units with observations count: Kish's s^2 / ss where that is below FEW, else n."""
    kish = moments.s**2 / moments.ss
    return min(kish, float(moments.n)) if kish < FEW else float(moments.n)


def design_effect(moments: Moments) -> float:
    """How many times the variance of a share is what its observations would give if each were a unit: Kish's deff
    (1965, Survey Sampling, 8.2). At least 1; 1 too where units or observations say nothing of it."""
    mean = moments.mean
    if moments.n < 2 or mean is None or not 0 < mean < 1:
        return 1.0
    return max(1.0, arm_mean(moments).variance * moments.s / (mean * (1 - mean)))


def spread(moments: Moments) -> float:
    """Sum over units of (Y - M S)^2; 0 where rounding is all that cancellation left of it."""
    mean = moments.y / moments.s
    left = moments.yy - 2 * mean * moments.sy + mean * mean * moments.ss
    size = moments.yy + 2 * abs(mean * moments.sy) + mean * mean * moments.ss
    return 0.0 if left <= RESOLVED * size else left


def unfit(control: Moments, treatment: Moments) -> NoEffect | None:
    """Why these sums have no difference whatever the method; None where they may have one."""
    if not all(math.isfinite(one) for arm in (control, treatment) for one in vars(arm).values()):
        return NoEffect(
            why=Why.NOT_FINITE,
            text="A sum is NaN or infinite: an outcome was no number. Find the rows and leave them out as missing.",
        )
    if not control.n and not treatment.n:
        return NoEffect(why=Why.NO_UNITS, text="No unit with an outcome in either arm yet. Wait for traffic.")
    for arm, name in ((control, "control"), (treatment, "treatment")):
        if not arm.n:
            return NoEffect(
                why=Why.ONE_ARM,
                text=f"No unit with an outcome in the {name}, so there is nothing to compare. Look at the assignment.",
            )
        if arm.s <= 0:
            return NoEffect(why=Why.NO_OBSERVATIONS, text=f"The units of the {name} have no observation of the metric.")
        if arm.n == 1:
            return NoEffect(
                why=Why.ONE_UNIT,
                text=f"One unit in the {name}: how much units differ cannot be told from one. Wait for more.",
            )
        if effective_units(arm) < LEAST:
            return lopsided(name, arm.n, effective_units(arm))
    return None


def lopsided(name: str, n: int, effective: float) -> NoEffect:
    """Nearly all observations of an arm are those of one of its n units."""
    return NoEffect(
        why=Why.FEW_UNITS,
        text=f"One unit has most of the observations of the {name}: its {n} units tell as much as {effective:.1f} with "
        "equally many. Look at what that unit is; leave it out if it is no user, or take a metric of units.",
    )


def check_alpha(alpha: float) -> None:
    """Raises InvalidInput for an alpha outside 0 to 1."""
    if not 0 < alpha < 1:
        raise InvalidInput(f"an alpha lies between 0 and 1, not {alpha}", field="alpha")


def z_of(alpha: float) -> float:
    """The normal's two-sided boundary at alpha. Raises InvalidInput for an alpha outside 0 to 1."""
    check_alpha(alpha)
    return float(-scipy.special.ndtri(alpha / 2))


def t_to_z(t: float, df: float | None) -> float:
    """The normal deviate that has the tail probability of Student's t."""
    if df is None or abs(t) < 1e-8:
        return t
    tail = float(scipy.special.stdtr(df, -abs(t)))
    z = _FARTHEST if tail < 1e-307 else float(-scipy.special.ndtri(tail))
    return math.copysign(z, t)


def z_to_t(z: float, df: float | None) -> float:
    """Student's t that has the tail probability of a normal deviate above 0."""
    if df is None:
        return z
    return float(-scipy.special.stdtrit(df, float(scipy.special.ndtr(-min(z, _FARTHEST)))))


def _of_rarer(arm: Moments) -> float:
    return min(arm.y, arm.s - arm.y)


def _rare(control: Moments, treatment: Moments) -> Contrast:
    """se is what a Wald interval as wide as the score interval at 95% would have."""
    means = [
        ArmMean(mean=arm.y / arm.s, variance=arm.y / arm.s * (1 - arm.y / arm.s) * arm.ss / arm.s**2, n=arm.n)
        for arm in (control, treatment)
    ]
    effective = (control.s**2 / control.ss, treatment.s**2 / treatment.ss)
    low, high = _score_interval(means[0].mean, means[1].mean, *effective, z_of(0.05))
    return Contrast(
        control=means[0],
        treatment=means[1],
        estimate=means[1].mean - means[0].mean,
        se=(high - low) / (2 * z_of(0.05)),
        df=None,
        effective=effective,
        method="miettinen_nurminen",
    )


def _score_z(p_control: float, p_treatment: float, n_control: float, n_treatment: float, delta: float) -> float:
    """(d - delta) / sqrt of the variance under p_t - p_c = delta, with Miettinen and Nurminen's N / (N - 1)."""
    control, treatment = _constrained(p_control, p_treatment, n_control, n_treatment, delta)
    n = n_control + n_treatment
    variance = (control * (1 - control) / n_control + treatment * (1 - treatment) / n_treatment) * n / (n - 1)
    far = p_treatment - p_control - delta
    if abs(far) < 1e-12:
        return 0.0
    return far / math.sqrt(variance) if variance > 0 else math.copysign(_FARTHEST, far)


def _constrained(
    p_control: float, p_treatment: float, n_control: float, n_treatment: float, delta: float
) -> tuple[float, float]:
    """Likeliest rates with p_t - p_c = delta: the root of the cubic in Miettinen and Nurminen 1985, appendix I."""
    n = n_control + n_treatment
    y_control, y_treatment = p_control * n_control, p_treatment * n_treatment
    l3, l2 = n, (n_treatment + 2 * n_control) * delta - n - y_control - y_treatment
    l1 = (n_control * delta - n - 2 * y_control) * delta + y_control + y_treatment
    l0 = y_control * delta * (1 - delta)
    q = l2**3 / (3 * l3) ** 3 - l1 * l2 / (6 * l3**2) + l0 / (2 * l3)
    p = math.copysign(math.sqrt(max(0.0, l2**2 / (3 * l3) ** 2 - l1 / (3 * l3))), q if q else 1.0)
    cosine = min(1.0, max(-1.0, q / p**3)) if p else 0.0
    control = min(1.0, max(0.0, 2 * p * math.cos((math.pi + math.acos(cosine)) / 3) - l2 / (3 * l3)))
    return control, min(1.0, max(0.0, control + delta))


def _score_interval(
    p_control: float, p_treatment: float, n_control: float, n_treatment: float, z: float
) -> tuple[float, float]:
    estimate = p_treatment - p_control

    def beyond(delta: float) -> float:
        return abs(_score_z(p_control, p_treatment, n_control, n_treatment, delta)) - z

    ends = []
    for end in (-1.0 + 1e-12, 1.0 - 1e-12):
        inside = beyond(end) <= 0 or abs(estimate - end) < 1e-9
        ends.append(round(end) if inside else float(scipy.optimize.brentq(beyond, estimate, end, xtol=1e-14)))
    return ends[0], ends[1]
