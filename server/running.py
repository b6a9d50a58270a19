"""The thread of the server that works on evaluation runs: those that were asked for, and those that a kill left."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import httpx

from core.errors import AssayError, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Role
from core.windows import Window
from evaluators.reading import trajectories
from evaluators.records import Trajectory
from evaluators.runs.planning import params_of
from evaluators.runs.service import go_on
from evaluators.runs.work import Means
from server.process_name import is_gone, this_process
from server.redaction import redacted, redactor_of
from server.wiring import Services
from store.control.run_records import RunRecord, RunSource, RunStatus, TrialRecord

LOOK_EVERY_S: Final = 5.0
AT_ONCE: Final = 4  # runs; each has its own concurrency
KEY_DAYS: Final = 7
_DAY_NS: Final = 86_400_000_000_000
_HOUR_NS: Final = 3_600_000_000_000
_LOG: Final = logging.getLogger("assay.runs")


class Runner:
    """Works on the runs of all tenants, up to AT_ONCE at a time. `start` it once; what it is at when the process ends,
    however it ends, the next one goes on with."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._owner = this_process()
        self._stopping = threading.Event()
        self._at_work: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look, name="runs", daemon=True)

    def start(self) -> None:
        """Looks for runs from now on."""
        self._thread.start()

    def close(self) -> None:
        """Asks nothing more; runs stay as they are, for the next process."""
        self._stopping.set()
        self._services.run_asked.set()
        with self._lock:
            for stopping in self._at_work.values():
                stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _look(self) -> None:
        while not self._stopping.is_set():
            try:
                self._take()
            except AssayError as error:
                _LOG.error("runs cannot be looked for now: %s", error)
            self._services.run_asked.wait(LOOK_EVERY_S)
            self._services.run_asked.clear()

    def _take(self) -> None:
        with self._lock:
            at_work = set(self._at_work)
        if len(at_work) >= AT_ONCE:
            return
        for run in self._services.control.take_runs(self._owner, AT_ONCE - len(at_work), at_work, gone=is_gone):
            stopping = threading.Event()
            with self._lock:
                self._at_work[run.run_id] = stopping
            thread = threading.Thread(target=self._work, args=(run, stopping), name=run.run_id, daemon=True)
            thread.start()

    def _work(self, run: RunRecord, stopping: threading.Event) -> None:
        try:
            with _KeyOfRun(self._services, run) as key, httpx.Client(follow_redirects=False, trust_env=False) as client:
                go_on(run, self._means(run), client, key, stopping)
        except (InvalidInput, NotFound) as error:
            self._fail(run, str(error))
        except AssayError as error:
            _LOG.error("run %s stops for now and is taken up again: %s", run.run_id, error)
        except Exception as error:
            _LOG.exception("run %s ended in a defect", run.run_id)
            self._fail(run, f"a defect: {type(error).__name__}: {str(error)[:200]}")
        finally:
            with self._lock:
                self._at_work.pop(run.run_id, None)

    def _fail(self, run: RunRecord, reason: str) -> None:
        try:
            self._services.control.end_run(run.tenant, run.run_id, RunStatus.FAILED, reason=reason, summary={})
        except AssayError as error:
            _LOG.error("that run %s failed could not be noted: %s", run.run_id, error)

    def _means(self, run: RunRecord) -> Means:
        services = self._services
        store = services.store.tenant(run.tenant)
        redactor = redactor_of(services, run.tenant)

        def read(session_ids: Sequence[str]) -> Mapping[str, Trajectory]:
            asked = run.spec.source is RunSource.RELEASE
            since = run.created_at_ns - _HOUR_NS
            within = Window(start_ns=since, end_ns=services.clock() + _HOUR_NS) if asked else None
            return trajectories(store, session_ids=session_ids, within=within)

        return Means(
            control=services.control,
            store=store,
            owner=self._owner,
            spelled=redactor.text,
            identified=redactor.identifier,
            redacted=lambda scores: redacted(services, run.tenant, scores),
            trajectories=read,
            clock=services.clock,
        )


def kept(services: Services, tenant: TenantId, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials with what a file told of them, as it may be kept under the tenant's choice."""
    redactor = redactor_of(services, tenant)
    return [
        replace(
            one,
            output=None if one.output is None else redactor.text(one.output),
            error=None if one.error is None else redactor.text(one.error),
            detail=json.loads(redactor.text(json.dumps(dict(one.detail), ensure_ascii=False))) if one.detail else {},
        )
        for one in trials
    ]


class _KeyOfRun:
    """A key that only this process knows, for the gateway, as long as the run is worked on; None where it is not
    needed. One that a kill left is revoked."""

    def __init__(self, services: Services, run: RunRecord) -> None:
        self._control, self._run, self._clock = services.control, run, services.clock
        self._wanted = run.spec.source is RunSource.RELEASE and params_of(run.spec.params).via == "gateway"
        self._name = f"evaluation {run.run_id}"

    def __enter__(self) -> str | None:
        if not self._wanted:
            return None
        self._revoke()
        until = self._clock() + KEY_DAYS * _DAY_NS
        _, text = self._control.create_key(self._run.tenant, Role.POWER_USER, self._name, until)
        return text

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            self._revoke()

    def _revoke(self) -> None:
        for key in self._control.list_keys(self._run.tenant):
            if key.name == self._name and key.revoked_at_ns is None:
                self._control.revoke_key(self._run.tenant, key.key_id)
