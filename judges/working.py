"""One job of a judge under way: asks what was not asked, keeps each verdict as it comes, writes the scores.

Killed anywhere, the next process goes on. A verdict is in the control database, with its money, before anything else is
done with it, and is never asked for again. What was in flight at the kill is asked again under the same Idempotency-Key
and with the same text: a provider that honours the key answers, and charges, once. The budget is kept by reservation:
a question is asked only where all that is under way, at its dearest, still fits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from core.clock import Clock
from core.errors import Conflict, InvalidInput
from judges.asking import Call, Seen
from judges.choosing import id_of
from judges.content import Content
from judges.forecasting import foreseen
from judges.pricing import price_usd
from judges.records import JudgeSpec, Missing, Rubric, Verdict
from judges.scores import Judged, Scores
from judges.service_targets import Reading, Shown
from judges.stored import reply_json, rubric_of, spec_of, verdict_key
from store.control.control import Control
from store.control.erasures import Erasure
from store.control.judge_records import JobRecord, JobStatus, TargetRecord, VerdictRecord

TICK_S: Final = 0.5
RENEW_S: Final = 10.0
NANO: Final = 1_000_000_000
_LOG: Final = logging.getLogger("assay.judges")


class Asking(Protocol):
    """What asks the models: judges.asking.Asker."""

    async def ask(
        self, spec: JudgeSpec, rubric: Rubric, content: Content, *, seen: Seen | None = None, key: str | None = None
    ) -> Verdict:
        """The verdict of a judge on content."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a job is carried out with. `asker` opens what asks, for so many calls in flight; `read` gives targets;
    `spelled` is a text as it may be kept under the tenant's choice; `traced` sends what was paid for to the collector,
    and says how many calls it could not send."""

    control: Control
    owner: str
    asker: Callable[[int, float | None], AbstractAsyncContextManager[Asking]]
    read: Reading
    scores: Scores
    spelled: Callable[[str], str]
    traced: Callable[[JobRecord, Sequence[VerdictRecord]], int]
    clock: Clock


class JobWork:
    """One job, in the caller's thread. `stopping` set, nothing more is asked, and the job stays for who takes it."""

    def __init__(self, job: JobRecord, means: Means, stopping: threading.Event) -> None:
        self._job, self._means, self._stopping = job, means, stopping
        self._spec, self._rubric = spec_of(job.spec), rubric_of(job.rubric)
        self._order_seed = int(job.params.get("order_seed") or 0)
        self._concurrency = int(job.params.get("concurrency") or 8)
        self._budget = None if job.budget_usd is None else round(job.budget_usd * NANO)
        self._reserved = 0
        self._is_spent = False  # the budget does not hold another question
        self._trouble: Exception | None = None
        self._waiting: list[tuple[VerdictRecord, asyncio.Future[None]]] = []

    def carry_out(self) -> JobRecord:
        """The job as it ended, or as it stands when it was stopped. Raises AssayError when it could not go on for now:
        what was paid for is kept."""
        return asyncio.run(self._all())

    async def _all(self) -> JobRecord:
        per_minute = self._job.params.get("per_minute")
        async with self._means.asker(self._concurrency, per_minute) as asker, self._beside():
            while not self._stops():
                part = await asyncio.to_thread(self._means.control.first_slice, self._job.tenant, self._job.job_id)
                if part is None:
                    break
                await self._slice(asker, *part)
        return await asyncio.to_thread(self._ended)

    def _ended(self) -> JobRecord:
        if self._trouble is not None:
            raise self._trouble
        job, control = self._job, self._means.control
        if job.status.ended:
            return control.end_judge_job(job.tenant, job.job_id, job.status, reason=None)
        if self._is_spent:
            said = f"the budget of ${job.budget_usd:g} is spent (${job.cost_usd:.6g}); {job.n_left} were not judged"
            return control.end_judge_job(job.tenant, job.job_id, JobStatus.OUT_OF_BUDGET, reason=said)
        if self._stopping.is_set():
            return job
        if job.params.get("source") == "watch":
            return control.pause_judge_job(job.tenant, job.job_id, self._means.owner)
        if job.n_left:
            said = f"{job.n_left} of the job's targets are gone from the control database; run assay doctor"
            return control.end_judge_job(job.tenant, job.job_id, JobStatus.FAILED, reason=said)
        return control.end_judge_job(job.tenant, job.job_id, JobStatus.DONE, reason=None)

    def _stops(self) -> bool:
        """Whether no further question is asked."""
        return self._stopping.is_set() or self._is_spent or self._trouble is not None or self._job.status.ended

    # -- beside the questions ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[None]:
        """Keeps the lease and the verdicts while the body runs."""
        self._changed, self._arrived = asyncio.Condition(), asyncio.Event()
        tasks = [asyncio.create_task(self._keep_lease()), asyncio.create_task(self._keep_verdicts())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_lease(self) -> None:
        """Renews the lease now and then, and learns of a cancellation."""
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if self._stopping.is_set():
                async with self._changed:
                    self._changed.notify_all()
            if time.monotonic() < renewed_at + RENEW_S:
                continue
            renewed_at = time.monotonic()
            try:
                control, job = self._means.control, self._job
                self._learn(await asyncio.to_thread(control.renew_judge_job, job.tenant, job.job_id, self._means.owner))
            except Exception as error:
                self._trouble = error

    async def _keep_verdicts(self) -> None:
        """Writes the verdicts that are there, together, and lets go of who waits for them."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            some, self._waiting = self._waiting, []
            if not some:
                continue
            records = [record for record, _ in some]
            try:
                control, job = self._means.control, self._job
                self._learn(await asyncio.to_thread(control.put_verdicts, job.tenant, job.job_id, records))
            except Exception as error:
                for _, done in some:
                    done.set_exception(error)
                continue
            for _, done in some:
                done.set_result(None)

    def _learn(self, job: JobRecord) -> None:
        self._job = job

    # -- one slice --------------------------------------------------------------------------------------------------

    async def _slice(self, asker: Asking, number: int, targets: Sequence[TargetRecord]) -> None:
        control, job = self._means.control, self._job
        erased = await asyncio.to_thread(control.erasures, job.tenant)
        shown = await asyncio.to_thread(self._means.read, targets)
        keys = {
            id_of(one): verdict_key(self._spec, shown[id_of(one)].content) for one in targets if id_of(one) in shown
        }
        kept = await asyncio.to_thread(control.verdicts, job.tenant, list(dict.fromkeys(keys.values())))
        kept = {key: one for key, one in kept.items() if _stands(one, job)}
        wanted: dict[str, tuple[TargetRecord, Shown]] = {}
        for one in targets:
            if (key := keys.get(id_of(one))) is not None and key not in kept:
                wanted.setdefault(key, (one, shown[id_of(one)]))
        kept |= await self._asked(asker, wanted)
        if self._trouble is not None or (self._stopping.is_set() and not self._job.status.ended):
            return  # what is kept is found again
        shown = await asyncio.to_thread(self._left, targets, shown, erased)
        judged = [Judged.of(one, shown.get(id_of(one)), kept.get(keys.get(id_of(one), ""))) for one in targets]
        await asyncio.to_thread(self._settle, number, [one for one in judged if one is not None], targets)

    def _left(
        self, targets: Sequence[TargetRecord], shown: Mapping[str, Shown], erased: Sequence[Erasure]
    ) -> Mapping[str, Shown]:
        """Those that are there still. An erasure that went on meanwhile did not see the verdicts that came behind it:
        what was said of targets that are gone goes here. Raises Conflict where the job has to be taken up again."""
        control, tenant = self._means.control, self._job.tenant
        now = control.erasures(tenant)
        if now != erased and self._job.params.get("run_id"):
            raise Conflict("an erasure went on meanwhile: the trials that are left are read anew")
        if now != erased or any(one.finished_at_ns is None for one in now):
            again = self._means.read(targets)
            shown = {name: one for name, one in shown.items() if name in again}
        if gone := {one.session_id for one in targets if id_of(one) not in shown}:
            control.forget_verdicts(tenant, sorted(gone))
        return shown

    async def _asked(self, asker: Asking, wanted: Mapping[str, tuple[TargetRecord, Shown]]) -> dict[str, VerdictRecord]:
        """The verdicts that were asked for and are kept, in order, as far as budget and patience go."""
        made: dict[str, VerdictRecord] = {}
        left, turn = iter(wanted.items()), asyncio.Lock()
        n = min(self._concurrency, len(wanted))
        async with asyncio.TaskGroup() as workers:
            for _ in range(n):
                workers.create_task(self._ask_some(asker, left, turn, made))
        return made

    async def _ask_some(
        self,
        asker: Asking,
        left: Iterator[tuple[str, tuple[TargetRecord, Shown]]],
        turn: asyncio.Lock,
        made: dict[str, VerdictRecord],
    ) -> None:
        while True:
            async with turn:  # one after the other, so that a dear target is not overtaken
                found = next(left, None)
                if found is None or self._stops():
                    return
                key, (target, shown) = found
                most = self._most(shown.content)
                if not await self._reserve(most):
                    return
            try:
                made[key] = await self._ask(asker, key, target, shown)
            except Exception as error:  # wrong configuration, the database, or a defect: what is in flight is kept
                self._trouble = self._trouble or error
                return
            finally:
                async with self._changed:
                    self._reserved -= most
                    self._changed.notify_all()

    async def _reserve(self, most: int) -> bool:
        """Waits until `most` (in billionths of a dollar) fits beside what is spent and under way; False when it never
        will."""
        async with self._changed:
            while not self._stops():
                spent = round(self._job.cost_usd * NANO)
                if self._budget is None or spent + self._reserved + most <= self._budget:
                    self._reserved += most
                    return True
                if not self._reserved:
                    self._is_spent = True
                    break
                await self._changed.wait()
        return False

    def _most(self, content: Content) -> int:
        if self._budget is None:
            return 0
        usd = foreseen(self._spec, self._rubric, content).usd_most
        if usd is None:
            raise InvalidInput("no price is known for a model of this judge; a budget cannot be kept", "budget_usd")
        return -int(-usd * NANO // 1)

    async def _ask(self, asker: Asking, key: str, target: TargetRecord, shown: Shown) -> VerdictRecord:
        calls: list[Call] = []
        verdict = await asker.ask(self._spec, self._rubric, shown.content, seen=calls.append, key=key)
        record = self._record(key, target, shown, verdict, calls)
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, kept))
        self._arrived.set()
        await kept
        return record

    def _record(
        self, key: str, target: TargetRecord, shown: Shown, verdict: Verdict, calls: Sequence[Call]
    ) -> VerdictRecord:
        spelled, usage = self._means.spelled, verdict.usage
        cost = usage.cost_usd
        if (
            usage.n_calls and not usage.input_tokens + usage.output_tokens
        ):  # it does not say: the dearest it may have been
            cost = foreseen(self._spec, self._rubric, shown.content).usd_most
        elif cost is None and len(self._spec.models) == 1:
            cost = price_usd(self._spec.models[0], usage.input_tokens, usage.output_tokens)
        return VerdictRecord(
            tenant=self._job.tenant,
            key=key,
            job_id=self._job.job_id,
            judge=self._spec.name,
            version=self._spec.version,
            rubric_digest=self._rubric.digest,
            target_hash=shown.content.hash,
            session_id=target.session_id,
            labels=verdict.labels,
            missing=None if verdict.missing is None else verdict.missing.value,
            confidence=verdict.confidence,
            explanation=spelled(verdict.explanation),
            raw=spelled(verdict.raw),
            repaired=verdict.repaired,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            n_calls=usage.n_calls,
            cost_usd=cost,
            at_ns=self._means.clock(),
            replies=tuple(reply_json(one) for one in verdict.replies),
            calls=tuple(call_json(one) for one in calls),
        )

    def _settle(self, number: int, judged: Sequence[Judged], targets: Sequence[TargetRecord]) -> None:
        """Writes the scores of a slice, sends its traces, and counts it."""
        job, means = self._job, self._means
        means.scores.write(job, self._spec, self._rubric, judged)
        paid = {one.record.key: one.record for one in judged if one.record and one.record.job_id == job.job_id}
        if n_lost := means.traced(job, list(paid.values())):
            _LOG.warning("%d calls of job %s could not be traced", n_lost, job.job_id)
        done = {id_of(one.target) for one in judged}
        missing = Counter(one.missing.value for one in judged if one.missing is not None)
        self._job = means.control.settle_slice(
            job.tenant,
            job.job_id,
            number,
            n_done=len(judged) - missing.total(),
            n_cached=sum(one.record is not None and one.record.job_id != job.job_id for one in judged),
            missing=missing,
            left=[one for one in targets if id_of(one) not in done],
        )


def _stands(record: VerdictRecord, job: JobRecord) -> bool:
    """Whether a kept verdict is taken: that a model failed once is no answer for another job."""
    return record.missing != Missing.MODEL_FAILED.value or record.job_id == job.job_id


def call_json(call: Call) -> dict[str, Any]:
    """A request as it is kept with its verdict."""
    said = {name: getattr(call, name) for name in ("started_ns", "ended_ns", "n_try", "finish", "error", "repairs")}
    return {**said, "provider": call.model.provider, "model": call.model.model, **asdict(call.usage)}
