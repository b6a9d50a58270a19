"""The parts of a collector in this process, real ones on a real folder, so that a test can stop between two of them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import pyarrow as pa

from auth.authenticator import Authenticator, FindKey
from collector.admission import Quotas
from collector.batch import Item, Workshop, seq_of
from collector.committer import Committer
from collector.grpc_door import GrpcDoor
from collector.http_door import Door, HttpConnection
from collector.intake import Intake, Tally
from collector.journal import Entry, Journal
from collector.kinds import EntryKind
from collector.recovery import recover
from collector.redact import Redactor
from collector.seal import MasterKey, sealed
from collector.settings import CollectorSettings
from core.clock import system_clock
from core.ids import tenant_id
from core.records import Counts, PiiPolicy, Role
from store.control.control import Control
from store.lake import Lake
from tests.first_start import begun
from tests.stack import free_port_base

TENANT = tenant_id("acme")
PEPPER = bytes(range(32))


class Inside:
    """One life of a collector's parts on a data folder: `recover` readies it, `release` ends it as a crash would."""

    def __init__(self, data: Path, lake: Lake | None = None, **settings: Any) -> None:
        self.data = begun(data)
        ports = {"grpc_port": free_port_base()}
        self.settings = CollectorSettings(data_dir=data, lake_root=str(data / "lake"), **(ports | settings))
        self.control = Control.open(f"sqlite:///{data / 'control.db'}", pepper=PEPPER)
        self.control.ensure_tenant(TENANT)
        master = MasterKey.open(data / "secrets" / "master.key")
        self.lake = lake or Lake(data / "lake")
        self.journal = Journal(data / "journal", master)
        self.tally = Tally()
        self.workshop = Workshop(
            redactor=lambda tenant: Redactor(PiiPolicy(), master.derived(tenant)),
            seal=lambda tenant, raw: sealed(master.derived(f"quarantine/{tenant}"), raw),
        )
        self.committer = Committer(
            settings=self.settings,
            journal=self.journal,
            lake=self.lake,
            control=self.control,
            workshop=self.workshop,
            tally=self.tally,
        )

    def recover(self) -> int:
        """Recovers and starts the journal's writer."""
        last = recover(
            journal=self.journal,
            lake=self.lake,
            control=self.control,
            committer=self.committer,
            workshop=self.workshop,
        )
        self.journal.start(last + 1)
        self.committer.recovered(last)
        return last

    def keep(self, body: bytes, kind: EntryKind = EntryKind.SPANS_PROTOBUF) -> Item:
        """Puts a request into the journal, as an acknowledgement does; the lake does not have it yet."""
        at_us = system_clock() // 1000
        position, _ = self.journal.append(kind=kind, tenant=TENANT, received_at_us=at_us, body=body).result(60)
        seq = seq_of(self.journal.number, position)
        return Item(seq=seq, kind=kind, tenant=TENANT, received_at_us=at_us, body=body)

    def release(self) -> None:
        """Ends this life; whatever was not stored stays in the journal."""
        self.journal.stop()
        self.journal.release()
        self.control.close()

    def in_journal(self) -> list[int]:
        """Positions that a new life would read."""
        return [each.position for each in self.journal.replay() if isinstance(each, Entry)]

    def stored(self, table: str = "spans") -> pl.DataFrame:
        """All rows of a table, from a fresh look at the folder."""
        lake = Lake(self.data / "lake")
        parts = [lake.read(file, verify=True) for file in lake.snapshot(table).files]
        frame = pl.from_arrow(pa.concat_tables(parts)) if parts else pl.DataFrame(schema=["seq"])
        assert isinstance(frame, pl.DataFrame)
        return frame

    def counts(self, signal: str = "spans") -> Counts:
        """The ledger's line; it must balance."""
        for row in self.control.ledger(TENANT):
            if str(row.signal) == signal:
                assert row.counts.balanced, row
                return row.counts
        return Counts()


class InsideDoor:
    """Both doors of an `Inside`, served by a loop of its own thread; the committer does not run."""

    def __init__(self, inside: Inside, find_key: FindKey | None = None) -> None:
        self.inside = inside
        _, self.key = inside.control.create_key(TENANT, Role.INGEST, "test")
        self._find_key = find_key or inside.control.find_key
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> InsideDoor:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(60)
        return self

    async def _serve(self) -> int:
        intake = Intake(
            authenticator=Authenticator(self._find_key, PEPPER, ttl_s=0.0),
            journal=self.inside.journal,
            backlog=self.inside.committer,
            clock=system_clock,
            tally=self.inside.tally,
            quotas=Quotas(dict(self.inside.settings.tenant_bytes_s)),
        )
        door = Door(intake=intake, settings=self.inside.settings, health=lambda: (True, {}), connections=set())
        server = await self._loop.create_server(lambda: HttpConnection(door), "127.0.0.1", 0)
        self._grpc = GrpcDoor(intake, self.inside.settings)
        await self._grpc.start()
        return int(server.sockets[0].getsockname()[1])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
