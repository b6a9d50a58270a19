"""Certificates taken back: a certified judge whose errors have changed since is undetermined until it is calibrated."""

from __future__ import annotations

from typing import Final

import polars as pl

from core.errors import InvalidInput, NotFound
from core.ids import TenantId
from core.windows import Window, day_of
from judges.correction.drift import Drift
from judges.correction.watching import Watched
from judges.records import JudgeSpec
from judges.service_calibration import withdraw
from judges.service_corrected import CorrectedAsked, corrected_metric
from judges.service_pairs import unlabelled
from judges.stored import spec_of
from store.control.control import Control
from store.control.judge_records import CalibrationState, JudgeCalibration
from store.tenant import TenantStore

BEFORE_NS: Final = 30 * 86_400_000_000_000  # of what was before a calibration, where it does not say its window
_AHEAD_NS: Final = 3_600_000_000_000


def take_back(control: Control, store: TenantStore, tenant: TenantId, *, now_ns: int) -> list[JudgeCalibration]:
    """Looks at every judge of a tenant that is certified, app by app, with the detector of corrected metrics; those
    whose errors changed after they were certified lose their certificate. What was taken back."""
    found = []
    for judge in control.judges(tenant):
        newest = control.calibration(tenant, judge.name, judge.version)
        if newest is None or newest.state is not CalibrationState.CERTIFIED:
            continue
        why = _drifted(control, store, tenant, spec_of(judge.spec), newest, now_ns)
        if why is not None:
            reason = (
                f"its errors changed since it was certified: {why}; calibrate it again on what came since (--since)"
            )
            made = withdraw(control, tenant, judge.name, judge.version, reason, now_ns=now_ns, by=None)
            found += [] if made is None else [made]
    return found


def _drifted(
    control: Control, store: TenantStore, tenant: TenantId, spec: JudgeSpec, of: JudgeCalibration, now_ns: int
) -> str | None:
    """Why the judge is not what it was when it was certified; None where nothing shows that."""
    said = of.report.get("window")
    start = int(said[0]) if said else of.at_ns - BEFORE_NS
    within = Window(start_ns=start, end_ns=now_ns + _AHEAD_NS)
    apps = unlabelled(store, control, tenant, spec, of.report.get("app")).filter(pl.col("label").is_not_null())
    for app in sorted(apps["app"].drop_nulls().unique().to_list()):
        asked = CorrectedAsked(name=spec.name, app=app, window=within, version=spec.version)
        try:
            watched = corrected_metric(store, control, tenant, asked, now_ns=now_ns).watched
        except (InvalidInput, NotFound):
            continue
        if watched is not None and watched.drift in (Drift.JUDGE, Drift.BOTH) and _since(watched, of.at_ns):
            return f"{app}: {watched.why}"
    return None


def _since(watched: Watched, at_ns: int) -> bool:
    """Whether the judge's errors were found changed on a day that was not over when it was certified."""
    at = None if watched.judge is None else watched.judge.at
    return at is not None and watched.days[at] >= day_of(at_ns)
