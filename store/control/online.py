"""Online evaluation's rows: which evaluators look at an app's sessions, and how far each tenant's were looked at.

A mark is the last `seq` of a journal (its upper 16 bits name the journal) up to which every session is done with. Who
works holds the tenant's line on a lease, as a run's owner does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import TenantId
from store.control import leases, seals
from store.control.tables import ONLINE_EVALUATORS, ONLINE_MARKS

LEASE_NS: Final = 60 * NS_PER_S
ANY_APP: Final = "*"
MOST_EVALUATORS: Final = 100
LONGEST_IDLE_S: Final = 86_400.0
_PPM: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class OnlineChoice:
    """What looks at the sessions of `app` ("*": of every app without a line of its own): names of evaluators (none:
    nothing), for which share of sessions, and how long after its last span a session has ended.

    Raises InvalidInput naming the field.
    """

    tenant: TenantId
    app: str
    evaluators: tuple[str, ...]
    share: float = 1.0
    idle_s: float = 30.0
    changed_at_ns: int = 0
    changed_by: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.app) <= 200:
            raise InvalidInput("an app's name has 1 to 200 characters", field="app")
        if len(self.evaluators) > MOST_EVALUATORS or len(set(self.evaluators)) != len(self.evaluators):
            raise InvalidInput(f"name each evaluator once, and at most {MOST_EVALUATORS}", field="evaluators")
        if not 0 <= self.share <= 1:  # NaN neither
            raise InvalidInput("the share of sessions is from 0 to 1", field="share")
        if not 1 <= self.idle_s <= LONGEST_IDLE_S:
            raise InvalidInput("a session has ended 1 second to a day after its last span", field="idle_s")


@dataclass(frozen=True, kw_only=True)
class OnlineMark:
    """How far a tenant's sessions were looked at, by journal, who is at it until when, and what it told last."""

    tenant: TenantId
    marks: Mapping[int, int]
    owner: str | None = None
    lease_until_ns: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)

    def is_free(self, owner: str, at_ns: int, gone: Callable[[str], bool]) -> bool:
        """Whether `owner` may work on it at `at_ns`."""
        return leases.is_free(self.owner, self.lease_until_ns, owner, at_ns, gone)


def choices(connection: Connection, tenant: TenantId | None) -> list[OnlineChoice]:
    """The choices of a tenant, or of all, by tenant and app."""
    found = seals.rows(connection, ONLINE_EVALUATORS, None if tenant is None else {"tenant": str(tenant)})
    return sorted(map(_choice, found), key=lambda one: (one.tenant, one.app))


def put_choice(connection: Connection, choice: OnlineChoice) -> OnlineChoice | None:
    """Writes a choice; the one before."""
    key = {"tenant": str(choice.tenant), "app": choice.app}
    row = seals.one(connection, ONLINE_EVALUATORS, key)
    values: dict[str, object] = {
        "evaluators": json.dumps(choice.evaluators),
        "share_ppm": round(choice.share * _PPM),
        "idle_ms": round(choice.idle_s * 1000),
        "changed_at_ns": choice.changed_at_ns,
        "changed_by": choice.changed_by,
    }
    if row is None:
        seals.add(connection, ONLINE_EVALUATORS, {**key, **values})
        return None
    seals.change(connection, ONLINE_EVALUATORS, row, **values)
    return _choice(row)


def mark(connection: Connection, tenant: TenantId) -> OnlineMark | None:
    """How far a tenant's sessions were looked at; None when nobody ever did."""
    row = seals.one(connection, ONLINE_MARKS, {"tenant": str(tenant)})
    return None if row is None else _mark(row)


def put_mark(connection: Connection, wanted: OnlineMark) -> None:
    """Writes a tenant's line."""
    key = {"tenant": str(wanted.tenant)}
    values: dict[str, object] = {
        "marks": json.dumps({str(journal): seq for journal, seq in sorted(wanted.marks.items())}),
        "owner": wanted.owner,
        "lease_until_ns": wanted.lease_until_ns,
        "told": json.dumps(dict(wanted.told), sort_keys=True),
    }
    row = seals.one(connection, ONLINE_MARKS, key)
    if row is None:
        seals.add(connection, ONLINE_MARKS, {**key, **values})
    else:
        seals.change(connection, ONLINE_MARKS, row, **values)


def _choice(row: Any) -> OnlineChoice:
    return OnlineChoice(
        tenant=TenantId(row.tenant),
        app=row.app,
        evaluators=tuple(json.loads(row.evaluators)),
        share=row.share_ppm / _PPM,
        idle_s=row.idle_ms / 1000,
        changed_at_ns=row.changed_at_ns,
        changed_by=row.changed_by,
    )


def _mark(row: Any) -> OnlineMark:
    return OnlineMark(
        tenant=TenantId(row.tenant),
        marks={int(journal): int(seq) for journal, seq in json.loads(row.marks).items()},
        owner=row.owner,
        lease_until_ns=row.lease_until_ns,
        told=json.loads(row.told),
    )
