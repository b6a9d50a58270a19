"""The part of the control database that says which events of rollouts other systems have been told: every event is
taken by one process at a time, and stays to be told until one has said that it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

from store.control import rollouts, seals
from store.control.rollout_records import EventRecord, RolloutRecord
from store.control.rollout_tables import ROLLOUT_TOLD
from store.control.transactions import Transactions

MAX_NS: Final = 2**63 - 1
TELLING_NS: Final = 60_000_000_000  # how long one process has for one event


class Telling(Transactions):
    """Events on their way; every method is one transaction, as everywhere in `Control`."""

    def untold(self, target: str, ended_after_ns: int) -> list[RolloutRecord]:
        """Rollouts of all tenants with events that `target` was not told, oldest first: open ones, and those that
        ended after that moment."""
        with self._database.read() as connection:
            every = [one for one in rollouts.rows(connection, None) if (one.ended_at_ns or MAX_NS) > ended_after_ns]
            told = {
                (row.tenant, row.rollout_id): row.number
                for row in seals.rows(connection, ROLLOUT_TOLD, {"target": target})
            }
        behind = [one for one in every if told.get((str(one.tenant), one.rollout_id), 0) < one.n_events]
        return sorted(behind, key=lambda one: (one.started_at_ns, one.rollout_id))

    def take_untold(
        self, of: RolloutRecord, target: str, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> EventRecord | None:
        """The next event of a rollout for `target`, which is `owner`'s to tell for a minute. None where nothing is left
        or another process that is not gone tells it."""
        with self._changing() as connection:
            row = _row(connection, of, target)
            number = 0 if row is None else row.number
            if row is not None and row.owner not in (None, owner) and not self._is_over(row, gone):
                return None
            events = rollouts.events(connection, of.tenant, of.rollout_id)
            following = next((one for one in events if one.number == number + 1), None)
            if following is not None:
                _write(connection, of, target, row, number, owner, self._clock() + TELLING_NS)
            return following

    def note_told(self, of: RolloutRecord, target: str, number: int, *, gave_up: str | None = None) -> None:
        """Event `number` needs no more telling; `gave_up`: why it was left out, which the audit log keeps."""
        with self._changing() as connection:
            row = _row(connection, of, target)
            if row is not None and row.number >= number:
                return
            _write(connection, of, target, row, number, None, None)
            if gave_up is not None:
                resource = f"rollout/{of.app}/{of.rollout_id}"
                said = {"event": number, "target": target, "why": gave_up}
                self._audit(connection, None, of.tenant, "rollout.not_told", resource, said)

    def _is_over(self, row: Any, gone: Callable[[str], bool]) -> bool:
        return bool(row.lease_until_ns <= self._clock() or gone(row.owner))


def _row(connection: Connection, of: RolloutRecord, target: str) -> Any | None:
    key = {"tenant": str(of.tenant), "rollout_id": of.rollout_id, "target": target}
    return seals.one(connection, ROLLOUT_TOLD, key)


def _write(
    connection: Connection,
    of: RolloutRecord,
    target: str,
    row: Any | None,
    number: int,
    owner: str | None,
    until_ns: int | None,
) -> None:
    values = {"number": number, "owner": owner, "lease_until_ns": until_ns}
    if row is None:
        key = {"tenant": str(of.tenant), "rollout_id": of.rollout_id, "target": target}
        seals.add(connection, ROLLOUT_TOLD, {**key, **values})
    else:
        seals.change(connection, ROLLOUT_TOLD, row, **values)
