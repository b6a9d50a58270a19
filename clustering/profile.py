"""How the sessions of each cluster differ from the rest of the app: figures, attributes, and where they go wrong.

Pure. Sessions of one user are not independent: a share's interval is Wilson's with both counts divided by the design
effect of users (Rao, Scott 1992, Biometrics 48:577), a mean's the t of a ratio of users' totals (Kish 1965, section
6.3), a median's the share's of being below it turned back (Woodruff 1952, JASA 47:635). A session without a user is its
own. All intervals are at 95% and each for itself: a page of many differences shows some that are chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, assert_never

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from clustering.records import Labels
from core.errors import InvalidInput

LEVEL: Final = 0.95
Z: Final = float(stats.norm.isf((1 - LEVEL) / 2))
FEWEST: Final = 6  # values for a median's interval: below, none at 95% lies within them
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Measure(StrEnum):
    """How a column becomes a figure."""

    SHARE = "share"  # of true, or of numbers above 0
    MEAN = "mean"
    MEDIAN = "median"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A figure: of which column, in which unit."""

    name: str
    column: str
    measure: Measure
    unit: str
    note: str | None = None


FIGURES: Final = (
    Spec(name="failure rate", column="failed", measure=Measure.SHARE, unit="share"),
    Spec(name="cost", column="cost_usd", measure=Measure.MEAN, unit="usd"),
    Spec(name="duration", column="duration_ms", measure=Measure.MEDIAN, unit="ms"),
    Spec(name="turns", column="n_turns", measure=Measure.MEAN, unit="count"),
    Spec(name="with a tool error", column="n_tool_errors", measure=Measure.SHARE, unit="share"),
    Spec(name="escalated", column="escalated", measure=Measure.SHARE, unit="share"),
)


class Told(NamedTuple):
    """A value with its interval; None: not known."""

    value: float | None
    low: float | None
    high: float | None


