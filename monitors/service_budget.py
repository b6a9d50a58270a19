"""The false pages that a tenant allows, divided over its monitors that page: what each may do, and what each did.

A budget of an app is divided over the app's monitors; one of the whole tenant, less those of apps, over all others. The
shares are the `false_pages_per_week` that the monitors ask for, so that one which asks for twice as many has twice as
many; within a monitor every series has the same. What has no null, or was given its width, takes no part: nothing could
make it keep to a share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import TenantId
from core.records import Principal
from monitors.alert_records import AlertStatus, Severity
from monitors.banding import arl0_of, expected_of, is_calibrated
from monitors.budget import WEEK_S, Allotted, Watched, allot
from monitors.definition import Definition
from store.control.budgeting import WHOLE
from store.control.control import Control
from store.control.monitor_records import MonitorRecord, MonitorStateRecord, MonitorStatus, RaisedAlert

LEAST: Final = 1e-4
MOST: Final = 1_000.0
LOOKED_BACK_S: Final = 28 * 86_400


@dataclass(frozen=True, kw_only=True)
class Spent:
    """One monitor: what it asks for, what it was allotted (None: it takes no part), how often one of its series then
    breaches, what is expected of all of them, and the pages there were."""

    name: str
    app: str
    series: str
    severity: str
    step: str
    n_series: int
    asked: float
    allotted: float | None
    points: float | None
    expected: float | None
    pages: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is allowed, how it is divided, and what of it is used: expected by the bands, and paged in four weeks."""

    allowed: Mapping[str, float]
    monitors: tuple[Spent, ...]

    @property
    def expected(self) -> float:
        """False pages a week of all monitors that page and of which it is known."""
        return sum(one.expected or 0.0 for one in self.monitors if one.severity == Severity.PAGE.value)

    @property
    def pages_per_week(self) -> float:
        """Pages there were, false or not."""
        return sum(one.pages for one in self.monitors) * WEEK_S / LOOKED_BACK_S

    def as_json(self) -> dict[str, Any]:
        """Its fields; the app None is the whole tenant."""
        allowed = [{"app": app or None, "false_pages_per_week": n} for app, n in self.allowed.items()]
        return {
            "budgets": allowed,
            "expected_per_week": self.expected,
            "pages_per_week": self.pages_per_week,
            "monitors": [asdict(one) for one in self.monitors],
        }


def checked(allowed: Mapping[str, float]) -> None:
    """Raises InvalidInput for budgets that cannot be kept together."""
    for n in allowed.values():
        if not LEAST <= n <= MOST:
            raise InvalidInput(f"{n:g} false pages a week; from {LEAST:g} to {MOST:g} can be asked for", _FIELD)
    of_apps = sum(n for app, n in allowed.items() if app != WHOLE)
    if WHOLE in allowed and of_apps >= allowed[WHOLE]:
        raise InvalidInput(
            f"apps are allowed {of_apps:g} a week of their own: {allowed[WHOLE]:g} altogether leave nothing for others",
            field=_FIELD,
        )


def divided(
    allowed: Mapping[str, float], definitions: Mapping[str, Definition], n_series: Mapping[str, int]
) -> dict[str, Allotted]:
    """By monitor what it may do; one that no budget is for, or that takes no part, is not among them."""
    of_apps = {app: n for app, n in allowed.items() if app != WHOLE}
    pools: dict[str, list[Watched]] = {}
    for name, one in definitions.items():
        pool = one.app if one.app in of_apps else WHOLE
        if pool not in allowed or not takes_part(one):
            continue
        share = one.false_pages_per_week
        mine = Watched(name=name, n_series=max(1, n_series.get(name, 1)), step_s=one.step_s, share=share)
        pools.setdefault(pool, []).append(mine)
    rest = allowed.get(WHOLE, 0.0) - sum(of_apps.values())
    return {
        each.name: each
        for pool, some in pools.items()
        for each in allot(rest if pool == WHOLE else of_apps[pool], some)
    }  # fmt: skip


def takes_part(definition: Definition) -> bool:
    """Whether a monitor pages falsely as often as it is told to."""
    return definition.severity is Severity.PAGE and is_calibrated(definition)


