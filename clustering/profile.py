"""How the sessions of each cluster differ from the rest of the app: figures, attributes, and where they go wrong.

Pure. Intervals are those of clustering/intervals.py, at 95% and each for itself. Of levels there are many, so that some
would differ by chance: each has a q-value, by Benjamini and Hochberg over all levels that the cluster's sessions have,
of Fisher's exact test (1935; twice the smaller tail) on as many sessions as users make them worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, assert_never

import numpy as np
import polars as pl
from scipy import stats

from clustering.intervals import (
    NOTHING,
    Flags,
    Floats,
    Ints,
    Told,
    effect_of,
    mean_of,
    median_of,
    ratio_of,
    share_of,
    worth_of,
)
from clustering.records import Labels
from core.errors import InvalidInput
from evaluators.statistics.multiplicity import benjamini_hochberg

FALSE_AT_MOST: Final = 0.05  # of the levels that are said to differ
FEWEST_KNOWN: Final = 5  # sessions in which an attribute is known, to say that one of its levels differs


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
    within: tuple[float, float] | None = None  # what no value lies outside of


FIGURES: Final = (
    Spec(name="failure rate", column="failed", measure=Measure.SHARE, unit="share"),
    Spec(name="cost", column="cost_usd", measure=Measure.MEAN, unit="usd"),
    Spec(name="duration", column="duration_ms", measure=Measure.MEDIAN, unit="ms"),
    Spec(name="turns", column="n_turns", measure=Measure.MEAN, unit="count"),
    Spec(name="with a tool error", column="n_tool_errors", measure=Measure.SHARE, unit="share"),
    Spec(name="escalated", column="escalated", measure=Measure.SHARE, unit="share"),
)


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

    `n` of the `n_known` sessions of the cluster in which the attribute is known have it; `share`, `share_rest` of
    those; `ratio` of the two with its interval and `q_value` (None without a rest; `high` None too where the rest has
    none).
    """

    attribute: str
    level: str
    n: int
    n_known: int
    share: float
    share_rest: float | None
    ratio: float | None
    low: float | None
    high: float | None
    q_value: float | None = None

    @property
    def differs(self) -> bool:
        """Whether it is surely commoner or rarer than in the rest, and known of enough sessions to say so."""
        apart = self.low is not None and (self.low > 1 or (self.high is not None and self.high < 1))
        return apart and self.n_known >= FEWEST_KNOWN and self.q_value is not None and self.q_value <= FALSE_AT_MOST

    @property
    def nearest(self) -> float:
        """The end of its interval that is nearer to 1, as so many times: 3 for 3 to 9, and for 1/9 to 1/3."""
        if self.low is None:
            return 0.0
        return max(self.low, 0.0 if self.high is None else 1 / self.high)

    def as_json(self) -> dict[str, Any]:
        """A plain object."""
        return {**asdict(self), "differs": self.differs}


def figures(frame: pl.DataFrame, labels: Labels, specs: Sequence[Spec] = FIGURES) -> dict[int, list[Figure]]:
    """Of each label the figures whose columns `frame` has; noise is part of the rest of all and has none of its own.

    `frame` is of n sessions as `labels` (n,): facets' columns, and whatever `specs` name. Nulls are not known and count
    nowhere. Raises InvalidInput where lengths differ.
    """
    if frame.height != len(labels):
        raise InvalidInput(f"{frame.height} sessions with {len(labels)} labels", field="labels")
    users = users_of(frame)
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
    sessions: Sequence[str], labels: Labels, levels: pl.DataFrame, users: Ints | None = None, *, most: int = 12
) -> dict[int, list[Share]]:
    """Of each label its levels: first those that differ, by the end of their interval that is nearer to 1, then the
    most frequent ones.

    `levels` has session_id, attribute, level, a row for each that a session has (a release, several tools). A session
    without a row of an attribute is not known in it. `users` (n,) a number each; None: no two sessions are of one.
    """
    found = _shares(sessions, labels, levels, users, every=False)
    return {label: sorted(shares, key=_surest)[:most] for label, shares in found.items()}


def wrong_at(
    sessions: Sequence[str], labels: Labels, places: pl.DataFrame, users: Ints | None = None, *, most: int = 5
) -> dict[int, list[Share]]:
    """Of each label the places (attribute `tool`, `span` or `sign`, and its name) where its sessions go wrong more than
    others.

    `places` has session_id, attribute, level: a row where a span of the session failed, or it shows a sign. Shares are
    of all sessions. Ordered by the ratio's lower bound; only those that differ, or all where there is no rest.
    """
    found = _shares(sessions, labels, places, users, every=True)
    return {
        label: sorted((one for one in shares if one.low is None or (one.differs and one.low > 1)), key=_surest)[:most]
        for label, shares in found.items()
    }


def _surest(one: Share) -> tuple[bool, float, int, str, str]:
    return not one.differs, -one.nearest if one.differs else 0.0, -one.n, one.attribute, one.level


