"""The frame of every page: title, time range, refresh, facts in a row. Its texts are ours; data is plain text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.parts import address, window
from dashboard.parts.change import SAME, Figure
from dashboard.parts.window import CUSTOM, DEFAULT, RANGES, Window
from dashboard.text import inert

_REFUSED: Final = "since-refused"


def timezone() -> tzinfo:
    """The viewer's time zone."""
    return human.zone(st.context.timezone)


def moment(at: object) -> datetime | None:
    """A time of the API, ISO 8601 or ns since the epoch, in the viewer's time zone; None for what is none."""
    if isinstance(at, int):
        return human.moment(at, timezone())
    try:
        return datetime.fromisoformat(str(at)).astimezone(timezone()) if at else None
    except ValueError:
        return None


def wall_clock(at: object) -> datetime | None:
    """As `moment`, without its zone: what a grid shows as it is."""
    found = moment(at)
    return None if found is None else found.replace(tzinfo=None)


def nanoseconds(at: object) -> int | None:
    """A time of the API in ns since the epoch, as the words of `human` take it."""
    found = moment(at)
    return None if found is None else int(found.timestamp() * 1e9)


def whole_days(since: object) -> str | None:
    """The range of time, as an address says it, that holds everything since a time of the API; None for no time."""
    found = moment(since)
    return None if found is None else f"{(datetime.now(UTC) - found).days + 1}d"


def zone_words() -> str:
    """The viewer's time zone as a page says it: "Europe/Berlin (UTC+1)"."""
    return human.zone_name(timezone(), datetime.now(timezone()))


def started(ns: int | None) -> str:
    """A moment with its offset from UTC, for pages that show few of them."""
    at = human.moment(ns, timezone())
    return human.clock(ns, timezone()) + (f" {human.offset(at)}" if at else "")


def head(title: str, about: str, *, live_key: str | None = None) -> tuple[Window, int | None]:
    """Title, time range and refresh switch. Returns the window and the seconds between refreshes (None: off)."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title(title, anchor=False)
            st.caption(f"{about} · times in {zone_words()}")
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"):
            live = live_key is not None and st.toggle("Live", value=True, key=live_key, persist_state="session")
            choice = _choice()
    _remember(choice)
    if refused := st.session_state.get(_REFUSED):
        with st.container(border=True, key="assay-refused-range"):
            st.text(
                f"since={inert(refused, 40)} in the address is not a range of time such as 90m, 48h, 3d, 2w, 2y or all."
            )
            st.text("Showing the last 24 hours instead.")
    return _window(choice), 10 if live else None


def _choice() -> str:
    """The list of ranges; a length from the address that is not among them is added to it."""
    told = address.first("all", "since")
    told = window.ALIASES.get(told, told) if told else None
    if told and not window.known(told):
        st.session_state[_REFUSED] = told
        told = None
    offered = list(RANGES)
    for other in (told, st.session_state.get("since")):
        if other and other not in offered:
            offered.insert(len(offered) - 1, other)
    return str(
        st.selectbox(
            "Time range",
            offered,
            index=offered.index(told or DEFAULT),
            format_func=window.title,
            key="since",
            label_visibility="collapsed",
            width=190,
            icon=":material/schedule:",
            on_change=lambda: st.session_state.pop(_REFUSED, None),
        )
    )


def choose(since: str) -> None:
    """Sets the time range of the page, for a button's `on_click`."""
    st.session_state.pop(_REFUSED, None)
    st.session_state["since"] = since
    _remember(since)


def _remember(choice: str) -> None:
    """Keeps the range in the address, all time by its short name."""
    address.keep("all", "since", "all" if choice == window.ALL_TIME else choice)


def _window(choice: str) -> Window:
    if choice != CUSTOM:
        return window.relative(choice)
    now = datetime.now(timezone()).replace(second=0, microsecond=0, tzinfo=None)
    now = st.session_state.setdefault("custom-range-from", now)  # the proposal stays while the page is read again
    with st.container(horizontal=True, horizontal_alignment="right"):
        start = st.datetime_input("From", now - timedelta(days=1), key="from_at", persist_state="session", width=240)
        end = st.datetime_input("To", now + timedelta(minutes=1), key="to_at", persist_state="session", width=240)
    if start is None or end is None or start >= end:
        st.warning("The range has to end after it starts. Showing the last 24 hours instead.")
        return window.relative(DEFAULT)
    return window.between(*(at.replace(tzinfo=timezone()) for at in (start, end)))


def figures(cells: Iterable[Figure], key: str) -> None:
    """A row of named numbers, each with its change since the window before. All texts are ours."""
    with st.container(horizontal=True, key=f"assay-numbers-{key}", gap="small"):
        for cell in cells:
            st.metric(
                cell.name,
                cell.value.replace("$", "\\$"),
                delta=cell.change,
                delta_arrow=cell.direction,
                delta_color=cell.color,
                delta_description=None if cell.change is None else "as before" if cell.change == SAME else "vs before",
                border=True,
                width="stretch",
            )


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


def heading(text: object, key: str, *, size: str = "large", page: str = "") -> None:
    """Data as a heading: plain text in a heading's size (st.title would read it as Markdown).

    `page`, ours, is the heading that a screen reader finds; it is not seen.
    """
    with st.container(key=f"assay-heading-{size}-{key}", gap=None):
        if page:
            st.title(page, anchor=False)
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
