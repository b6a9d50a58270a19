"""Experiments as they are registered, started, ramped and stopped: the pure checks with what the databases know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import AssayError, InvalidInput
from core.ids import TenantId
from core.records import Principal
from experiments.definition import drawn_up, may_start, slot_for
from experiments.records import AssignedBy, UnitKind
from experiments.registered import as_json, definition_of
from experiments.splits import Placement, override_of, placed
from store.control.control import Control
from store.control.experiment_records import RUNNING, STOPPED, ExperimentRecord


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version and whether it is new, and what its author should know."""

    record: ExperimentRecord
    is_new: bool
    warnings: tuple[str, ...] = ()


def register(
    control: Control, name: str, app: str, asked: Mapping[str, Any], *, by: Principal, dry_run: bool
) -> Registered:
    """Registers a version. Raises InvalidInput, Conflict, NotFound (the tenant)."""
    tenant = by.tenant
    definition = drawn_up(name, app, asked, judges=[one.name for one in control.judges(tenant)])
    others = [one for one in control.experiments(tenant, app) if one.status != STOPPED and one.name != name]
    beside = [one for one in map(definition_of, others) if one.layer == definition.layer]
    share = asked.get("slot_share")
    if share is not None:
        definition = replace(definition, slot=slot_for(share, [one.slot for one in beside], definition.layer))
    record, is_new = control.add_experiment(tenant, name, app, as_json(definition), by=by, dry_run=dry_run)
    return Registered(record=record, is_new=is_new, warnings=_warnings(control, record, others))


def start(
    control: Control, name: str, coverage: float, *, by: Principal, dry_run: bool, from_ns: int | None = None
) -> ExperimentRecord:
    """Starts the newest version, `from_ns` on where the app has assigned units since then. Raises NotFound,
    InvalidInput, Conflict."""
    if from_ns is not None and definition_of(control.experiment(by.tenant, name)).assigned_by is not AssignedBy.APP:
        said = "only what the app assigns can have begun before it is started here: the gateway begins with the start"
        raise InvalidInput(said, field="since")
    return control.start_experiment(by.tenant, name, coverage, _check, by=by, from_ns=from_ns, dry_run=dry_run)


def begun(before: ExperimentRecord, coverage: float) -> tuple[str, ...]:
    """What somebody should know who started a version that ran already: nothing changed, its coverage neither."""
    if before.status != RUNNING:
        return ()
    said = f"version {before.version} was running already: this start changes nothing"
    if coverage != before.coverage:
        said += f"; its coverage stays {100 * before.coverage:.4g} %"
        said += f", assay experiments ramp {before.name} SHARE lets more in" if coverage > before.coverage else ""
    return (said,)


def assigned(
    control: Control, tenant: TenantId, app: str, unit: str, kind: UnitKind
) -> list[tuple[ExperimentRecord, Placement]]:
    """What every running experiment of the app over units of this kind does with a unit, by name."""
    found = []
    for record in control.running_experiments(tenant, app):
        definition = definition_of(record)
        if definition.unit is kind:
            tester = override_of(record.overrides, record.override_key, unit)
            found.append((record, placed(definition, record.coverage, unit, tester=tester)))
    return found


def _check(record: ExperimentRecord, running: Sequence[ExperimentRecord], releases: Collection[str]) -> None:
    may_start(definition_of(record), [definition_of(one) for one in running], releases)


def _warnings(control: Control, record: ExperimentRecord, others: Sequence[ExperimentRecord]) -> tuple[str, ...]:
    """What stands between this version and its start, in words."""
    said = []
    versions = [one for one in control.experiments(record.tenant, record.app) if one.name == record.name]
    for one in versions:
        if one.status == RUNNING and one.version != record.version:
            said.append(
                f"version {one.version} is running with other content: a definition never changes, so this is version "
                f"{record.version}, with another salt; stop version {one.version} before it can start"
            )
    running = [one for one in others if one.status == RUNNING]
    known = [one.spec.name for one in control.releases(record.tenant, record.app)]
    try:
        _check(record, running, known)
    except AssayError as error:
        said.append(f"as it is, it cannot start: {error}")
    return tuple(said)
