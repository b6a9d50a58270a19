"""Figures of one score, and of two beside each other: pure, over the newest score of each target.

Targets count as independent of each other. A score that is missing is counted by its reason and is no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from evaluators.statistics.correlation import pearson, spearman
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from evaluators.statistics.rates import FloatArray, mean_of, wilson
from judges.agreement.classes import raw_agreement
from judges.agreement.coefficients import Scale, gwet, kappa
from judges.agreement.intervals import Coefficient
from judges.agreement.tables import of_counts

MOST_LABELS: Final = 20  # the others are counted together
OTHER: Final = "(other)"
BINS: Final = 20
WIDE: Final = 10  # bins of a score in the table of two
FEW: Final = 12  # values that are told apart rather than put into bins
DRAWS: Final = 4_000
LARGEST: Final = 1e150  # squares of larger numbers are none


@dataclass(frozen=True, kw_only=True)
class Bin:
    """How many values lie in [low, high); in the last one high itself too."""

    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A stretch of time: `n` targets with a score, `n_unscored` without; their mean, and how many have each label."""

    start_ns: int
    n: int
    n_unscored: int
    mean: Estimate | Unestimated
    labels: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One score. `n` targets have one, `n_unscored` the reason why not. `quantiles` are minimum, quartiles and maximum
    of the values; None where there are none."""

    n: int
    n_unscored: int
    unscored: dict[str, int]
    versions: dict[str, int]
    apps: dict[str, int]
    labels: dict[str, int]
    mean: Estimate | Unestimated
    quantiles: tuple[float, ...] | None
    bins: tuple[Bin, ...]
    series: tuple[Bucket, ...]
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Together:
    """Two scores of the same targets. `n` have both, `n_first` and `n_second` only one. `counts` are targets
    [row][column]: rows of the first, columns of the second, by label, value or bin of values.

    Kappa, AC1 and agreement are there where both choose from the same labels, or both are 0 or 1; the correlations
    where both have values. Else they say why not.
    """

    n: int
    n_first: int
    n_second: int
    by: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    agreement: Estimate | Unestimated
    kappa: Coefficient
    gwet_ac1: Coefficient
    pearson: Estimate | Unestimated
    spearman: Estimate | Unestimated


def figures(rows: pl.DataFrame, bucket_ns: int) -> Figures:
    """Figures of one score's rows (store/score_samples.py COLUMNS); its series by buckets of that length."""
    scored = rows.filter(pl.col("unscored").is_null())
    values = _values(scored)
    return Figures(
        n=scored.height,
        n_unscored=rows.height - scored.height,
        unscored=_counted(rows["unscored"].drop_nulls()),
        versions=_counted(rows["evaluator_version"].drop_nulls()),
        apps=_counted(rows["app"].drop_nulls()),
        labels=_counted(scored["label"].drop_nulls()),
        mean=_mean(values),
        quantiles=_quantiles(values),
        bins=_bins(values, BINS),
        series=_series(rows, bucket_ns),
        first_ns=_first(rows["at_ns"].min()),
        last_ns=_first(rows["at_ns"].max()),
    )


