"""A real collector process alone, on free ports, and what it stored, for tests that kill it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa

from core.ids import tenant_id
from core.records import Role
from store.control.control import Control
from store.control.records import LedgerRow
from store.control.secret_file import read_or_create_secret
from store.lake import Lake
from tests.first_start import begun
from tests.stack import REPOSITORY, free_port_base
from tests.waiting import wait_until


class Collector:
    """`assay serve collector` on a data folder; start, kill and start again as often as needed."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = begun(data, Path(settings["lake"]) if "lake" in settings else None)
        self.base = free_port_base()
        self.environment = {f"ASSAY_{name.upper()}": value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None
        control = self.control()
        tenant = tenant_id("default")
        control.ensure_tenant(tenant)
        _, self.key = control.create_key(tenant, Role.INGEST, "test")
        control.close()

    def control(self) -> Control:
        """The control database, opened beside the collector."""
        pepper = read_or_create_secret(self.data / "secrets" / "pepper")
        return Control.open(f"sqlite:///{self.data / 'control.db'}", pepper=pepper)

    def key_of(self, tenant: str, role: Role = Role.INGEST) -> str:
        """A key of a (new) tenant."""
        control = self.control()
        control.ensure_tenant(tenant_id(tenant))
        _, key = control.create_key(tenant_id(tenant), role, "test")
        control.close()
        return key

    def launch(self) -> None:
        """Starts it and does not wait."""
        command = [sys.executable, "-m", "server.cli.main", "serve", "collector"]
        with (self.data / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--data", str(self.data), "--port-base", str(self.base)],
                cwd=REPOSITORY,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> Collector:
        """Starts it and waits until it answers."""
        self.launch()
        try:
            wait_until(self._up, 120, "the collector to start")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}; its log ends: {self.log()[-2000:]}") from error
        return self

    @property
    def ended(self) -> bool:
        """Whether the process that was started last is no more."""
        assert self._process is not None
        return self._process.poll() is not None

    def answers(self) -> bool:
        """Whether its door is open."""
        try:
            return bool(self.health())
        except OSError:
            return False

    def _up(self) -> bool:
        assert self._process is not None
        if self.ended:
            raise AssertionError(f"the collector ended with {self._process.returncode}: {self.log()[-4000:]}")
        return self.answers()

    def log(self) -> str:
        """What it wrote to its log."""
        path = self.data / "collector.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def stop(self) -> int:
        """SIGTERM; the exit code. How long it may take is tried in tests/reliability."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def __enter__(self) -> Collector:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process and self._process.poll() is None:
            self.kill()

    # -- speaking to it --------------------------------------------------------------------------------------------

    def post(
        self, body: bytes, path: str = "/v1/traces", *, key: str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers) of one request; header names are given with underscores."""
        sent = {"content-type": "application/x-protobuf", "authorization": f"Bearer {key or self.key}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, sent)

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers) of any request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.base + 1, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def health(self) -> dict[str, object]:
        """GET /healthz."""
        found: dict[str, object] = json.loads(self.request("GET", "/healthz", None, {})[1])
        return found

    def drained(self) -> None:
        """Waits until everything acknowledged is stored."""

        def empty() -> bool:
            backlog = self.health()["backlog"]
            assert isinstance(backlog, dict)
            return bool(backlog["bytes"] == 0)

        wait_until(empty, 60, f"the backlog to drain; {self.health()}")

    # -- what it stored --------------------------------------------------------------------------------------------

    def stored(self, table: str = "spans", tenant: str = "default") -> pl.DataFrame:
        """All rows of a tenant in a lake table."""
        lake = Lake(self.data / "lake")
        parts = [lake.read(file, verify=True) for file in lake.snapshot(table).select(tenant)]
        if not parts:
            return pl.DataFrame(schema=["seq"])
        frame = pl.from_arrow(pa.concat_tables(parts))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def ledger(self, tenant: str = "default") -> dict[str, LedgerRow]:
        """The tenant's ledger by signal."""
        control = self.control()
        try:
            return {str(row.signal): row for row in control.ledger(tenant_id(tenant))}
        finally:
            control.close()
