"""The band that a monitor's definition asks for, as wide as its budget of false pages makes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from core.errors import InvalidInput
from monitors.bands.charts import CusumBand, EwmaBand
from monitors.bands.ema import EmaBand
from monitors.bands.novelty import NoveltyBand
from monitors.bands.seasonal import Season
from monitors.bands.static import StaticBand
from monitors.budget import arl0_for, pages_for
from monitors.calibration import LEAST_ARL0, Estimator, k_for
from monitors.chart_lengths import cusum_limit, ewma_limit
from monitors.definition import BandKind, Definition
from monitors.mixing import MixWindows, edge_of
from monitors.records import Band, Direction
from monitors.sampling import LEAST_LEVEL, Held
from monitors.series import Source
from monitors.slo import Counted, SloBand
from monitors.student import student_arl0
from monitors.zero import ZeroBand

ALPHA: Final = 0.02
REFERENCE_ALPHA: Final = 0.002
LONGEST_ARL0: Final = 1e7
CALIBRATED: Final = frozenset({BandKind.EMA, BandKind.EWMA, BandKind.CUSUM, BandKind.DISTRIBUTION})
_LARGEST_POWER: Final = 300
_GIVEN: Final = frozenset({"k", "limit", "h"})
_TAKES: Final[Mapping[BandKind, frozenset[str]]] = {
    BandKind.EMA: frozenset({"alpha", "k", "estimator", "season", "tz", "adopt_after", "warm_up"}),
    BandKind.EWMA: frozenset({"lam", "limit", "season", "tz"}),
    BandKind.CUSUM: frozenset({"allowance", "h", "season", "tz"}),
    BandKind.NOVELTY: frozenset({"threshold", "window", "quiet"}),
    BandKind.STATIC: frozenset({"low", "high", "least_n"}),
    BandKind.SLO: frozenset({"objective", "min_events", "level", "period_s"}),
    BandKind.ZERO: frozenset(),
    BandKind.DISTRIBUTION: frozenset({"window_s", "reference_s", "least", "measure", "hours"}),
}


def band_of(definition: Definition, n_series: int = 1) -> Band[Any]:
    """The band. Raises InvalidInput naming what is wrong with the definition's `band`."""
    kind, said = definition.band_kind, {n: v for n, v in definition.band.items() if n != "kind"}
    if set(said) - _TAKES[kind]:
        some = ", ".join(sorted(_TAKES[kind])) or "nothing"
        raise InvalidInput(f"a band of kind {kind.value} takes {some}, not {sorted(set(said) - _TAKES[kind])}", "band")
    arl0 = arl0_of(definition, max(1, n_series))
    try:
        match kind:
            case BandKind.EMA:
                return _ema(definition, said, arl0)
            case BandKind.EWMA:
                return _ewma(definition, said, arl0)
            case BandKind.CUSUM:
                return _cusum(definition, said, arl0)
            case BandKind.NOVELTY:
                return NoveltyBand(direction=definition.direction, **said)
            case BandKind.STATIC:
                return StaticBand(**said)
            case BandKind.SLO:
                return _slo(definition, said)
            case BandKind.ZERO:
                return ZeroBand(counted=counted_of(definition))
            case BandKind.DISTRIBUTION:
                return _distribution(definition, said, arl0)
    except (TypeError, ValueError) as wrong:
        raise InvalidInput(f"a band of kind {kind.value} cannot be made of {str(said)[:200]}", field="band") from wrong


def is_calibrated(definition: Definition) -> bool:
    """Whether its band is made as wide as its budget says: not where nobody knows how, or its width was given."""
    return definition.band_kind in CALIBRATED and not _given(definition)


def expected_of(definition: Definition, n_series: int) -> tuple[float | None, str]:
    """The false alarms a week that the band is made for, and where the figure comes from."""
    kind, n = definition.band_kind, max(1, n_series)
    if kind not in CALIBRATED:
        return None, f"a band of kind {kind.value} has no distribution from which a false-alarm rate could be told"
    given = _given(definition)
    if kind is BandKind.EMA and "k" in given:
        single = student_arl0(float(definition.band.get("alpha", ALPHA)), float(definition.band["k"]))
        wait = _wait_for(1 / single, definition.breaches_in_a_row)
        return pages_for(wait, n_series=n, step_s=definition.step_s), "of independent normal points at the given k"
    if given:
        return None, f"{', '.join(sorted(given))} is given: no false-alarm rate was asked for"
    arl0 = arl0_of(definition, n)
    return pages_for(arl0, n_series=n, step_s=definition.step_s), (
        f"the budget: {definition.false_pages_per_week:g} a week over {n} series, "
        f"so one in {arl0:,.0f} points of {definition.step} each"
    )


