"""The collector as a running process: opens what it needs, recovers, listens, and stops without loss."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn

import uvloop

from auth.authenticator import Authenticator
from collector.admission import Quotas, be_nice
from collector.batch import Workshop
from collector.committer import Committer
from collector.compile import warm
from collector.grpc_door import GrpcDoor
from collector.http_door import Door, HttpConnection
from collector.intake import Intake, Tally
from collector.journal import Journal
from collector.json_reader import JsonReaders
from collector.mask import ColumnRedactor
from collector.memory import keep_pages, leave_compiler, without_pandas
from collector.recovery import recover
from collector.redact import Redactor
from collector.seal import MasterKey, sealed
from collector.settings import CollectorSettings
from core.clock import system_clock
from core.errors import AssayError
from core.ids import TenantId
from core.memory import ARROW_POOL, give_back_every, settled
from core.records import PiiPolicy
from store.compaction import plan
from store.control.control import Control
from store.instance import require_reached
from store.lake import Lake
from store.retention import enforce
from store.scrub import Scrubber

POLICY_TTL_S: Final = 3.0
TRIM_S: Final = 2.0
SWITCH_S: Final = 0.0005  # a thread that holds the GIL gives it up after so long: who acknowledges waits no longer
STALLED_S: Final = 30.0
ASK_KEYS_EVERY_S: Final = 2.0  # as long as a key is remembered
SHORT_WORK: Final = 2  # threads that join a large body or ask the key store; no more come under load
SCRUB_BYTES: Final = 64 << 20  # of the lake per round of upkeep: 90 GiB a day
_LOG: Final = logging.getLogger("assay.collector")


class Redactors:
    """One redactor per tenant, made anew when the tenant's choice changes (looked up every few seconds)."""

    def __init__(self, control: Control, master: MasterKey) -> None:
        self._control = control
        self._master = master
        self._made: dict[TenantId, tuple[float, PiiPolicy, ColumnRedactor]] = {}

    def of(self, tenant: TenantId) -> ColumnRedactor:
        """The tenant's redactor."""
        now = time.monotonic()
        known = self._made.get(tenant)
        if known and now - known[0] < POLICY_TTL_S:
            return known[2]
        policy = self._control.tenant(tenant).pii
        same = known is not None and known[1] == policy
        redactor = known[2] if known and same else Redactor(policy, self._master.derived(f"pii/{tenant}"))
        self._made[tenant] = (now, policy, redactor)
        return redactor


def run(settings: CollectorSettings, control: Control, pepper: bytes) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    without_pandas()
    keep_pages()
    sys.setswitchinterval(SWITCH_S)
    give_back_every(TRIM_S)
    return uvloop.run(_Collector(settings, control, pepper).run())


def drain(settings: CollectorSettings, control: Control, pepper: bytes) -> tuple[int, int]:
    """Without listening: stores what the journal holds and destroys its segments: (destroyed, damaged ones left).

    Raises Conflict when a collector is running, StorageFailed, Corrupt.
    """
    return _Collector(settings, control, pepper).drain()


