"""What servers do by the clock: each job by one of them, missed runs once, what fails tried again and replayed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.errors import AssayError, StorageFailed
from core.ids import TenantId
from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.scheduler import Scheduler
from server.timetable import timetable
from server.wiring import build_services
from server.works import DAY_S, Done, Schedule, Work
from store.control.jobs import LEASE_NS, LOST, MOST_WAIT_S
from store.control.monitor_records import JobState, ScheduledJob
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.stack import REPOSITORY
from tests.waiting import wait_until

NOON = 1_789_992_000 * NS_PER_S  # 2026-09-21T12:00:00Z
MINUTE = 60 * NS_PER_S
SECRET = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ns = NOON

    def __call__(self) -> int:
        return self.ns


@dataclass
class Digest:
    """A piece of work of two tenants. `does` is what each run does; it remembers whose runs were made."""

    does: Callable[[], Done] = Done
    ran: list[TenantId] = field(default_factory=list)
    stops: list[threading.Event] = field(default_factory=list)
    whose: set[TenantId] = field(default_factory=lambda: {AIRLINE})
    is_idle: bool = False

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        self.ran.append(tenant)
        self.stops.append(stop)
        return self.does()

    def work(self, every_s: float = 60.0) -> Work:
        schedule = Schedule(every_s=every_s)
        return Work(
            name="digest", schedule=schedule, tenants=lambda: self.whose, run=self.run, is_idle=lambda _: self.is_idle
        )


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def shell(tmp_path: Path, hands: Hands) -> Iterator[Shell]:
    with running_shell(tmp_path, hands) as running:
        yield running


def job(shell: Shell, tenant: TenantId = AIRLINE) -> ScheduledJob:
    return shell.services.control.job(tenant, "digest")


def post(shell: Shell, path: str, role: Role = Role.POWER_USER) -> dict[str, object]:
    answered = shell.client.post(f"/api/v1/jobs/{path}", json={}, headers=shell.headers(role))
    return {"status": answered.status_code, **answered.json()}


def fails(message: str = "the lake is away") -> Callable[[], Done]:
    def do() -> Done:
        raise StorageFailed(message)

    return do


def test_of_two_servers_one_does_a_job(shell: Shell, hands: Hands) -> None:
    other = build_services(shell.services.settings, hands)
    begun, go_on, ours, theirs = threading.Event(), threading.Event(), Digest(), Digest()

    def waits() -> Done:
        begun.set()
        assert go_on.wait(60)
        return Done(told={"n_sessions": 3})

    ours.does = waits
    first, second = Scheduler(shell.services, [ours.work()], "one"), Scheduler(other, [theirs.work()], "two")
    working = threading.Thread(target=first.round, args=("digest",))
    working.start()
    assert begun.wait(60)
    assert (job(shell).state, job(shell).owner) == (JobState.RUNNING, "one")
    assert second.round("digest") == 0
    go_on.set()
    working.join(60)
    assert second.round("digest") == 0  # it was done
    assert (ours.ran, theirs.ran) == ([AIRLINE], [])
    hands.ns += MINUTE
    assert [second.round("digest"), first.round("digest")] == [1, 0]
    assert (job(shell).n_runs, job(shell).state) == (2, JobState.SUCCEEDED)
    other.control.close()


def test_each_tenant_has_a_job_of_its_own(shell: Shell, hands: Hands) -> None:
    digest = Digest(whose={AIRLINE, SHOP})

    def half() -> Done:
        if digest.ran[-1] == AIRLINE:
            raise StorageFailed("only of airline")
        return Done(told={"n_sessions": 1})

    digest.does = half
    scheduler = Scheduler(shell.services, [digest.work()], "one")
    assert scheduler.round("digest") == 2
    assert (job(shell).state, job(shell, SHOP).state) == (JobState.RETRYING, JobState.SUCCEEDED)
    told = shell.client.get("/api/v1/jobs", headers=shell.headers(Role.VIEWER, SHOP)).json()["items"]
    assert [(one["name"], one["error"], one["said"]) for one in told] == [("digest", None, "1 session")]
    digest.whose = {SHOP}
    hands.ns += MINUTE
    scheduler.round("digest")
    assert [one.tenant for one in shell.services.control.jobs(None, "digest")] == [SHOP]


def test_runs_that_were_missed_are_caught_up_once(shell: Shell, hands: Hands) -> None:
    digest = Digest()
    Scheduler(shell.services, [digest.work()], "one").round("digest")
    hands.ns += 500 * MINUTE + 17 * NS_PER_S  # nobody was there
    later = Scheduler(shell.services, [digest.work()], "two")
    assert [later.round("digest") for _ in range(3)] == [1, 0, 0]
    assert job(shell).due_ns == NOON + 501 * MINUTE  # and goes on at whole minutes
    assert len(digest.ran) == 2


KILLED = """
import sys, threading
from pathlib import Path
from typing import Any
from server.scheduler import Scheduler
from server.settings import Settings
from server.wiring import build_services
from server.works import Done, Schedule, Work

