"""Datasets: what there is, and one with its examples, its versions and what changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, frame, states, to_dataset
from dashboard.text import as_json, inert, one_line

_PAGE: Final = 100
_MOST_IDS: Final = 200
_ALL: Final = "All splits"


@st.cache_data(ttl=5, max_entries=8, show_spinner=False)
def _all(_api: Api, changed_at: int) -> list[Row]:
    return _api.page("/datasets", {}).items


@st.cache_data(ttl=5, max_entries=8, show_spinner=False)
def _one(_api: Api, name: str, changed_at: int) -> Row:
    return _api.dataset(name)


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _examples(_api: Api, name: str, content_hash: str, parameters: Mapping[str, Any]) -> Row:
    """A page of a version; `content_hash` makes what an erasure changed another page."""
    return _api.examples(name, parameters)


@states.guarded
def show() -> None:
    """The page."""
    name = st.query_params.get("name")
    if name:
        _dataset(name)
    else:
        _list()


def _list() -> None:
    st.title("Datasets", anchor=False)
    st.caption("What the agent is asked and what is expected of it. A version never changes: runs and gates name one.")
    items = _all(states.api(), to_dataset.changed_at())
    if not items:
        _nothing()
        return
    newest = [one["newest"] or {} for one in items]
    columns: dict[str, Sequence[object]] = {
        "name": [one_line(one["name"], 80) for one in items],
        "version": [one.get("version") for one in newest],
        "examples": [one.get("n_examples", 0) for one in newest],
        "splits": [one_line(_splits(one), 80) for one in newest],
        "changed": [frame.wall_clock(one.get("made_at")) for one in newest],
        "by": [one_line(one.get("made_by"), 40) for one in newest],
        "description": [one_line(one["description"], 120) for one in items],
    }
    chosen = _grid(columns, "datasets", opens=True)
    if chosen is not None and chosen < len(items):
        links.open_dataset(str(items[chosen]["name"]))
    st.caption("A click on a row opens it. More come from a file, from the pages Trace and Session, or from a filter:")
    _commands()


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-datasets"):
        st.subheader("No datasets yet", anchor=False, icon=":material/dataset:")
        st.caption(
            "Open a session or a trace and choose “Add to dataset”, or make one of a file or of failed sessions:"
        )
        _commands()


def _commands() -> None:
    st.code(
        "assay datasets import FILE.jsonl\n"
        "assay datasets create support-golden --from-traces --app APP --filter 'outcome == \"failed\"'",
        language="bash",
        wrap_lines=True,
    )


def _dataset(name: str) -> None:
    found = _one(states.api(), name, to_dataset.changed_at())
    versions: list[Row] = found["versions"]
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Datasets", icon=":material/arrow_back:", type="tertiary", key="to-datasets"):
            links.open_datasets()
        if versions:
            version = _version(versions)
    frame.heading(found["name"], "dataset", page="Datasets")
    if found["description"]:
        st.text(inert(found["description"], 2000))
    if not versions:
        st.caption("It has no examples yet. Open a session or a trace and choose “Add to dataset”, or:")
        _commands()
        return
    _facts(version)
    examples, history = st.tabs(["Examples", "Versions"])
    with examples:
        _table(str(found["name"]), version)
    with history:
        _history(str(found["name"]), versions)


def _version(versions: Sequence[Row]) -> Row:
    """The version of the address, else the newest."""
    numbers = [int(one["version"]) for one in versions]
    told = address.first("dataset", "version")
    known = int(told) if told and told.isdecimal() and int(told) in numbers else numbers[0]
    chosen = st.selectbox(
        "Version",
        numbers,
        index=numbers.index(known),
        key="dataset-version",
        format_func=lambda number: f"Version {number}" + (" (newest)" if number == numbers[0] else ""),
        label_visibility="collapsed",
        width=220,
        icon=":material/history:",
    )
    address.keep("dataset", "version", None if chosen == numbers[0] else str(chosen))
    return versions[numbers.index(chosen)]


def _facts(version: Row) -> None:
    erased = version["n_erased"]
    frame.facts(
        (
            ("Examples", f"{version['n_examples']:,}"),
            ("Splits", _splits(version)),
            ("Erased since", f"{erased:,}" if erased else None),
            ("Made", human.clock(frame.nanoseconds(version["made_at"]), frame.timezone())),
            ("By", version["made_by"]),
            ("Note", version["note"]),
            ("Content hash", version["content_hash"][:16]),
        ),
        "dataset",
    )


def _table(name: str, version: Row) -> None:
    asked = _asked(version)
    shown = int(st.session_state.get(f"examples-{name}", _PAGE))
    parameters = {**asked, "version": version["version"], "limit": min(shown, 1000)}
    page = _examples(states.api(), name, version["content_hash"], parameters)
    items: list[Row] = page["items"]
    if not items:
        st.caption("No example matches.")
        return
    columns: dict[str, Sequence[object]] = {
        "example": [one_line(one["example_id"], 60) for one in items],
        "split": [one_line(one["split"], 30) for one in items],
        "turns": [len(one["input"]["turns"]) for one in items],
        "input": [one_line(one["input"]["turns"][0], 300) for one in items],
        "expects": [", ".join(one["expected"]).replace("_", " ") or "nothing yet" for one in items],
        "from": [_from(one) for one in items],
    }
    chosen = _grid(columns, f"examples-{version['version']}-{abs(hash(str(asked)))}", opens=True)
    if page["next_cursor"] and st.button(f"Show more ({len(items):,} shown)", key="more-examples"):
        st.session_state[f"examples-{name}"] = shown + 4 * _PAGE
        st.rerun()
    if chosen is not None and chosen < len(items):
        _detail(items[chosen])
    else:
        st.caption("A click on a row shows the example.")


def _asked(version: Row) -> dict[str, str]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = st.text_input(
            "Find", key="dataset-q", placeholder="text or id", label_visibility="collapsed", width=320, max_chars=500
        )
        splits = list(version["splits"])
        if len(splits) > 1:
            chosen = st.selectbox(
                "Split",
                [_ALL, *splits],
                key="dataset-split",
                label_visibility="collapsed",
                width=200,
                format_func=lambda value: one_line(value, 40),
            )
            if chosen != _ALL:
                return {"split": chosen, "q": asked}
    return {"q": asked} if asked else {}


def _detail(one: Row) -> None:
    source = one["source"]
    with st.container(border=True, key="assay-example"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(width="content"):
                frame.heading(one["example_id"], "example", size="small")
            with st.container(horizontal=True, width="content"):
                if source.get("session_id") and st.button(
                    "Open session", icon=":material/forum:", key="example-session"
                ):
                    links.open_session(str(source["session_id"]))
                if source.get("trace_id") and st.button("Open trace", icon=":material/timeline:", key="example-trace"):
                    links.open_trace(str(source["trace_id"]))
        asked, expected = st.columns(2, gap="medium")
        with asked:
            st.caption(f"The user says, in {human.plural(len(one['input']['turns']), 'turn')}")
            for number, turn in enumerate(one["input"]["turns"]):
                with st.container(border=True, key=f"assay-text-turn-{number}"):
                    st.text(inert(turn, 20_000))
        with expected:
            st.caption("Expected")
            if one["expected"]:
                _expected(one["expected"])
            else:
                st.text("Nothing yet: evaluators that compare leave it unscored.")
            if one["metadata"]:
                st.caption("Metadata")
                st.code(inert(as_json(one["metadata"]), 20_000), language="json", wrap_lines=True)


def _expected(said: Mapping[str, Any]) -> None:
    """What is text as text, anything else as JSON."""
    for name, value in said.items():
        st.caption(name.replace("_", " "))
        if isinstance(value, bool):
            st.text("yes" if value else "no")
        elif isinstance(value, str):
            st.text(inert(value, 20_000))
        else:
            st.code(inert(as_json(value), 20_000), language="json", wrap_lines=True)


def _history(name: str, versions: Sequence[Row]) -> None:
    columns: dict[str, Sequence[object]] = {
        "version": [one["version"] for one in versions],
        "examples": [one["n_examples"] for one in versions],
        "splits": [one_line(_splits(one), 80) for one in versions],
        "changed": [frame.wall_clock(one["made_at"]) for one in versions],
        "by": [one_line(one["made_by"], 40) for one in versions],
        "note": [one_line(one["note"], 160) for one in versions],
    }
    _grid(columns, "versions", opens=False)
    if len(versions) < 2:
        st.caption("There is nothing to compare yet: a change makes the next version.")
        return
    numbers = [int(one["version"]) for one in versions]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        before = st.selectbox("From version", numbers[1:], key="diff-before", width=160)
        later = [number for number in numbers if number > before]
        after = st.selectbox("To version", later, key="diff-after", width=160)
    _changes(states.api().dataset_diff(name, int(before), int(after)))


def _changes(found: Row) -> None:
    kinds = (("added", "green"), ("removed", "red"), ("changed", "orange"))
    with st.container(horizontal=True, key="assay-dataset-changes"):
        for kind, color in kinds:
            st.badge(f"{len(found[kind]):,} {kind}", color=color)  # type: ignore[arg-type]
        st.badge(f"{found['n_same']:,} the same", color="gray")
    for kind, _ in kinds:
        ids = found[kind]
        if ids:
            more = f"\n… and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
            st.caption(kind.capitalize())
            st.code("\n".join(inert(one, 130) for one in ids[:_MOST_IDS]) + more, language=None)


def _grid(columns: Mapping[str, Sequence[object]], key: str, *, opens: bool) -> int | None:
    """Draws the columns; the row that was clicked, counted from the top."""
    event: Any = st.dataframe(
        dict(columns),
        key=f"grid-{key}",
        hide_index=True,
        width="stretch",
        height=min(520, 37 + 35 * max(1, len(next(iter(columns.values()))))),
        on_select="rerun" if opens else "ignore",
        selection_mode="single-cell",
        column_config=_CONFIG,
    )
    cells = event["selection"]["cells"] if opens else []
    return int(cells[0][0]) if cells else None


def _text(title: str, width: int | None = None) -> Any:
    return st.column_config.TextColumn(title, width=width)


_CONFIG: Final[dict[str, Any]] = {
    "name": _text("Dataset", 220),
    "example": _text("Example", 190),
    "version": st.column_config.NumberColumn("Version", width=70),
    "examples": st.column_config.NumberColumn("Examples", format="localized", width=85),
    "turns": st.column_config.NumberColumn("Turns", width=60),
    "splits": _text("Splits", 160),
    "split": _text("Split", 80),
    "changed": st.column_config.DatetimeColumn("Changed", format="YYYY-MM-DD HH:mm", width=140),
    "by": _text("By", 120),
    "description": _text("Description"),
    "note": _text("Note"),
    "input": _text("The user says", 430),
    "expects": _text("Expects", 170),
    "from": _text("From", 80),
}


def _from(one: Row) -> str:
    source = one["source"]
    return "session" if source.get("session_id") else "trace" if source.get("trace_id") else "written"


def _splits(version: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in version.get("splits", {}).items())
