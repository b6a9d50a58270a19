"""Scores: one score in figures, or two of the same targets beside each other, `?score=…&against=…`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, corrected_rate, frame, score_figures, states
from dashboard.parts.window import Window
from dashboard.text import inert, one_line

_KINDS: Final = {"rule": "rule", "judge": "judge", "human": "people", "outcome": "outcome"}


@st.cache_data(ttl=15, max_entries=16, show_spinner=False)
def _names(_api: Api, window: Mapping[str, str]) -> list[Row]:
    return _api.page("/scores/names", window).items


@st.cache_data(ttl=15, max_entries=32, show_spinner=False)
def _figures(_api: Api, asked: Mapping[str, str]) -> Row:
    return _api.get("/scores/figures", asked)


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def _apps(_api: Api, window: Mapping[str, str]) -> list[str]:
    rows = _api.page("/apps", window).items
    return [str(one["app"]) for one in rows if one.get("app") and not str(one["app"]).startswith("assay.")]


@states.guarded
def show() -> None:
    """The page."""
    window, _ = frame.head("Scores", "What rules, judges and people said, one score or two of the same targets")
    with states.skeleton():
        names = _names(states.api(), window.parameters)
    if not names:
        _nothing(window)
        return
    known = {_id(one): one for one in sorted(names, key=lambda one: one["target"] == "example")}  # trials last
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="assay-score-choice"):
        first = _choose("score", "Score", known, list(known), required=True)
        same = [name for name, one in known.items() if one["target"] == known[first]["target"] and name != first]
        second = _choose("against", "Beside it", known, same, required=False)
        app = _app(window)
    asked = _asked(window, known[first], known[second] if second else None, app)
    told = _figures(states.api(), asked)
    _sampled(told["sample"])
    both = told["together"]
    if both is not None:
        score_figures.together(told, both)
    for place, one in enumerate(told["scores"]):
        _score(one, told, window, app, place)


def _id(one: Row) -> str:
    return f"{one['kind']}:{one['target']}:{one['evaluator']}"


def _choose(name: str, title: str, known: Mapping[str, Row], offered: Sequence[str], *, required: bool) -> str:
    told = address.first("scores", name)
    start = offered.index(told) if told in offered else 0 if required else None
    chosen: str | None = st.selectbox(
        title,
        offered,
        index=start,
        key=f"scores-{name}-{'' if required else len(offered)}",
        placeholder="none",
        format_func=lambda one: _title(known[one]),
        width=340,
    )
    address.keep("scores", name, chosen)
    return chosen or ""


def _title(one: Row) -> str:
    kind = _KINDS.get(str(one["kind"]), str(one["kind"]))
    return one_line(f"{one['evaluator']} · {kind}, {one['target']} · {human.count(one['n'])}", 80)


def _app(window: Window) -> str | None:
    apps = _apps(states.api(), window.parameters)
    known = address.first("scores", "app")
    options = apps if known is None or known in apps else [*apps, known]
    if not options:
        return None
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=options.index(known) if known else None,
        key="scores-app",
        placeholder="All apps",
        format_func=lambda one: one_line(one, 40),
        width=220,
    )
    address.keep("scores", "app", chosen)
    return chosen


def _asked(window: Window, first: Row, second: Row | None, app: str | None) -> dict[str, str]:
    asked = {**window.parameters, "bucket": window.bucket, "target": str(first["target"])}
    asked |= {"evaluator": str(first["evaluator"]), "kind": str(first["kind"])}
    if second is not None:
        asked |= {"against": str(second["evaluator"]), "against_kind": str(second["kind"])}
    return asked | ({"app": app} if app else {})


def _sampled(sample: Row) -> None:
    if sample["one_in"] > 1:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-score-sample"):
            st.badge("a sample", icon=":material/casino:", color="orange")
            st.text(
                f"Of {sample['n_scores']:,} scores those of one target in {sample['one_in']:,} are read, chosen by a "
                "hash of the target, the same for both."
            )


def _score(one: Row, told: Row, window: Window, app: str | None, place: int) -> None:
    """The figures of one score. Those of a judge only beside the corrected rate."""
    if told["together"] is not None:
        st.divider()
    key = f"score-{place}"
    colour = ("blue", "orange")[place]
    if one["kind"] == "judge" and not _corrected(one, window, app, key):
        return
    left, right = st.columns(2, gap="medium")
    with left:
        if one["kind"] == "judge":
            st.caption("The judge's own verdicts, errors and all; the rate to rely on is the corrected one above.")
            score_figures.unscored(one, key)
        else:
            score_figures.statistics(one, key)
        score_figures.distribution(one, f"{key}-distribution", colour)
    with right:
        if one["kind"] != "judge":
            score_figures.timeline(one, told["bucket_s"], f"{key}-time", colour)


def _corrected(one: Row, window: Window, app: str | None, key: str) -> bool:
    """The judged score with the judge's errors taken out, or why it is not shown; whether it is."""
    name = str(one["evaluator"])
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"assay-score-judge-{key}"
    ):
        with st.container(width="content"):
            frame.heading(f"{name}, a judge", key, size="small")
        if st.button("Open the judge", icon=":material/gavel:", key=f"{key}-open"):
            links.open_judge(name)
    apps = [app] if app else list(one["apps"])
    if not apps:
        st.text("Of which app these verdicts are is not known, so they cannot be corrected.")
        return False
    if len(apps) > 1:
        st.text(f"It judged {human.plural(len(apps), 'app')}: choose one above to see its rate. First: "
                f"{inert(apps[0], 60)}.")  # fmt: skip
    return corrected_rate.show(name, str(apps[0]), window.parameters, key)


def _nothing(window: Window) -> None:
    states.no_match("scores", "Choose a longer time range, or let an evaluator score what is stored:")
    st.code(
        "assay eval run --sessions-of-release --app APP --release RELEASE\n"
        "assay eval online set APP --evaluators NAME\n"
        "assay judges run NAME --app APP --since 24h --budget 5usd",
        language="bash",
        wrap_lines=True,
    )
