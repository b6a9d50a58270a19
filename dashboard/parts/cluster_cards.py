"""Clusters as cards: title, terms, size, failures beside the rest of the app's, a bar a day. One element of the page.

Texts reach it as JSON and enter the page as text nodes (cluster_cards.js writes `textContent` and nothing else).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Row
from dashboard.parts import cluster_words as words
from dashboard.parts import palette, verdict
from dashboard.text import one_line

_HERE: Final = Path(__file__).parent
_TERMS: Final = 6
_DAYS: Final = 30
_NAMES: Final = {"green": "green", "red": "red", "orange": "orange", "blue": "blue", "gray": "grey"}


def show(rows: Sequence[Row], key: str, *, tall: bool = False) -> None:
    """Draws a card for each; a click opens the cluster. `tall`: in a column of its own that scrolls."""
    shade = palette.colours()
    known = [value for one in rows for name in ("failure_high", "rest_rate") if (value := words.known(one.get(name)))]
    drawn = {
        "cards": [_card(one, shade) for one in rows],
        "scale": min(1.0, max(known, default=1.0) * 1.02),
        "red": shade["red"],
        "grey": shade["grey"],
        "tall": tall,
    }
    # In a list: Streamlit looks for data frames in a dict, and imports pandas to do so.
    _component()(key=key, data=[drawn], on_opened_change=lambda: None)
    opened(key)


def opened(key: str) -> None:
    """Goes to the cluster that was clicked in the element `key`, if one was: said once, as `{"id", "at"}`."""
    told = (st.session_state.get(key) or {}).get("opened")
    found = _read(told)
    if found and st.session_state.get(f"{key}-opened") != told:
        st.session_state[f"{key}-opened"] = told
        links.open_cluster(found)


def _read(told: object) -> str | None:
    """A message of the browser, which may be anything."""
    try:
        return words.shown_id(json.loads(told)["id"]) if isinstance(told, str) else None
    except (ValueError, TypeError, KeyError):
        return None


def _card(one: Row, shade: dict[str, str]) -> dict[str, Any]:
    rest = words.known(one.get("rest_rate"))
    trend = list(one.get("trend") or [])[-_DAYS:]
    return {
        "id": words.shown_id(one["id"]),
        "title": one_line(one["title"], 160),
        "badges": _badges(one, shade),
        "terms": [one_line(term["term"], 40) for term in list(one.get("terms") or [])[:_TERMS]],
        "size": human.plural(int(one["n_sessions"]), "session"),
        "share": f"{words.percent(one.get('share'))} · {human.plural(int(one.get('n_users') or 0), 'user')}",
        "trend": [[int(day["n"]), int(day.get("n_failed") or 0)] for day in trend],
        "trend_said": words.trend_said(trend),
        "rate": words.known(one.get("failure_rate")),
        "low": words.known(one.get("failure_low")),
        "high": words.known(one.get("failure_high")),
        "rest": rest,
        "worse": words.worse(one),
        "rate_said": words.failing(one),
        "rest_said": f"others {words.failure_rate(rest)}",
        "known_said": f"{words.known_of(one)}; others of {words.of_known(one, 'rest_n_known', 'rest_n_sessions')}",
        "note": words.note(one),
    }


def _badges(one: Row, shade: dict[str, str]) -> list[dict[str, str]]:
    said = verdict.of(words.STATES, one.get("state"))
    found = [{"text": said.title, "colour": shade[_NAMES[said.colour]]}]
    if one.get("emerging"):
        kind = verdict.of(words.KINDS, one["emerging"].get("kind"))
        found.append({"text": "emerging", "colour": shade["red"], "about": f"{kind.title}: see the page Emerging"})
    if one.get("stable") is False:
        about = "Other samples of the same sessions do not give this cluster again"
        found.append({"text": "unstable", "colour": shade["grey"], "about": about})
    if one.get("watched"):
        found.append({"text": "watched", "colour": shade["green"]})
    return found


@st.cache_resource(show_spinner=False)
def _sources() -> dict[str, str]:
    return {kind: (_HERE / f"cluster_cards.{kind}").read_text("utf-8") for kind in ("css", "js")}


def _component() -> Callable[..., Any]:
    sources = _sources()
    made: Callable[..., Any] = st.components.v2.component("assay_cluster_cards", css=sources["css"], js=sources["js"])
    return made
