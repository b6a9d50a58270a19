"""What a server does for clusters by the clock: new sessions are placed, what waits is clustered again, nights run.

The looks are cheap; the work is a child's (`python -m server.clustering_child`), so that its memory is given back.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from clustering.arriving import Seen, arrivals
from clustering.params import params_of
from clustering.sizes import min_cluster_size
from core.clock import NS_PER_S
from core.errors import AssayError, Conflict
from core.ids import TenantId, fresh
from core.windows import Window
from server.children import environment_of
from server.clustering import CHILD
from server.wiring import Services
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
    """Looks every `clusters_interval_s`, for one server. Several servers may look at once: each app's line and each run
    is one's at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._since_ns = services.clock()
        self._seen: dict[tuple[str, str], Seen] = {}
        self._nights: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None
        self._rest_until = 0.0
        self._counted: dict[tuple[str, str], int] = {}  # when it was counted how many wait

    def close(self) -> None:
        """Ends the child; what is left is for the next process."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def round(self) -> None:
        """One look. Failures are told in the log, and tried again."""
        try:
            lines = self._services.control.cluster_apps(None)
            self._night(lines)
            for line in lines:
                self._tried(self._hourly, line)
            if self._may_start() and any(self._tried(self._asks_work, line) for line in lines):
                self._start()
        except AssayError as error:
            _LOG.error("new sessions cannot be looked at for clusters now, and are tried again: %s", error)

    def _tried(self, look: Callable[[ClusterAppRecord], bool], line: ClusterAppRecord) -> bool:
        """What a look at an app says. What cannot be read of one app keeps no other one waiting, nor another tenant."""
        try:
            return look(line)
        except AssayError as error:
            _LOG.error("%s cannot be looked at for clusters now, and is tried again: %s", line.app, error)
            return False

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
            _LOG.error("the process that places new sessions ended with %d; another begins in a while", code)
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

    def _hourly(self, line: ClusterAppRecord) -> bool:
        """Begins a run over what waits, once an hour, where new sessions came since and enough of them wait."""
        now = self._services.clock()
        if _hours(line, "waiting_at_ns", now) < 1 or _hours(line, "run_at_ns", now) < 1 or not _came(line, "waiting"):
            return False
        if now - self._counted.get((line.tenant, line.app), 0) < COUNT_EVERY_NS:
            return False
        self._counted[line.tenant, line.app] = now
        window = self._window(now)
        params = params_of(line.told["params"])
        found = cluster_counts(self._services.store.tenant(line.tenant), line.app, window, told_by=None)
        n = int(found.filter("waiting")["n"].sum())
        enough = n >= 2 * min_cluster_size(n, params)
        if not enough or self._was_asked(line.tenant, line.app, Scope.WAITING, now - HOUR_NS):
            return False
        return self._begin(line.tenant, line.app, window, Scope.WAITING, line)

    def _night(self, lines: list[ClusterAppRecord]) -> None:
        """Begins the runs of the night, of every app with sessions. Apps that never had a run get their first one
        where this server was there at the hour."""
        settings = self._services.settings
        if not settings.clusters_window_days:
            return
        moment = last_night(self._services.clock(), settings.clusters_nightly_hour)
        if moment.isoformat() in self._nights:
            return
        moment_ns = int(moment.timestamp()) * NS_PER_S
        window = self._window(self._services.clock())
        overdue = [one for one in lines if int(one.told.get("run_at_ns", 0)) < moment_ns]
        late = [(one.tenant, one.app, one) for one in overdue if not self._tried(self._is_no_app, one)]
        wanted: list[tuple[TenantId, str, ClusterAppRecord | None]] = [*late, *self._new_apps(lines, window, moment_ns)]
        left = [one for one in wanted if not self._was_asked(one[0], one[1], Scope.WINDOW, moment_ns)]
        begun = [self._begun(tenant, app, window, line) for tenant, app, line in left]
        if all(begun):
            self._nights = {moment.isoformat()}

    def _is_no_app(self, line: ClusterAppRecord) -> bool:
        """Whether there is neither a cluster nor a session of it: a name that was mistyped, or an app that is gone."""
        if self._services.control.clusters(line.tenant, line.app):
            return False
        return line.app not in apps_with_sessions(self._services.store.tenant(line.tenant))

    def _begun(self, tenant: TenantId, app: str, window: Window, line: ClusterAppRecord | None) -> bool:
        """As `_begin`; False too where it cannot be begun."""
        try:
            return self._begin(tenant, app, window, Scope.WINDOW, line)
        except AssayError as error:
            _LOG.error("the nightly run over %s cannot be begun, and is tried again: %s", app, error)
            return False

    def _new_apps(
        self, lines: list[ClusterAppRecord], window: Window, moment_ns: int
    ) -> list[tuple[TenantId, str, ClusterAppRecord | None]]:
        """Apps that never had a run, where this server was there at the hour."""
        if self._since_ns >= moment_ns:
            return []
        known = {(one.tenant, one.app) for one in lines}
        return [
            (tenant.id, app, None)
            for tenant in self._services.control.all_tenants()
            for app in self._apps_of(tenant.id, window)
            if app not in OWN_APPS and (tenant.id, app) not in known
        ]

    def _apps_of(self, tenant: TenantId, window: Window) -> list[str]:
        """The tenant's apps with sessions in the window; none where they cannot be read."""
        try:
            found: list[str] = apps(self._services.store.tenant(tenant), window)["app"].drop_nulls().to_list()
        except AssayError as error:
            _LOG.error("apps of %s cannot be looked for now: %s", tenant, error)
            return []
        return found

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
