"""Jobs in words: their states, when they run next, and what their runs took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts import frame
from dashboard.parts.verdict import Said

STATES: Final = {
    "dead": Said(title="Dead", colour="red", icon="dangerous"),
    "retrying": Said(title="Retrying", colour="orange", icon="refresh"),
    "failed": Said(title="Failed", colour="orange", icon="error"),
    "running": Said(title="Running", colour="blue", icon="play_circle"),
    "queued": Said(title="Queued", colour="blue", icon="hourglass_empty"),
    "succeeded": Said(title="Succeeded", colour="green", icon="check_circle"),
}
_BARS: Final = 30
FAILING: Final = frozenset({"dead", "retrying", "failed"})
KINDS: Final = {"evaluation": "Evaluation run", "judging": "Judge", "clusters": "Clusters"}


def ranked(jobs: Sequence[Row]) -> list[Row]:
    """What is to be looked at first comes first."""
    order = list(STATES)
    return sorted(jobs, key=lambda one: (order.index(one["state"]) if one["state"] in order else -1, one["title"]))


def apart(at: object, now: datetime) -> str:
    """How far a moment is from now: "in 12 s", "3 m 05 s ago", "now"."""
    found = frame.moment(at)
    if found is None:
        return human.UNKNOWN
    seconds = (found - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    whole = round(abs(seconds))
    words = f"{whole} s" if whole < 60 else human.duration(1000 * whole)
    return f"in {words}" if seconds > 0 else f"{words} ago"


def following(job: Row, now: datetime) -> str:
    """When it runs next. One whose time has passed runs when a server finds something to do for it."""
    if job["state"] in ("running", "queued"):
        return "now" if job["state"] == "running" else "as soon as a server looks"
    due = frame.moment(job["due"])
    if due is None or due > now:
        return apart(job["due"], now)
    return "when there is something to do" if (now - due).total_seconds() < 90 else f"due {apart(job['due'], now)}"


def is_late(job: Row, now: datetime) -> bool:
    """Whether no server has begun it for long after its time: none runs that does it."""
    due = frame.moment(job["due"])
    return job["state"] != "running" and due is not None and (now - due).total_seconds() > 300


def course(job: Row) -> list[float]:
    """What its runs took, in seconds, the newest last. Zeros stand before few runs: a bar is as wide as among many."""
    took = [one["took_ms"] / 1000 for one in job["runs"] if one["took_ms"] is not None]
    return [0.0] * (_BARS - len(took)) + took if took else []


def result(job: Row) -> str:
    """What went wrong, or what the last run did."""
    return str(job["error"] or job["said"] or "")


def asks(job: Row) -> str:
    """What stands in the way, and what becomes of it, for a person who may do it again."""
    tries = human.plural(int(job["tries"]), "time")
    match job["state"]:
        case "dead":
            return f"It failed {tries} in a row, and is tried every 15 minutes only. Replay it once the cause is gone."
        case "retrying":
            return f"It failed {tries} in a row, and is tried again by itself, later each time."
        case _:
            return "A part of its last run failed, the rest was done. It goes on at its time."
