"""The frame of every page: title, time range, refresh, facts in a row. Its texts are ours; data is plain text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.parts import address
from dashboard.text import inert

RANGES: Final = {
    "15m": "Last 15 minutes",
    "1h": "Last hour",
    "6h": "Last 6 hours",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "365d": "Last year",
    "3650d": "All time",
    "custom": "Custom range",
}
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}
_BUCKETS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400}


@dataclass(frozen=True, kw_only=True)
class Window:
    """A chosen range of time: as API parameters, as words ("in the last 24 hours"), and how long it is."""

    parameters: dict[str, str]
    words: str
    seconds: float

    @property
    def bucket(self) -> str:
        """The rollup bucket that gives a chart 12 to 60 points over this window, or as close as there is."""
        return next((name for name, size in _BUCKETS.items() if self.seconds / size <= 72), "1d")


def timezone() -> tzinfo:
    """The viewer's time zone."""
    return human.zone(st.context.timezone)


def head(title: str, about: str, *, live_key: str | None = None) -> tuple[Window, int | None]:
    """Title, time range and refresh switch. Returns the window and the seconds between refreshes (None: off)."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title(title, anchor=False)
            st.caption(about)
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"):
            live = live_key is not None and st.toggle("Live", value=True, key=live_key, persist_state="session")
            start = address.first("all", "since")
            choice = st.selectbox(
                "Time range",
                list(RANGES),
                index=list(RANGES).index(start if start in RANGES else "24h"),
                format_func=RANGES.__getitem__,
                key="since",
                label_visibility="collapsed",
                width=190,
                icon=":material/schedule:",
            )
    address.keep("all", "since", str(choice))
    return _window(str(choice)), 10 if live else None


def _window(choice: str) -> Window:
    if choice != "custom":
        seconds = int(choice[:-1]) * _SECONDS[choice[-1]]
        words = "of all time" if choice == "3650d" else f"in the {RANGES[choice].lower()}"
        return Window(parameters={"since": choice}, words=words, seconds=seconds)
    now = datetime.now(timezone()).replace(second=0, microsecond=0, tzinfo=None)
    now = st.session_state.setdefault("custom-range-from", now)  # the proposal stays while the page is read again
    with st.container(horizontal=True, horizontal_alignment="right"):
        start = st.datetime_input("From", now - timedelta(days=1), key="from_at", persist_state="session", width=240)
        end = st.datetime_input("To", now + timedelta(minutes=1), key="to_at", persist_state="session", width=240)
    if start is None or end is None or start >= end:
        st.warning("The range has to end after it starts. Showing the last 24 hours instead.")
        return Window(parameters={"since": "24h"}, words="in the last 24 hours", seconds=86400)
    first, last = (at.replace(tzinfo=timezone()).astimezone(UTC) for at in (start, end))
    parameters = {"start": f"{first:%Y-%m-%dT%H:%M:%SZ}", "end": f"{last:%Y-%m-%dT%H:%M:%SZ}"}
    return Window(parameters=parameters, words="in the chosen range", seconds=(last - first).total_seconds())


def numbers(cells: Iterable[tuple[str, str]], key: str) -> None:
    """A row of named numbers; wraps on narrow screens. Labels and values are ours (formatted numbers), never data."""
    with st.container(horizontal=True, key=f"assay-numbers-{key}", gap="small"):
        for name, value in cells:
            st.metric(name, value.replace("$", "\\$"), border=True, width="stretch")


def facts(cells: Iterable[tuple[str, object]], key: str) -> None:
    """Names (ours) with values (data, as plain text) in one wrapping line; empty values are left out."""
    with st.container(horizontal=True, key=f"assay-facts-{key}", gap="medium"):
        for name, value in cells:
            if value not in (None, "", []):
                with st.container(width="content", gap=None):
                    st.caption(name)
                    st.text(inert(value, 120))


def heading(text: object, key: str, *, size: str = "large") -> None:
    """Data as a heading: plain text in a heading's size (st.title would read it as Markdown)."""
    with st.container(key=f"assay-heading-{size}-{key}"):
        st.text(inert(text, 160) or "(no name)")


def status_badge(status: object) -> None:
    """The status of a span or trace as a badge of three closed words."""
    match status:
        case "error":
            st.badge("error", icon=":material/error:", color="red")
        case "ok":
            st.badge("ok", icon=":material/check:", color="green")
        case _:
            pass  # unset is what OpenTelemetry says of most spans: neither good nor bad
