"""What emerging failures are found in, by which rules, and what is told of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Kind(StrEnum):
    """What a finding says of a cluster's failures."""

    NEW = "new"  # before there were none, or fewer than a tenth of now's rate
    GROWING = "growing"


class Untested(StrEnum):
    """Why a cluster was not tested."""

    NO_HISTORY = "no_history"  # the app had no session whose failure is known before now
    NO_EXPOSURE = "no_exposure"  # none now: a cluster whose finding used all there are, or no traffic


@dataclass(frozen=True, kw_only=True)
class Design:
    """The rules by which clusters are called new or growing.

    `fdr`: of the findings of one look (of one week with `Week`) the expected share that did not grow. `min_ratio`: the
    lower bound of the rate ratio, one-sided at `bound_level`, has to be above it. `min_users`: distinct users that
    failed now. `level`: of the intervals that are told, before they are widened for having been chosen.
    """

    fdr: float = 0.05
    min_ratio: float = 1.5
    bound_level: float = 0.95
    min_users: int = 5
    level: float = 0.95
    new_ratio: float = 10.0

    def __post_init__(self) -> None:
        for name in ("fdr", "bound_level", "level"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidInput(f"{name} lies between 0 and 1, not {getattr(self, name)}", field=name)
        if self.min_ratio < 1:
            raise InvalidInput(f"min_ratio is at least 1, not {self.min_ratio}", field="min_ratio")
        if self.min_users < 0:
            raise InvalidInput(f"min_users is not below 0, as {self.min_users} is", field="min_users")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Failing sessions of K clusters now and in m periods before, the oldest first.

    `now` (K,) of failing sessions, `exposure_now` (K,) of the app's sessions whose failure is known in the same time;
    `history`, `exposure` (K, m) alike; a period without exposure is left out. `n_users` (K,) distinct users behind
    `now`. `first_seen_ns` (K,) of the cluster's first failing session. `born` (K,): found by clustering sessions of
    this very window; then `now` and `exposure_now` hold only sessions that came after it was found, and `history` those
    before the sessions it was found in, counted with the same radius (docs/clusters-emerging.md). `length_now` (K,):
    how long `now` is in periods, at most 1. Raises InvalidInput where shapes or values are none.
    """

    cluster_ids: tuple[str, ...]
    now: Ints
    exposure_now: Floats
    history: Ints
    exposure: Floats
    n_users: Ints
    first_seen_ns: Ints
    born: Flags
    length_now: Floats

    def __post_init__(self) -> None:
        k = len(self.cluster_ids)
        if self.history.ndim != 2 or self.history.shape != self.exposure.shape or len(self.history) != k:
            raise InvalidInput(f"history of shape {self.history.shape} for {k} clusters", field="history")
        for name in ("now", "exposure_now", "n_users", "first_seen_ns", "born", "length_now"):
            if getattr(self, name).shape != (k,):
                raise InvalidInput(f"{name} of shape {getattr(self, name).shape} for {k} clusters", field=name)
        if len(set(self.cluster_ids)) != k:
            raise InvalidInput("a cluster is there twice", field="cluster_ids")
        self._check_values()

    def _check_values(self) -> None:
        for name in ("now", "history", "exposure_now", "exposure"):
            values = getattr(self, name)
            if not np.isfinite(values).all() or (values < 0).any():
                raise InvalidInput(f"{name} has a value that is no count", field=name)
        if (self.history[self.exposure == 0] > 0).any() or (self.now[self.exposure_now == 0] > 0).any():
            raise InvalidInput("failing sessions in a time without any session", field="exposure")
        if not ((self.length_now > 0) & (self.length_now <= 1)).all():
            raise InvalidInput("length_now lies above 0, at most 1", field="length_now")


@dataclass(frozen=True, kw_only=True)
class Dispersion:
    """By how much weeks differ more than chance: variance = mean + value mean^2.

    `value` is the posterior mean of what clusters share, `low`, `high` its central 95%. `spread`: the mean standard
    deviation of a cluster's own around it, on the log. `by` says what it was learned from.
    """

    value: float
    low: float
    high: float
    spread: float
    by: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A level (of release, model, document ...) that is more frequent in the cluster than it was.

    Shares are of sessions, 0 to 1; `share_rest` of the app's other sessions now. `log_odds` of after against before
    (against the rest where there is no before) with its interval, Bonferroni over all levels looked at.
    """

    kind: str
    name: str
    share_before: float | None
    share_after: float
    share_rest: float | None
    log_odds: float
    low: float
    high: float
    at_ns: int | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A cluster whose failures are new or growing.

    `p_value` of this look, of H0: the rate is not higher than before; `q_value` after all looks of the week and all
    clusters. `rate_ratio` = (n / exposure now) / (before), with 1/2 added to both counts where before is 0; `low`,
    `high` (None: no upper end) at `level`, widened so that at most 1 - design.level of the intervals told miss
    (Benjamini, Yekutieli 2005). `at_least`: the one-sided lower bound that was held against the minimum effect.
    """

    cluster_id: str
    kind: Kind
    p_value: float
    q_value: float
    rate_ratio: float
    low: float
    high: float | None
    level: float
    at_least: float
    n: int
    n_before: int
    expected: float
    n_users: int
    first_seen_ns: int
    changed: tuple[Change, ...] = ()

    @property
    def text(self) -> str:
        """One sentence for a person."""
        before = "none before" if self.n_before == 0 else f"{self.expected:.1f} expected"
        end = "without an upper end" if self.high is None else f"to {self.high:.1f}"
        said = (
            f"{self.n} failing sessions of {self.n_users} users, {before}: {self.rate_ratio:.1f} times the rate "
            f"({self.low:.1f} {end}), q = {self.q_value:.2g}"
        )
        return f"{said}; {self.changed[0].text}" if self.changed else said

    def as_json(self) -> dict[str, Any]:
        """A plain object with the text, as the registry keeps it."""
        return {**asdict(self), "kind": self.kind.value, "text": self.text}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one look found. `n_tested` clusters of `n_clusters`; `untested` why the others were not.

    `overall_ratio`: the app's failures in all clusters now against before; where it is far from 1 the app changed as a
    whole. `dispersion` None and `overall_ratio` None where nothing could be tested. `least` (cluster -> p): what `Week`
    keeps.
    """

    findings: tuple[Finding, ...]
    n_clusters: int
    n_tested: int
    untested: Mapping[Untested, int]
    dispersion: Dispersion | None
    overall_ratio: float | None
    fdr: float
    least: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """A plain object, as the registry keeps it."""
        told = asdict(replace(self, findings=()))
        told["untested"] = {reason.value: n for reason, n in self.untested.items()}
        return {**told, "findings": [one.as_json() for one in self.findings]}
