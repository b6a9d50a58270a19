"""The part of the control database that says how many false pages a week a tenant allows, altogether or of an app."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Connection

from core.ids import TenantId
from core.records import Principal
from store.control import seals, tenants
from store.control.monitor_tables import MONITOR_BUDGETS
from store.control.transactions import Transactions

WHOLE: Final = ""  # the app of what is allowed altogether
_UNIT: Final = 1_000_000  # pages are kept as millionths: an integer is the same on every engine


class Budgeting(Transactions):
    """False pages that are allowed; every method is one transaction, as everywhere in `Control`."""

    def monitor_budgets(self, tenant: TenantId) -> dict[str, float]:
        """False pages a week by app; WHOLE: altogether. Empty: every monitor has its own."""
        with self._database.read() as connection:
            return _budgets(connection, tenant)

    def set_monitor_budget(
        self, tenant: TenantId, app: str, pages: float | None, check: Callable[[Mapping[str, float]], object], *,
        by: Principal,
    ) -> dict[str, float]:  # fmt: skip
        """Allows so many false pages of an app, or altogether; None: says nothing of it any more. `check` is given what
        then holds, and raises what is wrong with it. Raises NotFound for an unknown tenant."""
        with self._changing() as connection:
            tenants.need(connection, tenant)
            before = _budgets(connection, tenant)
            after = {name: n for name, n in before.items() if name != app} | ({} if pages is None else {app: pages})
            check(after)
            if after == before:
                return before
            key = {"tenant": str(tenant), "app": app}
            row = seals.one(connection, MONITOR_BUDGETS, key)
            if pages is None:
                where = [MONITOR_BUDGETS.c[name] == value for name, value in key.items()]
                connection.execute(MONITOR_BUDGETS.delete().where(*where))
            elif row is None:
                seals.add(connection, MONITOR_BUDGETS, {**key, "millionths": round(pages * _UNIT)})
            else:
                seals.change(connection, MONITOR_BUDGETS, row, millionths=round(pages * _UNIT))
            resource = f"monitor-budget/{app or '*'}"
            said = {"false_pages_per_week": pages}
            self._audit(
                connection, by, tenant, "monitors.budget", resource, said, {"false_pages_per_week": before.get(app)}
            )
            return after


def _budgets(connection: Connection, tenant: TenantId) -> dict[str, float]:
    rows = seals.rows(connection, MONITOR_BUDGETS, {"tenant": str(tenant)})
    return {row.app: row.millionths / _UNIT for row in sorted(rows, key=lambda one: str(one.app))}
