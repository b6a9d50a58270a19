"""A job of a judge through the providers' batches: everything is asked at once for half the price, and waited for.

What was submitted is noted with the job before anything is waited for, so a process that is killed while it waits loses
nothing; one that is killed between the provider's yes and the note has paid for a batch that nobody reads. Once the
batches have ended their verdicts are kept as all are, and the job goes on as any job does: what a batch did not answer,
and sessions that grew meanwhile, are asked live.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from core.errors import AssayError
from judges.asking import Call
from judges.batching import BATCH_SHARE, Batches, Submitted
from judges.choosing import id_of
from judges.content import Content
from judges.forecasting import foreseen
from judges.records import Missing, Verdict
from judges.service_targets import Shown
from judges.stored import verdict_key
from judges.working import TICK_S, JobWork, Means
from store.control.judge_records import JobRecord, TargetRecord

LOOK_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A target that has no verdict yet, by the key of its verdict."""

    target: TargetRecord
    shown: Shown


class BatchedWork(JobWork):
    """One job by batches, in the caller's thread. `opened` makes the batches' client."""

    def __init__(
        self,
        job: JobRecord,
        means: Means,
        stopping: threading.Event,
        opened: Callable[[], Batches],
    ) -> None:
        super().__init__(job, means, stopping)
        self._opened = opened

    async def _all(self) -> JobRecord:
        batches = self._opened()
        try:
            async with self._beside():
                await self._by_batches(batches)
        except AssayError as error:
            self._trouble = self._trouble or error
        finally:
            await batches.close()
        return await super()._all()

    async def _by_batches(self, batches: Batches) -> None:
        noted = self._job.params.get("batches")
        if noted == {}:  # they were read
            return
        wanted = await asyncio.to_thread(self._wanted)
        if noted is None:
            chosen = self._within_budget(wanted)
            if not chosen or self._stops():
                return
            submitted = await batches.submit(self._spec, self._rubric, _contents(chosen), self._order_seed)
            await self._note({"salt": submitted.salt, "batches": [list(one) for one in submitted.batches]})
        else:
            submitted = Submitted(salt=noted["salt"], batches=tuple((one[0], one[1]) for one in noted["batches"]))
        while not submitted.ended and not self._stops():
            await self._pause()
            submitted = await batches.look(self._spec, submitted)
        if self._job.status.ended:
            await batches.cancel(self._spec, submitted)
        elif submitted.ended:
            await self._keep(batches, submitted, wanted)
            await self._note({})

    def _wanted(self) -> dict[str, _Wanted]:
        """The job's targets that have no verdict yet."""
        control, job = self._means.control, self._job
        found: dict[str, _Wanted] = {}
        number = -1
        while (part := control.first_slice(job.tenant, job.job_id, number)) is not None:
            number, targets = part
            shown = self._means.read(targets)
            for one in targets:
                if (seen := shown.get(id_of(one))) is not None and not seen.content.empty:
                    found.setdefault(verdict_key(self._spec, seen.content), _Wanted(target=one, shown=seen))
        kept = control.verdicts(job.tenant, list(found))
        failed = Missing.MODEL_FAILED.value
        return {key: one for key, one in found.items() if key not in kept or kept[key].missing == failed}

    def _within_budget(self, wanted: dict[str, _Wanted]) -> dict[str, _Wanted]:
        """The first of them that fit the budget at their dearest. Those behind are left to the live part, which ends
        where the budget does."""
        if self._job.budget_usd is None:
            return wanted
        left = self._job.budget_usd - self._job.cost_usd
        chosen: dict[str, _Wanted] = {}
        for key, one in wanted.items():
            left -= BATCH_SHARE * (foreseen(self._spec, self._rubric, one.shown.content).usd_most or 0.0)
            if left < 0:
                break
            chosen[key] = one
        return chosen

    async def _keep(self, batches: Batches, submitted: Submitted, wanted: dict[str, _Wanted]) -> None:
        """Keeps the verdicts that the batches gave; a model's failure is none and is asked live."""
        verdicts = await batches.verdicts(self._spec, self._rubric, _contents(wanted), submitted, self._order_seed)
        began_ns = self._job.started_at_ns or self._means.clock()
        made = [
            self._record(key, wanted[key].target, wanted[key].shown, verdict, self._calls(verdict, began_ns))
            for key, verdict in verdicts.items()
            if not any(reply.missing is Missing.MODEL_FAILED for reply in verdict.replies)
        ]
        control, job = self._means.control, self._job
        self._learn(await asyncio.to_thread(control.put_verdicts, job.tenant, job.job_id, made))

    def _calls(self, verdict: Verdict, began_ns: int) -> list[Call]:
        """The requests of a verdict as traces know them: from the job's beginning to the reading."""
        refs = {ref.text: ref for ref in self._spec.models}
        now_ns = self._means.clock()
        return [
            Call(model=refs[one.model], started_ns=began_ns, ended_ns=now_ns, n_try=1, usage=one.usage, finish="batch")
            for one in verdict.replies
        ]

    async def _note(self, noted: dict[str, Any]) -> None:
        control, job = self._means.control, self._job
        params = {**job.params, "batches": noted}
        self._learn(await asyncio.to_thread(control.note_judge_job, job.tenant, job.job_id, self._means.owner, params))

    async def _pause(self) -> None:
        """Waits until the next look, or until there is reason to stop."""
        waited = 0.0
        while waited < LOOK_S and not self._stops():
            await asyncio.sleep(min(TICK_S, LOOK_S))
            waited += TICK_S


def _contents(wanted: dict[str, _Wanted]) -> dict[str, Content]:
    return {key: one.shown.content for key, one in wanted.items()}
