"""What a server process does by the clock: online evaluation, and the judges that watch, every `online_interval_s`
seconds; new sessions for clusters every `clusters_interval_s`; monitors every `monitors_interval_s`.

A few sessions are evaluated in a thread of the server. A burst is left to a child process of low priority, which gives
its memory back, so that requests are answered meanwhile.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from core.errors import AssayError, Conflict
from evaluators.online.service import OnlineWatch
from server.children import environment_of
from server.clustering_rounds import ClusterRounds
from server.monitor_rounds import MonitorRounds
from server.process_name import is_gone, this_process
from server.wiring import Services

if TYPE_CHECKING:
    from judges.service_watch import JudgeWatch

IN_PROCESS: Final = 20  # sessions at a time
CHILD: Final = "server.online_child"
CERTIFICATES_S: Final = 3600  # between looks at whether certified judges are what they were
_LOG: Final = logging.getLogger("assay.online")


class Scheduler:
    """Looks for sessions that ended, from `start` to `close`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watch = watch_of(services)
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._judges = JudgeRounds(services)
        self._certificates = CertificateRounds(services)
        self._clusters = ClusterRounds(services)
        self._monitors = MonitorRounds(services)
        self._jobs = BackgroundScheduler(executors={"default": ThreadPoolExecutor(4)}, timezone="UTC")

    def start(self) -> None:
        """Begins, unless all intervals are 0."""
        seconds = self._services.settings.online_interval_s
        if seconds > 0:
            logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a round that takes long is not news
            for each in (self.round, self._judges.round):
                self._jobs.add_job(each, "interval", seconds=seconds, max_instances=1, coalesce=True)
            self._jobs.add_job(self._certificates.round, "interval", seconds=CERTIFICATES_S, coalesce=True)
        between = self._services.settings.clusters_interval_s
        if between > 0:
            self._jobs.add_job(self._clusters.round, "interval", seconds=between, max_instances=1, coalesce=True)
        every = self._services.settings.monitors_interval_s
        if every > 0:
            self._jobs.add_job(self._monitors.round, "interval", seconds=every, max_instances=1, coalesce=True)
        if max(seconds, between, every) > 0:
            self._jobs.start()

    def close(self) -> None:
        """Ends after the slice under way; what is left is for the next process."""
        self._stopping.set()
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
        self._clusters.close()
        self._monitors.close()
        if self._jobs.running:
            self._jobs.shutdown(wait=True)

    def round(self) -> None:
        """One look at every tenant, and the work that it asks for. Failures are told in the log, and tried again."""
        try:
            for tenant, choices in self._watch.tenants().items():
                found = self._watch.look(tenant, choices)
                if found is None or not found.asks_work or self._stopping.is_set():
                    continue
                if len(found.due) > IN_PROCESS:
                    self._in_child()
                    return
                self._watch.work(tenant, choices, most=IN_PROCESS, stop=self._stopping)
        except Conflict as error:
            _LOG.info("%s", error)
        except AssayError as error:
            _LOG.error("ended sessions cannot be evaluated now, and are tried again: %s", error)

    def _in_child(self) -> None:
        """Runs the child until everything that is due is done."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", CHILD],
            env=environment_of(self._services.settings),
            stdin=subprocess.DEVNULL,
        )
        if self._stopping.is_set():
            self._child.terminate()
        code = self._child.wait()
        if code and not self._stopping.is_set():
            _LOG.error("the process that evaluates ended sessions failed with %d; it is tried again", code)


class JudgeRounds:
    """Looks for sessions that judges watch, and wakes who judges them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watch: JudgeWatch | None = None

    def round(self) -> None:
        """One look at every schedule. Failures are told in the log, and tried again."""
        try:
            if self._watch is None and not self._services.control.judge_schedules(None):
                return  # what knows prices is not loaded for nothing
            if self._watch is None:
                from judges.service_watch import JudgeWatch

                self._watch = JudgeWatch(self._services.store, self._services.control, self._services.clock)
            if self._watch.round():
                self._services.judge_asked.set()
        except AssayError as error:
            _LOG.error("ended sessions cannot be given to judges now, and are tried again: %s", error)


class CertificateRounds:
    """Takes back the certificates of judges whose errors have changed."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def round(self) -> None:
        """One look at every certified judge. Failures are told in the log, and tried again."""
        services = self._services
        try:
            for tenant in services.control.all_tenants():
                if not services.control.judges(tenant.id):
                    continue
                from judges.service_trust import take_back

                store = services.store.tenant(tenant.id)
                for made in take_back(services.control, store, tenant.id, now_ns=services.clock()):
                    _LOG.warning("judge %s of %s is certified no more: its errors changed", made.judge, tenant.id)
        except AssayError as error:
            _LOG.error("certificates of judges cannot be looked at now: %s", error)


def watch_of(services: Services) -> OnlineWatch:
    """Online evaluation over a process's services."""
    return OnlineWatch(services.store, services.control, services.clock, this_process(), is_gone)
