"""The part of the control database that says what is released: releases, and the plans by which traffic is split."""

from __future__ import annotations

from core.ids import TenantId
from core.records import Principal
from store.control import plans, releases, rollouts, tenants
from store.control.plans import Context
from store.control.records import LivePlan, PlanRecord, PlanSpec, ReleaseRecord, ReleaseSpec
from store.control.transactions import Transactions


class Releasing(Transactions):
    """Releases and plans; every method is one transaction, as everywhere in `Control`."""

    def register_release(self, tenant: TenantId, spec: ReleaseSpec, *, by: Principal) -> tuple[ReleaseRecord, bool]:
        """The release, and whether it is new. Raises NotFound for an unknown tenant, Conflict when the name stands for
        other content: a release never changes."""
        with self._changing() as connection:
            tenants.need(connection, tenant)
            found = releases.find(connection, tenant, spec.app, spec.name)
            if found is not None:
                return releases.same(found, spec), False
            made = releases.add(connection, tenant, spec, self._clock(), by.name[:200])
            resource = f"release/{spec.app}/{spec.name}"
            self._audit(connection, by, tenant, "release.register", resource, releases.content_of(spec))
            return made, True

    def releases(self, tenant: TenantId, app: str | None = None) -> list[ReleaseRecord]:
        """The tenant's releases, of one app or of all, by app, newest first."""
        with self._database.read() as connection:
            return releases.rows(connection, tenant, app)

    def set_plan(
        self, tenant: TenantId, spec: PlanSpec, *, by: Principal, if_version: int | None = None
    ) -> tuple[PlanRecord, bool]:
        """The plan that holds from now on, and whether it is a new version: the same baseline and weights as now are
        not. Raises NotFound for an unknown tenant, InvalidInput naming releases that are not registered, Conflict when
        the version now is not `if_version` (0: there is none yet), while a rollout of the app is open, and for a
        release that one rolled back."""
        with self._changing() as connection:
            tenants.need(connection, tenant)
            rollouts.refuse_plan_by_hand(connection, tenant, spec)
            now, wanted = self._considered(plans.context(connection, tenant, spec.app), spec, if_version, by)
            if wanted is now:
                return wanted, False
            plans.add(connection, wanted)
            before = None if now is None else plans.content_of(now)
            self._audit(connection, by, tenant, "plan.set", f"plan/{spec.app}", plans.content_of(wanted), before=before)
            return wanted, True

    def try_plan(
        self, tenant: TenantId, spec: PlanSpec, *, by: Principal, if_version: int | None = None
    ) -> tuple[PlanRecord, bool]:
        """What `set_plan` would answer, or raise; nothing is changed."""
        with self._database.read() as connection:
            tenants.need(connection, tenant)
            rollouts.refuse_plan_by_hand(connection, tenant, spec)
            now, wanted = self._considered(plans.context(connection, tenant, spec.app), spec, if_version, by)
            return wanted, wanted is not now

    def plans(self, tenant: TenantId, app: str | None = None) -> list[PlanRecord]:
        """Every version of a tenant's plans, of one app or of all, by app, newest first."""
        with self._database.read() as connection:
            return plans.rows(connection, tenant, app)

    def live_plans(self) -> list[LivePlan]:
        """The plan that holds now of every app of every tenant, with the endpoints of its releases."""
        with self._database.read() as connection:
            return plans.live(connection)

    def _considered(
        self, known: Context, spec: PlanSpec, if_version: int | None, by: Principal
    ) -> tuple[PlanRecord | None, PlanRecord]:
        plans.check(known, spec, if_version)
        return known.now, plans.next_of(known, spec, at_ns=self._clock(), by=by.name[:200])
