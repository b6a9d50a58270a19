"""Silences between the room and the control database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from core.errors import InvalidInput
from core.ids import TenantId
from monitors.alert_records import Severity, plain
from monitors.silences import Matcher, Silence, Weekly
from store.control.monitor_records import SilenceRecord

MOST_TEXT: Final = 500  # as long as a series' name can be


def silence_of(record: SilenceRecord) -> Silence:
    """A silence as it was kept. Raises InvalidInput."""
    weekly = record.weekly
    return Silence(
        silence_id=record.silence_id, matcher=matcher_of(record.matcher), start_ns=record.start_ns,
        end_ns=record.end_ns, why=record.why, by=record.made_by, ended_ns=record.ended_ns,
        weekly=None if weekly is None else weekly_of(weekly),
    )  # fmt: skip


def record_of(tenant: TenantId, one: Silence) -> SilenceRecord:
    """A silence as it is kept."""
    return SilenceRecord(
        tenant=tenant, silence_id=one.silence_id, matcher=plain(asdict(one.matcher)), start_ns=one.start_ns,
        end_ns=one.end_ns, why=one.why, weekly=None if one.weekly is None else plain(asdict(one.weekly)),
    )  # fmt: skip


def matcher_of(told: Mapping[str, Any]) -> Matcher:
    """Which alerts are meant. Raises InvalidInput."""
    known = {"app", "monitor", "series", "severity"}
    if set(told) - known:
        raise InvalidInput(f"a silence matches {', '.join(sorted(known))}", field="matcher")
    for name, one in told.items():
        if one is not None and not (isinstance(one, str) and one and len(one) <= MOST_TEXT and one.isprintable()):
            raise InvalidInput(f"{name} is what an alert's is, a text such as resolution", field="matcher")
    severity = told.get("severity")
    try:
        return Matcher(
            **{name: told.get(name) for name in known - {"severity"}},
            severity=None if severity is None else Severity(severity),
        )
    except ValueError:
        raise InvalidInput(f"severity={str(severity)[:20]!r} is not page or ticket", field="severity") from None


def weekly_of(told: Mapping[str, Any]) -> Weekly:
    """Windows that come every week. Raises InvalidInput."""
    known = {"days", "start", "end", "zone"}
    if set(told) - known or not {"days", "start", "end"} <= set(told):
        raise InvalidInput("weekly windows have days, start, end, and zone where it is not UTC", field="weekly")
    if not all(isinstance(told[name], str) for name in set(told) - {"days"}) or not isinstance(
        told["days"], list | tuple
    ):
        raise InvalidInput("days is a list of names, start and end are times as 02:30", field="weekly")
    return Weekly(**{**told, "days": tuple(str(day) for day in told["days"])})
