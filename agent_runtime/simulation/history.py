"""The time that has sessions already: what a run of traces that fills leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent_runtime.records import Release
from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.world import World


def known_span(world: World, releases: Sequence[Release]) -> tuple[datetime, datetime] | None:
    """When the first and the last known session of these releases began; None where none is known."""
    names = ", ".join("?" * len(releases))
    (row,) = world.rows(
        f"SELECT min(planted_at) AS first, max(planted_at) AS last FROM truth WHERE release IN ({names})",
        *(release.name for release in releases),
    )
    return None if row["last"] is None else (_moment(row["first"]), _moment(row["last"]))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def told(run: FastRun, n: int) -> str:
    """One line about a run that has ended, of `n` sessions."""
    where = " where there were none" if run.filling else ""
    hours = f"{run.weeks * 7 * 24:.0f} hours{where}"
    made = f"{n:,} session{'' if n == 1 else 's'}"
    return f"{made} of the last {hours}: {run.n_spans:,} spans, {run.n_posted:,} outcomes"
