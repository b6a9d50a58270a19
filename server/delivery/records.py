"""A message on its way: what is told, the requests that tell it, and why it did not arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Protocol, Self

from core.clock import NS_PER_S
from store.control.monitor_records import Delivery

_MOST_KEY: Final = 255  # PagerDuty's dedup_key
_MOST_ALERTS: Final = 50


class NotDelivered(Exception):
    """A message did not arrive. `for_good`: the receiver refuses this very message, however often it comes; else
    what is wrong is the receiver, or the way to it. `after_s`: how long the receiver asks to be left alone."""

    def __init__(self, said: str, *, for_good: bool = False, after_s: float | None = None) -> None:
        super().__init__(said)
        self.for_good, self.after_s = for_good, after_s


class MessageKind(StrEnum):
    """What a receiver is to do."""

    CALL = "incident.call"
    """Somebody is called, or a ticket is made."""
    UPDATE = "incident.update"
    """Nobody is called: there is more to be read."""
    ACKNOWLEDGED = "incident.acknowledged"
    RESOLVED = "incident.resolved"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One alert of an incident."""

    key: str
    monitor: str
    series: str
    severity: str
    fired_at: str
    resolved_at: str | None


@dataclass(frozen=True, kw_only=True)
class Message:
    """A delivery, read. `key` is the incident's name outside: the same in all its messages, another in any other.
    `link`: where it is read in Assay, where the operator said where that is."""

    id: str
    key: str
    kind: MessageKind
    tenant: str
    title: str
    text: str
    at: str
    incident: str | None = None
    app: str = ""
    pages: bool = False
    status: str | None = None
    owner: str | None = None
    monitor: str | None = None
    series: str | None = None
    why: str | None = None
    first: tuple[str, ...] = ()
    runbook: str | None = None
    examples: tuple[str, ...] = ()
    alerts: tuple[Told, ...] = ()
    link: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, sent: Delivery, dashboard: str | None = None) -> Self:
        """What a delivery says. What a payload lacks is left out; one of an unknown kind is an update."""
        told = sent.payload
        kind = next((one for one in MessageKind if one.value == told.get("kind")), MessageKind.UPDATE)
        incident = f"I-{sent.incident}" if sent.incident else None
        alerts = [one for one in _list(told.get("alerts")) if isinstance(one, Mapping)]
        return cls(
            id=sent.id, key=_key(sent, incident), kind=kind, tenant=str(sent.tenant),
            title=_text(told.get("title")) or incident or "Assay", text=_text(told.get("text")) or kind.value,
            at=moment(told.get("at_ns")) or moment(sent.created_ns) or "", incident=incident,
            app=_text(told.get("app")), pages=told.get("severity") == "page", status=_text(told.get("status")) or None,
            owner=_text(told.get("owner")) or None, monitor=_text(told.get("monitor")) or None,
            series=_text(told.get("series")) or None, why=_text(told.get("why")) or None,
            first=tuple(map(_text, _list(told.get("first")))), runbook=_text(told.get("runbook")) or None,
            examples=tuple(map(_text, _list(told.get("examples")))), alerts=tuple(map(_told, alerts[:_MOST_ALERTS])),
            link=f"{dashboard.rstrip('/')}/Incidents?incident={incident}" if dashboard and incident else None,
            payload=told,
        )  # fmt: skip

    @property
    def headline(self) -> str:
        """One line: what it is of, and what is to be done."""
        word = {
            MessageKind.CALL: "page" if self.pages else "ticket",
            MessageKind.UPDATE: "update",
            MessageKind.ACKNOWLEDGED: "acknowledged",
            MessageKind.RESOLVED: "resolved",
            MessageKind.TEST: "test",
        }[self.kind]
        name = "" if self.incident is None else f"{self.incident} "
        return one_line(f"[{word}] {name}{self.title}")

    def lines(self) -> list[tuple[str, str]]:
        """The rest, as names and texts, for receivers that show text."""
        found = [("What", self.text), ("Why", self.why), ("Owner", self.owner), ("Runbook", self.runbook)]
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.first, 1))
        found += [("First", steps or None), ("Examples", ", ".join(self.examples) or None), ("Open", self.link)]
        return [(name, text) for name, text in found if text]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request of HTTP. `secret` of its headers and address is repeated nowhere."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"


class Channel(Protocol):
    """One way to tell somebody."""

    name: str
    tenants: Sequence[str] | None

    def send(self, message: Message) -> None:
        """Tells it. Raises NotDelivered."""


def moment(at_ns: object) -> str | None:
    """A time as ISO 8601 in UTC; None for what is none."""
    if not isinstance(at_ns, int) or isinstance(at_ns, bool):
        return None
    try:
        found = datetime.fromtimestamp(at_ns // NS_PER_S, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{found:%Y-%m-%dT%H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}Z"


def one_line(text: str, most: int = 1_000) -> str:
    """A text without line breaks and control characters, cut to `most`."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return cut(plain, most)


def cut(text: str, most: int) -> str:
    """At most so many characters, with a sign that there was more."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _key(sent: Delivery, incident: str | None) -> str:
    key = f"assay/{sent.tenant}/{incident or sent.id}"
    return key if len(key) <= _MOST_KEY else f"assay/{sha256(key.encode()).hexdigest()}"


def _told(one: Mapping[str, Any]) -> Told:
    return Told(
        key=_text(one.get("key")), monitor=_text(one.get("monitor")), series=_text(one.get("series")),
        severity=_text(one.get("severity")), fired_at=moment(one.get("fired_ns")) or "",
        resolved_at=moment(one.get("resolved_ns")),
    )  # fmt: skip


def _text(value: object) -> str:
    return "" if value is None else str(value).encode("utf-8", "replace").decode()  # half a surrogate is no text


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
