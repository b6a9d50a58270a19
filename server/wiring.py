"""Builds the parts of a server process from its settings; everything below gets what it needs handed down."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from importlib.metadata import version

from auth.authenticator import Authenticator
from core.clock import Clock, system_clock
from server.calibrating import UnderWay
from server.control_access import open_control, pepper_of
from server.settings import Settings
from store.control.control import Control
from store.cursor import Cursors
from store.engines import engine_for
from store.lake import Lake
from store.tenant import Store


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes of one server process work with; a route takes it from `server.policy.ServicesOf`."""

    settings: Settings
    control: Control
    lake: Lake
    store: Store
    authenticator: Authenticator
    cursors: Cursors
    clock: Clock
    version: str
    run_asked: threading.Event = field(default_factory=threading.Event)  # set: a run waits, or was cancelled
    judge_asked: threading.Event = field(default_factory=threading.Event)  # set: a job of a judge waits
    rollout_asked: threading.Event = field(default_factory=threading.Event)  # set: a rollout was begun or changed
    cluster_asked: threading.Event = field(default_factory=threading.Event)  # set: a run of clusters waits, or ended
    calibrating: UnderWay = field(default_factory=UnderWay)


def build_services(settings: Settings, clock: Clock = system_clock) -> Services:
    """Opens everything a server needs. Raises StorageFailed, Corrupt, InvalidInput."""
    control = open_control(settings, clock)
    pepper = pepper_of(settings)
    lake = Lake(settings.lake_root, clock=clock, cache=settings.lake_cache)
    return Services(
        settings=settings,
        control=control,
        lake=lake,
        store=Store(lake, engine_for(lake, settings.clickhouse_url), clock),
        authenticator=Authenticator(control.find_key, pepper, clock, note_use=control.touch),
        cursors=Cursors(pepper, clock),
        clock=clock,
        version=version("assay"),
    )