def _shares(
    sessions: Sequence[str], labels: Labels, levels: pl.DataFrame, users: Ints | None, *, every: bool
) -> dict[int, list[Share]]:
    """`every`: shares of all sessions, else of those with any level of the attribute."""
    if len(sessions) != len(labels):
        raise InvalidInput(f"{len(sessions)} sessions with {len(labels)} labels", field="labels")
    of = pl.DataFrame({"session_id": list(sessions), "label": labels.astype(np.int64)})
    of = of.with_columns(user=pl.int_range(pl.len()) if users is None else pl.Series(users, dtype=pl.Int64))
    rows = levels.select("session_id", "attribute", "level").unique().join(of, on="session_id")
    known = rows.select("session_id", "attribute", "label", "user").unique()
    if every:
        known = rows.select("attribute").unique().join(of, how="cross")
    inside, whole = _worth(rows, known, ["label"]), _worth(rows, known, [])
    n_rest = pl.col("n_known_whole") - pl.col("n_known")
    told = inside.join(whole, on=["attribute", "level"], suffix="_whole").sort("label", "attribute", "level")
    # A rest's users repeat themselves as those of all do: the cluster is a small part of them.
    told = told.with_columns(worth_rest=(n_rest * pl.col("worth_whole") / pl.col("n_known_whole")).clip(1.0))
    found: dict[int, list[Share]] = {int(label): [] for label in np.unique(labels) if label >= 0}
    for (label,), part in told.filter(pl.col("label") >= 0).partition_by("label", as_dict=True).items():
        found[int(label)] = _tested(part)
    return found


def _worth(rows: pl.DataFrame, known: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Of each level (`by` label, or of all): `n` of the `n_known` sessions have it, which are `worth` so many."""
    sizes = known.group_by("attribute", *by, "user").len("size").with_columns(pl.col("size").cast(pl.Float64))
    totals = sizes.group_by("attribute", *by).agg(
        n_known=pl.col("size").sum(), g=pl.len(), sizes=(pl.col("size") ** 2).sum()
    )
    yes = rows.group_by("attribute", "level", *by, "user").agg(yes=pl.len().cast(pl.Float64))
    sums = yes.join(sizes, on=["attribute", *by, "user"]).group_by("attribute", "level", *by).agg(
        n=pl.col("yes").sum(), both=(pl.col("yes") * pl.col("size")).sum(), own=(pl.col("yes") ** 2).sum()
    )  # fmt: skip
    share = pl.col("n") / pl.col("n_known")
    squares = pl.col("own") - 2 * share * pl.col("both") + share**2 * pl.col("sizes")
    found = sums.join(totals, on=["attribute", *by]).with_columns(squares=squares).cast({"n": int, "n_known": int})
    worth = [
        worth_of(n_known, g, effect_of(n_known, n, g, squares, sizes))
        for n, n_known, g, squares, sizes in found.select("n", "n_known", "g", "squares", "sizes").iter_rows()
    ]
    return found.select("attribute", "level", *by, "n", "n_known", worth=pl.Series(worth, dtype=pl.Float64))


def _share(row: Mapping[str, Any]) -> Share:
    n, n_known = row["n"], row["n_known"]
    other, n_rest = row["n_whole"] - n, row["n_known_whole"] - n_known
    ratio = ratio_of(n, n_known, other, n_rest, (row["worth"], row["worth_rest"]))
    return Share(
        attribute=row["attribute"],
        level=row["level"],
        n=n,
        n_known=n_known,
        share=n / n_known,
        share_rest=other / n_rest if n_rest else None,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
    )


def _tested(part: pl.DataFrame) -> list[Share]:
    """The levels of a cluster with their q-values, among all that can be compared; tested on whole sessions."""
    found = [_share(row) for row in part.iter_rows(named=True)]
    asked = [at for at, one in enumerate(found) if one.share_rest is not None]
    rows = [(found[at].share, found[at].share_rest) for at in asked]
    share, rest = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    m, k = (np.floor(part[name].to_numpy()[asked]) for name in ("worth", "worth_rest"))
    x, y = np.round(share * m), np.round(rest * k)
    tails = stats.hypergeom.cdf(x, m + k, x + y, m), stats.hypergeom.sf(x - 1, m + k, x + y, m)
    q_values = benjamini_hochberg([float(one) for one in np.minimum(1.0, 2 * np.minimum(*tails))])
    told = dict(zip(asked, q_values, strict=True))
    return [replace(one, q_value=told.get(at)) for at, one in enumerate(found)]


# --- one figure ------------------------------------------------------------------------------------------------------


def _figure(spec: Spec, values: Floats, users: Ints, inside: Flags, rest: Flags) -> Figure:
    one, other = (_kept(_told(spec.measure, values[rows], users[rows]), spec.within) for rows in (inside, rest))
    note = spec.note
    if one.value is None:
        note = "not known of any session"
    elif one.low is None:
        alike = inside.sum() > 1 and np.ptp(values[inside]) == 0
        note = "alike in all sessions: no interval" if alike else "too few users for an interval"
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


def _kept(told: Told, within: tuple[float, float] | None) -> Told:
    """With its interval cut to where values can lie."""
    if within is None or told.low is None or told.high is None:
        return told
    return Told(told.value, max(told.low, within[0]), min(told.high, within[1]))


def users_of(frame: pl.DataFrame) -> Ints:
    """A number for each user; sessions without one have numbers of their own."""
    own = pl.int_range(pl.len(), dtype=pl.Int64)
    if "user_id" not in frame.columns:
        return frame.select(own).to_series().to_numpy()
    ranks = pl.col("user_id").rank("dense").cast(pl.Int64)
    return frame.select(pl.when(pl.col("user_id").is_null()).then(-1 - own).otherwise(ranks)).to_series().to_numpy()
