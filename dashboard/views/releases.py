"""Releases: what each is and what traffic says of it, over time, and two side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, arrow, charts, frame, over_time, picture, states
from dashboard.parts.window import Window
from dashboard.text import inert, one_line

_CARDS: Final = 12
_LINES: Final = 6  # of a chart
_LABELS: Final = 6  # of an evaluator without values, the most frequent
_SIMULATED: Final = frozenset(
    {"sim-1", "sim-1-mini", "sim-1-large", "sim-2", "sim-embed"}
)  # docs/simulated-provider.md
_SPEC: Final = ("variant", "model", "provider", "prompt_version", "endpoint")


@st.cache_data(ttl=10, max_entries=16, show_spinner=False)
def _read(_api: Api, parameters: Mapping[str, str]) -> list[Row]:
    return _api.page("/releases", parameters).items


@states.guarded
def show() -> None:
    """The page."""
    window, _ = frame.head("Releases", "Versions of an app: what each is, and what its traffic says")
    with states.skeleton():
        rows = _read(states.api(), window.parameters)
    if not rows:
        _nothing()
        return
    app = _app(rows)
    mine = sorted((row for row in rows if row["app"] == app), key=_age, reverse=True)
    _cards(mine)
    _scores(mine)
    _over_time(window, app, [row["name"] for row in mine if row.get("traffic")])
    _compare(mine)


def _age(row: Row) -> tuple[bool, str]:
    """Those with traffic first, of them the newest; two that take turns do not change places."""
    traffic = row.get("traffic") or {}
    return bool(traffic), str(row.get("created_at") or traffic.get("first_seen_at") or "")


def _nothing() -> None:
    if states.anything_stored():
        states.no_match("releases", "None is registered, and no turn of this time range names one (assay.release).")
        st.code("assay releases register APP NAME --model MODEL --parameters '{}'", language="bash", wrap_lines=True)
    else:
        states.first_steps()


def _app(rows: Sequence[Row]) -> str:
    """One app at a time: the one of the address, else that with the latest traffic."""
    apps = list(dict.fromkeys(str(row["app"]) for row in rows))
    known = address.first("releases", "app")
    if len(apps) == 1:
        return apps[0]
    chosen = st.selectbox(
        "App",
        apps,
        index=apps.index(known) if known in apps else 0,
        key="releases-app",
        label_visibility="collapsed",
        format_func=lambda value: one_line(value, 60),
        width=300,
        icon=":material/smart_toy:",
    )
    address.keep("releases", "app", chosen)
    return str(chosen)


def _cards(rows: Sequence[Row]) -> None:
    most = len(rows) if st.session_state.get("releases-all") else _CARDS
    for first in range(0, min(most, len(rows)), 2):
        for place, column in enumerate(st.columns(2, gap="medium")):
            if first + place < min(most, len(rows)):
                with column:
                    _card(rows[first + place], f"{first + place}")
    if len(rows) > most and st.button(f"Show all {len(rows):,} releases", key="releases-more"):
        st.session_state["releases-all"] = True
        st.rerun()


def _card(row: Row, key: str) -> None:
    seen = row.get("traffic") or {}
    other = [model for model in seen.get("models") or [] if row.get("model") and _differs(model, str(row["model"]))]
    with st.container(border=True, gap="small", height="stretch", key=f"assay-release-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
                with st.container(width="content"):
                    frame.heading(row["name"], f"release-{key}", size="small")
                if row["registered"]:
                    st.badge("registered", icon=":material/verified:", color="green")
                else:
                    st.badge("seen in traffic only", icon=":material/help:", color="orange")
                if other:
                    st.badge("another model seen", icon=":material/swap_horiz:", color="red")
                if _is_simulated(row):
                    st.badge(
                        "simulated model", icon=":material/science:", color="gray", help="Its prices are invented."
                    )
            if row.get("traffic") and st.button(
                "Traces", icon=":material/account_tree:", type="tertiary", key=f"release-traces-{key}"
            ):
                links.open_traces(str(row["app"]), str(row["name"]))
        frame.facts(
            (
                ("Variant", row.get("variant") or ", ".join(seen.get("variants") or [])),
                ("Model", row.get("model")),
                ("Models seen", ", ".join(seen.get("models") or []) if other or not row.get("model") else None),
                ("Provider", row.get("provider")),
                ("Prompt version", row.get("prompt_version")),
                ("Endpoint", row.get("endpoint")),
                ("Registered by", row.get("created_by")),
            ),
            f"release-{key}",
        )
        if seen:
            _figures(seen, key)
            _score_line(seen["scores"], key)
        else:
            st.caption("No turn of this time range names it.")
        _parameters(row, key)


def _parameters(row: Row, key: str) -> None:
    found = _flat({"parameters": row.get("parameters")})
    if not found:
        return
    with (
        st.expander(human.plural(len(found), "parameter"), icon=":material/tune:", key=f"release-parameters-{key}"),
        st.container(horizontal=True, gap="medium", key=f"assay-facts-release-parameters-{key}"),
    ):
        for place, (path, value) in enumerate(list(found.items())[:200]):
            with st.container(width="content", gap=None):
                with st.container(key=f"assay-quiet-release-parameters-{key}-{place}"):
                    st.text(inert(path.removeprefix("parameters."), 120))
                st.text(inert(value, 300) or '""')


def _is_simulated(row: Row) -> bool:
    models = {row.get("model"), *((row.get("traffic") or {}).get("models") or [])} - {None}
    return bool(models) and models <= _SIMULATED


def _differs(seen: str, registered: str) -> bool:
    """Whether a model is another than the registered one; a dated name of it ("gpt-4.1-2025-04-14") is the same."""
    return seen != registered and re.fullmatch(re.escape(registered) + r"[-@:]v?\d[\w.:-]*", seen) is None


def _when(at: object) -> str | None:
    """To the minute, in the viewer's zone, which the head of the page names."""
    moment = datetime.fromisoformat(str(at)).astimezone(frame.timezone()) if at else None
    return None if moment is None else f"{moment.day} {moment:%b %Y, %H:%M}"


