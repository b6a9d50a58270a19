"""One calibration of a judge as a caller asks for it: how far it is, its canaries asked and traced, its result kept."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from core.clock import NS_PER_S
from core.errors import Conflict
from core.ids import TenantId, fresh
from core.records import Principal, Role
from store.control.certificates import DAY_NS, JudgeFacts, facts_of_judge
from store.control.judge_records import JobRecord, JudgeCalibration, VerdictRecord

if TYPE_CHECKING:  # what asks models costs memory that a server without judges need not spend
    from judges.asking import Call
    from judges.calibration import Found
    from judges.content import Content
    from judges.records import JudgeSpec, Rubric, Verdict
    from judges.service_calibration import Asked, Gathered
    from server.wiring import Services

AT_ONCE: Final = 8  # calls in flight
KEY_S: Final = 86_400


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far a calibration is: `stage` reading, canaries or computing."""

    stage: str
    n_done: int = 0
    n_all: int = 0


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """The calibrations that this process is at, by tenant and judge. Thread-safe."""

    _steps: dict[tuple[TenantId, str], Step] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, tenant: TenantId, judge: str) -> None:
        """Raises Conflict where one of this judge is under way."""
        with self._lock:
            if (tenant, judge) in self._steps:
                raise Conflict(f"judge {judge[:80]} is being calibrated; wait until that is over")
            self._steps[tenant, judge] = Step(stage="reading")

    def note(self, tenant: TenantId, judge: str, step: Step) -> None:
        """How far it is."""
        with self._lock:
            self._steps[tenant, judge] = step

    def end(self, tenant: TenantId, judge: str) -> None:
        """It is over."""
        with self._lock:
            self._steps.pop((tenant, judge), None)

    def step(self, tenant: TenantId, judge: str) -> Step | None:
        """How far it is; None where none is under way."""
        with self._lock:
            return self._steps.get((tenant, judge))


def calibrate(services: Services, asked: Asked, *, by: Principal) -> JudgeCalibration:
    """The calibration, which is kept when this returns. Raises NotFound, Conflict while one is under way, InvalidInput
    where the judge's model cannot be asked as it is configured."""
    from judges.service_calibration import conclude, gather

    tenant, under_way = by.tenant, services.calibrating
    under_way.begin(tenant, asked.judge)
    try:
        gathered = gather(services.control, services.store.tenant(tenant), tenant, asked)
        found = gathered.found
        if gathered.canaries:
            traced = _Traced(services, found.spec, found.rubric, asked.app, by)
            try:
                found = asyncio.run(_asked(services, gathered, traced, asked.judge))
            finally:
                traced.send()
        under_way.note(tenant, asked.judge, Step(stage="computing"))
        return conclude(services.control, tenant, found, asked, now_ns=services.clock(), by=by)
    finally:
        under_way.end(tenant, asked.judge)


def certificate(
    services: Services, tenant: TenantId, judge: str, version: str | None = None, app: str | None = None
) -> JudgeFacts:
    """What holds of a judge now."""
    max_age_ns = round(services.settings.judge_certificate_days * DAY_NS)
    return facts_of_judge(
        services.control, tenant, judge, version, app=app, now_ns=services.clock(), max_age_ns=max_age_ns
    )


async def _asked(services: Services, gathered: Gathered, traced: _Traced, judge: str) -> Found:
    from judges.asking import Asker
    from judges.pacing import Limits
    from judges.service_calibration import run_canaries
    from server.judging import access_of

    tenant = traced.tenant

    def progress(stage: str, n_done: int, n_all: int) -> None:
        services.calibrating.note(tenant, judge, Step(stage=stage, n_done=n_done, n_all=n_all))

    async with Asker(access_of(services.settings), Limits(concurrency=AT_ONCE)) as asker:

        async def ask(spec: JudgeSpec, rubric: Rubric, content: Content) -> Verdict:
            calls: list[Call] = []
            verdict = await asker.ask(spec, rubric, content, seen=calls.append)
            traced.note(content, verdict, calls)
            return verdict

        return await run_canaries(gathered, ask, progress)


class _Traced:
    """Sends the canaries' calls to the collector as those of a job are, together at the end, with a key of its own."""

    def __init__(self, services: Services, spec: JudgeSpec, rubric: Rubric, app: str | None, by: Principal) -> None:
        self._services, self.tenant = services, by.tenant
        name = fresh("calibration")
        same: dict[str, Any] = {"tenant": by.tenant, "job_id": name, "judge": spec.name, "version": spec.version}
        self._job = JobRecord(**same, spec={}, rubric={}, app=app or spec.app or "", params={})
        self._same = {**same, "rubric_digest": rubric.digest, "session_id": f"canaries.{name}"}
        self._asked: list[VerdictRecord] = []

    def note(self, content: Content, verdict: Verdict, calls: list[Call]) -> None:
        """One canary was asked."""
        from judges.working import call_json

        usage = verdict.usage
        record = VerdictRecord(
            **self._same,
            key=fresh("canary"),
            target_hash=content.hash,
            labels=verdict.labels,
            missing=None if verdict.missing is None else verdict.missing.value,
            n_calls=usage.n_calls,
            cost_usd=usage.cost_usd,
            at_ns=self._services.clock(),
            calls=tuple(call_json(one) for one in calls),
        )
        self._asked.append(record)

    def send(self) -> None:
        """What was asked, as spans. What could not be sent is in the log."""
        from server.judge_traces import Sender
        from server.process_name import this_process

        services, tenant = self._services, self.tenant
        until = services.clock() + KEY_S * NS_PER_S
        key, text = services.control.create_key(tenant, Role.INGEST, f"judges of {this_process()}"[:200], until)
        try:
            with httpx.Client(follow_redirects=False, trust_env=False) as client:
                Sender(services.settings, text, client).send(self._job, self._asked)
        finally:
            services.control.revoke_key(tenant, key.key_id)
