"""What a server does for clusters by the clock: new sessions are placed, what waits is clustered again, nights run.

The looks are cheap; the work is a child's (`python -m server.clustering_child`), so that its memory is given back.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from clustering.arriving import Seen, arrivals
from clustering.params import params_of
from clustering.sizes import min_cluster_size
from core.clock import NS_PER_S
from core.errors import Conflict
from core.ids import TenantId, fresh
from core.windows import Window
from server.children import environment_of
from server.clustering import CHILD
from server.wiring import Services
from server.works import Done, Parts
from store.apps import apps, apps_with_sessions
from store.cluster_counts import cluster_counts
from store.control.cluster_records import ClusterAppRecord, ClusterRunRecord, Scope

HOUR_NS: Final = 3_600 * NS_PER_S
DAY_NS: Final = 24 * HOUR_NS
COUNT_EVERY_NS: Final = 300 * NS_PER_S
REST_S: Final = 300.0  # after a child that failed
OWN_APPS: Final = frozenset({"assay.judges"})  # whose spans are no product's
_LOG: Final = logging.getLogger("assay.clusters")


class ClusterRounds:
    """Looks at the apps of a tenant, for one server. Several servers may look at once: each app's line and each run is
    one's at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._since_ns = services.clock()
        self._seen: dict[tuple[str, str], Seen] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._trouble: str | None = None  # how the last child ended, where nobody was told yet
        self._rest_until = 0.0
        self._counted: dict[tuple[str, str], int] = {}  # when it was counted how many wait

    def close(self) -> None:
        """Ends the child; what is left is for the next process."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def tenants(self) -> set[TenantId]:
        """Those of which an app was clustered."""
        return {one.tenant for one in self._services.control.cluster_apps(None)}

    def every_tenant(self) -> set[TenantId]:
        """All: a night begins the first run of an app too."""
        return {one.id for one in self._services.control.all_tenants()}

    def is_idle(self, tenant: TenantId) -> bool:
        """Whether there is nothing to place or to count now, or a child is at it."""
        lines = self._services.control.cluster_apps(tenant)
        starts = self._may_start()
        if self._trouble is not None or any(self._is_hour(one) for one in lines):
            return False
        return not (starts and any(self._asks_work(one) for one in lines))

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """One look: begins runs over what waits, and a child that places new sessions, of every tenant. Raises
        AssayError."""
        lines, parts, starts = self._services.control.cluster_apps(tenant), Parts(), self._may_start()
        tried = [parts.tried(one.app, partial(self._looked, one, starts)) for one in lines]
        found = [one for one in tried if one is not None]
        places = any(asks for _, asks in found)
        if places and not stop.is_set():
            self._start()
        trouble, self._trouble = self._trouble, None
        told = {"n_apps": len(lines), "n_begun": sum(begun for begun, _ in found), "placing": places}
        return parts.done(told, trouble)

    def _looked(self, line: ClusterAppRecord, starts: bool) -> tuple[bool, bool]:
        """Whether a run was begun, and whether a child is to begin."""
        return self._hourly(line), starts and self._asks_work(line)

    def _may_start(self) -> bool:
        """Whether no child is at work, and the last one did not fail just now."""
        child = self._child
        if child is None:
            return time.monotonic() >= self._rest_until
        code = child.poll()
        if code is None:
            return False
        self._child = None
        if code and code != -signal.SIGTERM:
            self._trouble = f"the process that places new sessions ended with {code}; another begins in a while"
            _LOG.error("%s", self._trouble)
            self._rest_until = time.monotonic() + REST_S
        return time.monotonic() >= self._rest_until

    def _start(self) -> None:
        command = [sys.executable, "-m", CHILD, "new"]
        environment = environment_of(self._services.settings)
        self._child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)

    def _asks_work(self, line: ClusterAppRecord) -> bool:
        """Whether sessions are to be placed, or an hour with new ones is over."""
        now = self._services.clock()
        if _hours(line, "looked_at_ns", now) >= 1 and _came(line, "looked"):
            return True
        if _hours(line, "stale_at_ns", now) < 1:  # the embedder is another since the last run
            return False
        seen = self._seen.setdefault((line.tenant, line.app), Seen())
        return bool(arrivals(self._services.store.tenant(line.tenant), line, seen, now).due)

    def _is_hour(self, line: ClusterAppRecord) -> bool:
        """Whether it is to be counted how many sessions wait."""
        now = self._services.clock()
        if _hours(line, "waiting_at_ns", now) < 1 or _hours(line, "run_at_ns", now) < 1 or not _came(line, "waiting"):
            return False
        return now - self._counted.get((line.tenant, line.app), 0) >= COUNT_EVERY_NS

    def _hourly(self, line: ClusterAppRecord) -> bool:
        """Begins a run over what waits, once an hour, where new sessions came since and enough of them wait."""
        if not self._is_hour(line):
            return False
        now = self._services.clock()
        self._counted[line.tenant, line.app] = now
        window = self._window(now)
        params = params_of(line.told["params"])
        found = cluster_counts(self._services.store.tenant(line.tenant), line.app, window, told_by=None)
        n = int(found.filter("waiting")["n"].sum())
        enough = n >= 2 * min_cluster_size(n, params)
        if not enough or self._was_asked(line.tenant, line.app, Scope.WAITING, now - HOUR_NS):
            return False
        return self._begin(line.tenant, line.app, window, Scope.WAITING, line)

    def night(self, tenant: TenantId, stop: threading.Event) -> Done:
        """Begins the runs of the night, of every app of a tenant with sessions. Apps that never had a run get their
        first one where this server was there at the hour. Raises AssayError."""
        settings = self._services.settings
        moment = last_night(self._services.clock(), settings.clusters_nightly_hour)
        moment_ns = int(moment.timestamp()) * NS_PER_S
        window = self._window(self._services.clock())
        lines, parts = self._services.control.cluster_apps(tenant), Parts()
        overdue = [one for one in lines if int(one.told.get("run_at_ns", 0)) < moment_ns]
        asked = Parts()  # what cannot be asked is begun: that will say why it cannot be
        gone = {one.app for one in overdue if asked.tried(one.app, partial(self._is_no_app, one))}
        late = {one.app: one for one in overdue if one.app not in gone}
        new = self._new_apps(tenant, lines, window, moment_ns)
        wanted: dict[str, ClusterAppRecord | None] = {**late, **dict.fromkeys(new)}
        left = [app for app in wanted if not self._was_asked(tenant, app, Scope.WINDOW, moment_ns)]
        begins = {app: partial(self._begin, tenant, app, window, Scope.WINDOW, wanted[app]) for app in left}
        n_begun = sum(parts.tried(app, begin) or False for app, begin in begins.items())
        done = parts.done({"n_begun": n_begun, "n_left": len(left) - n_begun})
        return replace(done, again_s=settings.clusters_interval_s if n_begun < len(left) else None)

    def _is_no_app(self, line: ClusterAppRecord) -> bool:
        """Whether there is neither a cluster nor a session of it: a name that was mistyped, or an app that is gone."""
        if self._services.control.clusters(line.tenant, line.app):
            return False
        return line.app not in apps_with_sessions(self._services.store.tenant(line.tenant))

    def _new_apps(self, tenant: TenantId, lines: list[ClusterAppRecord], window: Window, moment_ns: int) -> list[str]:
        """Apps that never had a run, where this server was there at the hour."""
        if self._since_ns >= moment_ns:
            return []
        known = {one.app for one in lines} | OWN_APPS
        found: list[str] = apps(self._services.store.tenant(tenant), window)["app"].drop_nulls().to_list()
        return [app for app in found if app not in known]

    def _was_asked(self, tenant: TenantId, app: str, scope: Scope, since_ns: int) -> bool:
        """Whether a run was begun since then, whatever became of it: one that fails is not begun again at once."""
        runs = self._services.control.cluster_runs(tenant, app)
        return any(one.scope is scope and one.asked_at_ns >= since_ns for one in runs)

    def _begin(self, tenant: TenantId, app: str, window: Window, scope: Scope, line: ClusterAppRecord | None) -> bool:
        """Whether a run waits now; False while another one of the app is under way."""
        said = {"embedder": self._services.settings.clusters_embedder} if line is None else line.told["params"]
        params = params_of(said)
        run = ClusterRunRecord(
            tenant=tenant,
            run_id=fresh("clusters"),
            app=app,
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            scope=scope,
            params=params.as_json(),
            params_hash=params.digest,
            failure=None if line is None else line.told.get("failure"),
        )
        try:
            self._services.control.start_cluster_run(run, by=None)
        except Conflict:
            return False
        self._services.cluster_asked.set()
        return True

    def _window(self, now_ns: int) -> Window:
        days = self._services.settings.clusters_window_days or 7
        return Window(start_ns=now_ns - days * DAY_NS, end_ns=now_ns)


def last_night(now_ns: int, hour: int) -> datetime:
    """The last time that it was `hour` o'clock (UTC)."""
    now = datetime.fromtimestamp(now_ns / NS_PER_S, UTC)
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def _hours(line: ClusterAppRecord, name: str, now_ns: int) -> float:
    return (now_ns - int(line.told.get(name, 0))) / HOUR_NS


def _came(line: ClusterAppRecord, what: str) -> bool:
    """Whether sessions were placed since that was looked at."""
    return int(line.told.get("assigned_at_ns", 0)) > int(line.told.get(f"{what}_at_ns", 0))
