"""The part of the control database that incidents and silences are kept in: what people read of them, and do with them.

What a look writes of incidents is part of its own transaction (monitoring.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.ids import TenantId
from core.records import Principal
from store.control import monitor_rows
from store.control.delivering import add_delivery
from store.control.monitor_forgetting import forget
from store.control.monitor_records import IncidentEntry, IncidentRecord, SilenceRecord, Wanted
from store.control.transactions import Transactions

Change = tuple[IncidentRecord, tuple[IncidentEntry, ...], tuple[Wanted, ...]]


class Incidents(Transactions):
    """Incidents and silences; every method is one transaction, as everywhere in `Control`."""

    def incidents(self, tenant: TenantId, *, status: str | None = None, app: str | None = None) -> list[IncidentRecord]:
        """The tenant's incidents, in one status and of one app where asked for, newest first."""
        key = ({} if status is None else {"status": status}) | ({} if app is None else {"app": app})
        with self._database.read() as connection:
            return monitor_rows.incidents(connection, tenant, key)

    def incident(self, tenant: TenantId, number: int) -> IncidentRecord:
        """One incident. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return monitor_rows.need_incident(connection, tenant, number)

    def incident_entries(self, tenant: TenantId, number: int) -> list[IncidentEntry]:
        """The timeline of an incident, in order. Raises NotFound."""
        with self._database.read() as connection:
            return monitor_rows.entries(connection, monitor_rows.need_incident(connection, tenant, number))

    def change_incident(
        self, tenant: TenantId, number: int, decide: Callable[[IncidentRecord, int], Change | None], *, by: Principal,
        action: str,
    ) -> IncidentRecord:  # fmt: skip
        """An incident as `decide` makes it of how it stands now (and of the time), with the lines and the messages that
        go with it; None: as it was. Raises NotFound, and what `decide` raises."""
        with self._changing() as connection:
            seen, now = monitor_rows.need_incident(connection, tenant, number), self._clock()
            made = decide(seen, now)
            if made is None:
                return seen
            wanted_as, lines, messages = made
            after = replace(
                wanted_as, revision=seen.revision + 1, n_entries=seen.n_entries + len(lines),
                n_told=seen.n_told + len(messages),
            )  # fmt: skip
            monitor_rows.put_incident(connection, seen, after)
            for position, line in enumerate(lines, seen.n_entries + 1):
                monitor_rows.add_entry(connection, tenant, replace(line, number=position))
            for seq, one in enumerate(messages, seen.n_told + 1):
                add_delivery(connection, tenant, one.channel, number, seq, one.payload, now)
            said = {"status": after.status, "lines": len(lines)}
            self._audit(connection, by, tenant, action, f"incident/I-{number}", said, {"status": seen.status})
            return after

    def forget_monitoring(self, tenant: TenantId, before_ns: int) -> dict[str, int]:
        """Drops incidents that were closed before then, with all that is theirs, and alerts, messages and silences that
        were over; how many rows of each. What is open stays, and the last incident."""
        with self._changing() as connection:
            counts = forget(connection, tenant, before_ns)
            if counts:
                self._audit(connection, None, tenant, "monitors.forget", "monitors", {"before_ns": before_ns, **counts})
            return counts

    def silences(self, tenant: TenantId) -> list[SilenceRecord]:
        """The tenant's silences, those that end last first."""
        with self._database.read() as connection:
            return monitor_rows.silences(connection, tenant)

    def add_silence(
        self, wanted: SilenceRecord, check: Callable[[list[SilenceRecord]], object], *, by: Principal
    ) -> SilenceRecord:
        """A new silence. `check` is given those that are there, and raises what is wrong with one more."""
        with self._changing() as connection:
            check(monitor_rows.silences(connection, wanted.tenant))
            made = replace(wanted, made_by=by.name[:200], made_at_ns=self._clock())
            monitor_rows.put_silence(connection, made)
            self._audit(connection, by, made.tenant, "silences.create", f"silence/{made.silence_id}", _said(made))
            return made

    def end_silence(self, tenant: TenantId, silence_id: str, *, by: Principal) -> SilenceRecord:
        """Ends a silence now; one that has ended is left as it is. Raises NotFound."""
        with self._changing() as connection:
            found, now = monitor_rows.need_silence(connection, tenant, silence_id), self._clock()
            if found.ended_ns is not None or found.end_ns <= now:
                return found
            after = replace(found, ended_ns=now, ended_by=by.name[:200])
            monitor_rows.put_silence(connection, after)
            self._audit(connection, by, tenant, "silences.end", f"silence/{silence_id}", _said(after))
            return after


def _said(one: SilenceRecord) -> dict[str, Any]:
    return {"matcher": dict(one.matcher), "start_ns": one.start_ns, "end_ns": one.end_ns, "why": one.why}
