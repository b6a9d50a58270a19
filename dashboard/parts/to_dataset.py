"""Add to dataset: what a session or trace asked becomes an example, in two clicks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, NotAllowed
from dashboard.parts import states
from dashboard.text import inert, label, one_line

_LAST: Final = "to-dataset-last"
_NEW: Final = "golden"


CHANGED: Final = "datasets-changed"


def changed_at() -> int:
    """When this visit last changed a dataset (a clock's ns, 0: never): what was read before holds no more for it."""
    return int(st.session_state.get(CHANGED, 0))


@st.cache_data(ttl=10, max_entries=4, show_spinner=False)
def _names(_api: Api) -> list[str]:
    return [str(one["name"]) for one in _api.page("/datasets", {}).items]


def offer(kind: str, target: str, app: object, *, several: Sequence[str] = ()) -> None:
    """A button that opens the choice of a dataset, and there one that adds. `kind` is sessions or traces. `several`:
    these are added, and `target` only names the button."""
    with st.popover("Add to dataset", icon=":material/playlist_add:"):
        try:
            known = _names(states.api())
        except ApiFailure as failure:
            st.text(inert(failure.detail, 300))
            return
        proposed = f"{one_line(app, 60)}-{_NEW}" if isinstance(app, str) and app and "/" not in app else _NEW
        last = st.session_state.get(_LAST)
        options = known or [proposed]
        name = st.selectbox(
            "Dataset",
            options,
            index=options.index(last) if last in options else 0,
            key=f"to-dataset-name-{target}",
            format_func=lambda value: one_line(value, 60),
            accept_new_options=True,
            help="Write another name to make a new one.",
            width=300,
        )
        expects = st.checkbox(
            "Expect the agent's answer",
            key=f"to-dataset-answer-{target}",
            help="For a conversation that went well: the agent's last message is the expected one.",
        )
        if st.button("Add", type="primary", icon=":material/add:", key=f"to-dataset-{target}") and name:
            _add(str(name), kind, target, several or (target,), expects=expects)
        _told(target)


def _add(name: str, kind: str, target: str, targets: Sequence[str], *, expects: bool) -> None:
    where = f"the page of the {kind[:-1]}" if len(targets) == 1 else "the map of clusters"
    body = {kind: list(targets), "with_answer": expects, "create": True, "note": f"from {where}"}
    try:
        done = states.api().add_examples(name, body)
    except NotAllowed:
        said = "This dashboard's key may only read. Start it with a key of role user: assay keys create --role user"
        st.session_state[f"to-dataset-told-{target}"] = (said, None)
        return
    except ApiFailure as failure:
        st.session_state[f"to-dataset-told-{target}"] = (inert(failure.detail, 400), None)
        return
    _names.clear()
    st.session_state[CHANGED] = time.monotonic_ns()
    st.session_state[_LAST] = name
    if done["n_added"]:
        size = human.plural(int(done["n_examples"]), "example")
        n = f"{done['n_added']:,} of them. Version" if len(targets) > 1 else "version"
        said = f"Added: {n} {done['version']} has {size}."
    else:
        said = f"It is in version {done['version']} already."
    st.session_state[f"to-dataset-told-{target}"] = (said, name)


def _told(target: str) -> None:
    """What came of the last click, and the way to the dataset."""
    said, name = st.session_state.get(f"to-dataset-told-{target}", (None, None))
    if said:
        st.text(said)
    if name and st.button(
        f"Open {label(name, 40)}", icon=":material/dataset:", type="tertiary", key=f"to-dataset-open-{target}"
    ):
        links.open_dataset(name)
