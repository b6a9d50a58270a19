"""Lists of alerts, incidents and deliveries by pages, and what an incident tells of its monitors' runbooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from core.clock import system_clock
from core.records import Role
from store.control.monitor_records import LookWritten, RaisedAlert
from store.control.monitoring import MONITORS_JOB
from tests.monitors.watching import Hands
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.server.test_monitors import ADMIN, APP, DEFINITION, get, made_incident, post, said

N: Final = 5
RUNBOOK: Final = "https://wiki.example.com/resolution?of=desk"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Five incidents, each with a delivery, and five alerts that began at the same moment."""
    clock = Hands(system_clock())
    with running_shell(tmp_path_factory.mktemp("monitor-lists"), clock) as running:
        definition = {**DEFINITION, "runbook": RUNBOOK}
        assert post(running, "/monitors", {"name": "desk", "definition": definition}).status_code == 201
        for _ in range(N):
            made_incident(running)
        raise_alerts(running, [alert(running, f"resolution{{release=r{at}}}") for at in range(N)])
        yield running


def alert(shell: Shell, series: str) -> RaisedAlert:
    return RaisedAlert(
        tenant=AIRLINE, monitor="desk", series=series, episode=1, app=APP, status="pending", severity="page",
        since_ns=shell.services.clock(),
    )  # fmt: skip


def raise_alerts(shell: Shell, pending: list[RaisedAlert]) -> None:
    control = shell.services.control
    control.run_job(AIRLINE, MONITORS_JOB, by=ADMIN)
    assert control.take_job(AIRLINE, MONITORS_JOB, "test") is not None
    first = 1 + max((one.number for one in control.incidents(AIRLINE)), default=0)
    states = tuple(control.monitor_states(AIRLINE))
    control.write_look(
        LookWritten(tenant=AIRLINE, owner="test", states=states, pending=tuple(pending), first_number=first)
    )
    control.end_job(AIRLINE, MONITORS_JOB, "test", next_ns=shell.services.clock())


def pages(shell: Shell, path: str, limit: int) -> list[list[dict[str, Any]]]:
    page = get(shell, path, limit=limit).json()
    found = [page["items"]]
    while page["next_cursor"] is not None:
        page = get(shell, path, limit=limit, cursor=page["next_cursor"]).json()
        found.append(page["items"])
    return found


@pytest.mark.parametrize("path", ["/alerts", "/incidents", "/deliveries"])
@pytest.mark.parametrize("limit", [1, 2, N, N + 1])
def test_pages_join_to_the_whole_list(shell: Shell, path: str, limit: int) -> None:
    whole = get(shell, path).json()
    assert (len(whole["items"]), whole["next_cursor"]) == (N, None)
    found = pages(shell, path, limit)
    assert [one for page in found for one in page] == whole["items"]
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


def test_a_list_goes_on_where_the_alert_shown_last_is_gone(shell: Shell) -> None:
    before = [alert(shell, f"resolution{{release=r{at}}}") for at in range(N)]
    older = [replace(one, series=f"old{at}", since_ns=one.since_ns - 1000) for at, one in enumerate(before)]
    raise_alerts(shell, [*before, *older])
    page = get(shell, "/alerts", limit=N).json()
    raise_alerts(shell, older)  # every alert of the first page has ended
    again = get(shell, "/alerts", cursor=page["next_cursor"]).json()
    assert [one["series"] for one in again["items"]] == [f"old{at}" for at in range(N)]
    raise_alerts(shell, before)


def test_a_cursor_of_another_list_is_refused(shell: Shell) -> None:
    cursor = get(shell, "/incidents", limit=1).json()["next_cursor"]
    wrong = [
        get(shell, "/alerts", limit=1, cursor=cursor),
        get(shell, "/incidents", limit=1, cursor=cursor, app=APP),
        get(shell, "/incidents", SHOP, limit=1, cursor=cursor),
        get(shell, "/deliveries", limit=1, cursor="garbage"),
    ]
    assert [(one.status_code, one.json()["field"]) for one in wrong] == [(400, "cursor")] * 4


def test_an_incident_tells_its_monitors_runbook(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    told = get(shell, "/incidents/I-1").json()
    assert told["runbooks"] == [{"monitor": "desk", "runbook": RUNBOOK}]
    with served(shell.services) as url:
        assert f"runbook of desk: {RUNBOOK}" in said(capsys, shell, url, "incidents", "show", "I-1")
    headers = shell.headers(Role.POWER_USER)
    shell.client.delete("/api/v1/monitors/desk", headers=headers).raise_for_status()
    assert get(shell, "/incidents/I-1").json()["runbooks"] == []


def test_an_edit_is_a_version_that_is_shown(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:
        assert "resolution" in said(capsys, shell, url, "monitors", "create", "resolution", "--app", "till")
        once = said(capsys, shell, url, "monitors", "show", "resolution")
        said(capsys, shell, url, "monitors", "edit", "resolution", "--step", "15m")
        twice = said(capsys, shell, url, "monitors", "show", "resolution")
    assert "version 1" in once
    assert "made (UTC)" not in once
    assert "version 2" in twice
    assert "made (UTC)" in twice
