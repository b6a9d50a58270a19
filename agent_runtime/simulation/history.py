"""The time before now that has no session yet: what a run of traces fills in, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.traffic import Traffic
from agent_runtime.simulation.world import World


def unfilled(world: World, traffic: Traffic, hours: float, end: datetime) -> tuple[Traffic, float]:
    """The part of `traffic`, which is meant for the `hours` before `end`, that comes after the last session of its
    releases, and the hours that this part has: all of it where none is known. Its sessions have ids of their own.
    """
    last = last_began(world, [release.name for release in traffic.releases])
    left = hours if last is None else min(hours, max(0.0, (end - last).total_seconds() / 3600))
    mark = f"{traffic.mark}{last or end:%y%m%d%H%M%S}-"
    share = round(traffic.sessions * left / hours)
    return replace(traffic, sessions=min(traffic.sessions, max(1, share)), mark=mark), left


def last_began(world: World, releases: Sequence[str]) -> datetime | None:
    """When the last known session of these releases began."""
    names = ", ".join("?" * len(releases))
    (row,) = world.rows(f"SELECT max(planted_at) AS at FROM truth WHERE release IN ({names})", *releases)
    return None if row["at"] is None else datetime.fromisoformat(row["at"])


def told(run: FastRun, n: int) -> str:
    """One line about a run that has ended, of `n` sessions."""
    hours = run.weeks * 7 * 24
    span = f"{hours:.0f} hours" if hours >= 2 else f"{max(2, 60 * hours):.0f} minutes"
    return f"{n:,} session{'' if n == 1 else 's'} of the last {span}: {run.n_spans:,} spans, {run.n_posted:,} outcomes"
