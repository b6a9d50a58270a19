"""The x axis of charts over time: every bucket of the chosen window, on the viewer's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dashboard import human
from dashboard.parts import charts, frame
from dashboard.parts.window import BUCKETS, Window


def span(window: Window, now: datetime) -> tuple[charts.Span, list[int]]:
    """The x axis over the whole window, and every bucket in it, so that silence shows as a gap."""
    size = BUCKETS[window.bucket]
    first, last = (int(at.timestamp()) for at in window.bounds(now))
    starts = range(first // size * size, last, size)
    buckets = [start * 10**9 for start in starts]
    ends = times([first // size * size * 10**9, max(last, starts[-1] + size) * 10**9])
    return charts.Span(times=times(buckets), bucket_s=size, first=ends[0], last=ends[1]), buckets


def times(buckets: Sequence[int]) -> list[datetime | None]:
    """Starts of buckets (ns) on the viewer's clock, without zone."""
    tz = frame.timezone()
    moments = [human.moment(start, tz) for start in buckets]
    return [at.replace(tzinfo=None) if at else None for at in moments]
