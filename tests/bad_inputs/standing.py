"""What must hold whatever was sent: the seven standing invariants, on a running stack."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from core.ids import tenant_id
from core.records import Counts, Role
from store.control.control import Control
from store.control.records import KeyRecord
from store.control.secret_file import read_or_create_secret
from store.lake import Lake
from tests.collector.doors import fresh
from tests.collector.otlp import traces
from tests.stack import Stack
from tests.waiting import wait_until

MOST_GROWTH: Final = 64 << 20
MOST_CPU_S: Final = 4.0  # of all processes together; what they do by the clock, up to 2 s a minute, counts too
ANSWER_WITHIN_S: Final = 30.0  # wall clock, on a machine that does other things too; the processor time is the measure
TABLES: Final = ("spans", "scores", "quarantine")
PART: Final = 20  # as many bytes of a payload in a row are in no log
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Tenant:
    """A tenant of one case, its keys, and the healthy spans it sent."""

    name: str
    ingest: str
    admin: str
    key_id: str  # of one of them
    healthy: dict[str, str] = field(default_factory=dict)  # span id -> text
    traces: list[str] = field(default_factory=list)  # their trace ids


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What the processes of the stack were at a moment, and what a bystander had."""

    pids: tuple[int, ...]
    resident: int
    cpu_s: float
    bystander: dict[str, Counts]
    bystander_rows: list[dict[str, Any]]
    bystander_keys: list[KeyRecord]
    logged: dict[Path, int]  # bytes of each log


class Standing:
    """Watches one stack over many cases."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        pepper = read_or_create_secret(stack.data_dir / "secrets" / "pepper")
        self._control = Control.open(f"sqlite:///{stack.data_dir / 'control.db'}", pepper=pepper)
        self._lake = Lake(stack.data_dir / "lake")
        self.bystander = self.tenant("bystander")
        self.send_healthy(self.bystander, "at rest", session="bystander-session")
        self.settled(self.bystander, Counts(received=1, stored=1))

    def close(self) -> None:
        """Closes the control database."""
        self._control.close()

    def tenant(self, name: str | None = None) -> Tenant:
        """A new tenant with its keys."""
        name = name or f"case-{secrets.token_hex(6)}"
        own = tenant_id(name)
        self._control.ensure_tenant(own)
        keys = [self._control.create_key(own, role, "case")[1] for role in (Role.INGEST, Role.ADMIN)]
        key_id = str(self._control.list_keys(own)[0].key_id)
        return Tenant(name=name, ingest=keys[0], admin=keys[1], key_id=key_id)

    def send_healthy(self, tenant: Tenant, text: str, session: str = "s") -> None:
        """A sound request, which must be a full success."""
        [one] = fresh(1, {"text": text, "session.id": session}, name="healthy")
        answer = httpx.post(
            f"{self.stack.otlp_http}/v1/traces",
            content=traces(one).SerializeToString(),
            headers={"authorization": f"Bearer {tenant.ingest}", "content-type": "application/x-protobuf"},
            timeout=ANSWER_WITHIN_S,
        )
        assert (answer.status_code, answer.content) == (200, b""), "a healthy neighbour was refused"
        tenant.healthy[one.span_id.hex()] = text
        tenant.traces.append(one.trace_id.hex())

    def footprint(self) -> Footprint:
        """The processes now."""
        pids = _children(self.stack.pid)
        return Footprint(
            pids=pids,
            resident=self.resident(),
            cpu_s=sum(_cpu_s(pid) for pid in pids),
            bystander=self.ledger(self.bystander),
            bystander_rows=[row for table in TABLES for row in self.stored(self.bystander, table)],
            bystander_keys=self._control.list_keys(tenant_id(self.bystander.name)),
            logged={path: path.stat().st_size for path in self.logs()},
        )

    def resident(self) -> int:
        """Bytes of memory that the processes have now."""
        return sum(_resident(pid) for pid in _children(self.stack.pid))

    def ledger(self, tenant: Tenant) -> dict[str, Counts]:
        """The tenant's ledger by signal; every line of it balances."""
        rows = {str(row.signal): row.counts for row in self._control.ledger(tenant_id(tenant.name))}
        assert all(counts.balanced for counts in rows.values()), rows
        return rows

    def settled(self, tenant: Tenant, expected: Counts, signal: str = "spans") -> None:
        """Waits until the ledger has as many received as expected, and compares the rest."""
        wait_until(
            lambda: self.ledger(tenant).get(signal, Counts()).received >= expected.received,
            60,
            f"{expected.received} to be counted; the ledger says {self.ledger(tenant)}",
        )
        assert self.ledger(tenant).get(signal, Counts()) == expected

    def stored(self, tenant: Tenant, table: str = "spans", name: str | None = None) -> list[dict[str, Any]]:
        """A tenant's rows in the lake, those named `name` only if given."""
        parts = [self._lake.read(file, verify=True) for file in self._lake.snapshot(table).select(tenant.name)]
        if name is not None:
            parts = [part.filter(pc.field("name") == name) for part in parts]
        frame = pl.from_arrow(pa.concat_tables(parts)) if parts else pl.DataFrame()
        assert isinstance(frame, pl.DataFrame)
        return frame.to_dicts()

    def check(
        self,
        tenant: Tenant,
        before: Footprint,
        canary: str,
        most_cpu_s: float = MOST_CPU_S,
        most_growth: int = MOST_GROWTH,
        payload: bytes = b"",
    ) -> None:
        """Invariants 2, 3, 4, 5 and 7 after a case; 1 and 6 are the case's own."""
        ceiling = before.resident + most_growth
        wait_until(lambda: self.resident() < ceiling, 20, f"memory to come back below {ceiling >> 20} MiB")
        now = self.footprint()
        assert now.pids == before.pids, "a process ended"
        assert now.bystander == before.bystander, "another tenant's ledger changed"
        assert now.bystander_rows == before.bystander_rows, "another tenant's rows changed"
        assert now.bystander_keys == before.bystander_keys, "another tenant's keys changed"
        assert now.cpu_s - before.cpu_s < most_cpu_s, f"{now.cpu_s - before.cpu_s} s of processor time"
        for url in (self.stack.url, self.stack.otlp_http):
            assert httpx.get(f"{url}/healthz", timeout=ANSWER_WITHIN_S).status_code == 200, "a part is not well"
        rows = self.stored(tenant, name="healthy")
        assert {row["span_id"]: dict(row["attributes"])["text"] for row in rows} == tenant.healthy
        assert len(rows) == len(tenant.healthy), "a healthy span is there twice"
        for path in self.logs():
            text = path.read_bytes()
            for secret in (canary, tenant.ingest, tenant.admin):
                assert secret.encode() not in text, f"{path.name} holds what was sent"
            said = text[before.logged.get(path, 0) :]
            repeated = [part for part in _parts_of(said) if part in payload]
            assert not repeated, f"{path.name} repeats of what was sent: {repeated[0]!r}"

    def logs(self) -> list[Path]:
        """Everything the stack writes for people to read."""
        run = self.stack.data_dir / "run"
        return [self.stack.log_path, *(path for path in run.rglob("*") if path.is_file())]


def _parts_of(said: bytes) -> set[bytes]:
    """Every run of PART bytes within a line."""
    return {line[at : at + PART] for line in said.splitlines() for at in range(len(line) - PART + 1)}


def _children(pid: int) -> tuple[int, ...]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return tuple(sorted(int(child) for child in found))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(times[11]) + int(times[12])) / TICKS
