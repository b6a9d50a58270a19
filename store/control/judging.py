"""The part of the control database that judges are kept in: rubrics, specs, jobs, verdicts, schedules, calibrations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import delete, func, select

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import judge_jobs, judge_rows, leases, seals, tenants
from store.control.erasures import stand_in
from store.control.judge_records import (
    JobRecord,
    JobStatus,
    JudgeCalibration,
    JudgeRecord,
    JudgeSchedule,
    RubricRecord,
    TargetRecord,
    VerdictRecord,
)
from store.control.tables import JUDGE_CALIBRATIONS, JUDGE_JOBS, JUDGE_SCHEDULES, JUDGE_VERDICTS, JUDGES
from store.control.transactions import Transactions

LEASE_NS: Final = 60_000_000_000
_OF_JUDGE: Final = (JUDGES, JUDGE_JOBS, JUDGE_VERDICTS, JUDGE_SCHEDULES, JUDGE_CALIBRATIONS)


class Judging(Transactions):
    """Judges and their work; every method is one transaction, as everywhere in `Control`."""

    # Rubrics

    def add_rubric(self, wanted: RubricRecord, *, by: Principal) -> RubricRecord:
        """Keeps a version of a rubric; the one that is there when it says the same. Raises Conflict when it says
        something else, NotFound for an unknown tenant."""
        wanted = replace(wanted, made_by=by.name[:200], made_at_ns=self._clock())
        with self._changing() as connection:
            tenants.need(connection, wanted.tenant)
            kept, is_new = judge_rows.add_rubric(connection, wanted)
            if is_new:
                after = {"version": kept.version, "digest": kept.digest}
                self._audit(connection, by, wanted.tenant, "rubric.add", f"rubric/{kept.name}", after)
            return kept

    def rubrics(self, tenant: TenantId, name: str | None = None) -> list[RubricRecord]:
        """The versions of a rubric, or of all, by name and then newest first."""
        with self._database.read() as connection:
            return judge_rows.rubrics(connection, tenant, name)

    def rubric(self, tenant: TenantId, name: str, version: int | None = None) -> RubricRecord:
        """A version of a rubric, None the newest. Raises NotFound."""
        with self._database.read() as connection:
            return judge_rows.need_rubric(connection, tenant, name, version)

    # Judges

    def put_judge(
        self, tenant: TenantId, name: str, version: str, spec: Mapping[str, Any], *, by: Principal
    ) -> JudgeRecord:
        """The judge as it is from now on; nothing changes when it says the same. Raises NotFound for the tenant."""
        wanted = JudgeRecord(
            tenant=tenant, name=name, seq=0, version=version, spec=spec, made_by=by.name[:200], made_at_ns=self._clock()
        )
        with self._changing() as connection:
            tenants.need(connection, tenant)
            made, before = judge_rows.put_judge(connection, wanted)
            if made != before:
                old = None if before is None else {"version": before.version}
                self._audit(connection, by, tenant, "judge.set", f"judge/{name}", {"version": version}, old)
            return made

    def judges(self, tenant: TenantId) -> list[JudgeRecord]:
        """Every judge as it holds, by name."""
        with self._database.read() as connection:
            found = judge_rows.judges(connection, tenant, None)
        return list({one.name: one for one in reversed(found)}.values())[::-1]

    def judge(self, tenant: TenantId, name: str, version: str | None = None) -> JudgeRecord:
        """A judge as it holds, or as the version says. Raises NotFound."""
        with self._database.read() as connection:
            return judge_rows.need_judge(connection, tenant, name, version)

    def judge_versions(self, tenant: TenantId, name: str) -> list[JudgeRecord]:
        """All versions of a judge, newest first. Raises NotFound."""
        with self._database.read() as connection:
            judge_rows.need_judge(connection, tenant, name)
            return judge_rows.judges(connection, tenant, name)

    def delete_judge(self, tenant: TenantId, name: str, *, by: Principal, dry_run: bool = False) -> dict[str, int]:
        """Deletes a judge with its jobs, kept verdicts, schedules and calibrations; how many rows of each. Scores in
        the lake stay. Raises NotFound, Conflict while a job of it is under way."""
        with self._changing() as connection:
            judge_rows.need_judge(connection, tenant, name)
            jobs = judge_jobs.rows(connection, tenant, name)
            if any(not one.status.ended for one in jobs):
                raise Conflict(f"a job of judge {name[:80]} is under way; cancel it first")
            counts = {}
            for table in _OF_JUDGE:
                own = table.c.name if table is JUDGES else table.c.judge
                where = (table.c.tenant == str(tenant), own == name)
                found = connection.execute(select(func.count()).select_from(table).where(*where))
                counts[str(table.name)] = found.scalar()
                if not dry_run:
                    connection.execute(delete(table).where(*where))
            n = {key: int(value or 0) for key, value in counts.items()}
            if not dry_run:
                for job in jobs:
                    judge_jobs.drop_targets(connection, tenant, job.job_id)
                self._audit(connection, by, tenant, "judge.delete", f"judge/{name}", n)
            return n

    # Jobs

    def start_job(self, job: JobRecord, targets: Sequence[TargetRecord], *, by: Principal) -> JobRecord:
        """The job with its targets, waiting for a process to work on it. Raises NotFound for an unknown tenant."""
        job = replace(job, created_at_ns=self._clock(), created_by=by.name[:200])
        after = {"judge": job.judge, "version": job.version, "app": job.app, "n_targets": len(targets)}
        with self._changing() as connection:
            tenants.need(connection, job.tenant)
            made = judge_jobs.add(connection, job, targets)
            self._audit(connection, by, job.tenant, "judge.run", f"judge_job/{job.job_id}", after)
            return made

    def judge_job(self, tenant: TenantId, job_id: str) -> JobRecord:
        """A job of the tenant. Raises NotFound."""
        with self._database.read() as connection:
            return judge_jobs.record(judge_jobs.find(connection, tenant, job_id))

    def judge_jobs(self, tenant: TenantId, judge: str | None = None) -> list[JobRecord]:
        """The jobs of a judge, or of all, newest first."""
        with self._database.read() as connection:
            return judge_jobs.rows(connection, tenant, judge)

    def take_judge_jobs(
        self, owner: str, most: int, at_work: Collection[str], gone: Callable[[str], bool] = lambda _: False
    ) -> list[JobRecord]:
        """Up to `most` jobs of any tenant that nobody works on, from now on `owner`'s, as `take_runs` does it. Oldest
        first. One without targets waits for some."""
        with self._database.read() as connection:
            if not self._free_jobs(seals.rows(connection, JUDGE_JOBS), owner, at_work, gone):
                return []
        with self._changing() as connection:
            found = self._free_jobs(seals.rows(connection, JUDGE_JOBS), owner, at_work, gone)
            found = sorted(found, key=lambda row: (row.created_at_ns, row.job_id))[:most]
            now = self._clock()
            return [
                judge_jobs.change(
                    connection, TenantId(row.tenant), row.job_id, status=JobStatus.RUNNING.value, owner=owner,
                    lease_until_ns=now + LEASE_NS, started_at_ns=row.started_at_ns or now,
                )
                for row in found
            ]  # fmt: skip

    def renew_judge_job(self, tenant: TenantId, job_id: str, owner: str) -> JobRecord:
        """Keeps a job for its owner; as it stands, cancelled maybe. Raises Conflict when it is another's."""
        with self._changing() as connection:
            row = judge_jobs.find(connection, tenant, job_id)
            if JobStatus(row.status).ended:
                return judge_jobs.record(row)
            if row.owner != owner:
                raise Conflict(f"job {job_id} is worked on by another process")
            return judge_jobs.change(connection, tenant, job_id, lease_until_ns=self._clock() + LEASE_NS)

    def note_judge_job(self, tenant: TenantId, job_id: str, owner: str, params: Mapping[str, Any]) -> JobRecord:
        """Keeps what its owner has to know of a job that runs. Raises NotFound, Conflict when it is another's."""
        with self._changing() as connection:
            row = judge_jobs.find(connection, tenant, job_id)
            if row.owner not in (None, owner):
                raise Conflict(f"job {job_id} is worked on by another process")
            return judge_jobs.change(connection, tenant, job_id, params=judge_rows.text_of(dict(params)))

    def first_slice(self, tenant: TenantId, job_id: str, after: int = -1) -> tuple[int, list[TargetRecord]] | None:
        """The first slice of a job that is left behind the number `after`, with its number; None when none is."""
        with self._database.read() as connection:
            return judge_jobs.first_slice(connection, tenant, job_id, after)

    def settle_slice(
        self,
        tenant: TenantId,
        job_id: str,
        number: int,
        *,
        n_done: int,
        n_cached: int,
        missing: Mapping[str, int],
        left: Sequence[TargetRecord] = (),
    ) -> JobRecord:
        """Counts a slice whose scores are in the lake, once, and keeps what is `left` of it. Raises NotFound."""
        with self._changing() as connection:
            return judge_jobs.settle(
                connection, tenant, job_id, number, n_done=n_done, n_cached=n_cached, missing=missing, left=left
            )

    def end_judge_job(self, tenant: TenantId, job_id: str, status: JobStatus, *, reason: str | None) -> JobRecord:
        """Notes how a job ended; one that ended already is left as it is. What was not asked is forgotten but for its
        number."""
        with self._changing() as connection:
            return self._end_job(
                judge_jobs.record(judge_jobs.find(connection, tenant, job_id)), connection, status, reason
            )

    def pause_judge_job(self, tenant: TenantId, job_id: str, owner: str) -> JobRecord:
        """Gives a job free that has nothing to do, and may get more. Raises NotFound."""
        with self._changing() as connection:
            row = judge_jobs.find(connection, tenant, job_id)
            if JobStatus(row.status).ended or row.owner != owner:
                return judge_jobs.record(row)
            return judge_jobs.change(connection, tenant, job_id, owner=None, lease_until_ns=None, status="waiting")

    def cancel_judge_job(self, tenant: TenantId, job_id: str, *, by: Principal) -> JobRecord:
        """Ends a job where it is; one that ended already is left as it is. Who works on it still counts what was paid
        for, and then calls `end_judge_job`. Raises NotFound."""
        with self._changing() as connection:
            row = judge_jobs.find(connection, tenant, job_id)
            job = judge_jobs.record(row)
            if job.status.ended:
                return job
            self._audit(connection, by, tenant, "judge.cancel", f"judge_job/{job_id}", {"n_paid": job.n_paid})
            reason = f"cancelled by {by.name[:200]}"
            return self._end_job(job, connection, JobStatus.CANCELLED, reason, drops=row.owner is None)

    # Verdicts

    def put_verdicts(self, tenant: TenantId, job_id: str, made: Sequence[VerdictRecord]) -> JobRecord:
        """Keeps verdicts with their money, each key once; durable when it returns. The job with its new counts."""
        with self._changing() as connection:
            return judge_jobs.put_verdicts(connection, tenant, job_id, made)

    def verdicts(self, tenant: TenantId, keys: Sequence[str]) -> dict[str, VerdictRecord]:
        """Those of these verdicts that are kept, by key."""
        with self._database.read() as connection:
            return judge_jobs.verdicts(connection, tenant, keys)

    def forget_verdicts(self, tenant: TenantId, sessions: Sequence[str]) -> int:
        """Deletes the verdicts over these sessions, raw replies and all; how many. What they cost stays counted."""
        with self._changing() as connection:
            return judge_jobs.forget(connection, tenant, sessions)

    def forget_targets(self, tenant: TenantId, ids: Collection[str]) -> int:
        """Puts a keyed hash in the place of these sessions and traces where they are still to be judged; in how many
        targets. Such a target is missing."""
        with self._changing() as connection:
            stands_for = partial(stand_in, self._pepper, tenant)
            return judge_jobs.forget_targets(connection, tenant, frozenset(ids), stands_for)

    def expire_verdicts(self, tenant: TenantId, before_ns: int) -> int:
        """Deletes the verdicts from before then, raw replies and all; how many."""
        with self._database.read() as connection:
            if not judge_jobs.has_older(connection, tenant, before_ns):
                return 0
        with self._changing() as connection:
            return judge_jobs.expire(connection, tenant, before_ns)

    # Schedules

    def judge_schedules(self, tenant: TenantId | None) -> list[JudgeSchedule]:
        """The schedules of a tenant, or of all."""
        with self._database.read() as connection:
            return judge_rows.schedules(connection, tenant)

    def set_judge_schedule(self, wanted: JudgeSchedule, *, by: Principal) -> JudgeSchedule:
        """Sets a schedule. One that was on keeps its marks; else it begins after those of `wanted`: sessions before
        them are not looked at. Raises NotFound for the judge."""
        with self._changing() as connection:
            judge_rows.need_judge(connection, wanted.tenant, wanted.judge)
            before = judge_rows.schedule(connection, wanted.tenant, wanted.judge, wanted.app)
            marks = before.marks if before is not None and before.is_on else wanted.marks
            told = {} if before is None else before.told
            made = replace(wanted, marks=marks, told=told, changed_at_ns=self._clock(), changed_by=by.name[:200])
            judge_rows.put_schedule(connection, made)
            resource = f"judge/{made.judge}/schedule/{made.app}"
            old = None if before is None else _said(before)
            self._audit(connection, by, made.tenant, "judge.watch", resource, _said(made), old)
            return made

    def advance_judge_schedule(
        self,
        schedule: JudgeSchedule,
        marks: Mapping[int, int],
        told: Mapping[str, Any],
        job: JobRecord | None,
        targets: Sequence[TargetRecord],
    ) -> JobRecord | None:
        """Gives sessions that ended to the day's `job` (made when it is not there) and moves the marks on, in one
        transaction: a session is given once, however often a process dies. Nothing happens when the schedule was
        changed or moved on since it was read. The job."""
        with self._changing() as connection:
            found = judge_rows.schedule(connection, schedule.tenant, schedule.judge, schedule.app)
            if found is None or found != schedule:
                return None
            onwards = {journal: max(seq, found.marks.get(journal, seq)) for journal, seq in marks.items()}
            after = replace(found, marks={**found.marks, **onwards}, told={**found.told, **told})
            judge_rows.put_schedule(connection, after)
            if job is None:
                return None
            key = {"tenant": str(job.tenant), "job_id": job.job_id}
            if seals.one(connection, JUDGE_JOBS, key) is None:
                made = replace(job, created_at_ns=self._clock(), created_by=schedule.changed_by)
                return judge_jobs.add(connection, made, targets)
            return judge_jobs.append(connection, job.tenant, job.job_id, targets)

    # Calibrations

    def put_calibration(self, made: JudgeCalibration, *, by: Principal | None = None) -> None:
        """Keeps a calibration. Raises NotFound for the judge's version."""
        with self._changing() as connection:
            judge_rows.need_judge(connection, made.tenant, made.judge, made.version)
            judge_rows.put_calibration(connection, made)
            figures = {name: asdict(made)[name] for name in ("version", "kappa_low", "kappa_high", "bar", "n")}
            after = {**figures, "state": made.state.value}
            self._audit(connection, by, made.tenant, "judge.calibrate", f"judge/{made.judge}", after)

    def calibration(self, tenant: TenantId, judge: str, version: str | None = None) -> JudgeCalibration | None:
        """The newest calibration of a judge's version (None: of the one that holds); None when there is none, or no
        such judge."""
        with self._database.read() as connection:
            if version is None:
                current = next(iter(judge_rows.judges(connection, tenant, judge)), None)
                if current is None:
                    return None
                version = current.version
            return next(iter(judge_rows.calibrations(connection, tenant, judge, version)), None)

    def calibrations(self, tenant: TenantId, judge: str, version: str | None = None) -> list[JudgeCalibration]:
        """The calibrations of a judge, or of one version of it, newest first."""
        with self._database.read() as connection:
            return judge_rows.calibrations(connection, tenant, judge, version)

    def _end_job(
        self, job: JobRecord, connection: Any, status: JobStatus, reason: str | None, *, drops: bool = True
    ) -> JobRecord:
        if drops:
            judge_jobs.drop_targets(connection, job.tenant, job.job_id)
        if job.status.ended:
            return job
        ended = {"status": status.value, "reason": reason, "finished_at_ns": self._clock(), "owner": None}
        return judge_jobs.change(connection, job.tenant, job.job_id, **ended)

    def _free_jobs(
        self, rows: Sequence[Any], owner: str, at_work: Collection[str], gone: Callable[[str], bool]
    ) -> list[Any]:
        now = self._clock()
        left = [row for row in rows if not JobStatus(row.status).ended and row.job_id not in at_work]
        left = [row for row in left if row.n_targets > row.n_done + row.n_missing or row.status == "running"]
        return [row for row in left if leases.is_free(row.owner, row.lease_until_ns, owner, now, gone)]


def _said(one: JudgeSchedule) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("share", "budget_usd", "idle_s", "is_on")}
