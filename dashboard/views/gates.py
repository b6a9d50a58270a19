"""Gates: what they decided, newest first, and the evidence of one, `?gate=…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, arrow, frame, lists, margins, palette, picture, states
from dashboard.text import chart_text, inert, one_line

_MOST: Final = 200
_PICTURES: Final = 12  # of one decision
_COLOURS: Final[dict[str, Literal["green", "red", "orange"]]] = {
    "pass": "green",
    "fail": "red",
    "inconclusive": "orange",
}
_ICONS: Final = {"pass": "check_circle", "fail": "cancel", "inconclusive": "help"}
_FINDINGS: Final = {
    "held": "held",
    "harmed": "worse",
    "unsettled": "open",
    "missing": "not enough evidence",
    "left_out": "left out",
}


@st.cache_data(ttl=8, max_entries=8, show_spinner=False)
def _decisions(_api: Api, app: str | None) -> list[Row]:
    asked: dict[str, str | int] = {"limit": _MOST}
    return _api.page("/gates", asked | ({"app": app} if app else {})).items


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _decision(_api: Api, gate_id: str) -> Row:
    return _api.gate(gate_id)


@states.guarded
def show() -> None:
    """The page."""
    st.title("Gates", anchor=False)
    st.caption(f"May a release take another's place: pass, fail or inconclusive · times in {frame.zone_words()}")
    with states.skeleton():
        every = _decisions(states.api(), None)
    wanted = st.query_params.get("gate", "").strip()
    if not every and not wanted:
        _nothing()
        return
    app = _app(every)
    shown = every if app is None else [one for one in every if one["app"] == app]
    _history(shown)
    chosen = _list(shown, wanted)
    if chosen is not None:
        _evidence(_decision(states.api(), chosen))


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-gates"):
        st.subheader("No gate has decided yet", anchor=False, icon=":material/traffic:")
        st.caption("Run two releases over the same dataset, write a policy, and ask:")
        st.code(
            "assay eval run DATASET --release v1\nassay eval run DATASET --release v2\n"
            "assay gate APP --candidate v2 --baseline v1 --policy gate.yaml",
            language="bash",
        )


def _app(every: Sequence[Row]) -> str | None:
    apps = sorted({str(one["app"]) for one in every})
    known = address.first("gates", "app")
    if len(apps) < 2 and known is None:
        return None
    options = apps if known is None or known in apps else [*apps, known]
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=options.index(known) if known else None,
        key="gates-app",
        placeholder="All apps",
        label_visibility="collapsed",
        format_func=lambda value: one_line(value, 40),
        width=260,
        icon=":material/smart_toy:",
    )
    address.keep("gates", "app", chosen)
    return chosen


def _history(rows: Sequence[Row]) -> None:
    """How many of each, and when."""
    counts = {name: sum(one["decision"] == name for one in rows) for name in _COLOURS}
    frame.numbers([(name.capitalize(), human.count(n)) for name, n in counts.items()], "gates")
    if len(rows) < 2:
        return
    shade = palette.colours()
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [frame.moment(one["made_at"]) for one in rows if one["decision"] == name],
            "y": [name] * counts[name],
            "marker": {"size": 11, "color": shade[colour], "symbol": symbol},
            "text": [_asked(one) for one in rows if one["decision"] == name],
            "hovertemplate": "%{text}<br>%{x|%-d %b %Y %H:%M}<extra></extra>",
        }
        for (name, colour), symbol in zip(_COLOURS.items(), ("circle", "x", "diamond"), strict=True)
    ]
    layout = {
        "height": 150,
        "xaxis": {"type": "date", "showgrid": True, "nticks": 6},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(reversed(_COLOURS)),
            "range": [-0.5, 2.5],
            "showgrid": False,
            "ticksuffix": " ",
        },
        "showlegend": False,
    }
    picture.draw("History", traces, layout, key="gates-history")


def _asked(one: Row) -> str:
    return f"{chart_text(one['app'], 40)}: {chart_text(one['candidate'], 40)} against {chart_text(one['baseline'], 40)}"


def _list(rows: Sequence[Row], wanted: str) -> str | None:
    """The decisions; a click shows the evidence of one below. The newest is shown first."""
    ids = [str(one["gate_id"]) for one in rows]
    column = st.column_config
    if rows:
        with st.container(key="assay-table"):
            state = st.dataframe(
                arrow.table(
                    {
                        "Decided": [frame.moment(one["made_at"]) for one in rows],
                        "Decision": [[str(one["decision"])] for one in rows],
                        "App": [one_line(one["app"], 60) for one in rows],
                        "Candidate": [one_line(one["candidate"], 60) for one in rows],
                        "Baseline": [one_line(one["baseline"], 60) for one in rows],
                        "Dataset": [one_line(one["dataset"], 60) or None for one in rows],
                        "Why": [_first(one) for one in rows],
                    }
                ),
                height=min(310, 38 * (len(rows) + 1)),
                hide_index=True,
                row_height=38,
                key="gates-list",
                column_config={
                    "Decided": column.DatetimeColumn(format="D MMM YYYY HH:mm", width=140),
                    "Decision": column.MultiselectColumn(
                        options=list(_COLOURS), color=list(_COLOURS.values()), width=120
                    ),
                    **{name: column.TextColumn(width=130) for name in ("App", "Candidate", "Baseline", "Dataset")},
                    "Why": column.TextColumn(width=560),
                },
                on_select="rerun",
                selection_mode="single-cell",
                placeholder="–",
                lazy=False,
            )
        cells = state["selection"]["cells"]
        clicked = int(cells[0][0]) if cells else None
        if clicked is not None and clicked < len(ids):
            wanted = ids[clicked]
            if st.query_params.get("gate") != wanted:
                st.query_params["gate"] = wanted
    return wanted or (ids[0] if ids else None)


def _first(one: Row) -> str | None:
    reasons = one["reasons"]
    return one_line(reasons[0]["text"], 300) if reasons else None


def _evidence(told: Row) -> None:
    decision = str(told["decision"])
    st.divider()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-gate-decision"):
        with st.container(width="content"):
            frame.heading(f"{told['candidate']} in place of {told['baseline']}", "gate", size="small")
        st.badge(decision, icon=f":material/{_ICONS[decision]}:", color=_COLOURS[decision])
    _facts(told)
    _reasons(told)
    _pictures(told)
    _metrics(told["metrics"])
    _worst(told["worst"])
    st.caption("Kept with all its evidence: this computes the decision again, without a server.")
    path = f"/api/v1/gates/{inert(told['gate_id'], 60)}/bundle"
    url = inert(states.api().url, 100)
    st.code(
        f'curl -H "Authorization: Bearer $ASSAY_API_KEY" {url}{path} -o gate.json\nassay gate verify gate.json',
        language="bash",
        wrap_lines=True,
    )


def _facts(told: Row) -> None:
    after, before = told["candidate_run"] or {}, told["baseline_run"] or {}
    version = f"{after['dataset']} version {after['dataset_version']}" if after else told["dataset"]
    at = frame.moment(told["made_at"])
    frame.facts(
        (
            ("App", told["app"]),
            ("Dataset", version),
            ("Examples", human.count(after["n_examples"]) if after else None),
            ("Trials", f"{before['k']} and {after['k']}" if before and after else None),
            ("Candidate's run", after.get("run_id")),
            ("Baseline's run", before.get("run_id")),
            ("Policy", told["policy_name"]),
            ("Alpha", f"{told['alpha']:g}"),
            ("Decided", at.strftime("%Y-%m-%d %H:%M") if at else None),
            ("By", told["made_by"]),
        ),
        "gate",
    )
    if before and after and st.button("Compare the runs", icon=":material/compare_arrows:", key="gate-compare"):
        links.open_comparison(str(before["run_id"]), str(after["run_id"]))


def _reasons(told: Row) -> None:
    blocking = [one["text"] for one in told["reasons"] if one["blocks"]]
    notes = [one["text"] for one in told["reasons"] if not one["blocks"]]
    _lines("Why", blocking, "why")
    _lines("What would settle it", told["settle"], "settle")
    _lines("What else the evidence says", notes, "notes")


def _lines(title: str, texts: Sequence[str], key: str) -> None:
    if not texts:
        return
    with st.container(border=True, key=f"assay-gate-{key}", gap="small"):
        st.markdown(f"**{title}**")
        for text in texts[:30]:
            st.text(inert(text, 600))
        if len(texts) > 30:
            st.caption(f"and {len(texts) - 30:,} more")


def _pictures(told: Row) -> None:
    drawn = [one for one in told["metrics"] if one["measured"]][:_PICTURES]
    if not drawn:
        return
    st.caption(
        "Right of 0 the candidate is better. The thick line is what decides: all of it right of the margin passes, "
        "all of it left of 0 (of a guardrail: of the margin) is harm. Groups are for information."
    )
    columns = st.columns(2, gap="medium")
    for place, one in enumerate(drawn):
        with columns[place % 2]:
            strata = [part for part in told["strata"] if part["metric"] == one["metric"]]
            margins.metric(one, strata, f"gate-metric-{place}")


def _metrics(metrics: Sequence[Row]) -> None:
    if not metrics:
        return
    st.subheader("Metrics", anchor=False)
    found = [one["measured"] or {} for one in metrics]
    column = st.column_config
    number = column.NumberColumn(format="%.4g")
    lists.plain_table(
        {
            "Metric": [one_line(one["metric"], 60) for one in metrics],
            "Role": [str(one["role"]) for one in metrics],
            "Finding": [[_FINDINGS[one["finding"]]] for one in metrics],
            "Baseline": [one.get("baseline_mean") for one in found],
            "Candidate": [one.get("candidate_mean") for one in found],
            "Difference": [one.get("difference") for one in found],
            "Lower bound": [one.get("lower") for one in found],
            "Margin": [one_line(one["margin_said"], 20) for one in metrics],
            "p of no harm": [one["p_adjusted"] for one in metrics],
            "Examples": [one.get("n") for one in found],
            "Would settle": [_needed(one) for one in metrics],
            "Unscored": [_unscored(one) for one in metrics],
        },
        {
            "Finding": column.MultiselectColumn(
                options=list(_FINDINGS.values()), color=["green", "red", "orange", "orange", "gray"], width=150
            ),
            **dict.fromkeys(("Baseline", "Candidate", "Difference", "Lower bound"), number),
            "p of no harm": column.NumberColumn(format="%.3g", help="Corrected over all metrics (Holm)"),
            "Examples": column.NumberColumn(format="localized"),
            "Would settle": column.NumberColumn(format="localized", help="So many examples, if it is as it looks"),
            "Unscored": column.NumberColumn(format="percent", help="Trials without a score, the greater share of both"),
        },
        "gate-metrics",
    )


def _needed(one: Row) -> int | None:
    """Examples that would settle it; None where a rule of thumb says fewer than there are."""
    needed = one["n_to_settle"]
    return needed if needed is not None and needed > (one["measured"] or {}).get("n", 0) else None


def _unscored(one: Row) -> float | None:
    shares = [one[name] for name in ("unscored_baseline", "unscored_candidate") if one[name] is not None]
    return max(shares) if shares else None


def _worst(worst: Sequence[Row]) -> None:
    """The examples that lost most; a click compares both sessions."""
    if not worst:
        return
    st.subheader("Worst regressions", anchor=False)
    with st.container(key="assay-grid-gate-worst"):
        state = st.dataframe(
            arrow.table(
                {
                    "Example": [one_line(one["example_id"], 80) for one in worst],
                    "Metric": [one_line(one["metric"], 60) for one in worst],
                    "Baseline": [one["baseline_mean"] for one in worst],
                    "Candidate": [one["candidate_mean"] for one in worst],
                    "Session": [one_line(one["candidate_session"], 120) or None for one in worst],
                }
            ),
            hide_index=True,
            key="gate-worst",
            placeholder="–",
            row_height=36,
            on_select="rerun",
            selection_mode="single-cell",
            lazy=False,
        )
    cells = state["selection"]["cells"]
    if cells and int(cells[0][0]) < len(worst):
        _open(worst[int(cells[0][0])])


def _open(one: Row) -> None:
    before, after = one["baseline_session"], one["candidate_session"]
    if before and after:
        links.open_trace_diff(str(before), str(after))
    if after:
        links.open_session(str(after))