def _figures(seen: Row, key: str) -> None:
    turns = int(seen["n_turns"])
    cost, first = seen.get("cost_usd"), (seen.get("ttft_ms") or {}).get("p95")
    frame.numbers(
        (
            ("Turns", human.count(turns)),
            ("Errors", human.share(seen["n_errors"], turns)),
            *((f"Latency {p}", human.duration((seen.get("latency_ms") or {}).get(p))) for p in ("p50", "p95")),
        ),
        f"peek-release-{key}",
    )
    frame.facts(
        (
            ("Sessions", human.count(seen["n_sessions"])),
            ("Tokens", human.in_and_out(seen)),
            ("Cost", human.usd(cost)),
            ("Per turn", human.usd(None if cost is None else cost / turns)),
            ("TTFT p95", None if first is None else human.duration(first)),
            ("Last seen", _when(seen.get("last_seen_at"))),
        ),
        f"release-more-{key}",
    )


def _score_line(scores: Sequence[Row], key: str) -> None:
    if not scores:
        st.caption("No scores yet.")
        return
    with st.container(horizontal=True, gap="medium", key=f"assay-facts-release-scores-{key}"):
        for place, score in enumerate(sorted(scores, key=lambda one: one.get("mean") is None)[:12]):
            with st.container(width="content", gap=None):
                with st.container(key=f"assay-quiet-release-{key}-{place}"):
                    st.text(inert(score["evaluator"], 40))
                st.text(_verdict(score))


def _verdict(score: Row) -> str:
    """ "0.91 (0.85–0.95) · n 120 · 3 unscored"; of labels alone, how often each; of a judge, where its rate is told."""
    said = []
    if score.get("evaluator_kind") == "judge":
        said += [f"{score['n']:,} verdicts", "corrected rate: page Judges"]
    elif score.get("mean") is not None:
        ends = f"{human.score(score['low'])} to {human.score(score['high'])}"
        said += [f"{human.score(score['mean'])} ({ends})", f"n {score['n']:,}"]
    else:
        said += [f"{inert(name, 40)} {number:,}" for name, number in list(score["labels"].items())[:_LABELS]]
        more = len(score["labels"]) - _LABELS
        said += [f"and {human.plural(more, 'more label')}"] if more > 0 else []
    said += [f"{score['n_unscored']:,} unscored"] if score.get("n_unscored") else []
    return " · ".join(said) or human.UNKNOWN


