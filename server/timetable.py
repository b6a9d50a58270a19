"""What a server does by the clock: a table of pieces of work, each a job of every tenant that has something to do.

A piece of work costs a line here and an object with `tenants` and `run`.
"""

from __future__ import annotations

from server.clustering_rounds import ClusterRounds
from server.judge_rounds import CertificateRounds, JudgeRounds, ReplyRounds
from server.monitor_rounds import MonitorRounds
from server.monitor_upkeep import HOUR, UPKEEP_JOB, MonitorUpkeep
from server.online_rounds import OnlineRounds
from server.wiring import Services
from server.works import DAY_S, HOUR_S, Schedule, Work
from store.control.monitoring import MONITORS_JOB


def timetable(services: Services, owner: str) -> tuple[Work, ...]:
    """The work of this server, by its settings; `owner` names it in the control database."""
    settings = services.settings
    online, judges = OnlineRounds(services, owner), JudgeRounds(services)
    certificates, replies = CertificateRounds(services), ReplyRounds(services)
    monitors = MonitorRounds(services, owner)
    often, hourly = Schedule(every_s=settings.online_interval_s), Schedule(every_s=HOUR_S)
    found = [Work(name="replies", schedule=hourly, tenants=replies.tenants, run=replies.run)]
    if settings.online_interval_s > 0:
        found += [
            Work(name="online", schedule=often, tenants=online.tenants, run=online.run, is_idle=online.is_idle),
            Work(name="judges", schedule=often, tenants=judges.tenants, run=judges.run, is_idle=judges.is_idle),
            Work(name="certificates", schedule=hourly, tenants=certificates.tenants, run=certificates.run),
        ]
    if settings.clusters_interval_s > 0:
        found += _of_clusters(services)
    if settings.monitors_interval_s > 0:
        minutely = Schedule(every_s=settings.monitors_interval_s)
        found.append(Work(name=MONITORS_JOB, schedule=minutely, tenants=monitors.tenants, run=monitors.run))
        if settings.monitors_kept_days:
            nightly = Schedule(every_s=DAY_S, hour=HOUR)
            upkeep = MonitorUpkeep(services)
            found.append(Work(name=UPKEEP_JOB, schedule=nightly, tenants=monitors.tenants, run=upkeep.run))
    return tuple(found)


def _of_clusters(services: Services) -> list[Work]:
    settings = services.settings
    rounds = ClusterRounds(services)
    often = Schedule(every_s=settings.clusters_interval_s)
    found = [
        Work(
            name="clusters", schedule=often, tenants=rounds.tenants, run=rounds.run, is_idle=rounds.is_idle,
            close=rounds.close,
        )
    ]  # fmt: skip
    if settings.clusters_window_days:
        nightly = Schedule(every_s=DAY_S, hour=settings.clusters_nightly_hour)
        found.append(Work(name="clusters-nightly", schedule=nightly, tenants=rounds.every_tenant, run=rounds.night))
    return found
