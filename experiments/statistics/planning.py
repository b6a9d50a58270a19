"""How many units an experiment takes, with each reason for more or fewer, and what power it has at other effects.

Sessions of two rates, per arm of equal size (Fleiss, Levin, Paik 2003, 4.14):

    n = (z_(1-alpha/2) sqrt(2 p q) + z_power sqrt(p1 q1 + p2 q2))^2 / (p2 - p1)^2,  p = (p1 + p2) / 2,

of two means 2 (z + z)^2 sd^2 / mde^2; with other splits both variances take their arm's share. What then multiplies n:

    sessions of one user   deff = 1 + (m (1 + cv^2) - 1) icc; Kish 1965, section 5.4, with unequal m
    CUPED                  1 - rho^2; Deng, Xu, Kohavi, Walker 2013
    several metrics        z at alpha / n_metrics (Bonferroni)
    looking every day      (drift with the power at these looks / (z_(1-alpha/2) + z_power))^2, by recursion (drift.py)

The power of the curve counts both tails. With one look |z| has the pooled variance under no effect, as in the formula;
with several it has the arms' own, which is what the looks are taken with (effects.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import scipy

from core.errors import InvalidInput
from experiments.records import Design
from experiments.statistics.drift import crossing, drift_for
from experiments.statistics.effects import check_alpha, z_of
from experiments.statistics.sequential import anytime_boundary
from experiments.statistics.spending import bounds

Kind = Literal["binary", "mean"]

LOOKS: Final = 14  # where the days are not known
MOST_LOOKS: Final = 56  # more cost next to nothing in width
ASSUMED_ICC: Final = 0.2  # of sessions of one user, where nobody measured it
MOST_UNITS: Final = 10**12
MOST_SIZE: Final = 1e9  # of a number of a plan, and as small a share of 1: squares of others are no numbers any more
LEAST_ALPHA: Final = 1e-6
_POINTS: Final = 41


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be found. `baseline` and `mde` in the metric's unit, mde signed and absolute; `sd` of one session's
    value, for means. `sessions_cv`: sd over mean of the sessions per user. `icc` None: ASSUMED_ICC where a user has
    several sessions. `rho`: correlation of the metric with itself before the experiment, by user. `split`: the
    treatment's share. `design` None: one look at the end."""

    baseline: float
    mde: float
    kind: Kind = "binary"
    sd: float | None = None
    alpha: float = 0.05
    power: float = 0.8
    sessions_per_user: float = 1.0
    sessions_cv: float = 0.0
    icc: float | None = None
    rho: float = 0.0
    split: float = 0.5
    users_per_day: float | None = None
    n_metrics: int = 1
    design: Design | None = Design.GROUP_SEQUENTIAL


@dataclass(frozen=True, kw_only=True)
class Inflation:
    """One reason for more (or, below 1, fewer) units."""

    name: str
    factor: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What it takes. `n_sessions_independent`: per arm of the control, before any inflation. `expected_units`: how many
    come on average until it stops when the effect is the mde, and when there is none. `curve`: (effect, power) at these
    units, from no effect to twice the mde."""

    n_control: int
    n_treatment: int
    units: int
    sessions: int
    days: int | None
    looks: int
    n_sessions_independent: int
    power: float
    expected_units: int
    expected_units_without_effect: int
    inflations: tuple[Inflation, ...]
    curve: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As the API gives it: `n_per_arm` [control, treatment], the curve as {effect, power}."""
        told = asdict(self)
        told["n_per_arm"] = [told.pop("n_control"), told.pop("n_treatment")]
        told["curve"] = [{"effect": effect, "power": power} for effect, power in self.curve]
        return told


