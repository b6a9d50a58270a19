"""Carries out one run: asks what was not asked, waits for the traces, scores, and can be killed anywhere.

A trial's row is written before a call and after its answer; an answer that is written is never asked for again. What
was being called at a kill is looked up in the store by its session, and sent again only if it is not there, with the
same message id. Scores have ids of run, example, trial and evaluator: those that are stored are not written again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from core.clock import Clock
from evaluators.datasets.records import Example
from evaluators.protocol import Evaluator
from evaluators.records import Trajectory
from evaluators.runs.calling import CallFailed, Door, Reply, Stopped
from evaluators.runs.early_stop import HarmWatch
from evaluators.runs.planning import params_of, score_id, turn_of
from evaluators.runs.reading import figures, scores_of_run
from evaluators.runs.scoring import joined, scores_of, trajectory_of
from store.control.control import Control
from store.control.run_records import RunRecord, RunSource, RunStatus, TrialRecord, TrialStatus
from store.scores import NewScore, append_of_read, scores_by_id
from store.tenant import TenantStore

TICK_S: Final = 1.0
RENEW_S: Final = 10.0
SETTLED_S: Final = 6.0  # without a new span a trace is taken as whole: exporters send every 5 s
LOOK_BACK_S: Final = 10.0  # for the answer to what was being called at a kill
MOST_AT_ONCE: Final = 200  # trials scored in one commit
_LOG: Final = logging.getLogger("assay.runs")


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a run is carried out with. `spelled` is a text as it may be kept under the tenant's choice, `identified` an
    id as the store has it, `redacted` does both to scores; `trajectories` reads sessions, by those ids."""

    control: Control
    store: TenantStore
    owner: str
    spelled: Callable[[str], str]
    identified: Callable[[str], str]
    redacted: Callable[[Sequence[NewScore]], list[NewScore]]
    trajectories: Callable[[Sequence[str]], Mapping[str, Trajectory]]
    clock: Clock


