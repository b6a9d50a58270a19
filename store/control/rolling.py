"""The part of the control database that rollouts are kept in. A change of one is one transaction with the plan that the
gateway obeys, its certificate, its events and their audit records: whoever is killed where, all of it holds or none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import experiment_rows, leases, plans, rollouts, tenants
from store.control.experiment_records import RUNNING
from store.control.records import PlanSpec
from store.control.rollout_records import (
    BlockRecord,
    CertificateRecord,
    CheckRecord,
    EventRecord,
    RolloutMove,
    RolloutRecord,
)
from store.control.transactions import Transactions

LEASE_NS: Final = 15_000_000_000
_RENEW_NS: Final = 10_000_000_000  # a lease that is over sooner is begun anew


class Rolling(Transactions):
    """Rollouts; every method is one transaction, as everywhere in `Control`."""

    def start_rollout(self, record: RolloutRecord, plan: PlanSpec, said: str, *, by: Principal) -> RolloutRecord:
        """Begins a rollout: from now on the app's plan is its own. `said` is its first event.

        Raises NotFound for an unknown tenant; Conflict where the app has an open rollout or a running experiment over
        releases, its plan gives sessions to other releases, or the candidate was rolled back; InvalidInput for releases
        that are not registered.
        """
        now, name = self._clock(), by.name[:200]
        ended = now if record.status.ended else None
        made = replace(record, started_by=name, started_key=by.key_id, started_at_ns=now, n_events=1, ended_at_ns=ended)
        with self._changing() as connection:
            self._may_start(connection, made, plan)
            rollouts.add(connection, made)
            self._obey(connection, made, plan, by)
            rollouts.add_event(
                connection, made, EventRecord(number=1, at_ns=now, kind="deploy", text=said, made_by=name)
            )
            bypass = made.policy.get("bypass")
            after = {"candidate": made.candidate, "baseline": made.baseline, "policy_hash": made.policy_hash}
            after |= {"status": made.status.value} | ({"bypass": bypass} if bypass else {})
            self._audit(connection, by, made.tenant, "rollout.deploy", _resource(made), after)
            return made

    def try_rollout(self, record: RolloutRecord, plan: PlanSpec) -> None:
        """Raises what `start_rollout` would raise; nothing is changed."""
        with self._database.read() as connection:
            self._may_start(connection, record, plan)

    def move_rollout(self, move: RolloutMove, *, by: Principal | None = None) -> RolloutRecord:
        """The rollout as it has become; `by` None is Assay itself. Raises NotFound, Conflict when it is not as it was
        seen: nothing is changed then."""
        with self._changing() as connection:
            before = rollouts.need(connection, move.before.tenant, move.before.rollout_id)
            now = self._clock()
            after = replace(
                before,
                status=move.status,
                state=move.state,
                revision=move.before.revision + 1,
                n_blocks=before.n_blocks + (move.block is not None),
                n_events=before.n_events + len(move.events),
                n_certificates=before.n_certificates + (move.certificate is not None),
                ended_at_ns=before.ended_at_ns or (now if move.status.ended else None),
            )
            rollouts.change(connection, move.before, after)
            if move.block is not None:
                block = BlockRecord(number=after.n_blocks, at_ns=now, step=move.step, counts=move.block)
                rollouts.add_block(connection, after, block)
            if move.certificate is not None:
                self._certify(connection, after, move)
            self._note(connection, before, after, move, by)
            if move.plan is not None:
                self._obey(connection, after, move.plan, by)
            return after

    def open_rollout(self, tenant: TenantId, app: str) -> RolloutRecord | None:
        """The rollout of an app that has not ended, if there is one."""
        with self._database.read() as connection:
            return rollouts.open_of(connection, tenant, app)

    def rollouts(self, tenant: TenantId, app: str | None = None) -> list[RolloutRecord]:
        """The tenant's rollouts, of one app or of all, newest first."""
        with self._database.read() as connection:
            return rollouts.rows(connection, tenant, app)

    def rollout(self, tenant: TenantId, rollout_id: str) -> RolloutRecord:
        """One rollout. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return rollouts.need(connection, tenant, rollout_id)

    def take_rollouts(self, owner: str, gone: Callable[[str], bool] = lambda _: False) -> list[RolloutRecord]:
        """The open rollouts of all tenants that are `owner`'s to look after, those too that nobody did until now."""
        with self._database.read() as connection:
            found = [one for one in rollouts.rows(connection, None) if self._is_free(one, owner, gone)]
            late = [one for one in found if one.owner != owner or self._left_ns(one) < _RENEW_NS]
        if not late:
            return found
        with self._changing() as connection:
            found = [one for one in rollouts.rows(connection, None) if self._is_free(one, owner, gone)]
            for one in found:
                rollouts.keep_for(connection, one, owner, self._clock() + LEASE_NS)
            return found

    def rollout_blocks(self, tenant: TenantId, rollout_id: str, after: int = 0) -> list[BlockRecord]:
        """What a rollout has counted behind block number `after`, in order."""
        with self._database.read() as connection:
            return rollouts.blocks(connection, tenant, rollout_id, after)

    def rollout_events(self, tenant: TenantId, rollout_id: str) -> list[EventRecord]:
        """What happened to a rollout, in order."""
        with self._database.read() as connection:
            return rollouts.events(connection, tenant, rollout_id)

    def rollout_certificates(self, tenant: TenantId, rollout_id: str) -> list[CertificateRecord]:
        """The certificates that a rollout's automatic actions left, in order."""
        with self._database.read() as connection:
            return rollouts.certificates(connection, tenant, rollout_id)

    def report_check(self, tenant: TenantId, check: CheckRecord, *, by: Principal) -> CheckRecord:
        """Keeps what was reported of a check of a release. Raises NotFound for an unknown tenant."""
        with self._changing() as connection:
            tenants.need(connection, tenant)
            known = rollouts.checks(connection, tenant, check.app, check.release)
            number = 1 + max((one.number for one in known if one.name == check.name), default=0)
            made = replace(check, number=number, made_by=by.name[:200], made_at_ns=self._clock())
            rollouts.add_check(connection, tenant, made)
            after = {"check": made.name, "passed": made.passed, "link": made.link}
            self._audit(connection, by, tenant, "rollout.check", f"release/{made.app}/{made.release}", after)
            return made

    def rollout_checks(self, tenant: TenantId, app: str, release: str) -> list[CheckRecord]:
        """Everything reported of a release's checks, by name, newest first."""
        with self._database.read() as connection:
            return rollouts.checks(connection, tenant, app, release)

    def _may_start(self, connection: Connection, wanted: RolloutRecord, plan: PlanSpec) -> None:
        tenants.need(connection, wanted.tenant)
        found = rollouts.open_of(connection, wanted.tenant, wanted.app)
        if found is not None:
            raise Conflict(
                f"rollout {found.rollout_id} of {found.candidate[:80]} is open for this app; wait for its end, or "
                f"assay rollouts abort {wanted.app[:80]}"
            )
        every = experiment_rows.rows(connection, self._pepper, wanted.tenant, None)
        for one in every:
            if one.app == wanted.app and one.status == RUNNING and one.is_over_releases:
                raise Conflict(
                    f"the experiment {one.name[:80]} is running over releases of this app, and one of both can say who "
                    f"gets which; wait for its end, or assay experiments stop {one.name[:80]}"
                )
        rollouts.refuse_rolled_back(connection, wanted.tenant, wanted.app, [wanted.candidate, wanted.baseline])
        known = plans.context(connection, wanted.tenant, wanted.app)
        plans.check(known, plan, None)
        now = known.now
        others = {} if now is None else {n: w for n, w in now.spec.weights.items() if w > 0 and n != wanted.baseline}
        if others:
            raise Conflict(
                f"the plan gives sessions to {', '.join(sorted(others))[:200]} beside the baseline "
                f"{wanted.baseline[:80]}; a rollout begins from the baseline alone: assay plan set "
                f"{wanted.app[:80]} --baseline {wanted.baseline[:80]}"
            )

    def _certify(self, connection: Connection, after: RolloutRecord, move: RolloutMove) -> None:
        body = move.certificate or {}
        made = CertificateRecord(
            number=after.n_certificates, at_ns=self._clock(), digest=str(body.get("digest", "")), body=body
        )
        rollouts.add_certificate(connection, after, made)

    def _note(
        self,
        connection: Connection,
        before: RolloutRecord,
        after: RolloutRecord,
        move: RolloutMove,
        by: Principal | None,
    ) -> None:
        who = "assay" if by is None else by.name[:200]
        for number, one in enumerate(move.events, before.n_events + 1):
            certificate = after.n_certificates if one.certified and move.certificate is not None else None
            event = EventRecord(
                number=number, at_ns=self._clock(), kind=one.kind, text=one.text, made_by=who, certificate=certificate
            )
            rollouts.add_event(connection, after, event)
            told = {"status": after.status.value, "text": one.text, "certificate": certificate}
            was = {"status": before.status.value}
            self._audit(connection, by, after.tenant, f"rollout.{one.kind}", _resource(after), told, was)

    def _obey(self, connection: Connection, of: RolloutRecord, spec: PlanSpec, by: Principal | None) -> None:
        """Sets the app's plan, unless it says so already."""
        known = plans.context(connection, of.tenant, of.app)
        plans.check(known, spec, None)
        name = "assay" if by is None else by.name[:200]
        wanted = plans.next_of(known, spec, at_ns=self._clock(), by=name)
        if wanted is known.now:
            return
        plans.add(connection, wanted)
        before = None if known.now is None else plans.content_of(known.now)
        self._audit(connection, by, of.tenant, "plan.set", f"plan/{of.app}", plans.content_of(wanted), before)

    def _is_free(self, one: RolloutRecord, owner: str, gone: Callable[[str], bool]) -> bool:
        if one.status.ended:
            return False
        return leases.is_free(one.owner, one.lease_until_ns, owner, self._clock(), gone)

    def _left_ns(self, one: RolloutRecord) -> int:
        return (one.lease_until_ns or 0) - self._clock()


def _resource(record: RolloutRecord) -> str:
    return f"rollout/{record.app}/{record.rollout_id}"
