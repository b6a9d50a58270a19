"""The line above the pages while files of the lake are damaged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from streamlit.testing.v1 import AppTest

from core.records import Role
from dashboard.api import Api
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.stack import REPOSITORY, free_port_base
from tests.store.build import agent_trace, fill
from tests.store.test_damage import flip
from tests.waiting import wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Shell, str]]:
    """A shell on a port of this machine."""
    with running_shell(tmp_path) as shell:
        port = free_port_base()
        server = uvicorn.Server(uvicorn.Config(shell.client.app, port=port, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_until(lambda: server.started, 20, "the server to start")
        yield shell, f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(20)


def test_the_pages_say_it_while_files_are_damaged(served: tuple[Shell, str], monkeypatch: pytest.MonkeyPatch) -> None:
    shell, url = served
    lake = shell.services.lake
    fill(lake, agent_trace(1, tenant=AIRLINE))
    api = Api(url, shell.keys[AIRLINE, Role.VIEWER])
    assert api.degraded() is False
    flip(Path(lake.snapshot("spans").files[0].path), 50)
    api.get("/spans", {"start": "0", "end": str(2**62)})
    assert api.degraded() is True
    monkeypatch.setenv("ASSAY_URL", url)
    monkeypatch.setenv("ASSAY_API_KEY", shell.keys[AIRLINE, Role.VIEWER])
    shown = AppTest.from_file(REPOSITORY / "dashboard" / "pages.py", default_timeout=60).run()
    assert [warning.value for warning in shown.warning] == [
        "Files of the lake are damaged and left out: figures and lists may be incomplete. Run assay doctor."
    ]
