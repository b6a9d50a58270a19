"""A server with jobs in every state, and work that waits, with a dashboard before it, and one of a viewer of a tenant
that has nothing yet. No server does the jobs but where a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clustering.params import params_of
from core.clock import NS_PER_S, system_clock
from core.records import Principal, Role
from server.settings import Settings
from server.wiring import build_services
from store.control.cluster_records import ClusterRunRecord
from store.control.control import Control
from store.control.monitor_records import ScheduledJob
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.first_start import begun
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

ANN: Final = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
DEAD: Final = f"the rubric cannot be read: {ATTACK}"
AWAY: Final = "the object store did not answer in 30 s: connection refused by lake.example:9000"
N_RUNS: Final = 40


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """The dashboard with a key of role power_user, and that of a viewer of SHOP."""

    shell: Shell
    url: str
    viewer_url: str

    def job(self, name: str) -> ScheduledJob:
        return self.shell.services.control.job(AIRLINE, name)


class _Past:
    """A clock that begins a while ago."""

    def __init__(self) -> None:
        self.ns = system_clock() - 900 * NS_PER_S

    def __call__(self) -> int:
        return self.ns


@contextmanager
def scheduled_dashboard(folder: Path) -> Iterator[Scheduled]:
    """Builds it, and tears it down."""
    _history(folder)
    with running_shell(folder, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        keys = shell.keys
        with (
            running_dashboard(api, keys[AIRLINE, Role.POWER_USER], folder / "dashboard.log") as url,
            running_dashboard(api, keys[SHOP, Role.VIEWER], folder / "viewer.log") as viewer_url,
        ):
            yield Scheduled(shell=shell, url=url, viewer_url=viewer_url)


def _history(folder: Path) -> None:
    clock = _Past()
    services = build_services(Settings(data=begun(folder / "data")), clock)
    control = services.control
    control.ensure_tenant(AIRLINE)
    for number in range(N_RUNS):
        failed = "the lake is away" if number == N_RUNS // 2 else None
        _run(control, "online", "every 10 s", 180 + 37 * (number * 7 % 11), n_sessions=number % 9, error=failed)
        _run(control, "monitors", "every minute", 900 + 20 * number, n_monitors=6, n_series=14, n_events=number % 2)
        clock.ns += 20 * NS_PER_S
    for _ in range(4):
        _run(control, "clusters", "every 20 s", 3_200, error=AWAY)
    for _ in range(8):
        _run(control, "judges", "every 10 s", 45, error=DEAD)
    _run(control, "certificates", "every hour", 2_140, n_taken_back=0, trouble=f"helpfulness: {AWAY}")
    _run(control, "clusters-nightly", "every day at 03:00 UTC", 412, next_s=41_000, n_begun=2)
    control.take_job(AIRLINE, "replies", "host-7/4242/1.00", schedule="every hour")
    params = params_of({"embedder": "tfidf"}).as_json()
    since = clock.ns - 7 * 86_400 * NS_PER_S
    for name in ("desk", ATTACK):
        run = ClusterRunRecord(
            tenant=AIRLINE,
            run_id=f"run {name[:8]}",
            app=name,
            start_ns=since,
            end_ns=clock.ns,
            params=params,
            params_hash="ab" * 8,
        )
        control.start_cluster_run(run, by=ANN)
    control.close()


def _run(
    control: Control, name: str, schedule: str, took_ms: float, *, next_s: int = 3_600, error: str | None = None,
    trouble: str | None = None, **told: Any,
) -> None:  # fmt: skip
    """One run, whenever it is due; it took as long as is said."""
    if any(one.name == name for one in control.jobs(AIRLINE)):
        control.run_job(AIRLINE, name, by=ANN)
    assert control.take_job(AIRLINE, name, "host-7/4242/1.00", schedule=schedule) is not None
    control.end_job(
        AIRLINE, name, "host-7/4242/1.00", next_ns=control._clock() + next_s * NS_PER_S, told=told or None,
        error=error or trouble, in_part=trouble is not None, most_tries=8, took_ms=took_ms,
    )  # fmt: skip