def plan(wanted: Wanted) -> Planned:
    """Units, sessions and days for a wanted power. Raises InvalidInput for what is no plan, naming the field."""
    _check(wanted)
    independent = _independent(wanted, wanted.alpha)
    shared = _shared_inflations(wanted, independent)
    looks = 1 if wanted.design is None else LOOKS
    for _ in range(3):  # looks are days, and days follow from the units
        inflations = (*shared, *_looking(wanted, looks))
        units = _units(wanted, independent * math.prod(one.factor for one in inflations))
        days = None if wanted.users_per_day is None else math.ceil(units / wanted.users_per_day)
        if wanted.design is None or days is None or looks == min(days, MOST_LOOKS):
            break
        looks = min(days, MOST_LOOKS)
    n_treatment = math.ceil(units * wanted.split)
    at_mde, at_none = (_crossed(wanted, units, effect, looks) for effect in (wanted.mde, 0.0))
    return Planned(
        n_control=units - n_treatment,
        n_treatment=n_treatment,
        units=units,
        sessions=math.ceil(units * wanted.sessions_per_user),
        days=days,
        looks=looks,
        n_sessions_independent=math.ceil(independent - 1e-9),
        power=at_mde[0],
        expected_units=math.ceil(units * at_mde[1]),
        expected_units_without_effect=math.ceil(units * at_none[1]),
        inflations=inflations,
        curve=power_curve(wanted, units, looks),
        notes=_notes(wanted, days),
    )


def power_curve(wanted: Wanted, units: int, looks: int = 1) -> tuple[tuple[float, float], ...]:
    """(effect, power) with so many units over both arms, at effects of the mde's sign up to twice its size that the
    metric can have; the chance to call a difference, whichever way. Raises InvalidInput for what is no plan."""
    _check(wanted)
    effects = [float(one) for one in np.linspace(0.0, 2 * wanted.mde, _POINTS)]
    can = [one for one in effects if wanted.kind == "mean" or 0 < wanted.baseline + one < 1]
    return tuple((one, _crossed(wanted, units, one, looks)[0]) for one in can)


def power_at(wanted: Wanted, units: int, effect: float, looks: int = 1) -> float:
    """The chance that so many units over both arms call a difference of this size. Raises InvalidInput as `plan`."""
    _check(replace(wanted, mde=effect) if effect else wanted)
    return _crossed(wanted, units, effect, looks)[0]


def smallest_effect(wanted: Wanted, units: int, looks: int = 1) -> float:
    """The effect of the mde's sign that so many units find with the wanted power; the mde's size does not matter.

    Raises InvalidInput where no effect that the metric can have is found with it.
    """
    _check(wanted)
    sign = math.copysign(1.0, wanted.mde)
    room = (1 - wanted.baseline if sign > 0 else wanted.baseline) if wanted.kind == "binary" else math.inf
    high = min(abs(wanted.mde), room / 2)
    while _crossed(wanted, units, sign * high, looks)[0] < wanted.power:
        if high >= room * (1 - 1e-6) or high > 1e12:
            raise InvalidInput(f"{units} units find no effect with a power of {wanted.power}", field="units")
        high = min(2 * high, room * (1 - 1e-6))
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _crossed(wanted, units, sign * middle, looks)[0] < wanted.power else (low, middle)
    return sign * high


def detectable(se: float, *, alpha: float, power: float = 0.8) -> float:
    """The least effect that a test with this standard error finds: (z_(1-alpha/2) + z_power) se."""
    return (z_of(alpha) + float(scipy.special.ndtri(power))) * se


def sequential_factor(design: Design, looks: int, alpha: float, power: float) -> float:
    """By how much more information a design takes than one look for the same power, with equally spaced looks."""
    fractions, limits = _limits(design, looks, alpha)
    return (drift_for(power, fractions, limits) / (z_of(alpha) + float(scipy.special.ndtri(power)))) ** 2


def _independent(wanted: Wanted, alpha: float) -> float:
    """Independent sessions of the control."""
    ratio = wanted.split / (1 - wanted.split)
    z_alpha, z_power = z_of(alpha), float(scipy.special.ndtri(wanted.power))
    null, own = _spreads(wanted, wanted.mde, ratio)
    return (z_alpha * null + z_power * own) ** 2 / wanted.mde**2