class Work:
    """One run under way, in the caller's thread and `concurrency` more."""

    def __init__(
        self,
        run: RunRecord,
        means: Means,
        *,
        examples: Mapping[str, Example],
        evaluators: Sequence[Evaluator],
        door: Door | None,
        stopping: threading.Event,
        harm: HarmWatch | None = None,
    ) -> None:
        """`door` is needed for a run against a release. `stopping` is shared with the door: set, nothing more is
        asked, and the run stays as it is for whoever takes it next. `harm` ends the run once it proves some."""
        self._run, self._means = run, means
        self._examples, self._evaluators = examples, evaluators
        self._door, self._stopping, self._harm = door, stopping, harm
        self._params = params_of(run.spec.params)
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._left: deque[TrialRecord] = deque()
        self._ready: dict[tuple[str, int], tuple[TrialRecord, float]] = {}
        self._grown: dict[tuple[str, int], tuple[int, float]] = {}  # spans of a trial's traces, and since when
        self._n_calling = 0
        self._ended_early: str | None = None
        self._trouble: Exception | None = None
        self._renewed_at = time.monotonic()
        self._traced = self._untraced = False

    def carry_out(self) -> RunRecord:
        """The run as it ended; one that is still running when it was stopped. Raises AssayError when it could not go
        on for now: what was done is kept."""
        for one in self._means.control.trials(self._run.tenant, self._run.run_id):
            if not one.status.ended:
                self._left.append(one)
            elif not one.scored:
                self._hand_over(one)
        asking = self._run.spec.source is RunSource.RELEASE
        n_threads = min(self._params.concurrency, len(self._left)) if asking else 0
        threads = [threading.Thread(target=self._ask_all, name=f"run-{n}", daemon=True) for n in range(n_threads)]
        for thread in threads:
            thread.start()
        try:
            self._score_all(threads)
        except Exception:
            self._stopping.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._trouble is not None:
            raise self._trouble
        if self._run.status is RunStatus.CANCELLED:
            self._score_rest()
        return self._end()

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask_all(self) -> None:
        while (trial := self._next()) is not None:
            try:
                self._hand_over(self._asked(trial))
            except Stopped:
                return
            except Exception as error:  # the control database or a defect: the run stops here and is taken again
                _LOG.exception("run %s stopped at %s", self._run.run_id, trial.session_id)
                self._trouble = error
                self._stopping.set()
                return
            finally:
                with self._lock:
                    self._n_calling -= 1
                self._changed.set()

    def _next(self) -> TrialRecord | None:
        with self._lock:
            if self._stopping.is_set() or self._ended_early or not self._left:
                return None
            run, most = self._run, self._params.max_cost_usd
            n_ended = run.n_done + run.n_failed
            foreseen = run.cost_usd + (run.cost_usd / n_ended if n_ended else 0.0) * self._n_calling
            if most is not None and foreseen >= most:
                self._ended_early = (
                    f"the budget of ${most:g} is spent (${run.cost_usd:.6g}); {len(self._left)} trials were not asked"
                )
                return None
            self._n_calling += 1
            return self._left.popleft()

    def _asked(self, trial: TrialRecord) -> TrialRecord:
        """The trial with all its turns asked, done or failed; written. Raises Stopped."""
        assert self._door is not None
        example = self._examples.get(trial.example_id)
        if example is None:
            return self._put(replace(trial, status=TrialStatus.FAILED, error="the example is not there any more"))
        until = self._door.clock() + self._params.timeout_s
        again = trial.status is TrialStatus.CALLING
        turns: list[dict[str, Any]] = list(trial.detail.get("turns", ()))
        trial = replace(trial, status=TrialStatus.CALLING, started_at_ns=trial.started_at_ns or self._means.clock())
        if not again:
            self._put(trial)
        for index in range(len(turns), len(example.turns)):
            reply = self._found_before(trial, index) if again else None
            again = False
            try:
                reply = reply or self._door.ask(turn_of(self._run.run_id, trial, example, index), until)
            except CallFailed as failed:
                said = self._means.spelled(f"turn {index + 1}: {failed}"[:1000])  # it may repeat what was sent
                n_calls = trial.n_calls + failed.n_calls
                return self._put(replace(trial, status=TrialStatus.FAILED, error=said, n_calls=n_calls))
            turns.append(json.loads(self._means.spelled(json.dumps(reply.json(), ensure_ascii=False))))
            last = index + 1 == len(example.turns)
            trial = self._put(_answered(trial, turns, reply.n_calls, done=last))
        return trial

    def _found_before(self, trial: TrialRecord, index: int) -> Reply | None:
        """The answer to a turn that was being asked when the process died, if its trace has arrived."""
        session = self._means.identified(trial.session_id)
        until = time.monotonic() + min(LOOK_BACK_S, self._params.trace_wait_s)
        while True:
            found = self._means.trajectories([session]).get(session)
            said = {} if found is None else {one.turn: one.text for one in found.messages if one.role == "assistant"}
            if len(said) > index:
                return Reply(text=said[sorted(said)[index]], status="found in the store", n_calls=0)
            if time.monotonic() >= until:
                return None
            if self._stopping.wait(TICK_S):
                raise Stopped

    def _put(self, trial: TrialRecord) -> TrialRecord:
        if trial.status.ended:
            trial = replace(trial, finished_at_ns=self._means.clock())
        self._learn(self._means.control.put_trials(self._run.tenant, [trial]))
        return trial

    def _learn(self, run: RunRecord) -> None:
        """Keeps the newer of what two threads were told of the run; after a cancellation nothing more is asked."""
        if run.status.ended:
            self._stopping.set()
        with self._lock:
            before = self._run
            if (run.n_done + run.n_failed, run.n_scored) >= (before.n_done + before.n_failed, before.n_scored):
                self._run = run

    def _hand_over(self, trial: TrialRecord) -> None:
        with self._lock:
            self._ready[trial.example_id, trial.trial] = (trial, time.monotonic())
        self._changed.set()

    # -- scoring ---------------------------------------------------------------------------------------------------

    def _score_all(self, threads: Sequence[threading.Thread]) -> None:
        if self._run.spec.source is RunSource.TRACES:
            while self._left:
                self._hand_over(self._left.popleft())
        while True:
            working = any(thread.is_alive() for thread in threads)
            self._keep()
            if self._stopping.is_set():
                return
            if not self._score_some() and not self._ready and not working:
                return
            if self._ready or working:
                self._changed.wait(TICK_S)
                self._changed.clear()

    def _keep(self) -> None:
        """Renews the lease now and then, and learns of a cancellation."""
        if time.monotonic() < self._renewed_at + RENEW_S and self._run.status is RunStatus.RUNNING:
            return
        self._renewed_at = time.monotonic()
        self._run = self._means.control.renew_run(self._run.tenant, self._run.run_id, self._means.owner)
        if self._run.status.ended:
            self._stopping.set()

    def _score_some(self) -> int:
        """Scores what can be scored now; how many trials that were."""
        with self._lock:
            waiting = list(self._ready.values())[:MOST_AT_ONCE]
        stored = self._stored(waiting)
        chosen = [trial for trial, since in waiting if self._is_due(trial, since, stored)]
        if not chosen:
            return 0
        self._score(chosen, stored)
        with self._lock:
            for one in chosen:
                del self._ready[one.example_id, one.trial]
        return len(chosen)

    def _stored(self, waiting: Sequence[tuple[TrialRecord, float]]) -> Mapping[str, Trajectory]:
        if self._run.spec.source is RunSource.FILE:
            return {}
        ids = {self._means.identified(one.session_id): one.session_id for one, _ in waiting if _may_be_traced(one)}
        found = self._means.trajectories(list(ids)) if ids else {}
        return {ids[session]: trajectory for session, trajectory in found.items()}

    def _is_due(self, trial: TrialRecord, since: float, stored: Mapping[str, Trajectory]) -> bool:
        if self._run.spec.source is not RunSource.RELEASE or trial.status is TrialStatus.FAILED:
            return True
        found = stored.get(trial.session_id)
        heard = {one.turn for one in found.messages if one.role == "assistant"} if found is not None else set()
        if found is not None and len(heard) >= len(trial.detail.get("turns", ())):
            self._traced = True
            return self._is_settled(trial, found.n_spans) or time.monotonic() >= since + self._params.trace_wait_s
        # An agent that sends no traces is not waited for, trial by trial.
        patience = self._params.trace_wait_s if self._traced or not self._untraced else min(2.0, TICK_S)
        if time.monotonic() < since + patience:
            return False
        self._untraced = True
        return True

    def _is_settled(self, trial: TrialRecord, n_spans: int) -> bool:
        """Whether its traces have stopped growing: what a gateway says of a turn is there before the agent's spans."""
        key, now = (trial.example_id, trial.trial), time.monotonic()
        n, since = self._grown.get(key, (-1, now))
        if n != n_spans:
            self._grown[key] = (n_spans, now)
            return False
        return now >= since + SETTLED_S

    def _score(self, chosen: Sequence[TrialRecord], stored: Mapping[str, Trajectory]) -> None:
        run, means = self._run, self._means
        whole = [_with_trace(self._of_store(one, stored), stored.get(one.session_id)) for one in chosen]
        rows: dict[str, NewScore] = {}
        for one in whole:
            example = self._examples.get(one.example_id)
            seen = stored.get(one.session_id)
            if run.spec.source is not RunSource.TRACES:
                seen = joined(seen, trajectory_of(run, one, example.turns if example else ()))
            expected = example.expected if example else None
            for named, score in zip(
                run.spec.evaluators, scores_of(run, one, seen, expected, self._evaluators), strict=True
            ):
                rows[score_id(run.run_id, one.example_id, one.trial, named)] = score
        known = set(scores_by_id(means.store, list(rows))["score_id"]) if rows else set()
        new = [one for one in rows if one not in known]
        if new:
            kept = dict(zip(new, means.redacted([rows[one] for one in new]), strict=True))
            append_of_read(means.store, kept, stored, author=f"run/{run.run_id}", now_ns=means.clock())
        self._learn(means.control.put_trials(run.tenant, [replace(one, scored=True) for one in whole]))
        if self._harm is not None and not self._ended_early and (proof := self._harm.look()) is not None:
            with self._lock:  # what is under way is waited for and scored
                self._ended_early = f"{proof.text}; {len(self._left)} trials were not asked"

    def _score_rest(self) -> None:
        """What was paid before a cancellation is scored with what there is of it."""
        while self._ready:
            waiting = list(self._ready.values())[:MOST_AT_ONCE]
            self._score([trial for trial, _ in waiting], self._stored(waiting))
            for trial, _ in waiting:
                del self._ready[trial.example_id, trial.trial]

    def _of_store(self, trial: TrialRecord, stored: Mapping[str, Trajectory]) -> TrialRecord:
        """A trial over a stored session, as that session has it."""
        if self._run.spec.source is not RunSource.TRACES or trial.status.ended:
            return trial
        now = self._means.clock()
        found = stored.get(trial.session_id)
        if found is None:
            said = "the session is not stored any more"
            return replace(trial, status=TrialStatus.FAILED, error=said, finished_at_ns=now)
        return replace(
            trial,
            status=TrialStatus.DONE,
            output=found.answer,
            user_id=found.user_id or trial.user_id,
            latency_ms=found.duration_ms,
            started_at_ns=found.start_ns,
            finished_at_ns=now,
        )

    def _end(self) -> RunRecord:
        means, run = self._means, self._means.control.run(self._run.tenant, self._run.run_id)
        trials = means.control.trials(run.tenant, run.run_id)
        done = all(one.status.ended and one.scored for one in trials)
        if not (done or self._ended_early or run.status.ended):
            return run  # stopped: whoever takes it next goes on
        rows = scores_of_run(means.store, run, trials)
        summary = {"metrics": figures(rows, trials, self._evaluators)}
        status = RunStatus.DONE if done else RunStatus.CANCELLED
        return means.control.end_run(
            run.tenant, run.run_id, status, reason=None if done else self._ended_early, summary=summary
        )