class _Collector:
    def __init__(self, settings: CollectorSettings, control: Control, pepper: bytes) -> None:
        self._settings = settings
        data = settings.data_dir
        master = MasterKey.open(data / "secrets" / "master.key")
        self._control = control
        self._lake = Lake(settings.lake_root, cache=settings.lake_cache)
        require_reached(data, self._lake, control.watermarks())
        self._scrubber = Scrubber(self._lake)
        self._journal = Journal(data / "journal", master, segment_bytes=settings.segment_bytes)
        self._readers = JsonReaders()
        tally = Tally()
        redactors = Redactors(control, master)
        workshop = Workshop(
            redactor=redactors.of,
            spread=ThreadPoolExecutor(2, "chunk", initializer=be_nice).map,
            seal=lambda tenant, raw: sealed(master.derived(f"quarantine/{tenant}"), raw),
            transcode=self._readers.transcode,
        )
        self._committer = Committer(
            settings=settings,
            journal=self._journal,
            lake=self._lake,
            control=control,
            workshop=workshop,
            tally=tally,
        )
        warm()
        leave_compiler()
        started = time.monotonic()
        last = recover(
            journal=self._journal, lake=self._lake, control=control, committer=self._committer, workshop=workshop
        )
        if last:
            _LOG.info("recovered up to position %d in %.1f s", last, time.monotonic() - started)
        self._journal.start(last + 1)
        self._intake = Intake(
            authenticator=Authenticator(control.find_key, pepper),
            journal=self._journal,
            backlog=self._committer,
            clock=system_clock,
            tally=tally,
            quotas=Quotas(dict(settings.tenant_bytes_s)),
            transcode=self._readers.transcode,
        )
        self._nice = ThreadPoolExecutor(1, "upkeep", initializer=be_nice)
        self._keys = "ok"
        self._grpc = GrpcDoor(self._intake, settings)
        self._committer.recovered(last)

    def drain(self) -> tuple[int, int]:
        """Destroys what recovery has stored, and ends: (segments destroyed, damaged ones left)."""
        try:
            gone = self._journal.committed(self._journal.last_position)
            self._journal.stop()
            return len(gone), len(self._journal.segments()[1])
        finally:
            self._journal.release()

    async def run(self) -> int:
        """Listens until told to stop."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(SHORT_WORK, "short"))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        door = Door(intake=self._intake, settings=self._settings, health=self._health, connections=set())
        try:
            http = await loop.create_server(
                lambda: HttpConnection(door), self._settings.host, self._settings.http_port, backlog=1024
            )
            await self._grpc.start()
        except OSError as error:
            print(f"assay: the collector cannot listen: {error}", file=sys.stderr)  # noqa: T201
            return 1
        self._committer.start()
        settled()
        _LOG.info(
            "listening on %s:%d (HTTP) and :%d (gRPC)",
            self._settings.host,
            self._settings.http_port,
            self._settings.grpc_port,
        )
        watching = [loop.create_task(self._upkeep()), loop.create_task(self._ask_keys())]
        await stop.wait()
        ends_at = time.monotonic() + self._settings.stop_within_s
        for task in watching:
            task.cancel()
        http.close()
        for connection in list(door.connections):
            connection.finish_soon()
        await self._grpc.stop(2.0)
        deadline = time.monotonic() + 2.0
        while door.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await loop.run_in_executor(None, self._journal.stop)
        stored = await loop.run_in_executor(None, self._committer.stop, max(0.0, ends_at - time.monotonic()))
        self._readers.close()
        if not stored:
            _end_now()
        return 0

    async def _ask_keys(self) -> None:
        """Notes whether the key store answers, for health: a request whose key is not remembered needs it."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(None, self._control.check)
                self._keys = "ok"
            except AssayError as error:
                if self._keys == "ok":
                    _LOG.error("the key store does not answer: %s", error)
                self._keys = "failed"
            await asyncio.sleep(ASK_KEYS_EVERY_S)

    async def _upkeep(self) -> None:
        """One round after the other; a round that fails is logged, and the next one tries again."""
        while True:
            await asyncio.sleep(self._settings.compact_every_s)
            try:
                await self._upkeep_round()
            except Exception:
                _LOG.exception("a round of upkeep failed; the next one tries again")

    async def _upkeep_round(self) -> None:
        """Scrubs a little; then retention and packing, in a child process that gives its memory back."""
        loop = asyncio.get_running_loop()
        for finding in await loop.run_in_executor(self._nice, self._scrubber.some, SCRUB_BYTES):
            _LOG.error("%s", finding)
        retention = await loop.run_in_executor(self._nice, self._expired)
        if not retention and not needs_compaction(self._lake):
            return
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "store.compaction", self._settings.lake_root),
            *("--cache", str(self._settings.lake_cache)),
            *("--retain", json.dumps(retention)),
            cwd=Path(__file__).parent.parent,
            env={name: value for name, value in os.environ.items() if name != ARROW_POOL},  # it lives for seconds
        )
        try:
            await child.wait()
        except asyncio.CancelledError:
            child.terminate()
            raise

    def _expired(self) -> dict[str, int]:
        """Tenants with rows that they no longer keep -> days they keep."""
        try:
            tenants = self._control.all_tenants()
            kept = {str(t.id): t.retention_days for t in tenants if t.retention_days is not None}
            return {gone.tenant: kept[gone.tenant] for gone in enforce(self._lake, kept, system_clock(), dry_run=True)}
        except AssayError as error:
            _LOG.warning("retention was not looked at: %s", error)
            return {}

    def _health(self) -> tuple[bool, dict[str, object]]:
        """Well means making progress, not merely being up."""
        backlog = self._committer.backlog
        age = backlog["oldest_s"]
        open_ = self._grpc.is_open
        well = (
            open_ and self._keys == "ok" and backlog["trouble"] is None and isinstance(age, float) and age < STALLED_S
        )
        limits = {"max_body_bytes": self._settings.max_body_bytes, "backlog_bytes": self._settings.backlog_bytes}
        scrub = {"rounds": self._scrubber.rounds, "damaged": self._scrubber.damaged[:20]}
        status = "ok" if well else "failing"
        refusal = self._committer.refusal  # the process is alive all the same, and takes requests again by itself
        doors = {"grpc": "open" if open_ else "closed", "keys": self._keys, "refusing": refusal}
        now = {"status": status, **doors, "backlog": backlog}
        return well, {**now, "limits": limits, "scrub": scrub}


def _end_now() -> NoReturn:
    """Ends the process while the committer is at work; the journal has what it did not store, for the next start.

    Python would tear the interpreter down around that thread, which aborts when it comes back from native code.
    """
    _LOG.warning("not everything was stored in time; the journal keeps it, and the next start stores it")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)


def needs_compaction(lake: Lake) -> bool:
    """Whether any table has enough small files to be worth a round."""
    return any(plan(lake, table) for table in lake.tables())