def run(tenant, stop):
    print("begun", flush=True)
    threading.Event().wait()

work = Work(name="digest", schedule=Schedule(every_s=60.0), tenants=lambda: {"airline"}, run=run)
Scheduler(build_services(Settings(data=Path(sys.argv[1]))), [work]).round("digest")
"""


def test_when_a_server_is_killed_another_does_its_job_once(tmp_path: Path) -> None:
    with running_shell(tmp_path) as shell:
        command = [sys.executable, "-c", KILLED, str(shell.services.settings.data)]
        child = subprocess.Popen(command, cwd=REPOSITORY, env=dict(os.environ), stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        digest = Digest()
        scheduler = Scheduler(shell.services, [digest.work(3600.0)])
        assert scheduler.round("digest") == 0
        child.send_signal(signal.SIGKILL)
        child.wait(60)
        child.stdout.close()
        assert [scheduler.round("digest"), scheduler.round("digest")] == [1, 0]
        after = job(shell)
        assert [(one.state, one.error) for one in after.runs] == [(JobState.FAILED, LOST), (JobState.SUCCEEDED, None)]
        assert (digest.ran, after.tries, after.n_runs) == ([AIRLINE], 0, 2)


def test_what_fails_is_tried_again_given_up_and_replayed(shell: Shell, hands: Hands) -> None:
    digest = Digest(does=fails(f"https://ann:{SECRET}@lake.example is away\x1b[31m"))
    scheduler, waits = Scheduler(shell.services, [digest.work()], "one"), []
    while True:
        assert scheduler.round("digest") == 1
        if job(shell).state is JobState.DEAD:
            break
        assert job(shell).state is JobState.RETRYING
        assert scheduler.round("digest") == 0
        waits.append((job(shell).due_ns - hands.ns) // NS_PER_S)
        hands.ns = job(shell).due_ns
    assert waits == [2, 4, 8, 16, 32, 64, 128]
    (told,) = shell.client.get("/api/v1/jobs", headers=shell.headers(Role.VIEWER)).json()["items"]
    assert (told["state"], told["tries"], told["runs"][-1]["state"]) == ("dead", 8, "dead")
    assert "is away" in told["error"]
    assert SECRET not in json.dumps(told)
    assert "\x1b" not in told["error"]
    metrics = shell.client.get("/metrics", headers=shell.headers(Role.VIEWER)).text
    assert 'assay_jobs{job="digest",state="dead"} 1' in metrics
    assert 'assay_job_failed_tries{job="digest"} 8' in metrics
    health = shell.client.get("/api/v1/health")
    assert (health.status_code, health.json()["status"], health.json()["dead_jobs"]) == (200, "degraded", ["digest"])
    assert health.json()["checks"] == {"control": "ok", "lake": "ok", "jobs": "degraded"}
    assert not any(one in health.text for one in (AIRLINE, "is away", SECRET))
    hands.ns += MOST_WAIT_S * NS_PER_S - 1
    assert scheduler.round("digest") == 0
    assert post(shell, "digest/replay", Role.USER)["status"] == 403
    assert post(shell, "digest/replay")["state"] == "queued"
    digest.does = Done
    assert scheduler.round("digest") == 1
    assert (job(shell).state, job(shell).tries) == (JobState.SUCCEEDED, 0)
    well = shell.client.get("/api/v1/health").json()
    assert (well["status"], well["dead_jobs"]) == ("ok", [])
    refused = post(shell, "digest/replay")
    assert (refused["status"], refused["code"]) == (409, "conflict")
    assert post(shell, "nothing/replay")["status"] == post(shell, "nothing/run")["status"] == 404


def test_a_dead_job_comes_back_by_itself_when_what_was_wrong_is_right(shell: Shell, hands: Hands) -> None:
    digest = Digest(does=fails())
    scheduler = Scheduler(shell.services, [digest.work()], "one")
    while scheduler.round("digest") and job(shell).state is not JobState.DEAD:
        hands.ns = job(shell).due_ns
    digest.does = Done
    hands.ns += MOST_WAIT_S * NS_PER_S
    assert scheduler.round("digest") == 1
    assert job(shell).state is JobState.SUCCEEDED


def test_a_defect_is_a_failure_and_its_text_stays_in_the_log(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    def breaks() -> Done:
        raise ZeroDivisionError(SECRET)

    digest = Digest(does=breaks)
    assert Scheduler(shell.services, [digest.work()], "one").round("digest") == 1
    assert job(shell).state is JobState.RETRYING
    assert job(shell).error == "a defect: ZeroDivisionError; the server's log has more"
    assert SECRET in caplog.text


def test_what_fails_in_part_says_so_and_goes_on_at_its_time(shell: Shell, hands: Hands) -> None:
    digest = Digest(does=lambda: Done(told={"n_apps": 2}, trouble="desk: no such embedder"))
    Scheduler(shell.services, [digest.work()], "one").round("digest")
    found = job(shell)
    assert (found.state, found.error, found.due_ns) == (JobState.FAILED, "desk: no such embedder", NOON + MINUTE)


def test_looks_that_find_nothing_are_written_down_once_a_minute(shell: Shell, hands: Hands) -> None:
    digest = Digest(is_idle=True)
    scheduler = Scheduler(shell.services, [digest.work(10.0)], "one")
    n_changes = 0
    for _ in range(12):  # two minutes
        n_changes += scheduler.round("digest")
        hands.ns += 10 * NS_PER_S
    assert n_changes == len(digest.ran) == 2
    digest.is_idle = False
    assert scheduler.round("digest") == 1
    post(shell, "digest/run")
    digest.is_idle = True
    assert scheduler.round("digest") == 1  # what somebody asked for is done


def test_a_run_that_takes_long_is_kept_and_one_that_was_taken_over_is_told_to_end(shell: Shell, hands: Hands) -> None:
    digest = Digest()
    scheduler, seen = Scheduler(shell.services, [digest.work()], "one"), list[bool]()

    def long() -> Done:
        control = shell.services.control
        for _ in range(3):
            hands.ns += LEASE_NS - 1
            scheduler.keep()
            seen.append(control.take_job(AIRLINE, "digest", "two") is None)
        hands.ns += LEASE_NS
        assert control.take_job(AIRLINE, "digest", "two") is not None
        seen.append(digest.stops[-1].is_set())
        scheduler.keep()
        seen.append(digest.stops[-1].is_set())
        return Done()

    digest.does = long
    scheduler.round("digest")
    assert seen == [True, True, True, False, True]
    assert (job(shell).owner, job(shell).state) == ("two", JobState.RUNNING)  # who lost it writes nothing


def test_who_is_closed_leaves_the_rest_to_the_next_server_at_once(shell: Shell, hands: Hands) -> None:
    digest = Digest()
    first = Scheduler(shell.services, [digest.work()], "one")

    def closed_meanwhile() -> Done:
        first.close()
        return Done(told={"n_sessions": 1 if digest.stops[-1].is_set() else 0})

    digest.does = closed_meanwhile
    first.round("digest")
    assert (job(shell).state, job(shell).told["n_sessions"]) == (JobState.SUCCEEDED, 1)
    assert first.round("digest") == 0
    digest.does = Done
    assert Scheduler(shell.services, [digest.work()], "two").round("digest") == 1


def test_it_looks_by_itself_and_goes_on_when_the_clock_was_set_back(tmp_path: Path) -> None:
    with running_shell(tmp_path) as shell:
        digest = Digest()
        scheduler = Scheduler(shell.services, [digest.work(0.1)])
        scheduler.start()
        try:
            wait_until(lambda: len(digest.ran) > 1, 60, "two runs")
            (look,) = scheduler._looks.get_jobs()
            look.modify(next_run_time=datetime.now(UTC) + timedelta(hours=1))  # as the clock saw it before
            n_before = len(digest.ran)
            scheduler.keep()
            wait_until(lambda: len(digest.ran) > n_before + 1, 60, "more runs")
        finally:
            scheduler.close()
        assert job(shell).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("schedule", "words", "due_s"),
    [
        (Schedule(every_s=10.0), "every 10 s", 10),
        (Schedule(every_s=0.5), "every 0.5 s", 0.5),
        (Schedule(every_s=60.0), "every minute", 60),
        (Schedule(every_s=120.0), "every 2 min", 120),
        (Schedule(every_s=3_600.0), "every hour", 3_600),
        (Schedule(every_s=DAY_S, hour=3), "every day at 03:00 UTC", 15 * 3_600),
        (Schedule(every_s=DAY_S, hour=12), "every day at 12:00 UTC", 24 * 3_600),
    ],
)
def test_schedules(schedule: Schedule, words: str, due_s: float) -> None:
    assert (schedule.words, schedule.next_ns(NOON) - NOON) == (words, due_s * NS_PER_S)


def test_a_server_does_what_its_settings_say(tmp_path: Path) -> None:
    off: dict[str, Any] = {"online_interval_s": 0, "clusters_interval_s": 0, "monitors_interval_s": 0}

    def names(folder: str, **settings: Any) -> list[str]:
        with running_shell(tmp_path / folder, **settings) as shell:
            return sorted(one.name for one in timetable(shell.services, "one"))

    (tmp_path / "all").mkdir()
    (tmp_path / "none").mkdir()
    every = [
        "certificates",
        "clusters",
        "clusters-nightly",
        "judges",
        "monitors",
        "monitors-upkeep",
        "online",
        "replies",
    ]
    assert names("all") == every
    assert names("none", **off) == ["replies"]


def test_every_job_of_a_new_server_ends_well(tmp_path: Path) -> None:
    with running_shell(tmp_path) as shell:
        scheduler = Scheduler(shell.services)
        for one in timetable(shell.services, "one"):
            scheduler.round(one.name)
        scheduler.close()
        found = shell.services.control.jobs(AIRLINE)
        assert [(one.name, one.state) for one in found] == [("clusters-nightly", JobState.SUCCEEDED)]


def test_commands(
    shell: Shell, hands: Hands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Digest(does=fails())
    scheduler = Scheduler(shell.services, [digest.work()], "one")
    with served(shell.services) as url:
        monkeypatch.setenv("ASSAY_URL", url)
        monkeypatch.setenv("ASSAY_API_KEY", shell.keys[AIRLINE, Role.POWER_USER])

        def said(*words: str, code: ExitCode = ExitCode.OK) -> str:
            assert main(["jobs", *words]) == code
            told = capsys.readouterr()
            return told.out + told.err

        assert said("list") == "no jobs\n"
        scheduler.round("digest")
        assert "every minute" in said("list")
        assert said("list", "--state", "dead") == "no jobs that are dead\n"
        assert "the lake is away" in said("show", "digest")
        assert json.loads(said("list", "--json"))["items"][0]["tries"] == 1
        assert "queued" in said("replay", "digest")
        digest.does = lambda: Done(told={"n_sessions": 2, "n_scores": 4})
        scheduler.round("digest")
        assert "2 sessions, 4 scores" in said("show", "digest")
        assert "did not fail" in said("replay", "digest", code=ExitCode.FAILED)
        assert json.loads(said("run", "digest", "--json"))["state"] == "queued"
        assert said("asked") == "nothing waits\n"
        assert "no job" in said("show", "nothing", code=ExitCode.NOT_FOUND)


def test_an_error_of_the_database_is_no_run(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> set[TenantId]:
        raise AssayError("locked")

    work = Work(name="digest", schedule=Schedule(every_s=60.0), tenants=away, run=lambda *_: Done())
    assert Scheduler(shell.services, [work], "one").round("digest") == 0
    assert shell.services.control.jobs(None) == []