def together(first: pl.DataFrame, second: pl.DataFrame, *, seed: int = 0) -> Together:
    """Two scores' rows, joined by target. Everything random follows from `seed`."""
    known = [one.filter(pl.col("unscored").is_null()).select("target", "value", "label") for one in (first, second)]
    both = known[0].join(known[1], on="target", suffix="_2").sort("target")
    by, same = _same(both)
    rows, columns = (same, same) if same else (_named(both, "label", "value"), _named(both, "label_2", "value_2"))
    counts = _table(both, rows, columns)
    told = _beyond_chance(rows, counts, by, seed)
    numbers = both.drop_nulls(["value", "value_2"])
    x, y = (numbers[name].to_numpy().astype(np.float64) for name in ("value", "value_2"))
    return Together(
        n=both.height,
        n_first=known[0].height - both.height,
        n_second=known[1].height - both.height,
        by=by,
        rows=rows.names,
        columns=columns.names,
        counts=tuple(tuple(int(cell) for cell in row) for row in counts),
        agreement=told[0],
        kappa=told[1],
        gwet_ac1=told[2],
        pearson=pearson(x, y),
        spearman=spearman(x, y),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Axis:
    """Names of a table's rows or columns, and the place of each target among them."""

    names: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray | None = None


def _same(both: pl.DataFrame) -> tuple[str, _Axis | None]:
    """What both scores choose from, where it is the same: labels, else whether they pass."""
    one, two = both["label"], both["label_2"]
    words = set(one.drop_nulls()) | set(two.drop_nulls())
    shared = set(one.drop_nulls()) & set(two.drop_nulls())
    told = not one.null_count() and not two.null_count()
    if both.height and told and shared and len(words) <= MOST_LABELS:
        names = _in_order(both, words)
        return "labels", _Axis(names=names, first=_places(one, names), second=_places(two, names))
    values = [both[name] for name in ("value", "value_2")]
    if both.height and all(not each.null_count() and each.is_in([0.0, 1.0]).all() for each in values):
        places = [each.to_numpy().astype(np.int64) for each in values]
        return "passing", _Axis(names=("0", "1"), first=places[0], second=places[1])
    return "apart", None


def _in_order(both: pl.DataFrame, words: set[str]) -> tuple[str, ...]:
    """Labels from the least value to the greatest, those without by name."""
    told = pl.concat([both.select("label", "value"), both.select(label="label_2", value="value_2")])
    mean = dict(told.drop_nulls().group_by("label").agg(pl.col("value").mean()).rows())
    return tuple(sorted(words, key=lambda word: (mean.get(word, 0.0), word)))


def _places(said: pl.Series, names: Sequence[str]) -> np.ndarray:
    at = {name: place for place, name in enumerate(names)}
    return np.array([at.get(one, len(names) - 1) for one in said], dtype=np.int64)


def _named(both: pl.DataFrame, label: str, value: str) -> _Axis:
    """One score's own labels, values where they are few, or bins of them."""
    if both.height and both[label].null_count() < both.height:
        said = both[label].fill_null("(no label)")
        common = list(_counted(said))
        names = tuple(sorted(common[:MOST_LABELS])) + ((OTHER,) if len(common) > MOST_LABELS else ())
        return _Axis(names=names, first=_places(said, names))
    values = both[value].fill_null(np.nan).to_numpy().astype(np.float64)
    distinct = np.unique(values)
    if len(distinct) <= FEW:
        return _Axis(names=tuple(f"{one:.4g}" for one in distinct), first=np.searchsorted(distinct, values))
    bins = _bins(values, WIDE)
    if not bins:
        return _Axis(names=("all",), first=np.zeros(len(values), dtype=np.int64))
    edges = np.array([one.low for one in bins[1:]])
    names = tuple(f"{one.low:.3g} to {one.high:.3g}" for one in bins)
    return _Axis(names=names, first=np.searchsorted(edges, values, side="right"))


def _table(both: pl.DataFrame, rows: _Axis, columns: _Axis) -> np.ndarray:
    counts = np.zeros((len(rows.names), len(columns.names)), dtype=np.int64)
    second = columns.first if columns.second is None else columns.second
    if both.height:
        np.add.at(counts, (rows.first, second), 1)
    return counts


def _beyond_chance(
    rows: _Axis, counts: np.ndarray, by: str, seed: int
) -> tuple[Estimate | Unestimated, Coefficient, Coefficient]:
    if by == "apart" or len(rows.names) < 2:
        reason = Lack.ONE_CLASS if by == "labels" else Lack.NO_EXAMPLES if not counts.sum() else Lack.OTHER_LABELS
        none = Unestimated(reason=reason)
        return none, Coefficient(estimate=none), Coefficient(estimate=none)
    of, scale = of_counts(counts), Scale(k=len(rows.names), ordinal=False, seed=seed, draws=DRAWS)
    return raw_agreement(of, seed), kappa(of, scale), gwet(of, scale)


def _series(rows: pl.DataFrame, bucket_ns: int) -> tuple[Bucket, ...]:
    placed = rows.with_columns(start_ns=pl.col("at_ns") // bucket_ns * bucket_ns).sort("start_ns")
    return tuple(
        Bucket(
            start_ns=int(part["start_ns"][0]),
            n=int(part["unscored"].null_count()),
            n_unscored=part.height - int(part["unscored"].null_count()),
            mean=_mean(_values(part)),
            labels=_counted(part["label"].drop_nulls()),
        )
        for part in placed.partition_by("start_ns", maintain_order=True)
    )


def _values(rows: pl.DataFrame) -> FloatArray:
    values = rows["value"].drop_nulls().to_numpy().astype(np.float64)
    return np.asarray(values[np.isfinite(values)])


def _mean(values: FloatArray) -> Estimate | Unestimated:
    """The mean with its interval; Wilson's where all values are 0 or 1."""
    if len(values) and np.isin(values, (0.0, 1.0)).all():
        n, ones = len(values), int(values.sum())
        share = ones / n
        return Estimate(value=share, n=n, se=float(np.sqrt(share * (1 - share) / n)), interval=wilson(ones, n))
    if len(values) and np.abs(values).max() > LARGEST:
        return Unestimated(reason=Lack.NOT_FINITE)
    return mean_of(values)


def _quantiles(values: FloatArray) -> tuple[float, ...] | None:
    """Minimum, quartiles, maximum; None of none, and where they lie too far apart for a number."""
    if not len(values) or _overflows(values):
        return None
    return tuple(float(one) for one in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))


def _overflows(values: FloatArray) -> bool:
    """Whether the range of the values is beyond what a number can be."""
    with np.errstate(over="ignore"):
        return not np.isfinite(values.max() - values.min())


def _bins(values: FloatArray, n_bins: int) -> tuple[Bin, ...]:
    """Bins of equal width, over 0 to 1 where all values lie there."""
    if not len(values):
        return ()
    low, high = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else (float(values.min()), float(values.max()))
    if _overflows(values):
        return ()
    if low == high:
        return (Bin(low=low, high=high, n=len(values)),)
    counts, edges = np.histogram(values, bins=n_bins, range=(low, high))
    return tuple(
        Bin(low=float(a), high=float(b), n=int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    )


def _counted(said: pl.Series) -> dict[str, int]:
    """How often each text is there, the most frequent first, those beyond MOST_LABELS together."""
    found = sorted(said.value_counts().rows(), key=lambda one: (-one[1], one[0]))
    told = {str(name): int(n) for name, n in found[:MOST_LABELS]}
    rest = sum(int(n) for _, n in found[MOST_LABELS:])
    return told | ({OTHER: rest} if rest else {})


def _first(value: object) -> int | None:
    return value if isinstance(value, int) else None