def _scores(rows: Sequence[Row]) -> None:
    """For each evaluator that speaks of two releases or more, their means side by side."""
    by_evaluator: dict[str, list[tuple[str, Row]]] = {}
    for row in rows[:_CARDS]:
        for score in (row.get("traffic") or {}).get("scores") or []:
            if picture.is_drawable(score):
                by_evaluator.setdefault(score["evaluator"], []).append((str(row["name"]), score))
    several = [(name, told) for name, told in by_evaluator.items() if len(told) > 1][:6]
    if not several:
        return
    st.subheader("Scores by release", anchor=False)
    st.caption("Means with 95 % intervals.")
    for first in range(0, len(several), 2):
        for place, column in enumerate(st.columns(min(2, len(several)), gap="medium")):
            if first + place < len(several):
                name, told = several[first + place]
                with column:
                    picture.intervals(inert(name, 60), told, f"release-score-{first + place}")


def _over_time(window: Window, app: str, names: Sequence[str]) -> None:
    if not names:
        return
    now = datetime.now(UTC)
    asked = {**window.parameters, "bucket": window.bucket, "level": "turn", "group_by": "release", "app": app}
    cells = [row for row in states.api().page("/rollups", asked).items if row.get("release")]
    span, buckets = over_time.span(window, now)
    shown = list(names[:_LINES])
    st.subheader("Over time", anchor=False)
    if len(names) > _LINES:
        st.caption(f"The {_LINES} newest releases.")
    by_release = {name: {int(c["bucket_ns"]): c for c in cells if c["release"] == name} for name in shown}

    def series(value: Any, missing: float | None) -> dict[str, list[float | None]]:
        return {
            one_line(name, 24): [value(told[at]) if at in told else missing for at in buckets]
            for name, told in by_release.items()
        }

    left, right = st.columns(2, gap="medium")
    with left:
        charts.bars("Turns by release", span, series(lambda c: c["n"], 0), key="release-turns")
    with right:
        p95 = series(lambda c: (c.get("latency_ms") or {}).get("p95"), None)
        charts.latencies("Latency p95 by release", span, p95, key="release-latency")
    left, right = st.columns(2, gap="medium")
    with left:
        charts.bars("Turns with an error by release", span, series(lambda c: c["n_errors"], 0), key="release-errors")
    with right:
        cost = series(lambda c: c.get("cost_usd") or 0, 0)
        charts.bars("Cost by release", span, cost, key="release-cost", prefix="$")


def _compare(rows: Sequence[Row]) -> None:
    """What two releases are, line by line."""
    known = [row for row in rows if row["registered"]]
    if len(known) < 2:
        return
    st.subheader("Side by side", anchor=False)
    names = [str(row["name"]) for row in known]
    with st.container(horizontal=True, gap="small"):
        first = _pick("Baseline", names, "baseline", 1)
        second = _pick("Candidate", names, "candidate", 0)
        only = st.toggle("Only what differs", value=True, key="releases-only")
    one, two = (_flat(known[names.index(name)]) for name in (first, second))
    fields = [name for name in dict.fromkeys([*one, *two]) if not only or one.get(name) != two.get(name)]
    if not fields:
        st.caption("They are the same in everything that was registered.")
        return
    text = st.column_config.TextColumn
    st.dataframe(
        arrow.table(
            {
                "Field": [one_line(name, 120) for name in fields],
                "baseline": [one_line(one.get(name), 300) or None for name in fields],
                "candidate": [one_line(two.get(name), 300) or None for name in fields],
                "differs": ["≠" if one.get(name) != two.get(name) else "" for name in fields],
            }
        ),
        hide_index=True,
        row_height=36,
        lazy=False,
        placeholder="–",
        key="releases-diff",
        column_config={
            "Field": text("Field", width=220),
            "baseline": text("Baseline", width=320),
            "candidate": text("Candidate", width=320),
            "differs": text("", width=40),
        },
    )


def _pick(title: str, names: Sequence[str], name: str, place: int) -> str:
    known = address.first("releases", name)
    chosen = st.selectbox(
        title,
        names,
        index=names.index(known) if known in names else place,
        key=f"releases-{name}",
        format_func=lambda value: one_line(value, 60),
        width=260,
    )
    address.keep("releases", name, chosen)
    return str(chosen)


def _flat(row: Row) -> dict[str, str]:
    """Everything registered of a release as lines; nested parameters by their path."""
    told = {name.replace("_", " "): str(row[name]) for name in _SPEC if row.get(name) is not None}
    todo: list[tuple[str, object]] = [("parameters", row.get("parameters") or {})]
    while todo:
        path, value = todo.pop(0)
        if isinstance(value, dict) and value:
            todo = [(f"{path}.{key}", inner) for key, inner in sorted(value.items())] + todo
        elif value != {}:
            told[path] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return told
