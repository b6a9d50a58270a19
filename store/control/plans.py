"""Plans: the weights by which an app's sessions are split over its releases. Rows are versions, and never change.

All versions of an app's plan have one salt: a session's place is the hash of salt and session, so that another weight
moves only the sessions whose place it reaches.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import Conflict, InvalidInput
from core.ids import TenantId
from store.control import releases, seals
from store.control.records import Json, LivePlan, PlanRecord, PlanSpec
from store.control.tables import PLANS, RELEASES

MOST_RELEASES: Final = 20  # in one plan
MOST_WEIGHT: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a new version is measured by: the version now, and the registered releases of the app."""

    tenant: TenantId
    now: PlanRecord | None
    registered: frozenset[str]


def context(connection: Connection, tenant: TenantId, app: str) -> Context:
    """What is there of an app."""
    found = rows(connection, tenant, app)
    named = frozenset(one.spec.name for one in releases.rows(connection, tenant, app))
    return Context(tenant=tenant, now=found[0] if found else None, registered=named)


def check(known: Context, spec: PlanSpec, if_version: int | None) -> None:
    """Raises InvalidInput for weights that split nothing, Conflict when the version now is not `if_version`."""
    version = 0 if known.now is None else known.now.version
    if if_version is not None and if_version != version:
        raise Conflict(f"the plan is at version {version}, not {if_version}: look at it again, then decide")
    if not 1 <= len(spec.weights) <= MOST_RELEASES:
        raise InvalidInput(f"a plan names 1 to {MOST_RELEASES} releases", field="weights")
    for name, weight in spec.weights.items():
        if not 0 <= weight <= MOST_WEIGHT:  # NaN neither
            raise InvalidInput(f"the weight of {name[:80]!r} is not a number from 0 to a billion", field="weights")
    if not any(spec.weights.values()):
        raise InvalidInput("the weights sum to nothing; at least one is above 0", field="weights")
    if spec.baseline not in spec.weights:
        raise InvalidInput("the baseline is among the weights", field="baseline")
    missing = sorted(spec.weights.keys() - known.registered)
    if missing:
        raise InvalidInput(
            f"not registered for this app: {', '.join(name[:80] for name in missing)}; "
            "register a release before a plan names it",
            field="baseline" if spec.baseline in missing else "weights",
        )


def next_of(known: Context, spec: PlanSpec, *, at_ns: int, by: str) -> PlanRecord:
    """The version that follows, or the one now when it says the same."""
    now = known.now
    if now is not None and (now.spec.baseline, dict(now.spec.weights)) == (spec.baseline, dict(spec.weights)):
        return now
    return PlanRecord(
        tenant=known.tenant,
        version=1 if now is None else now.version + 1,
        spec=spec,
        salt=secrets.token_hex(8) if now is None else now.salt,
        made_at_ns=at_ns,
        made_by=by,
    )


def content_of(record: PlanRecord) -> Json:
    """A version as a JSON object."""
    spec = record.spec
    said = {"baseline": spec.baseline, "weights": dict(spec.weights), "reason": spec.reason}
    return {"app": spec.app, "version": record.version, **said}


def rows(connection: Connection, tenant: TenantId, app: str | None) -> list[PlanRecord]:
    """Every version of the plans of a tenant, of one app or of all, by app, newest first."""
    key = {"tenant": str(tenant)} | ({} if app is None else {"app": app})
    found = map(_record, seals.rows(connection, PLANS, key))
    return sorted(found, key=lambda one: (one.spec.app, -one.version))


def live(connection: Connection) -> list[LivePlan]:
    """The newest version of every app of every tenant, with the endpoints of its releases (None: not said)."""
    newest: dict[tuple[str, str], PlanRecord] = {}
    for record in map(_record, seals.rows(connection, PLANS)):
        key = record.tenant, record.spec.app
        if key not in newest or newest[key].version < record.version:
            newest[key] = record
    if not newest:
        return []
    said = {(row.tenant, row.app, row.name): (row.endpoint, row.variant) for row in seals.rows(connection, RELEASES)}
    return [_live(record, said) for _, record in sorted(newest.items())]


def add(connection: Connection, record: PlanRecord) -> None:
    """Writes a version."""
    spec = record.spec
    kept = {"tenant": str(record.tenant), "app": spec.app, "version": record.version, "baseline": spec.baseline}
    weights = json.dumps(dict(spec.weights), ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    said = {"weights": weights, "salt": record.salt, "reason": spec.reason}
    seals.add(connection, PLANS, {**kept, **said, "made_by": record.made_by, "made_at_ns": record.made_at_ns})


def _live(record: PlanRecord, said: Mapping[tuple[str, str, str], tuple[str | None, str | None]]) -> LivePlan:
    spec = record.spec
    known = {name: said.get((record.tenant, spec.app, name), (None, None)) for name in spec.weights}
    return LivePlan(
        plan=record,
        endpoints={name: endpoint for name, (endpoint, _) in known.items()},
        variants={name: variant for name, (_, variant) in known.items()},
        others={
            name: endpoint
            for (tenant, app, name), (endpoint, _) in said.items()
            if (tenant, app) == (record.tenant, spec.app) and name not in known and endpoint
        },
    )


def _record(row: Any) -> PlanRecord:
    weights = {name: float(weight) for name, weight in json.loads(row.weights).items()}
    return PlanRecord(
        tenant=TenantId(row.tenant),
        version=row.version,
        spec=PlanSpec(app=row.app, baseline=row.baseline, weights=weights, reason=row.reason),
        salt=row.salt,
        made_at_ns=row.made_at_ns,
        made_by=row.made_by,
    )
