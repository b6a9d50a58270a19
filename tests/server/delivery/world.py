"""Incidents with messages in a real control database, receivers on loopback that go away for a while, and a clock that
is set by hand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import Principal, Role
from server.delivery.channels import Channels
from server.delivery.teller import Teller
from store.control.control import Control
from store.control.monitor_records import (
    Delivery,
    IncidentRecord,
    LookWritten,
    Wanted,
)
from tests.loopback import listening
from tests.store.databases import PEPPER

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
BEGIN = 1_800_000_000 * NS_PER_S
OWNER = "a server"
KEY = "a key of sixteen characters or more"


@dataclass
class Hands:
    """A clock that is set by hand, for the database and for the teller."""

    ns: int = BEGIN

    def __call__(self) -> int:
        return self.ns

    def seconds(self) -> float:
        return self.ns / NS_PER_S

    def pass_s(self, seconds: float) -> None:
        self.ns += int(seconds * NS_PER_S)


def control_in(folder: Path, clock: Hands) -> Control:
    """A control database of two tenants."""
    found = Control.open(f"sqlite:///{folder / 'control.db'}", pepper=PEPPER, clock=clock)
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    return found


def payload(kind: str, text: str, severity: str = "page") -> dict[str, Any]:
    alert = {
        "key": "acme/resolution/-/1",
        "monitor": "resolution",
        "series": "-",
        "severity": severity,
        "fired_ns": BEGIN,
        "resolved_ns": BEGIN + NS_PER_S if kind == "incident.resolved" else None,
    }
    return {
        "kind": kind, "title": "shop: resolution", "app": "shop", "severity": severity, "text": text, "at_ns": BEGIN,
        "monitor": "resolution", "why": "The model changed", "first": ["Open the examples."], "alerts": [alert],
    }  # fmt: skip


LIFE = ("incident.call", "incident.update", "incident.resolved")


def incidents(control: Control, channels: tuple[str, ...], n: int = 2, kinds: tuple[str, ...] = LIFE) -> None:
    """Writes `n` incidents of ACME, whole: each with a message of every kind for every channel."""
    assert control.take_job(ACME, "monitors", OWNER) is not None
    first = max((one.number for one in control.incidents(ACME)), default=0) + 1
    numbers = range(first, first + n)
    made = tuple(
        IncidentRecord(tenant=ACME, number=i, app="shop", status="open", severity="page", opened_ns=BEGIN)
        for i in numbers
    )
    wanted = tuple(
        Wanted(channel=channel, incident=i, payload=payload(kind, f"{kind} of {i}"))
        for i in numbers
        for kind in kinds
        for channel in channels
    )
    look = LookWritten(tenant=ACME, owner=OWNER, incidents=made, wanted=wanted, first_number=first)
    control.write_look(look)
    control.end_job(ACME, "monitors", OWNER, next_ns=0)


class Mood(StrEnum):
    """How a receiver answers."""

    WELL = "well"
    FAILS = "fails"
    HANGS = "hangs"
    REDIRECTS = "redirects"
    LOSES = "loses"
    """It takes the message, and its answer is lost."""
    BUSY = "busy"


@dataclass
class Receiver:
    """What it took, in order of arrival, in whatever mood; `elsewhere` is what came where it redirects to."""

    mood: Mood = Mood.WELL
    url: str = ""
    status: int = 500
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    tries: int = 0
    elsewhere: int = 0
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def ids(self) -> list[str]:
        """Deliveries by the receiver's idempotency key, each where it came first."""
        return list(dict.fromkeys(headers["idempotency-key"] for headers, _ in self.taken))

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.taken]

    def answer(self, door: BaseHTTPRequestHandler, body: bytes) -> None:
        if door.path.startswith("/elsewhere"):
            self.elsewhere += 1
            door.send_response(200)
            return door.end_headers()
        self.tries += 1
        self.paths.append(door.path)
        if self.mood is Mood.HANGS:
            self.released.wait(30)
        if self.mood in (Mood.WELL, Mood.LOSES):
            self.taken.append(({name.lower(): value for name, value in door.headers.items()}, body))
        if self.mood in (Mood.LOSES, Mood.HANGS):
            door.close_connection = True
            return None
        status = {Mood.FAILS: self.status, Mood.REDIRECTS: 307, Mood.BUSY: 429}.get(self.mood, 202)
        door.send_response(status)
        if self.mood is Mood.REDIRECTS:
            door.send_header("location", f"{self.url}/elsewhere")
        if self.mood is Mood.BUSY:
            door.send_header("retry-after", "300")
        door.send_header("content-length", "0")
        return door.end_headers()


@contextmanager
def receiving(one: Receiver, port: int = 0) -> Iterator[Receiver]:
    """Serves it on loopback."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            one.answer(self, self.rfile.read(int(self.headers["content-length"] or 0)))

        def do_GET(self) -> None:
            one.answer(self, b"")

        def log_message(self, *args: object) -> None:
            return

    with listening(Door, port) as url:
        one.url = url
        try:
            yield one
        finally:
            one.released.set()


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def hooks(deadline_s: float = 25.0, /, **urls: str) -> Channels:
    """Signed webhooks by name."""
    told = {"kind": "webhook", "key": KEY, "deadline_s": deadline_s}
    return channels_of({name: {**told, "url": url} for name, url in urls.items()})


def channels_of(told: Mapping[str, Mapping[str, Any]]) -> Channels:
    """Channels within the network."""
    return Channels.model_validate({"channels": {name: {"private": True, **one} for name, one in told.items()}})


def teller_of(control: Control, channels: Channels, hands: Hands, owner: str = OWNER) -> Teller:
    return Teller(control, channels, owner, clock=hands, monotonic=hands.seconds)


def waiting(control: Control) -> list[Delivery]:
    return [one for one in control.deliveries(ACME) if not one.state.ended]
