"""Whether a judge may be believed now: its newest calibration, and what has made it worth nothing since.

Rooms that may not know judges ask this: a gate, a monitor, a comparison.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from core.clock import NS_PER_S
from core.errors import NotFound
from core.ids import TenantId
from store.control.control import Control
from store.control.judge_records import CalibrationState, JudgeCalibration

DAY_NS: Final = 86_400 * NS_PER_S
MAX_AGE_DAYS: Final = 90  # unless the settings say otherwise


@dataclass(frozen=True, kw_only=True)
class JudgeFacts:
    """What is known of a version of a judge: its `state` now with the `reason`, kappa's bounds against the `bar` that
    the lower one has to reach, over `n` labels, and when that was (ns; None: never)."""

    judge: str
    version: str
    state: CalibrationState
    reason: str
    kappa_low: float | None = None
    kappa_high: float | None = None
    bar: float | None = None
    n: int = 0
    at_ns: int | None = None

    @property
    def certified(self) -> bool:
        """Whether it may be believed."""
        return self.state is CalibrationState.CERTIFIED

    @property
    def text(self) -> str:
        """One sentence with both numbers."""
        bounds = "no kappa"
        if self.kappa_low is not None and self.kappa_high is not None:
            bounds = f"kappa {self.kappa_low:.3f} to {self.kappa_high:.3f} over {self.n} labels"
        needed = "" if self.bar is None else f", {self.bar:g} needed"
        known = "" if self.at_ns is None else f" ({bounds}{needed})"
        return f"{self.judge}@{self.version} is {self.state.value}{known}: {self.reason}"


def facts_of_judge(
    control: Control,
    tenant: TenantId,
    judge: str,
    version: str | None = None,
    *,
    app: str | None = None,
    now_ns: int,
    max_age_ns: int = MAX_AGE_DAYS * DAY_NS,
) -> JudgeFacts:
    """What holds of a version of a judge (None: of the one that holds), for an app.

    The newest calibration counts that was over this app or over all; one that is older than `max_age_ns` leaves the
    judge undetermined, as does none. Never raises for a judge that is not there: it is undetermined.
    """
    if version is None:
        try:
            version = control.judge(tenant, judge).version
        except NotFound:
            return _unknown(judge, "", f"there is no judge {judge[:80]!r}")
    every = control.calibrations(tenant, judge)
    own = [one for one in every if one.version == version]
    fitting = [one for one in own if app is None or one.report.get("app") in (None, app)]
    if not fitting:
        return _unknown(judge, version, _why_none(every, own, app))
    newest = max(fitting, key=lambda one: one.at_ns)
    found = JudgeFacts(
        judge=judge,
        version=version,
        state=newest.state,
        reason=str(newest.report.get("reason") or newest.state.value),
        **{name: getattr(newest, name) for name in ("kappa_low", "kappa_high", "bar", "n", "at_ns")},
    )
    age_ns = now_ns - newest.at_ns
    if found.state is CalibrationState.CERTIFIED and age_ns > max_age_ns:
        days, most = age_ns / DAY_NS, max_age_ns / DAY_NS
        reason = f"it was certified {days:.0f} days ago, which counts for {most:g}; calibrate it again"
        return replace(found, state=CalibrationState.UNDETERMINED, reason=reason)
    return found


def as_json(facts: JudgeFacts) -> dict[str, Any]:
    """As plain JSON."""
    return {**asdict(facts), "state": facts.state.value}


def of_json(said: dict[str, Any]) -> JudgeFacts:
    """What `as_json` wrote. Raises what wrong shapes raise."""
    return JudgeFacts(**{**said, "state": CalibrationState(said["state"])})


def _why_none(every: list[JudgeCalibration], own: list[JudgeCalibration], app: str | None) -> str:
    if own:
        apps = sorted({str(one.report.get("app")) for one in own})
        return f"it was calibrated on {', '.join(apps)[:200]}, not on {app}; calibrate it on this app"
    if every:
        newest = max(every, key=lambda one: one.at_ns)
        return f"the judge has changed since it was calibrated: {newest.version} was {newest.state.value}; calibrate it"
    return "it was never calibrated"


def _unknown(judge: str, version: str, reason: str) -> JudgeFacts:
    return JudgeFacts(judge=judge, version=version, state=CalibrationState.UNDETERMINED, reason=reason)
