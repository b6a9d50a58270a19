"""Makes, changes and removes monitors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from monitors.banding import band_of
from monitors.defaults import DEFAULTS, DISTRIBUTION_STEP, default_of
from monitors.definition import BandKind, Definition, checked_name
from monitors.records import Direction
from store.control.control import Control
from store.control.monitor_records import MonitorRecord, MonitorStatus

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._:-]+")


def definition_of(told: Mapping[str, Any]) -> Definition:
    """What a person asks for over the defaults of its series. Raises InvalidInput, also for a band that cannot be."""
    base: dict[str, Any] = {}
    if isinstance(told.get("series"), str) and isinstance(told.get("app"), str):
        base = default_of(told["series"], told["app"]).as_json()
        band = told.get("band")
        if isinstance(band, Mapping) and band.get("kind") == BandKind.DISTRIBUTION.value:
            base |= {"direction": Direction.UP.value, "step": DISTRIBUTION_STEP}
    found = Definition.from_json({**base, **told})
    band_of(found)
    return found


def create(
    control: Control, tenant: TenantId, name: str, told: Mapping[str, Any], *, by: Principal, dry_run: bool = False
) -> MonitorRecord:
    """A new monitor; with `dry_run` as it would be. Raises InvalidInput, Conflict."""
    definition = definition_of(told)
    made = MonitorRecord(tenant=tenant, name=checked_name(name), app=definition.app, definition=definition.as_json())
    if dry_run:
        if any(one.name == name for one in control.monitors(tenant)):
            raise Conflict(f"there is a monitor {name[:80]!r}; assay monitors edit changes it")
        return made
    return control.add_monitor(made, by=by)


def create_defaults(
    control: Control, tenant: TenantId, app: str, channels: tuple[str, ...], *, by: Principal, dry_run: bool = False
) -> list[MonitorRecord]:
    """The default monitors of an app, those that are not there yet: by their names where no other app's monitor has
    that name, else APP-NAME, with dashes for what no name holds. Raises InvalidInput."""
    there = {one.name: one for one in control.monitors(tenant)}
    made = []
    for default, definition in DEFAULTS.items():
        own = f"{_NO_NAME.sub('-', app).strip('-.:_')[:80] or 'app'}-{default}"
        if any(name in there and there[name].app == app for name in (own, default)):
            continue
        name = own if default in there else default
        told = {"app": app, "series": definition.series, "band": dict(definition.band), "channels": list(channels)}
        made.append(create(control, tenant, name, told, by=by, dry_run=dry_run))
    return made


def edit(
    control: Control, tenant: TenantId, name: str, changed: Mapping[str, Any], *, enabled: bool | None = None,
    by: Principal, dry_run: bool = False,
) -> MonitorRecord:  # fmt: skip
    """A monitor with some of its definition changed, or on or off. Raises NotFound, InvalidInput, Conflict."""
    seen = control.monitor(tenant, name)
    definition = Definition.from_json({**seen.definition, **changed})
    band_of(definition)
    status = seen.status if enabled is None else MonitorStatus.ON if enabled else MonitorStatus.OFF
    if definition.as_json() == dict(seen.definition) and status is seen.status:
        return seen
    if dry_run:
        return MonitorRecord(
            tenant=tenant, name=name, app=definition.app, definition=definition.as_json(), status=status,
            version=seen.version + (definition.as_json() != dict(seen.definition)),
        )  # fmt: skip
    return control.edit_monitor(seen, definition.as_json(), status, by=by)


def delete(control: Control, tenant: TenantId, name: str, *, by: Principal, dry_run: bool = False) -> MonitorRecord:
    """Removes a monitor; what fires of it ends at the next look, and its incidents stay. Raises NotFound, Conflict."""
    seen = control.monitor(tenant, name)
    if dry_run:
        return seen
    return control.edit_monitor(seen, seen.definition, MonitorStatus.DELETED, by=by)
