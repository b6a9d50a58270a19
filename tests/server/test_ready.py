"""Ready means that spans can be sent: a collector that turns requests away is not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest
from starlette.testclient import TestClient

from core.ids import TenantId
from core.records import Role
from server.app import create_app
from server.cli.main import main
from server.settings import Settings
from server.wiring import build_services
from tests.fuzz.doors import http2_request
from tests.server.shell import served
from tests.stack import REPOSITORY, free_port_base
from tests.store.databases import postgres_server
from tests.waiting import wait_until

# `assay serve collector`, with the room on the disk below which it refuses.
PROGRAM = """
import sys
from pathlib import Path
from collector.service import run
from collector.settings import CollectorSettings
from server.control_access import open_control, pepper_of
from server.settings import Settings
given = Settings(data=Path(sys.argv[1]), port_base=int(sys.argv[2]))
ports = {"grpc_port": given.grpc_port, "http_port": given.http_port}
chosen = CollectorSettings(data_dir=given.data, lake_root=given.lake_root, min_free_bytes=int(sys.argv[3]), **ports)
sys.exit(run(chosen, open_control(given), pepper_of(given)))
"""


@contextmanager
def collecting(settings: Settings, min_free_bytes: int) -> Iterator[None]:
    """A collector of this installation."""
    words = [str(settings.data), str(settings.grpc_port), str(min_free_bytes)]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], cwd=REPOSITORY)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def test_a_collector_without_room_is_up_and_not_ready(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", port_base=free_port_base())
    services = build_services(settings)
    services.control.ensure_tenant(TenantId("airline"))
    admin = {"Authorization": f"Bearer {services.control.create_key(TenantId('airline'), Role.ADMIN, 'test')[1]}"}
    with TestClient(create_app(services), base_url="http://127.0.0.1") as client:

        def ready() -> tuple[int, str]:
            answer = client.get("/api/v1/ready")
            return answer.status_code, answer.json()["status"]

        assert ready() == (503, "starting")
        with collecting(settings, 1 << 60):
            wait_until(lambda: ready()[1] != "starting", 120, "the collector to answer")
            assert ready() == (503, "refusing")
            checks = client.get("/api/v1/doctor", params={"scrub": "false"}, headers=admin).json()["checks"]
            (found,) = [(one["status"], one["detail"]) for one in checks if one["name"] == "collector"]
            assert found == ("fail", "refuses requests: the disk is nearly full")
        with collecting(settings, 0):
            wait_until(lambda: ready() == (200, "ok"), 120, "the collector to be ready")
            # A job that was given up turns no span away: a load balancer has to go on sending them here.
            control, tenant = services.control, TenantId("airline")
            assert control.take_job(tenant, "digest", "test") is not None
            control.end_job(tenant, "digest", "test", next_ns=0, error="it is away", most_tries=1)
            assert ready() == (200, "degraded")
            assert client.get("/api/v1/ready").json()["dead_jobs"] == ["digest"]
    services.control.close()


def seized(port: int) -> socket.socket:
    """The gRPC port, taken in the moment after a path that is not UTF-8 has ended the server that had it."""
    give_up_at = monotonic() + 60
    while monotonic() < give_up_at:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(http2_request(b"/\xff\xfe"))
        try_until = monotonic() + 1
        while monotonic() < try_until:
            taken = socket.socket()
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                taken.close()
            else:
                return taken
    raise AssertionError(f"port {port} was never free")


def test_a_collector_whose_grpc_port_another_took_says_so_until_it_has_it_back(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", port_base=free_port_base())
    services = build_services(settings)
    services.control.ensure_tenant(TenantId("airline"))
    admin = {"Authorization": f"Bearer {services.control.create_key(TenantId('airline'), Role.ADMIN, 'test')[1]}"}

    def health() -> tuple[int, str]:
        answer = httpx.get(f"http://127.0.0.1:{settings.http_port}/healthz")
        return answer.status_code, answer.json()["grpc"]

    with TestClient(create_app(services), base_url="http://127.0.0.1") as client, collecting(settings, 0):
        wait_until(lambda: client.get("/api/v1/ready").status_code == 200, 120, "the collector to be ready")
        assert health() == (200, "open")
        with seized(settings.grpc_port):
            wait_until(lambda: health() == (503, "closed"), 30, "the collector to miss its port")
            assert client.get("/api/v1/ready").status_code == 503
            checks = client.get("/api/v1/doctor", params={"scrub": "false"}, headers=admin).json()["checks"]
            (found,) = [(one["status"], one["detail"]) for one in checks if one["name"] == "collector"]
            assert found == ("fail", "does not listen for gRPC")
        wait_until(lambda: health() == (200, "open"), 30, "the collector to have its port again")
        assert client.get("/api/v1/ready").status_code == 200
    services.control.close()


def test_a_postgresql_that_stopped_is_not_ready_and_the_doctor_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as running, postgres_server() as postgres:
        monkeypatch.setenv("ASSAY_CONTROL_URL", postgres.get_uri())
        settings = Settings(data=tmp_path / "data", port_base=free_port_base())
        services = build_services(settings)
        services.control.ensure_tenant(TenantId("airline"))
        key = services.control.create_key(TenantId("airline"), Role.ADMIN, "test")[1]
        url = running.enter_context(served(services))
        running.enter_context(collecting(settings, 0))

        def ready() -> tuple[int, str]:
            answer = httpx.get(f"{url}/api/v1/ready", timeout=30)
            return answer.status_code, answer.json()["status"]

        def doors() -> tuple[int, str, str]:
            answer = httpx.get(f"http://127.0.0.1:{settings.http_port}/healthz")
            return answer.status_code, answer.json()["status"], answer.json()["keys"]

        wait_until(lambda: ready() == (200, "ok"), 120, "the collector to be ready")
        assert doors() == (200, "ok", "ok")
        postgres.cleanup()
        wait_until(lambda: ready() == (503, "failed"), 60, "the server to miss its database")
        wait_until(lambda: doors() == (503, "failing", "failed"), 60, "the collector to miss its keys")
        capsys.readouterr()
        assert main(["doctor", "--url", url, "--key", key, "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert {one["name"]: one["status"] for one in found["checks"]} == {
            "server": "fail",
            "control database": "fail",
            "lake": "ok",
        }
        services.control.close()
