"""What the pages say when there is nothing to show: no server, no valid key, no trace yet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from core.ids import TenantId
from core.records import Role
from dashboard.api import Api, TooSlow, Unreachable
from server.control_access import open_control
from server.settings import load_settings
from tests.dashboard.conftest import Shown
from tests.dashboard.visiting import Visits
from tests.stack import REPOSITORY, free_port_base, log_tail, stop
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


@contextmanager
def dashboard(tmp_path: Path, *, url: str, key: str) -> Iterator[str]:
    """A dashboard alone, for that server with that key; gives its address."""
    base = free_port_base()
    log_path = tmp_path / "dashboard.log"
    command = [sys.executable, "-m", "server.cli.main", "serve", "dashboard"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port-base", str(base), "--data", str(tmp_path)],
            cwd=REPOSITORY,
            env={**os.environ, "ASSAY_URL": url, "ASSAY_API_KEY": key},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{base + 3}"

    def ready() -> bool:
        assert process.poll() is None, log_tail(log_path)
        try:
            return httpx.get(f"{address}/_stcore/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(ready, 60, "the dashboard to start")
        yield address
    finally:
        stop(process)


@contextmanager
def visit(visits: Visits, address: str) -> Iterator[Page]:
    """A page at the address; at the end nothing foreign was asked for and nothing complained."""
    with visits.page(address, patience_s=45) as page:
        page.goto(address)
        yield page


def test_without_a_server_the_page_says_how_to_start_one(visits: Visits, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port_base(1)}"
    with dashboard(tmp_path, url=nobody, key="") as address, visit(visits, address) as page:
        expect(page.get_by_role("heading", name="The Assay server does not answer")).to_be_visible()
        expect(page.get_by_text("assay up", exact=True)).to_be_visible()
        expect(page.get_by_text("not connected")).to_be_visible()
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        for view in ("experiments", "experiments?experiment=x", "rollouts", "rollouts?app=x", "planner"):
            page.goto(f"{address}/{view}")
            expect(page.get_by_role("heading", name="The Assay server does not answer")).to_be_visible()


def test_while_a_server_takes_its_time_the_page_says_so(visits: Visits, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with dashboard(tmp_path, url=url, key="") as address, visit(visits, address) as page:
            expect(page.get_by_text("Waiting for the server…").first).to_be_visible()


def test_a_server_that_is_slow_is_not_called_absent() -> None:
    """Who reads that nothing answers would start a second one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        busy = Api(f"http://127.0.0.1:{silent.getsockname()[1]}", "")
        with pytest.raises(TooSlow, match="took the question"):
            busy.post("/experiments/plan", {}, timeout_s=0.2)
    with pytest.raises(Unreachable) as absent:
        Api(f"http://127.0.0.1:{free_port_base(1)}", "").post("/experiments/plan", {}, timeout_s=0.2)
    assert not isinstance(absent.value, TooSlow)


def test_a_wrong_key_is_named_as_the_cause(visits: Visits, shown: Shown, tmp_path: Path) -> None:
    with dashboard(tmp_path, url=shown.stack.url, key="ask_nonsense") as address, visit(visits, address) as page:
        expect(page.get_by_role("heading", name="The API key was not accepted")).to_be_visible()
        expect(page.get_by_text("export ASSAY_API_KEY=ask_…")).to_be_visible()
        expect(page.get_by_text("ask_nonsense")).to_have_count(0)


def test_a_new_tenant_is_shown_how_to_send_its_first_trace(visits: Visits, shown: Shown, tmp_path: Path) -> None:
    control = open_control(load_settings(None, data=shown.stack.data_dir))
    newcomer = TenantId("newcomer")
    control.ensure_tenant(newcomer)
    _, key = control.create_key(newcomer, Role.VIEWER, "dashboard")
    control.close()
    with dashboard(tmp_path, url=shown.stack.url, key=key) as address, visit(visits, address) as page:
        expect(page.get_by_role("heading", name="Waiting for the first trace")).to_be_visible()
        expect(page.get_by_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={shown.stack.otlp_http}")).to_be_visible()
        expect(page.get_by_text("Tenant: newcomer")).to_be_visible()
        assert key not in page.content()
        page.get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("heading", name="Waiting for the first trace")).to_be_visible()
        expect(page.get_by_text("travel-desk")).to_have_count(0)
