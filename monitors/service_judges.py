"""What the control database knows of judges, as far as series of their verdicts need it."""

from __future__ import annotations

from core.ids import TenantId
from monitors.correction import Correction, correction_of
from monitors.service_series import Judges
from store.control.control import Control


def judges_of(control: Control, tenant: TenantId) -> Judges:
    """How the rate of each judge is corrected, by its newest calibration, and whose labels stand beside its word."""
    newest = {one.name: one for one in reversed(control.judges(tenant))}
    found = {name: _correction(control, tenant, name) for name in sorted(newest)}
    return Judges(
        corrections={name: one for name, one in found.items() if one is not None},
        rubrics={name: str(one.spec["rubric"]) for name, one in newest.items() if "rubric" in one.spec},
    )


def _correction(control: Control, tenant: TenantId, judge: str) -> Correction | None:
    """None where it was not calibrated, or has not two labels of which one passes."""
    made = control.calibration(tenant, judge)
    if made is None:
        return None
    rubric = control.rubric(tenant, str(made.report.get("rubric")), made.report.get("rubric_version"))
    passing = rubric.body.get("passing") or []
    return correction_of(made.report, passing[0]) if len(passing) == 1 else None
