"""Does the work of the timetable by the clock.

APScheduler says when to look; what is due, who does it and how it went stands in the control database
(store/control/jobs.py), for all servers: docs/decisions/0014-jobs-in-our-own-table.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from server.job_rounds import JobRounds
from server.process_name import this_process
from server.timetable import timetable
from server.wiring import Services
from server.works import Work

LOOK_S: Final = 2.0  # between looks at what is due, at most
KEEP_S: Final = 30.0  # between renewals of what is being done; a tenth of a lease


class Scheduler:
    """Does jobs from `start` to `close`. `owner` names this process among those that share a control database."""

    def __init__(self, services: Services, works: Sequence[Work] | None = None, owner: str | None = None) -> None:
        owner = owner or this_process()
        found = timetable(services, owner) if works is None else works
        self._rounds = {one.name: JobRounds(services, one, owner) for one in found}
        self._every_s = {one.name: min(LOOK_S, max(0.05, one.schedule.every_s)) for one in found}
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="jobs", daemon=True)
        self._looks = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(1, len(self._rounds)))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    def start(self) -> None:
        """Begins."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a round that takes long is not news
        for name, rounds in self._rounds.items():
            self._looks.add_job(rounds.round, "interval", seconds=self._every_s[name], id=name)
        self._looks.start()
        self._keeper.start()

    def close(self) -> None:
        """Ends after the slices under way; what is left is for the next process, at once."""
        self._stopping.set()
        for rounds in self._rounds.values():
            rounds.close()
        if self._looks.running:
            self._looks.shutdown(wait=True)
        if self._keeper.is_alive():
            self._keeper.join()

    def round(self, name: str) -> int:
        """One look at a piece of work, in the caller's thread; how many jobs were done. Not while it is started."""
        return self._rounds[name].round()

    def keep(self) -> None:
        """Renews what is being done, and looks on where the clock was set back: APScheduler waits by the clock."""
        for rounds in self._rounds.values():
            rounds.renew()
        for look in self._looks.get_jobs():
            now = datetime.now(UTC)
            if look.next_run_time - now > timedelta(seconds=2 * LOOK_S):
                look.modify(next_run_time=now)

    def _keep(self) -> None:
        while not self._stopping.wait(KEEP_S):
            self.keep()
