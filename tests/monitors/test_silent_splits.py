"""A split monitor for which silence is the trouble: a series that ends is none, the end of all of them is one alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.clock import NS_PER_S
from monitors.alert_records import Event
from monitors.definition import Definition
from monitors.grids import Row
from monitors.watched import watch_of, watched

STEP = 300 * NS_PER_S
BEGIN = 1_790_000_100 * NS_PER_S // STEP * STEP
MONITOR = Definition.from_json(
    {"app": "shop", "series": "traffic", "by": "release", "band": {"kind": "static", "low": 1}, "no_data": "alert",
     "for_points": 3}
)  # fmt: skip


def looked(rows: Sequence[Row], until: Sequence[int]) -> list[tuple[str, Event]]:
    """What looks at the ends of these buckets tell, each from what the one before it left."""
    band: Mapping[str, Any] | None = None
    books: Mapping[str, Any] = {}
    settled: int | None = None
    told: list[tuple[str, Event]] = []
    for bucket in until:
        now = BEGIN + bucket * STEP
        watch = watch_of(
            "alive", MONITOR, since_ns=BEGIN, now_ns=now, band=band, books=books, settled_ns=settled, grace_s=0
        )
        seen = [one for one in rows if watch.window.contains(one.at_ns)]
        found = watched(watch, seen, lambda _: (None, False), now)
        told += found.events
        band, settled = found.after.as_json(), found.after.settled_ns
        books = {key: book.as_json() for key, book in found.books.items()}
    return told


def of(release: str, buckets: range) -> list[Row]:
    return [Row(key=f"traffic{{release={release}}}", at_ns=BEGIN + at * STEP, x=9.0, n=9.0) for at in buckets]


def test_a_release_that_retires_pages_nobody_and_silence_of_all_pages_once() -> None:
    rows = of("v1", range(20)) + of("v2", range(10, 600)) + of("v3", range(900, 920))
    assert looked(rows, range(1, 601, 7)) == []
    told = looked(rows, range(1, 921, 7))
    assert [(key, one.kind, one.cause) for key, one in told if one.kind != "renotified"] == [
        ("traffic", "fired", "no_data"),
        ("traffic", "resolved", "calm"),
    ]
    assert told[0][1].fired_ns == BEGIN + 602 * STEP
    assert told[0][1].text == "no data for 3 points of 300 s in a row"
    assert told[-1][1].text == "there is data again"