def _spreads(wanted: Wanted, effect: float, ratio: float) -> tuple[float, float]:
    """sqrt(n_control) times the standard error of the difference: pooled under no effect, and the arms' own."""
    if wanted.kind == "mean":
        same = (wanted.sd or 0.0) * math.sqrt(1 + 1 / ratio)
        return same, same
    one, two = wanted.baseline, wanted.baseline + effect
    pooled = (one + ratio * two) / (1 + ratio)
    return math.sqrt(pooled * (1 - pooled) * (1 + 1 / ratio)), math.sqrt(one * (1 - one) + two * (1 - two) / ratio)


def _shared_inflations(wanted: Wanted, independent: float) -> tuple[Inflation, ...]:
    found = []
    if wanted.sessions_per_user != 1:
        m, icc = wanted.sessions_per_user, _icc(wanted)
        assumed = " (assumed: measure it)" if wanted.icc is None else ""
        found.append(Inflation(
            name="sessions of one user", factor=_deff(wanted),
            reason=f"{m:g} sessions a user that agree with each other: 1 + ({m:g} x (1 + {wanted.sessions_cv:g}^2) "
            f"- 1) x {icc:g}, the correlation within a user{assumed}",
        ))  # fmt: skip
    if wanted.rho:
        found.append(Inflation(
            name="cuped", factor=1 - wanted.rho**2,
            reason=f"what users did before explains {wanted.rho**2:.0%} of the variance: 1 - {wanted.rho:g}^2",
        ))  # fmt: skip
    if wanted.n_metrics > 1:
        more = _independent(wanted, wanted.alpha / wanted.n_metrics) / independent
        found.append(Inflation(
            name="several metrics", factor=more,
            reason=f"{wanted.n_metrics} metrics decide: each is tested at {wanted.alpha / wanted.n_metrics:.3g}",
        ))  # fmt: skip
    return tuple(found)


def _looking(wanted: Wanted, looks: int) -> tuple[Inflation, ...]:
    match wanted.design:
        case None:
            return ()
        case Design.GROUP_SEQUENTIAL:
            how = "group-sequential bounds of O'Brien-Fleming's kind"
        case Design.CONFIDENCE_SEQUENCE:
            how = "a confidence sequence, which needs no horizon"
    factor = sequential_factor(wanted.design, looks, wanted.alpha / wanted.n_metrics, wanted.power)
    return (Inflation(name="looking", factor=factor, reason=f"{looks} looks, by {how}"),)


