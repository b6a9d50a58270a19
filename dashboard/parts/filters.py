"""The filters of the lists: values with the number of traces behind each, search, attributes. All live in the URL."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.parts import address, lists
from dashboard.parts.states import api
from dashboard.text import one_line

_LATENCIES: Final = {"500": "≥ 0.5 s", "1000": "≥ 1 s", "5000": "≥ 5 s", "10000": "≥ 10 s", "30000": "≥ 30 s"}
_TITLES: Final = {
    "app": "App",
    "release": "Release",
    "model": "Model",
    "status": "Status",
    "variant": "Variant",
    "environment": "Environment",
    "name": "Name",
}
_FRONT: Final = ("app", "release", "model", "status")
_BEHIND: Final = ("variant", "environment", "name")

_TEXTS: Final = {"session_id": "Session id", "user_id": "User id", "attr": "Attribute, as key=value"}
_ALL: Final = ("q", *_TITLES, "min_duration_ms", *_TEXTS)

Chosen = dict[str, str | list[str]]


def bar(page: str, window: dict[str, str], *, placeholder: str) -> Chosen:
    """Draws the filters of `page`; returns the API parameters of those that are set."""
    known = {name: value for name in _ALL if (value := address.first(page, name))}
    counts = lists.read_facets(api(), tuple(_TITLES), {**window, **_parameters(known)})
    chosen: dict[str, str] = {}
    with st.container(horizontal=True, vertical_alignment="bottom", key="assay-filters", gap="small"):
        _keep(
            page,
            chosen,
            "q",
            st.text_input(
                "Search",
                known.get("q", ""),
                key=f"{page}-q",
                placeholder=placeholder,
                label_visibility="collapsed",
                icon=":material/search:",
                width=260,
            ),
        )
        for name in _FRONT:
            _keep(page, chosen, name, _choice(page, name, counts[name], known.get(name), width=140))
        hidden = [name for name in (*_BEHIND, "min_duration_ms", *_TEXTS) if name in known]
        with st.popover(f"More · {len(hidden)}" if hidden else "More", icon=":material/tune:", key=f"{page}-more"):
            _behind(page, chosen, counts, known)
        if chosen:
            st.button(
                "Clear", icon=":material/close:", type="tertiary", on_click=_clear, args=(page,), key=f"{page}-clear"
            )
    return _parameters(chosen)


def _behind(page: str, chosen: dict[str, str], counts: dict[str, dict[str, int]], known: dict[str, str]) -> None:
    for name in _BEHIND:
        _keep(page, chosen, name, _choice(page, name, counts[name], known.get(name), width=320))
    name, known_ms = "min_duration_ms", list(_LATENCIES)
    _keep(
        page,
        chosen,
        name,
        st.selectbox(
            "Latency",
            known_ms,
            index=known_ms.index(known[name]) if known.get(name) in known_ms else None,
            format_func=_LATENCIES.__getitem__,
            key=f"{page}-{name}",
            placeholder="Latency",
            label_visibility="collapsed",
            width=320,
        ),
    )
    for name, title in _TEXTS.items():
        _keep(
            page,
            chosen,
            name,
            st.text_input(
                title,
                known.get(name, ""),
                key=f"{page}-{name}",
                placeholder=title,
                label_visibility="collapsed",
                width=320,
            ),
        )
    if chosen.get("attr") and "=" not in chosen["attr"]:
        st.caption("Write an attribute as key=value, for example gen_ai.system=openai")


def _choice(page: str, name: str, counts: dict[str, int], current: str | None, *, width: int) -> str | None:
    options = list(counts)
    if current is not None and current not in counts:
        options.append(current)  # a value of the address stays chosen even when nothing in the window has it
    chosen: str | None = st.selectbox(
        _TITLES[name],
        options,
        index=options.index(current) if current is not None else None,
        format_func=lambda value: f"{one_line(value, 40)} · {counts.get(value, 0):,}",
        key=f"{page}-{name}",
        placeholder=_TITLES[name],
        label_visibility="collapsed",
        width=width,
    )
    return chosen


def _parameters(chosen: dict[str, str]) -> Chosen:
    """The API's parameters; an attribute that is not key=value is left out until it is."""
    return {
        name: [value] if name == "attr" else value for name, value in chosen.items() if name != "attr" or "=" in value
    }


def _keep(page: str, chosen: dict[str, str], name: str, value: str | None) -> None:
    address.keep(page, name, value or None)
    if value:
        chosen[name] = value


def _clear(page: str) -> None:
    address.forget(page)
    for name in _ALL:
        st.query_params.pop(name, None)
        st.session_state[f"{page}-{name}"] = "" if name in ("q", *_TEXTS) else None