NOTHING: Final = Told(None, None, None)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a cluster beside that of the app's other sessions. A `note` says why one is missing."""

    name: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    rest: float | None
    rest_low: float | None
    rest_high: float | None
    note: str | None

    def as_json(self) -> dict[str, Any]:
        """A plain object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Share:
    """A level of an attribute (release, tool, tenant ...) or a place where sessions go wrong.

    `n` of the cluster's sessions have it; `share`, `share_rest` of those in which the attribute is known; `ratio` of
    the two with its interval, 1/2 added to each count where one is 0 (None without a rest).
    """

    attribute: str
    level: str
    n: int
    share: float
    share_rest: float | None
    ratio: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, Any]:
        """A plain object."""
        return asdict(self)


def figures(frame: pl.DataFrame, labels: Labels, specs: Sequence[Spec] = FIGURES) -> dict[int, list[Figure]]:
    """Of each label the figures whose columns `frame` has; noise is part of the rest of all and has none of its own.

    `frame` is of n sessions as `labels` (n,): facets' columns, and whatever `specs` name. Nulls are not known and count
    nowhere. Raises InvalidInput where lengths differ.
    """
    if frame.height != len(labels):
        raise InvalidInput(f"{frame.height} sessions with {len(labels)} labels", field="labels")
    users = _users(frame)
    found: dict[int, list[Figure]] = {int(label): [] for label in np.unique(labels) if label >= 0}
    for spec in specs:
        if spec.column not in frame.columns:
            continue
        column = frame[spec.column].cast(pl.Float64)
        values = column.to_numpy()
        known = ~np.isnan(values)
        for label, told in found.items():
            inside = labels == label
            told.append(_figure(spec, values, users, known & inside, known & ~inside))
    return found


def attributes(
    sessions: Sequence[str], labels: Labels, levels: pl.DataFrame, *, most: int = 12
) -> dict[int, list[Share]]:
    """Of each label its most frequent levels, those that are most over the rest's share first within an attribute.

    `levels` has session_id, attribute, level, a row for each that a session has (a release, several tools). A session
    without a row of an attribute is not known in it.
    """
    found = _shares(sessions, labels, levels, None)
    return {
        label: sorted(sorted(shares, key=lambda one: -one.n)[:most], key=lambda one: (one.attribute, *_most(one)))
        for label, shares in found.items()
    }


def wrong_at(sessions: Sequence[str], labels: Labels, places: pl.DataFrame, *, most: int = 5) -> dict[int, list[Share]]:
    """Of each label the places (attribute `tool` or `span`, and its name) where its sessions go wrong more than others.

    `places` has session_id, attribute, level: a row where a span of the session failed. Shares are of all sessions.
    Ordered by the ratio's lower bound; only those whose lower bound is above 1, or all where there is no rest.
    """
    found = _shares(sessions, labels, places, len(labels))
    return {
        label: sorted((one for one in shares if one.low is None or one.low > 1), key=_most)[:most]
        for label, shares in found.items()
    }


def _most(one: Share) -> tuple[float, int, str]:
    return -(one.low or 0.0), -one.n, one.level


def _shares(sessions: Sequence[str], labels: Labels, levels: pl.DataFrame, n_all: int | None) -> dict[int, list[Share]]:
    """`n_all` None: shares of the sessions with any level of the attribute; else of all sessions."""
    if len(sessions) != len(labels):
        raise InvalidInput(f"{len(sessions)} sessions with {len(labels)} labels", field="labels")
    of = pl.DataFrame({"session_id": list(sessions), "label": labels.astype(np.int64)})
    rows = levels.select("session_id", "attribute", "level").unique().join(of, on="session_id")
    n = rows.group_by("attribute", "level", "label").len("n")
    everywhere = rows.group_by("attribute", "level").len("n_everywhere")
    if n_all is None:
        known = rows.select("session_id", "attribute", "label").unique()
        inside = known.group_by("attribute", "label").len("n_inside")
        whole = known.group_by("attribute").len("n_whole")
        told = n.join(inside, on=["attribute", "label"]).join(whole, on="attribute")
    else:
        told = n.join(of.group_by("label").len("n_inside"), on="label").with_columns(n_whole=pl.lit(n_all))
    told = told.join(everywhere, on=["attribute", "level"]).sort("label", "attribute", "level")
    found: dict[int, list[Share]] = {int(label): [] for label in np.unique(labels) if label >= 0}
    for row in told.filter(pl.col("label") >= 0).iter_rows(named=True):
        found[row["label"]].append(_share(row))
    return found


def _share(row: Mapping[str, Any]) -> Share:
    n, n_inside = row["n"], row["n_inside"]
    other, n_rest = row["n_everywhere"] - n, row["n_whole"] - n_inside
    ratio = ratio_of(n, n_inside, other, n_rest)
    return Share(
        attribute=row["attribute"],
        level=row["level"],
        n=n,
        share=n / n_inside,
        share_rest=other / n_rest if n_rest else None,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
    )


def ratio_of(n: int, n_inside: int, other: int, n_rest: int) -> Told:
    """The ratio of two shares with its interval on the log (Katz, Baptista, Azen, Pike 1978, Biometrics 34:469).

    With 1/2 added to counts and totals where a count is 0 (Walter 1975); nothing where a total is 0.
    """
    if n_inside == 0 or n_rest == 0:
        return NOTHING
    add = 0.5 if n == 0 or other == 0 else 0.0
    a, m, c, k = n + add, n_inside + add, other + add, n_rest + add
    ratio, half = a / m / (c / k), Z * math.sqrt(max(0.0, 1 / a - 1 / m + 1 / c - 1 / k))
    return Told(ratio, ratio * math.exp(-half), ratio * math.exp(half))


# --- one figure ------------------------------------------------------------------------------------------------------


def _figure(spec: Spec, values: Floats, users: Ints, inside: Flags, rest: Flags) -> Figure:
    one, other = (_told(spec.measure, values[rows], users[rows]) for rows in (inside, rest))
    note = spec.note
    if one.value is None:
        note = "not known of any session"
    elif one.low is None:
        note = "too few users for an interval"
    return Figure(
        name=spec.name,
        unit=spec.unit,
        value=one.value,
        low=one.low,
        high=one.high,
        rest=other.value,
        rest_low=other.low,
        rest_high=other.high,
        note=note,
    )


def _told(measure: Measure, values: Floats, users: Ints) -> Told:
    if not len(values):
        return NOTHING
    match measure:
        case Measure.SHARE:
            return share_of(values > 0, users)
        case Measure.MEAN:
            return mean_of(values, users)
        case Measure.MEDIAN:
            return median_of(values, users)
        case _:
            assert_never(measure)


def share_of(yes: Flags, users: Ints) -> Told:
    """The share of true of n sessions (n >= 1), `users` (n,) a number each."""
    n, share = len(yes), float(np.mean(yes))
    effective = n / _design_effect(yes.astype(np.float64), users)
    over = Z * Z / effective
    middle = (share + over / 2) / (1 + over)
    half = Z / (1 + over) * math.sqrt(share * (1 - share) / effective + over / (4 * effective))
    low = 0.0 if share == 0 else max(0.0, middle - half)
    return Told(share, low, 1.0 if share == 1 else min(1.0, middle + half))


def mean_of(values: Floats, users: Ints) -> Told:
    """The mean of n sessions (n >= 1); without an interval where one user has all of them."""
    mean = float(values.mean())
    residuals = _by_user(values - mean, users)
    g = len(residuals)
    if g < 2:
        return Told(mean, None, None)
    se = math.sqrt(g / (g - 1) * float(residuals @ residuals)) / len(values)
    half = float(stats.t.isf((1 - LEVEL) / 2, g - 1)) * se
    return Told(mean, mean - half, mean + half)


def median_of(values: Floats, users: Ints) -> Told:
    """The median of n sessions (n >= 1); without an interval where they are worth fewer than six."""
    ordered = np.sort(values)
    median = float(np.median(ordered))
    n = len(ordered)
    effective = n / _design_effect((values <= median).astype(np.float64), users)
    if effective < FEWEST:
        return Told(median, None, None)
    half = Z / 2 / math.sqrt(effective)
    low, high = math.floor(n * (0.5 - half)), math.ceil(n * (0.5 + half))
    return Told(median, float(ordered[max(0, low - 1)]), float(ordered[min(n - 1, high)]))


def _design_effect(values: Floats, users: Ints) -> float:
    """By how much users' shares vary more than those of independent sessions would: at least 1, at most n.

    Where all values are alike nothing can be told, and sessions count by Kish's (sum s)^2 / sum s^2 users: the safe
    side.
    """
    n, share = len(values), float(values.mean())
    sizes = _by_user(np.ones(n), users)
    if len(sizes) == n:
        return 1.0
    if share in (0.0, 1.0):
        return float(sizes @ sizes) / n
    residuals = _by_user(values - share, users)
    g = len(residuals)
    if g < 2:
        return float(n)
    return min(float(n), max(1.0, g / (g - 1) * float(residuals @ residuals) / (n * share * (1 - share))))


def _by_user(values: Floats, users: Ints) -> Floats:
    """Sums by user."""
    _, at = np.unique(users, return_inverse=True)
    return np.bincount(at, weights=values).astype(np.float64)


def _users(frame: pl.DataFrame) -> Ints:
    """A number for each user; sessions without one have numbers of their own."""
    own = pl.int_range(pl.len(), dtype=pl.Int64)
    if "user_id" not in frame.columns:
        return frame.select(own).to_series().to_numpy()
    ranks = pl.col("user_id").rank("dense").cast(pl.Int64)
    return frame.select(pl.when(pl.col("user_id").is_null()).then(-1 - own).otherwise(ranks)).to_series().to_numpy()
