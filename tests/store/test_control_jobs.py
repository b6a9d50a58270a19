"""Jobs in the control database: a run whose server died counts, what fails too often rests, people do it again, and the
newest runs are remembered. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.clock import NS_PER_S
from core.errors import Conflict, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.jobs import KEPT_RUNS, LEASE_NS, LOST, MOST_WAIT_S
from store.control.monitor_records import JobState, ScheduledJob
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
BEGIN = 1_800_000_000 * NS_PER_S
MINUTE, HOUR = 60 * NS_PER_S, 3_600 * NS_PER_S


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ns = BEGIN

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def control(database: ControlDatabase, hands: Hands) -> Iterator[Control]:
    found = database.open(clock=hands)
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def done(control: Control, *, every_ns: int = MINUTE, error: str | None = None, in_part: bool = False) -> ScheduledJob:
    """One run of the job from beginning to end."""
    assert control.take_job(ACME, "digest", "me", schedule="every minute", most_tries=3) is not None
    next_ns = control._clock() + every_ns
    return control.end_job(
        ACME, "digest", "me", next_ns=next_ns, told={"n": 1}, error=error, in_part=in_part, most_tries=3, took_ms=12.3
    )


def test_a_job_remembers_its_newest_runs(control: Control, hands: Hands) -> None:
    for number in range(KEPT_RUNS + 5):
        failed = number == KEPT_RUNS + 3
        hands.ns = done(control, error="the lake is away" if failed else None).due_ns
    job = control.job(ACME, "digest")
    assert [one.number for one in job.runs] == list(range(6, KEPT_RUNS + 6))
    assert [(one.state, one.error) for one in job.runs[-3:]] == [
        (JobState.SUCCEEDED, None), (JobState.FAILED, "the lake is away"), (JobState.SUCCEEDED, None),
    ]  # fmt: skip
    assert {one.took_ms for one in job.runs} == {12.3}
    assert (job.schedule, job.n_runs, job.tries, job.error) == ("every minute", KEPT_RUNS + 5, 0, None)
    assert control.jobs(SHOP) == []
    with pytest.raises(NotFound):
        control.job(SHOP, "digest")


def test_what_kills_its_server_again_and_again_is_not_begun_for_ever(control: Control, hands: Hands) -> None:
    for number in range(3):
        taken = control.take_job(ACME, "digest", f"server {number}", most_tries=3)
        assert taken is not None
        assert [one.error for one in taken.runs] == [LOST] * number
        hands.ns += LEASE_NS
    assert control.take_job(ACME, "digest", "server 3", most_tries=3) is None
    job = control.job(ACME, "digest")
    assert (job.state, job.tries, job.error, job.owner) == (JobState.DEAD, 3, LOST, None)
    assert [one.took_ms for one in job.runs] == [None] * 3
    hands.ns += MOST_WAIT_S * NS_PER_S
    assert control.take_job(ACME, "digest", "server 3", most_tries=3) is not None
    assert [one.action for one in control.list_audit(ACME)].count("jobs.dead") == 1


def test_a_dead_job_rests_and_a_person_gives_it_all_its_tries_again(control: Control, hands: Hands) -> None:
    for _ in range(3):
        hands.ns = done(control, error="no memory").due_ns
    hands.ns -= 1
    assert control.take_job(ACME, "digest", "me") is None
    control.run_job(ACME, "digest", by=ANN)
    assert done(control, error="no memory").state is JobState.DEAD  # one more try is one more
    assert control.replay_job(ACME, "digest", by=ANN).state is JobState.QUEUED
    assert control.replay_job(ACME, "digest", by=ANN).state is JobState.QUEUED  # asked twice is asked once
    assert done(control, error="no memory").state is JobState.RETRYING
    control.replay_job(ACME, "digest", by=ANN)
    after = done(control)
    assert (after.state, after.tries, after.error) == (JobState.SUCCEEDED, 0, None)
    said = [(one.action, one.actor) for one in control.list_audit(ACME) if one.action.startswith("jobs.")]
    assert [action for action, _ in reversed(said)] == ["jobs.dead", "jobs.run", *["jobs.replay"] * 3]
    assert control.verify(ACME).ok


def test_only_what_failed_is_replayed_and_nothing_that_is_being_done_is_begun(control: Control, hands: Hands) -> None:
    for ask in (control.replay_job, control.run_job):
        with pytest.raises(NotFound):
            ask(ACME, "digest", by=ANN)
    done(control)
    with pytest.raises(Conflict, match="did not fail; assay jobs run digest"):
        control.replay_job(ACME, "digest", by=ANN)
    assert control.take_job(ACME, "digest", "me") is None  # not due
    assert control.run_job(ACME, "digest", by=ANN).state is JobState.QUEUED
    assert control.take_job(ACME, "digest", "me") is not None
    with pytest.raises(Conflict, match="is being done now"):
        control.run_job(ACME, "digest", by=ANN)
    with pytest.raises(NotFound):
        control.run_job(SHOP, "digest", by=ANN)


def test_what_fails_in_part_keeps_its_time_and_does_not_die(control: Control, hands: Hands) -> None:
    for number in range(5):
        after = done(control, error="desk: no such model", in_part=True)
        assert (after.state, after.due_ns, after.tries) == (JobState.FAILED, hands.ns + MINUTE, number + 1)
        assert after.told == {"n": 1}
        hands.ns = after.due_ns
    assert control.replay_job(ACME, "digest", by=ANN).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("every_ns", "back_ns", "begins"), [(MINUTE, HOUR, True), (24 * HOUR, HOUR, False), (MINUTE, 30 * NS_PER_S, False)]
)
def test_a_clock_that_is_set_back_neither_stops_a_job_nor_repeats_it(
    control: Control, hands: Hands, every_ns: int, back_ns: int, begins: bool
) -> None:
    due = done(control, every_ns=every_ns).due_ns
    hands.ns -= back_ns
    assert (control.take_job(ACME, "digest", "me") is not None) is begins
    if not begins:
        hands.ns = due
        assert control.take_job(ACME, "digest", "me") is not None


def test_a_job_without_anything_to_do_is_forgotten_unless_it_is_being_done(control: Control, hands: Hands) -> None:
    control.take_job(ACME, "digest", "me")
    control.drop_job(ACME, "digest")
    assert len(control.jobs(ACME)) == 1
    control.end_job(ACME, "digest", "me", next_ns=0)
    control.drop_job(ACME, "digest")
    control.drop_job(ACME, "digest")
    assert control.jobs(ACME) == []
