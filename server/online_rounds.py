"""Online evaluation by the clock. A few sessions are evaluated in a thread of the server; a burst is left to a child
process of low priority, which gives its memory back, so that requests are answered meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Final

from core.errors import StorageFailed
from core.ids import TenantId
from evaluators.online.service import OnlineWatch
from server.children import environment_of
from server.process_name import is_gone, this_process
from server.wiring import Services
from server.works import Done

IN_PROCESS: Final = 20  # sessions at a time
CHILD: Final = "server.online_child"
_LOOK_S: Final = 0.2  # between looks whether the child has ended, or is to


class OnlineRounds:
    """Evaluates the sessions of a tenant that have ended."""

    def __init__(self, services: Services, owner: str) -> None:
        self._services = services
        self._watch = watch_of(services, owner)

    def tenants(self) -> set[TenantId]:
        """Those that chose something."""
        return set(self._watch.tenants())

    def is_idle(self, tenant: TenantId) -> bool:
        """Whether no session has ended that is to be evaluated."""
        found = self._watch.look(tenant, self._watch.tenants().get(tenant, []))
        return found is None or not found.asks_work

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """Evaluates what is due; of every tenant, where it takes a child. Raises AssayError."""
        choices = self._watch.tenants().get(tenant, [])
        found = self._watch.look(tenant, choices)
        if found is None or not found.asks_work:
            return Done(told={"n_sessions": 0})
        if len(found.due) > IN_PROCESS:
            self._in_child(stop)
            return Done(told={"n_sessions": len(found.due)})
        done = self._watch.work(tenant, choices, most=IN_PROCESS, stop=stop)
        return Done(told={"n_sessions": done.n_sessions, "n_scores": done.n_scores})

    def _in_child(self, stop: threading.Event) -> None:
        """Runs the child until everything that is due is done."""
        child = subprocess.Popen(
            [sys.executable, "-m", CHILD], env=environment_of(self._services.settings), stdin=subprocess.DEVNULL
        )
        while child.poll() is None:
            if stop.wait(_LOOK_S):
                child.terminate()
                child.wait()
                return
        if child.returncode:
            raise StorageFailed(f"the process that evaluates ended sessions failed with {child.returncode}")


def watch_of(services: Services, owner: str | None = None) -> OnlineWatch:
    """Online evaluation over a process's services."""
    return OnlineWatch(services.store, services.control, services.clock, owner or this_process(), is_gone)
