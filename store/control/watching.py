"""The part of the control database that online evaluation is kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import online, tenants
from store.control.online import LEASE_NS, OnlineChoice, OnlineMark
from store.control.transactions import Transactions


class Watching(Transactions):
    """Which rules look at new sessions, and how far they are; every method is one transaction."""

    def online_choices(self, tenant: TenantId | None) -> list[OnlineChoice]:
        """The choices of a tenant, or of all, by tenant and app."""
        with self._database.read() as connection:
            return online.choices(connection, tenant)

    def set_online(self, choice: OnlineChoice, marks: Mapping[int, int], *, by: Principal) -> OnlineChoice:
        """Chooses what looks at an app's sessions from now on. A tenant's first choice begins after `marks`: sessions
        before them are not looked at. Raises NotFound for an unknown tenant."""
        made = replace(choice, changed_at_ns=self._clock(), changed_by=by.name[:200])
        with self._changing() as connection:
            tenants.need(connection, choice.tenant)
            before = online.put_choice(connection, made)
            if online.mark(connection, choice.tenant) is None:
                online.put_mark(connection, OnlineMark(tenant=choice.tenant, marks=marks))
            old = None if before is None else _said(before)
            self._audit(connection, by, choice.tenant, "online.set", f"online/{choice.app}", _said(made), old)
        return made

    def online_mark(self, tenant: TenantId) -> OnlineMark | None:
        """How far a tenant's sessions were looked at; None before its first choice."""
        with self._database.read() as connection:
            return online.mark(connection, tenant)

    def take_online(
        self, tenant: TenantId, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> OnlineMark | None:
        """The tenant's line, from now on `owner`'s for LEASE_NS; None when another that is not `gone` works on it, or
        there is none."""
        with self._changing() as connection:
            found, now = online.mark(connection, tenant), self._clock()
            if found is None or not found.is_free(owner, now, gone):
                return None
            taken = replace(found, owner=owner, lease_until_ns=now + LEASE_NS)
            online.put_mark(connection, taken)
            return taken

    def advance_online(
        self, tenant: TenantId, owner: str, marks: Mapping[int, int], told: Mapping[str, Any], *, done: bool
    ) -> None:
        """Moves the marks on and says what was done; `done` gives the line free, else the lease begins anew.

        Raises Conflict when the line is another's by now.
        """
        with self._changing() as connection:
            found, now = online.mark(connection, tenant), self._clock()
            if found is None or found.owner != owner:
                raise Conflict("another process evaluates this tenant's sessions by now")
            onwards = {journal: max(seq, found.marks.get(journal, seq)) for journal, seq in marks.items()}
            lease = 0 if done else now + LEASE_NS
            online.put_mark(
                connection,
                replace(
                    found,
                    marks={**found.marks, **onwards},
                    owner=None if done else owner,
                    lease_until_ns=lease,
                    told={**found.told, **told},
                ),
            )


def _said(choice: OnlineChoice) -> dict[str, Any]:
    return {"evaluators": list(choice.evaluators), "share": choice.share, "idle_s": choice.idle_s}
