"""Comparison: a candidate's run beside a baseline's, `?a=…&b=…`: what changed, how sure that is, and who got worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import arrow, frame, lists, states
from dashboard.parts.differences import FINDINGS, SHARES, change, p_value, value, whiskers
from dashboard.text import inert, one_line

_MOST: Final = 500  # examples listed
_WORSE_ONLY: Final = "Only those that got worse"
_COLOURS: Final = {"worse": "red", "better": "green", "no evidence": "gray", "unknown": "orange"}


@st.cache_data(ttl=15, max_entries=16, show_spinner=False)
def _compared(_api: Api, a: str, b: str) -> Row:
    return _api.post("/comparisons", {"run_a": a, "run_b": b, "worst": 0})


@st.cache_data(ttl=15, max_entries=16, show_spinner=False)
def _examples(_api: Api, a: str, b: str, metric: str) -> Row:
    asked = {"run_a": a, "run_b": b, "metrics": [metric], "strata": [], "worst": _MOST, "every_example": True}
    found: Row = _api.post("/comparisons", asked)["metrics"][0]
    return found


@states.guarded
def show() -> None:
    """The page."""
    a, b = (st.query_params.get(name, "").strip() for name in ("a", "b"))
    st.title("Comparison", anchor=False)
    a, b = _chosen(a, b)
    if not (a and b):
        return
    told = _compared(states.api(), a, b)
    left, right = st.columns(2)
    with left:
        _run("Baseline", told["run_a"])
    with right:
        _run("Candidate", told["run_b"])
    for note in told["notes"]:
        with st.container(border=True, key=f"assay-comparison-note-{abs(hash(note))}"):
            st.text(inert(note, 300))
    _verdict(told["metrics"])
    _pictures(told)
    metric = _metrics(told["metrics"])
    _strata(told["strata"], metric)
    _per_example(a, b, metric)


def _chosen(a: str, b: str) -> tuple[str, str]:
    """The two runs: of the address, or picked here."""
    runs = states.api().page("/runs", {"limit": 200}).items
    known = {str(one["run_id"]): one for one in runs}
    if len(known) < 2 and not (a and b):
        with st.container(border=True, key="assay-empty-comparison"):
            st.subheader("Two runs are needed", anchor=False, icon=":material/compare_arrows:")
            st.caption("Try the same dataset on two releases, then come back:")
            st.code("assay eval run DATASET --release v1\nassay eval run DATASET --release v2", language="bash")
        return "", ""
    with st.container(horizontal=True, key="assay-comparison-runs", vertical_alignment="bottom"):
        first = _pick("Baseline", a, known, "comparison-a")
        of = known.get(first or "", {}).get("dataset")
        same = {one: run for one, run in known.items() if of is None or run.get("dataset") == of}
        second = _pick("Candidate", b, same, "comparison-b")
    if first and second and (first, second) != (a, b):
        st.query_params.update({"a": first, "b": second})
    if not (first and second):
        st.caption("Choose both runs; they have to be over the same examples.")
    return first or "", second or ""


def _pick(name: str, chosen: str, known: dict[str, Row], key: str) -> str | None:
    options = [*known, *([chosen] if chosen and chosen not in known else [])]
    picked: str | None = st.selectbox(
        name,
        options,
        index=options.index(chosen) if chosen else None,
        key=key,
        placeholder="Choose a run",
        format_func=lambda one: _run_words(one, known.get(one)),
        width=480,
    )
    return picked


def _run_words(run_id: str, run: Row | None) -> str:
    if run is None:
        return one_line(run_id, 60)
    of = f"{run.get('release')} · {run.get('dataset')}@{run.get('dataset_version')}"
    return one_line(f"{of} · {str(run.get('created_at'))[:16].replace('T', ' ')} · {run_id}", 120)


def _run(name: str, run: Row) -> None:
    with st.container(border=True, key=f"assay-compared-{name.lower()}"):
        st.caption(name)
        frame.heading(run["release"] or run["app"], f"compared-{name.lower()}", size="small")
        frame.facts(
            (
                ("App", run["app"]),
                ("Dataset", f"{run['dataset']}@{run['dataset_version']}"),
                ("Trials", human.count(run["k"])),
                ("Status", run["status"]),
                ("Finished", str(run["finished_at"] or "")[:16].replace("T", " ")),
                ("Run", run["run_id"]),
            ),
            f"compared-{name.lower()}",
        )


def _verdict(metrics: Sequence[Row]) -> None:
    """How many metrics got worse, better, or show neither."""
    counts = Counter(str(one["finding"]) for one in metrics)
    icons = {"worse": "trending_down", "better": "trending_up", "no_evidence": "trending_flat", "unknown": "help"}
    with st.container(horizontal=True, key="assay-comparison-verdict", vertical_alignment="center"):
        for finding, (words, _) in FINDINGS.items():
            if counts[finding]:
                badge: Any = _COLOURS[words]
                st.badge(f"{counts[finding]} {words}", icon=f":material/{icons[finding]}:", color=badge)
        st.caption("Paired by example. Of such findings one in twenty is false on average; a gate is stricter.")


def _pictures(told: Row) -> None:
    shares = [one for one in told["metrics"] if one["unit"] in SHARES]
    others = [one for one in told["metrics"] if one["unit"] not in SHARES]
    columns = st.columns(2, gap="medium") if shares and others else [st.container(), st.container()]
    with columns[0]:
        whiskers("Difference in points, right is better", shares, "comparison-shares", relative=False)
    with columns[1]:
        whiskers("Difference in percent of the baseline, right is better", others, "comparison-others", relative=True)


def _metrics(metrics: Sequence[Row]) -> str:
    """The figures; a click on a row chooses the metric of what follows."""
    st.subheader("Metrics", anchor=False)
    ordered = sorted(metrics, key=_urgency)
    chosen = _table(ordered, "comparison-metrics", pick=True)
    row = ordered[chosen if chosen is not None and chosen < len(ordered) else 0]
    missing = [f"{n:,} {why}" for why, n in row["unpaired"].items()]
    if missing:
        with st.container(key="assay-comparison-missing"):
            st.text(inert(f"Not paired in {row['metric']}: {', '.join(missing)}", 400))
    return str(row["metric"])


def _urgency(one: Row) -> tuple[int, bool, float, str]:
    """Worse first, quality before latency and cost, then by the evidence of harm."""
    p = 1.0 if one["p_harm"] is None else one["p_harm"]
    return list(FINDINGS).index(one["finding"]), one["unit"] not in SHARES, p, str(one["stratum"] or one["metric"])


def _strata(strata: Sequence[Row], metric: str) -> None:
    mine = [one for one in strata if one["metric"] == metric]
    if not mine:
        return
    st.subheader("By stratum", anchor=False)
    _table(sorted(mine, key=_urgency), "comparison-strata", pick=False)


def _table(rows: Sequence[Row], key: str, *, pick: bool) -> int | None:
    column = st.column_config
    first = "Metric" if pick else "Stratum"
    cells: dict[str, Sequence[object]] = {
        first: [one_line(one["metric"] if pick else one["stratum"], 60) for one in rows],
        "Finding": [[FINDINGS[one["finding"]][0]] for one in rows],
        "Baseline": [value(one["baseline"], one["unit"]) for one in rows],
        "Candidate": [value(one["candidate"], one["unit"]) for one in rows],
        "Difference": [change(one["difference"], one["unit"]) for one in rows],
        "95%": [_ends(one) for one in rows],
        "Examples": [one["n"] for one in rows],
        "q" if pick else "p": [p_value(one["q"] if pick else one["p_two_sided"]) for one in rows],
        "Could see": [change(one["detectable"], one["unit"]).lstrip("+") for one in rows],
        "Would settle": [_needed(one) for one in rows],
        "Test": [_test(one) for one in rows],
    }
    right = {name: column.TextColumn(alignment="right", width=88) for name in ("Baseline", "Candidate", "Difference")}
    with st.container(key=f"assay-grid-{key}"):
        state: Any = st.dataframe(
            arrow.table(cells),
            hide_index=True,
            key=key,
            column_config={
                **right,
                first: column.TextColumn(width=170),
                "Finding": column.MultiselectColumn(
                    options=list(_COLOURS), color=["red", "green", "grey", "orange"], width=104
                ),
                "95%": column.TextColumn(alignment="right", width=152, help="Interval of the difference"),
                "Examples": column.NumberColumn(format="localized", width=72, help="Scored in both runs"),
                "p": column.TextColumn(width=64, alignment="right", help="Of no difference at all, two-sided"),
                "q": column.TextColumn(
                    width=64,
                    alignment="right",
                    help="p of no difference, adjusted over the metrics (Benjamini-Hochberg)",
                ),
                "Could see": column.TextColumn(
                    width=84, alignment="right", help="The least true difference that so many examples show, power 0.8"
                ),
                "Would settle": column.TextColumn(
                    width=94, alignment="right", help="Examples that would show a difference as large as this one"
                ),
                "Test": column.TextColumn(width=140),
            },
            on_select="rerun" if pick else "ignore",
            selection_mode="single-row",
            placeholder="–",
            row_height=36,
            lazy=False,
        )
    found = state["selection"]["rows"] if pick else []
    return int(found[0]) if found else None


def _ends(one: Row) -> str:
    return "–" if one["low"] is None else f"{change(one['low'], one['unit'])} to {change(one['high'], one['unit'])}"


def _needed(one: Row) -> str:
    return f"{one['needed']:,}" if one["finding"] == "no_evidence" and (one["needed"] or 0) > one["n"] else "–"


def _test(one: Row) -> str:
    said = str(one["test"] or one["lack"] or "").replace("_", " ")
    return one_line(said + (f", {str(one['lack']).replace('_', ' ')}" if one["test"] and one["lack"] else ""), 60)


def _per_example(a: str, b: str, metric: str) -> None:
    """Every example by what it lost; a click opens both trials side by side."""
    told = _examples(states.api(), a, b, metric)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        frame.heading(f"Examples by {metric}", "comparison-examples", size="small")
        only = st.toggle(_WORSE_ONLY, value=told["n_worse"] > 0, key="comparison-only-worse")
    rows = [one for one in told["worst"] if not only or one["difference"] < 0]
    if not rows:
        st.caption("No example got worse." if only else "No example is scored in both runs.")
        return
    unit = told["unit"]
    with st.container(key="assay-table"):
        state: Any = st.dataframe(
            arrow.table(
                {
                    "example": [one_line(one["example_id"], 120) for one in rows],
                    "stratum": [one_line(one["stratum"], 60) or None for one in rows],
                    "baseline": [value(one["baseline"], unit) for one in rows],
                    "candidate": [value(one["candidate"], unit) for one in rows],
                    "difference": [change(one["difference"], unit) for one in rows],
                    "trials": ["compare" if one["diff"] else None for one in rows],
                }
            ),
            height=min(460, 38 * (len(rows) + 1)),
            hide_index=True,
            row_height=38,
            key=f"comparison-examples-{metric}",
            column_config={
                "example": lists.text_column("Example", 380),
                "stratum": lists.text_column("Stratum", 160),
                "baseline": st.column_config.TextColumn("Baseline", alignment="right", width=110),
                "candidate": st.column_config.TextColumn("Candidate", alignment="right", width=110),
                "difference": st.column_config.TextColumn("Difference", alignment="right", width=120),
                "trials": lists.text_column("Side by side", 110),
            },
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    told_of = min(_MOST, told["n"])
    st.caption(
        f"{len(rows):,} of {told['n']:,} examples" + (f", of the first {told_of:,}" if told["n"] > _MOST else "") + ": "
        f"{told['n_better']:,} better, {told['n_worse']:,} worse, {told['n_tied']:,} the same. "
        "A click opens the baseline's best trial beside the candidate's worst."
    )
    cells = state["selection"]["cells"]
    if cells and int(cells[0][0]) < len(rows):
        picked = rows[int(cells[0][0])]
        if picked["diff"]:
            links.open_trace_diff(str(picked["session_baseline"]), str(picked["session_candidate"]))