def _given(definition: Definition) -> set[str]:
    """What of the band's width was said; null says nothing."""
    return {name for name in _GIVEN if definition.band.get(name) is not None}


def arl0_of(definition: Definition, n_series: int) -> float:
    """Points between false alarms of one of the monitor's series, by its budget."""
    wished = arl0_for(definition.false_pages_per_week, n_series=n_series, step_s=definition.step_s)
    return min(wished, LONGEST_ARL0)


def point_arl0(arl0: float, in_a_row: int) -> float:
    """Points between single breaches with which so many in a row come once in arl0 points, each by itself.

    The mean wait for a run of r with chance p each is (p^-r - 1) / (1 - p) (Feller, An Introduction to Probability
    Theory and Its Applications I, XIII.7).
    """
    if in_a_row == 1:
        return max(arl0, LEAST_ARL0)
    low, high = 1 / LONGEST_ARL0, 1 / LEAST_ARL0
    for _ in range(80):
        p = math.sqrt(low * high)
        low, high = (p, high) if _wait_for(p, in_a_row) > arl0 else (low, p)
    return max(1 / high, LEAST_ARL0)


def _wait_for(p: float, in_a_row: int) -> float:
    """The mean wait for so many breaches in a row with chance p each, as far as a double goes."""
    if p >= 1:
        return float(in_a_row)
    if p <= 0 or -in_a_row * math.log10(p) > _LARGEST_POWER:
        return math.inf
    return (p**-in_a_row - 1) / (1 - p)


def counted_of(definition: Definition) -> Counted:
    """Whether the series is the share of good events or of bad ones."""
    return Counted.GOOD if definition.spec.bad is Direction.DOWN else Counted.BAD


def _season(definition: Definition, said: Mapping[str, Any]) -> Season | None:
    if said.get("season") is False:
        return None
    tz = said.get("tz")
    return Season(step_s=definition.step_s, tz=None if tz is None else str(tz))


def _ema(definition: Definition, said: Mapping[str, Any], arl0: float) -> EmaBand:
    alpha, estimator = float(said.get("alpha", ALPHA)), Estimator(said.get("estimator", Estimator.VARIANCE))
    k = said.get("k")
    if k is None:
        single = point_arl0(arl0, definition.breaches_in_a_row)
        k = k_for(alpha, single, estimator=estimator, direction=definition.direction)
    more = {name: said[name] for name in ("warm_up", "adopt_after") if name in said}
    return EmaBand(
        alpha=alpha, k=float(k), direction=definition.direction, estimator=estimator,
        season=_season(definition, said), **more,
    )  # fmt: skip


def _reference(definition: Definition, said: Mapping[str, Any]) -> EmaBand:
    return EmaBand(alpha=REFERENCE_ALPHA, k=4.0, adopt_after=288, season=_season(definition, said))


def _ewma(definition: Definition, said: Mapping[str, Any], arl0: float) -> EwmaBand:
    lam = float(said.get("lam", 0.1))
    limit = said.get("limit")
    return EwmaBand(
        lam=lam, limit=float(ewma_limit(lam, arl0, definition.direction) if limit is None else limit),
        direction=definition.direction, reference=_reference(definition, said),
    )  # fmt: skip


def _cusum(definition: Definition, said: Mapping[str, Any], arl0: float) -> CusumBand:
    allowance, h = float(said.get("allowance", 0.5)), said.get("h")
    return CusumBand(
        k=allowance, h=float(cusum_limit(allowance, arl0, definition.direction) if h is None else h),
        direction=definition.direction, reference=_reference(definition, said),
    )  # fmt: skip


def _distribution(definition: Definition, said: Mapping[str, Any], arl0: float) -> StaticBand:
    level, source = 1 / arl0, definition.spec.source
    if source is Source.MIX:
        if {"measure", "hours"} & set(said):
            raise InvalidInput("a mix takes window_s, reference_s and least", field="band")
        MixWindows.of(said)
    else:
        Held.of(said, vectors=source is Source.EMBEDDINGS)
    return StaticBand(high=edge_of(max(level, LEAST_LEVEL) if source is Source.EMBEDDINGS else level))


def _slo(definition: Definition, said: Mapping[str, Any]) -> SloBand:
    if "objective" not in said:
        raise InvalidInput('an SLO says its objective: {"kind": "slo", "objective": 0.99}', field="band")
    return SloBand(counted=counted_of(definition), step_s=definition.step_s, **said)
