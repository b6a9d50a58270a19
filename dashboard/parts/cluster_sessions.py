"""Sessions of clusters as lists: those that a lasso holds, and those of one cluster by pages. A click opens one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Page, Row
from dashboard.parts import arrow, cluster_map, frame, lists, states, to_dataset
from dashboard.parts import cluster_words as words
from dashboard.parts.gist import gist
from dashboard.text import inert, label, one_line

_STEP: Final = 15
_MOST_ADDED: Final = 1000  # that one change of a dataset takes
_MOST_BUTTONS: Final = 5
_ENDED: Final = {"failed": "red", "went well": "green"}
_CURSORS: Final = "cluster-sessions-cursors"


def held(found: Row, places: Sequence[int], clusters: Sequence[Row], app: str, key: str) -> None:
    """What the lasso of the map `key` holds: how its sessions ended, their clusters, and a list, failed ones first."""
    points = found["points"]
    of = {str(one["id"]): one for one in clusters}
    order = sorted(places, key=lambda at: (points["failed"][at] is not True, -float(points["confidence"][at] or 0)))
    with st.container(border=True, key="assay-lasso", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text(_ended([points["failed"][at] for at in places]))
            several = [str(points["session_id"][at]) for at in order[:_MOST_ADDED]]
            to_dataset.offer("sessions", "lasso", app, several=several)
            if st.button("Let go", icon=":material/close:", type="tertiary", key="lasso-let-go"):
                cluster_map.forget(key)
                st.rerun()
        _of_clusters(Counter(points["cluster"][at] for at in places), of)
        shown = order[: int(st.session_state.get(_shown(places), _STEP))]
        rows = [
            {
                "session_id": points["session_id"][at],
                "failed": points["failed"][at],
                "confidence": points["confidence"][at] if points["cluster"][at] else None,
                "cluster": (of.get(str(points["cluster"][at])) or {}).get("title") or "in no cluster",
            }
            for at in shown
        ]
        firsts = _first_inputs(states.api(), tuple(str(one["session_id"]) for one in rows))
        _grid([{**one, "first_input": first} for one, first in zip(rows, firsts, strict=True)], f"lasso-{len(rows)}")
        if len(order) > len(shown) and st.button(
            f"Show more ({len(shown):,} of {len(order):,} shown)", key="lasso-more"
        ):
            st.session_state[_shown(places)] = len(shown) + 2 * _STEP
            st.rerun()


def _shown(places: Sequence[int]) -> str:
    """Each choice begins with its own first lines."""
    return f"lasso-shown-{len(places)}-{places[0] if places else 0}"


def _ended(failed: Sequence[bool | None]) -> str:
    counts = Counter(failed)
    parts = [(True, "failed"), (False, "went well"), (None, "not known how they ended")]
    said = ", ".join(f"{counts[word]:,} {text}" for word, text in parts if counts[word])
    return f"{human.plural(len(failed), 'session')} chosen: {said}"


def _of_clusters(counts: Mapping[str | None, int], of: Mapping[str, Row]) -> None:
    """The clusters that it touches, the most sessions first; a click opens one."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-lasso-clusters"):
        known = [(one, n) for one, n in Counter(counts).most_common() if one is not None and one in of]
        for one, n in known[:_MOST_BUTTONS]:
            if st.button(f"{label(of[one]['title'], 34)} ({n:,})", type="tertiary", icon=":material/bubble_chart:",
                         key=f"lasso-open-{one}"):  # fmt: skip
                links.open_cluster(one)
        rest = sum(n for _, n in known[_MOST_BUTTONS:])
        loose = sum(counts.values()) - sum(n for _, n in known)
        said = [f"{rest:,} in {len(known) - _MOST_BUTTONS} others"] if rest else []
        said += [f"{loose:,} in no cluster"] if loose else []
        if said:
            st.caption(" · ".join(said), width="content")


@st.cache_data(ttl=120, max_entries=32, show_spinner="Reading what was said…")
def _first_inputs(_api: Api, ids: tuple[str, ...]) -> list[str | None]:
    found = _api.sessions(ids, limit=1)
    return ["(no longer stored)" if one is None else gist(one["session"].get("first_input")) or None for one in found]


@st.cache_data(ttl=10, max_entries=32, show_spinner=False)
def _page(_api: Api, cluster_id: str, cursor: str | None) -> Row:
    return _api.get(_api.cluster_path(cluster_id, "sessions"), {"limit": 25, "cursor": cursor})


def of_cluster(cluster: Row) -> None:
    """All of its sessions, the latest first, a page at a time."""
    cluster_id = str(cluster["id"])
    if st.session_state.get("cluster-sessions-of") != cluster_id:
        st.session_state.update({"cluster-sessions-of": cluster_id, _CURSORS: []})
    cursors: list[str] = st.session_state[_CURSORS]
    told = _page(states.api(), cluster_id, cursors[-1] if cursors else None)
    if not told["items"]:
        st.text("None of its sessions is stored any more.")
        return
    _grid(told["items"], f"cluster-sessions-{len(cursors)}")
    lists.turn_pages(_CURSORS, Page(items=told["items"], next_cursor=told.get("next_cursor")), cursors)


def _grid(rows: Sequence[Row], key: str) -> None:
    """Draws the rows; a click opens the session, which comes back with no cell selected."""
    generation = int(st.session_state.get(f"{key}-generation", 0))
    column = st.column_config
    has = {name for one in rows for name in one}
    cells: dict[str, Sequence[object]] = {
        **({"Started": [frame.moment(one["started_at"]) for one in rows]} if "started_at" in has else {}),
        "Ended": [_word(one.get("failed")) for one in rows],
        "First message": [one_line(gist(one.get("first_input")), 240) or None for one in rows],
        **({"Cluster": [one_line(one["cluster"], 80) for one in rows]} if "cluster" in has else {}),
        "Confidence": [words.known(one.get("confidence")) for one in rows],
        "Session": [one_line(inert(one["session_id"], 200), 200) for one in rows],
    }
    with st.container(key=f"assay-grid-{key.rsplit('-', 1)[0]}"):
        state: Any = st.dataframe(
            arrow.table(cells),
            height=min(640, 38 * (len(rows) + 1) + 2),
            hide_index=True,
            row_height=38,
            key=f"{key}-{generation}",
            column_config={
                "Started": column.DatetimeColumn(format="D MMM HH:mm", width=110),
                "Ended": column.MultiselectColumn(options=list(_ENDED), color=list(_ENDED.values()), width=100),
                "First message": column.TextColumn(width=380 if "Cluster" not in cells else 300),
                "Cluster": column.TextColumn(width=210),
                "Confidence": column.NumberColumn(
                    format="%.2f", width=90, help="How firmly it belongs: 1 is at the heart, 0 at the rim"
                ),
                "Session": column.TextColumn(width=310),  # a UUID, whole
            },
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    if picked and int(picked[0][0]) < len(rows):
        st.session_state[f"{key}-generation"] = generation + 1
        links.open_session(str(rows[int(picked[0][0])]["session_id"]))


def _word(failed: bool | None) -> list[str]:
    return [] if failed is None else ["failed" if failed else "went well"]