def within(
    allowed: Mapping[str, float], monitors: Sequence[MonitorRecord], states: Mapping[str, MonitorStateRecord],
    also: Mapping[str, Definition] | None = None,
) -> dict[str, Definition]:  # fmt: skip
    """The definitions of the monitors that are on, each with what it was allotted for what it asks for; `also` are some
    that are not there yet, or not so. One that cannot be read is left out."""
    definitions = _definitions(monitors) | dict(also or {})
    shares = divided(allowed, definitions, _counted(states))
    return {
        name: one if name not in shares else _allotted(one, shares[name].false_pages_per_week)
        for name, one in definitions.items()
    }


def tried(control: Control, tenant: TenantId, name: str, definition: Definition) -> Definition:
    """A definition with what it would be allotted beside the other monitors."""
    states = {one.name: one for one in control.monitor_states(tenant)}
    return within(control.monitor_budgets(tenant), control.monitors(tenant), states, {name: definition})[name]


def budget_of(
    control: Control, tenant: TenantId, now_ns: int, *, app: str | None = None,
    allowed: Mapping[str, float] | None = None,
) -> Budget:  # fmt: skip
    """The budget with what is spent of it, of one app where asked for; `allowed` instead of what is allowed now."""
    allowed = control.monitor_budgets(tenant) if allowed is None else allowed
    monitors, states = control.monitors(tenant), {one.name: one for one in control.monitor_states(tenant)}
    definitions, counted = _definitions(monitors), _counted(states)
    shares = divided(allowed, definitions, counted)
    paged = [one for one in control.alerts(tenant) if _paged(one, now_ns - LOOKED_BACK_S * NS_PER_S)]
    told = tuple(
        _spent(name, one, shares.get(name), counted.get(name, 1), sum(each.monitor == name for each in paged))
        for name, one in sorted(definitions.items())
        if app in (None, one.app)
    )
    return Budget(allowed=allowed, monitors=told)


def set_budget(
    control: Control, tenant: TenantId, app: str | None, pages: float | None, now_ns: int, *, by: Principal,
    dry_run: bool = False,
) -> Budget:  # fmt: skip
    """Allows so many false pages a week of an app, or altogether; None: says nothing of it any more. Raises
    InvalidInput."""
    if not dry_run:
        control.set_monitor_budget(tenant, app or WHOLE, pages, checked, by=by)
        return budget_of(control, tenant, now_ns)
    after = {name: n for name, n in control.monitor_budgets(tenant).items() if name != (app or WHOLE)}
    after |= {} if pages is None else {app or WHOLE: pages}
    checked(after)
    return budget_of(control, tenant, now_ns, allowed=after)


_FIELD: Final = "false_pages_per_week"


def _spent(name: str, one: Definition, share: Allotted | None, n_series: int, pages: int) -> Spent:
    mine = one if share is None else _allotted(one, share.false_pages_per_week)
    expected, why = expected_of(mine, n_series)
    return Spent(
        name=name, app=one.app, series=one.series, severity=one.severity.value, step=one.step, n_series=n_series,
        asked=one.false_pages_per_week, allotted=None if share is None else share.false_pages_per_week,
        points=arl0_of(mine, n_series) if is_calibrated(one) else None, expected=expected, pages=pages, why=why,
    )  # fmt: skip


def _allotted(one: Definition, pages: float) -> Definition:
    return replace(one, false_pages_per_week=min(max(pages, 1e-9), MOST))


def _definitions(monitors: Sequence[MonitorRecord]) -> dict[str, Definition]:
    found = {}
    for one in monitors:
        if one.status is not MonitorStatus.ON:
            continue
        try:
            found[one.name] = Definition.from_json(one.definition)
        except InvalidInput:  # of a newer release: it is not looked at either
            continue
    return found


def _counted(states: Mapping[str, MonitorStateRecord]) -> dict[str, int]:
    """How many series each had at its last look."""
    return {name: max(1, int(one.told.get("n_series", 1))) for name, one in states.items()}


def _paged(one: RaisedAlert, since_ns: int) -> bool:
    """Whether somebody was paged for it: not while it is pending, silenced, or taken back by late data."""
    told = bool(one.body.get("told")) and not one.body.get("withdrawn")
    is_page = one.severity == Severity.PAGE.value and one.status != AlertStatus.PENDING.value
    return told and is_page and one.since_ns >= since_ns