def _may_be_traced(trial: TrialRecord) -> bool:
    return trial.status is not TrialStatus.FAILED


def _answered(trial: TrialRecord, turns: Sequence[Mapping[str, Any]], n_calls: int, *, done: bool) -> TrialRecord:
    """The trial after one more turn was answered: `turns` are all so far."""
    traces = [*trial.trace_ids]
    if (told := turns[-1].get("trace_id")) and told not in traces:
        traces.append(told)
    return replace(
        trial,
        status=TrialStatus.DONE if done else TrialStatus.CALLING,
        output=str(turns[-1]["text"]) if done else None,
        detail={**trial.detail, "turns": [dict(one) for one in turns]},
        trace_ids=tuple(traces),
        input_tokens=_total(turns, "input_tokens"),
        output_tokens=_total(turns, "output_tokens"),
        cost_usd=_total(turns, "cost_usd"),
        latency_ms=_total(turns, "latency_ms"),
        n_calls=trial.n_calls + n_calls,
    )


def _with_trace(trial: TrialRecord, found: Trajectory | None) -> TrialRecord:
    """The trial with the traces, tokens and cost that its spans tell and its answers did not."""
    if found is None:
        return trial
    calls = [
        {"input_tokens": one.input_tokens, "output_tokens": one.output_tokens, "cost_usd": one.cost_usd}
        for one in found.model_calls
    ]
    given, made, cost = (_total(calls, name) for name in ("input_tokens", "output_tokens", "cost_usd"))
    return replace(
        trial,
        trace_ids=tuple(dict.fromkeys((*trial.trace_ids, *found.trace_ids))),
        input_tokens=given if trial.input_tokens is None else trial.input_tokens,
        output_tokens=made if trial.output_tokens is None else trial.output_tokens,
        cost_usd=cost if trial.cost_usd is None else trial.cost_usd,
    )


def _total(parts: Sequence[Mapping[str, Any]], name: str) -> Any:
    """The sum of what is told; None when nothing is."""
    known = [one[name] for one in parts if one.get(name) is not None]
    return sum(known) if known else None
