"""The demo's monitors over a real server: made once, learning from what was, and an incident that is true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S, system_clock
from core.ids import TenantId
from core.records import EvaluatorKind, Role, TargetKind
from core.windows import day_of
from monitors.service_evaluate import Evaluator
from server.cli import demo_monitors
from server.cli.demo_evaluations import APP
from store.control.monitoring import MONITORS_JOB
from store.scores import NewScore, append_scores
from tests.monitors.watching import Hands
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.store.build import fill, row

HOUR = 3600 * NS_PER_S
EVERY = 240 * NS_PER_S  # a session of each release


@contextmanager
def demo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Shell, Hands]]:
    hands = Hands(system_clock())
    with running_shell(folder, hands, trusted_hosts=("*",)) as shell, served(shell.services) as url:
        monkeypatch.setenv("ASSAY_URL", url)
        monkeypatch.setenv("ASSAY_API_KEY", shell.keys[AIRLINE, Role.ADMIN])
        yield shell, hands


def traffic(shell: Shell, begin_ns: int, end_ns: int) -> None:
    """Sessions of both releases: all of the first go well, every seventh of the second does not."""
    rows: list[dict[str, Any]] = []
    scores: list[NewScore] = []
    for n, at in enumerate(range(begin_ns, end_ns, EVERY)):
        for release in ("demo-v1", "demo-v2"):
            name, number = f"{release}-{at}", 2 * (at // EVERY) + (release == "demo-v2")
            rows.append(
                row(
                    tenant=str(AIRLINE), app=APP, release=release, session_id=name, user_id=name, trace_id=number,
                    span_id=number, date=day_of(at), start_ns=at, ms=900, kind="AGENT",
                )
            )  # fmt: skip
            scores.append(
                NewScore(
                    evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                    session_id=name, value=float(release == "demo-v1" or n % 7 > 0), at_ns=at + NS_PER_S,
                )
            )  # fmt: skip
    fill(shell.services.lake, rows)
    ids = [f"outcome-{one.session_id}" for one in scores]
    append_scores(shell.services.store.tenant(AIRLINE), scores, ids=ids, author="test", now_ns=shell.services.clock())


def look(shell: Shell) -> None:
    control, tenant = shell.services.control, TenantId(AIRLINE)
    assert control.take_job(tenant, MONITORS_JOB, "test") is not None
    store = shell.services.store.tenant(tenant)
    Evaluator(control=control, store=store, clock=shell.services.clock, owner="test").look()
    control.end_job(tenant, MONITORS_JOB, "test", next_ns=shell.services.clock())


def test_the_release_that_fails_is_the_incident_and_monitors_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with demo(tmp_path, monkeypatch) as (shell, hands):
        traffic(shell, hands.ns - 48 * HOUR, hands.ns)
        assert demo_monitors.main() == 0
        said = capsys.readouterr().out
        assert "assay monitors create --defaults --app larkspur-support\n" in said
        assert "6 default monitors and promise, 99% of each release, watch larkspur-support from now on" in said
        assert demo_monitors.main() == 0
        assert capsys.readouterr().out == "monitors of an earlier start are there\n"
        made = hands.ns
        traffic(shell, made, made + HOUR // 4)
        hands.ns = made + HOUR // 4
        look(shell)
        headers = shell.headers(Role.VIEWER)
        alerts = shell.client.get("/api/v1/alerts", headers=headers).json()["items"]
        assert [(one["status"], one["series"]) for one in alerts] == [("firing", "resolution{release=demo-v2}")]
        (incident,) = shell.client.get("/api/v1/incidents", headers=headers).json()["items"]
        assert (incident["id"], incident["status"]) == ("I-1", "open")
        known = {one["name"]: one for one in shell.client.get("/api/v1/monitors", headers=headers).json()["items"]}
        assert known["resolution"]["health"] == known["p95_latency"]["health"] == "ok"


def test_what_goes_wrong_is_said_and_keeps_no_user_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with demo(tmp_path, monkeypatch) as (shell, _):
        monkeypatch.setenv("ASSAY_API_KEY", shell.keys[AIRLINE, Role.INGEST])
        assert demo_monitors.main() == 0
        assert capsys.readouterr().out.startswith("nothing is watched: GET /monitors: 403")