def _limits(design: Design | None, looks: int, alpha: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    fractions = tuple((one + 1) / looks for one in range(looks))
    match design:
        case None:
            return (1.0,), (z_of(alpha),)
        case Design.GROUP_SEQUENTIAL:
            return fractions, bounds(fractions, alpha)
        case Design.CONFIDENCE_SEQUENCE:  # tuned to the planned units, so that the fraction is all that matters
            return fractions, tuple(anytime_boundary(one, alpha, 1.0) for one in fractions)


def _crossed(wanted: Wanted, units: int, effect: float, looks: int) -> tuple[float, float]:
    """Power, and the share of the units that come until it stops."""
    fractions, limits = _limits(wanted.design, looks, wanted.alpha / wanted.n_metrics)
    ratio = wanted.split / (1 - wanted.split)
    weight = units * (1 - wanted.split) * wanted.sessions_per_user / _deff(wanted) / (1 - wanted.rho**2)
    null, own = _spreads(wanted, effect, ratio)
    if len(limits) == 1:
        limits = (limits[0] * null / own,)
    found = crossing(fractions, limits, min(60.0, abs(effect) / own * math.sqrt(weight)))
    return min(1.0, found.power), min(1.0, found.expected_fraction)


def _units(wanted: Wanted, sessions: float) -> int:
    """Over both arms, from sessions of the control."""
    found = sessions / wanted.sessions_per_user / (1 - wanted.split)
    if not found < MOST_UNITS:
        raise InvalidInput(f"an effect of {wanted.mde:g} takes more than {MOST_UNITS:.0e} units", field="mde")
    control = max(2, math.ceil(found * (1 - wanted.split) - 1e-9))
    return control + max(2, math.ceil(control * wanted.split / (1 - wanted.split) - 1e-9))


def _icc(wanted: Wanted) -> float:
    return ASSUMED_ICC if wanted.icc is None else wanted.icc


def _deff(wanted: Wanted) -> float:
    if wanted.sessions_per_user == 1:
        return 1.0
    return max(1.0, 1 + (wanted.sessions_per_user * (1 + wanted.sessions_cv**2) - 1) * _icc(wanted))


def _notes(wanted: Wanted, days: int | None) -> tuple[str, ...]:
    found = []
    if wanted.sessions_per_user > 1 and wanted.icc is None:
        found.append(
            f"The correlation within a user is assumed to be {ASSUMED_ICC:g}. An analysis of past sessions tells it."
        )
    if days is not None and days % 7:
        found.append(f"{days} days are no whole weeks: {math.ceil(days / 7) * 7} days see each weekday as often.")
    if days is not None and days > 56:
        found.append("More than eight weeks: a larger effect, CUPED or a metric with less noise would end it sooner.")
    return tuple(found)


def _check(wanted: Wanted) -> None:
    check_alpha(wanted.alpha)
    numbers = [one for one in asdict(wanted).values() if isinstance(one, float | int)]
    if not all(math.isfinite(one) for one in numbers):
        raise InvalidInput("a plan is made of finite numbers", field="plan")
    if wanted.kind == "binary" and not (0 < wanted.baseline < 1 and 0 < wanted.baseline + wanted.mde < 1):
        raise InvalidInput(
            f"a rate of {wanted.baseline:g} that moves by {wanted.mde:g}: both rates lie between 0 and 1", field="mde"
        )
    if wanted.kind == "mean" and not (wanted.sd or 0) > 0:
        raise InvalidInput("the plan of a mean needs the standard deviation of one session's value", field="sd")
    for field in ("baseline", "mde", "sd", "sessions_per_user", "sessions_cv", "users_per_day"):
        size = abs(getattr(wanted, field) or 0.0)
        if size and not 1 / MOST_SIZE <= size <= MOST_SIZE:
            raise InvalidInput(f"{field} is {size:g}: numbers of a plan have a size of 1e-9 to 1e9", field=field)
    said: list[tuple[str, bool, str]] = [
        ("mde", wanted.mde != 0, "an effect of 0 is never found"),
        ("alpha", wanted.alpha >= LEAST_ALPHA, f"an alpha is at least {LEAST_ALPHA:g}"),
        ("power", wanted.alpha < wanted.power < 1, "a power lies between alpha and 1"),
        ("split", 0 < wanted.split < 1, "the treatment's share lies between 0 and 1"),
        ("sessions_per_user", wanted.sessions_per_user >= 1, "a user has one session at least"),
        ("sessions_cv", wanted.sessions_cv >= 0, "a coefficient of variation is 0 or more"),
        ("icc", 0 <= _icc(wanted) <= 1, "a correlation within users is from 0 to 1"),
        ("rho", -1 < wanted.rho < 1, "a correlation with the past lies between -1 and 1"),
        ("users_per_day", wanted.users_per_day is None or wanted.users_per_day > 0, "users a day are above 0"),
        ("n_metrics", 1 <= wanted.n_metrics <= 1000, "1 to 1000 metrics"),
    ]
    for field, holds, text in said:
        if not holds:
            raise InvalidInput(f"{text}, not {getattr(wanted, field)}", field=field)
