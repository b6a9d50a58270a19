"""The part of the control database that says what is to be delivered where: every message is taken by one process at a
time, in the order of its incident, and stays to be sent until one has said that it arrived or is given up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, not_, or_, select

from core.errors import Conflict, NotFound
from core.ids import TenantId
from core.records import Principal
from store.control import leases, seals
from store.control.cluster_rows import text_of
from store.control.monitor_records import Delivery, DeliveryState, delivery_id
from store.control.monitor_tables import DELIVERIES, INCIDENTS
from store.control.transactions import Transactions

SENDING_NS: Final = 60_000_000_000  # how long one process has for one try
KEPT_NS: Final = 14 * 86_400_000_000_000  # how long what arrived is kept
KEPT_DEAD_NS: Final = 90 * 86_400_000_000_000
_MOST_ERROR: Final = 1_000
_FIELDS: Final = (
    *("id", "channel", "incident", "seq", "tries", "next_at_ns", "last_error", "created_ns", "ended_ns"),
    *("owner", "lease_until_ns"),
)


class Delivering(Transactions):
    """Messages on their way; every method is one transaction, as everywhere in `Control`."""

    def due_deliveries(self, limit: int = 100, *, whole: bool = False) -> list[Delivery]:
        """Messages of all tenants that may be sent now, the longest waiting first: none before the one ahead of it, of
        its incident and channel, has arrived or was given up. `whole` looks through all that are kept, and so finds
        also what a flipped bit hides from the index."""
        now = self._clock()
        with self._database.read() as connection:
            if not whole:
                return [_delivery(row) for row in seals.found(connection, DELIVERIES, _due(now).limit(limit))]
            left = [one for one in map(_delivery, seals.rows(connection, DELIVERIES)) if not one.state.ended]
        first: dict[tuple[str, int, str], Delivery] = {}
        for one in left:
            key = (str(one.tenant), one.incident, one.channel)
            if one.incident == 0:
                key = (one.id, 0, one.channel)  # tests wait for nobody
            if key not in first or one.seq < first[key].seq:
                first[key] = one
        due = [one for one in first.values() if _is_due(one, now)]
        return sorted(due, key=lambda one: (one.next_at_ns, one.created_ns, one.id))[:limit]

    def claim_delivery(
        self, of: Delivery, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> Delivery | None:
        """A message, `owner`'s to send for a minute, with this try counted. None where it has ended, its time has not
        come, or another process that is not `gone` sends it."""
        with self._changing() as connection:
            row, now = _row(connection, of.tenant, of.id), self._clock()
            if row is None:
                return None
            found = _delivery(row)
            if found.state.ended or not leases.is_free(found.owner, found.lease_until_ns, owner, now, gone):
                return None
            if found.state is not DeliveryState.RUNNING and found.next_at_ns > now:
                return None
            taken = replace(
                found, state=DeliveryState.RUNNING, tries=found.tries + 1, owner=owner, lease_until_ns=now + SENDING_NS
            )
            seals.change(connection, DELIVERIES, row, **_values(taken))
            return taken

    def note_delivery(
        self, of: Delivery, state: DeliveryState, *, error: str | None = None, next_at_ns: int | None = None
    ) -> Delivery:
        """What became of a try of `of`, as `claim_delivery` gave it: SUCCEEDED, RETRYING from `next_at_ns` on, or DEAD,
        which the audit log keeps. Raises NotFound; Conflict where it is another process's by now and not done."""
        with self._changing() as connection:
            row, now = _need(connection, of.tenant, of.id), self._clock()
            found = _delivery(row)
            if found.state.ended:
                return found
            if found.owner != of.owner or found.tries != of.tries:
                raise Conflict(f"delivery {of.id} is sent by another process by now")
            after = replace(
                found, state=state, last_error=None if error is None else error[:_MOST_ERROR], owner=None,
                lease_until_ns=None, next_at_ns=now if next_at_ns is None else next_at_ns,
                ended_ns=now if state.ended else None,
            )  # fmt: skip
            seals.change(connection, DELIVERIES, row, **_values(after))
            if state is DeliveryState.DEAD:
                said = {"incident": of.incident, "channel": of.channel, "tries": found.tries, "why": after.last_error}
                self._audit(connection, None, of.tenant, "deliveries.dead", f"delivery/{of.id}", said)
            return after

    def deliveries(
        self, tenant: TenantId, *, state: DeliveryState | None = None, incident: int | None = None
    ) -> list[Delivery]:
        """The tenant's messages, those in one state and of one incident where asked for, newest first."""
        key: dict[str, Any] = {"tenant": str(tenant)}
        key |= {} if state is None else {"state": state.value}
        key |= {} if incident is None else {"incident": incident}
        with self._database.read() as connection:
            found = map(_delivery, seals.rows(connection, DELIVERIES, key))
            return sorted(found, key=lambda one: (-one.created_ns, -one.incident, -one.seq, one.channel))

    def delivery(self, tenant: TenantId, delivery_id: str) -> Delivery:
        """One message. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return _delivery(_need(connection, tenant, delivery_id))

    def replay_delivery(self, tenant: TenantId, delivery_id: str, *, by: Principal) -> Delivery:
        """Sends a message that was given up once more, under the same id. Raises NotFound; Conflict for another."""
        with self._changing() as connection:
            row = _need(connection, tenant, delivery_id)
            found = _delivery(row)
            if found.state is not DeliveryState.DEAD:
                raise Conflict(f"delivery {delivery_id[:40]} is {found.state.value}; only one that is dead is replayed")
            after = replace(found, state=DeliveryState.QUEUED, tries=0, next_at_ns=self._clock(), ended_ns=None)
            seals.change(connection, DELIVERIES, row, **_values(after))
            self._audit(connection, by, tenant, "deliveries.replay", f"delivery/{found.id}", {"state": "queued"})
            return after

    def put_test_delivery(
        self, tenant: TenantId, channel: str, payload: Mapping[str, Any], *, by: Principal
    ) -> Delivery:
        """A message of no incident, to try a channel."""
        with self._changing() as connection:
            known = seals.rows(connection, DELIVERIES, {"tenant": str(tenant), "incident": 0})
            seq = 1 + max((row.seq for row in known), default=0)
            made = add_delivery(connection, tenant, channel, 0, seq, payload, self._clock())
            self._audit(connection, by, tenant, "deliveries.test", f"delivery/{made.id}", {"channel": channel})
            return made


def add_delivery(
    connection: Connection,
    tenant: TenantId,
    channel: str,
    incident: int,
    seq: int,
    payload: Mapping[str, Any],
    now: int,
) -> Delivery:
    """Writes a message that is to be sent at once."""
    made = Delivery(
        tenant=tenant, id=delivery_id(tenant, incident, seq, channel), channel=channel, incident=incident, seq=seq,
        payload=payload, next_at_ns=now, created_ns=now,
    )  # fmt: skip
    seals.add(connection, DELIVERIES, {"tenant": str(tenant), **_values(made)})
    return made


def drop_old(connection: Connection, tenant: TenantId, now: int) -> None:
    """Forgets what arrived two weeks ago, and what was given up a quarter of a year ago, but not of incidents that are
    open: who was told of them is to hear that they are over."""
    still = select(INCIDENTS.c.number).where(INCIDENTS.c.tenant == str(tenant), INCIDENTS.c.status != "closed")
    for state, kept in ((DeliveryState.SUCCEEDED, KEPT_NS), (DeliveryState.DEAD, KEPT_DEAD_NS)):
        of_state = (DELIVERIES.c.tenant == str(tenant), DELIVERIES.c.state == state.value)
        where = (*of_state, DELIVERIES.c.incident.not_in(still))
        connection.execute(DELIVERIES.delete().where(*where, DELIVERIES.c.ended_ns < now - kept))


def _due(now: int) -> Select[Any]:
    """The messages that may be sent now, by their index, in order."""
    ahead = DELIVERIES.alias("ahead")
    mine, left = DELIVERIES.c, [one.value for one in DeliveryState if not one.ended]
    same = (ahead.c.tenant == mine.tenant, ahead.c.incident == mine.incident, ahead.c.channel == mine.channel)
    waits = select(ahead.c.id).where(*same, ahead.c.seq < mine.seq, ahead.c.state.in_(left)).exists()
    waiting = [one for one in left if one != DeliveryState.RUNNING.value]
    comes = or_(
        mine.state == DeliveryState.RUNNING.value, and_(mine.state.in_(waiting), mine.next_at_ns <= now)
    )  # fmt: skip
    first = or_(mine.incident == 0, not_(waits))  # tests wait for nobody
    return select(DELIVERIES).where(comes, first).order_by(mine.next_at_ns, mine.created_ns, mine.id)


def _is_due(one: Delivery, now: int) -> bool:
    if one.state is DeliveryState.RUNNING:
        return True  # whoever claims it is told whether its sender is at work still
    return one.next_at_ns <= now


def _row(connection: Connection, tenant: TenantId, delivery_id: str) -> Any | None:
    return seals.one(connection, DELIVERIES, {"tenant": str(tenant), "id": delivery_id})


def _need(connection: Connection, tenant: TenantId, delivery_id: str) -> Any:
    row = _row(connection, tenant, delivery_id)
    if row is None:
        raise NotFound(f"there is no delivery {delivery_id[:40]!r}")
    return row


def _delivery(row: Any) -> Delivery:
    return Delivery(
        tenant=TenantId(row.tenant), payload=json.loads(row.payload), state=DeliveryState(row.state),
        **{name: getattr(row, name) for name in _FIELDS},
    )  # fmt: skip


def _values(one: Delivery) -> dict[str, Any]:
    told = {"payload": text_of(one.payload), "state": one.state.value}
    return {**told, **{name: getattr(one, name) for name in _FIELDS}}
