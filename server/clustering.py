"""The thread of the server that looks after runs of clusters: each in a child process, which gives its memory back.

A run whose process dies is begun anew, MOST_TRIES times; one whose server dies, by the next server.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from typing import Final

from core.errors import AssayError, Conflict
from server.children import environment_of
from server.process_name import is_gone, this_process
from server.wiring import Services
from store.control.cluster_records import ClusterRunRecord
from store.control.run_records import RunStatus

LOOK_EVERY_S: Final = 5.0
RENEW_EVERY_S: Final = 2.0  # also how soon a child hears that its run was cancelled, where it tells no progress
POLL_S: Final = 0.2
PATIENCE_S: Final = 5.0  # for a child that is to end, before it is killed
MOST_TRIES: Final = 3
CHILD: Final = "server.clustering_child"
_LOG: Final = logging.getLogger("assay.clusters")


class ClusterRunner:
    """Works on the runs of all tenants, one at a time. `start` it once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._owner = this_process()
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._look, name="clusters", daemon=True)

    def start(self) -> None:
        """Looks for runs from now on."""
        self._thread.start()

    def close(self) -> None:
        """Ends the child; its run stays as it is, for the next process."""
        self._stopping.set()
        self._services.cluster_asked.set()
        if self._thread.is_alive():
            self._thread.join(2 * PATIENCE_S + 1.0)

    def _look(self) -> None:
        while not self._stopping.is_set():
            try:
                run = self._services.control.take_cluster_run(self._owner, (), is_gone)
                if run is not None:
                    self._work(run)
                    continue
            except AssayError as error:
                _LOG.error("runs of clusters cannot be looked for now: %s", error)
            except Exception:
                _LOG.exception("looking after runs of clusters ended in a defect; it is tried again")
            self._services.cluster_asked.wait(LOOK_EVERY_S)
            self._services.cluster_asked.clear()

    def _work(self, run: ClusterRunRecord) -> None:
        if run.n_tries > MOST_TRIES:
            error = f"its process ended {MOST_TRIES} times before the run was done: memory ran out, or Assay was"
            self._end(run, f"{error} restarted; begin it again, over a shorter window where memory is short")
            return
        child = subprocess.Popen(
            [sys.executable, "-m", CHILD, "run", str(run.tenant), run.run_id],
            env=environment_of(self._services.settings),
            stdin=subprocess.DEVNULL,
        )
        try:
            self._watch(run, child)
        finally:
            _ended(child)
        if child.returncode and not self._stopping.is_set():
            _LOG.error("the process of run %s ended with %d", run.run_id, child.returncode)

    def _watch(self, run: ClusterRunRecord, child: subprocess.Popen[bytes]) -> None:
        """Until the child has ended, or is to end."""
        renewed = time.monotonic()
        while child.poll() is None and not self._stopping.wait(POLL_S):
            if time.monotonic() - renewed < RENEW_EVERY_S:
                continue
            renewed = time.monotonic()
            try:
                now = self._services.control.renew_cluster_run(run.tenant, run.run_id, self._owner)
            except Conflict as error:
                _LOG.warning("run %s is left: %s", run.run_id, error)
                return
            except AssayError as error:
                _LOG.warning("run %s was not renewed, and is tried again: %s", run.run_id, error)
                continue
            if now.status is RunStatus.DONE:
                continue  # what is left is the look for what emerges
            if now.status.ended:
                _waited(child)
                return

    def _end(self, run: ClusterRunRecord, error: str) -> None:
        _LOG.error("run %s failed: %s", run.run_id, error)
        self._services.control.end_cluster_run(run.tenant, run.run_id, RunStatus.FAILED, error=error)


def _waited(child: subprocess.Popen[bytes]) -> None:
    """Until it has ended by itself, or PATIENCE_S is over."""
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        return


def _ended(child: subprocess.Popen[bytes]) -> None:
    """Makes an end of a child that has not ended."""
    if child.poll() is not None:
        return
    child.terminate()
    _waited(child)
    if child.poll() is None:
        child.kill()  # in the midst of a computation nothing is heard
        child.wait()
