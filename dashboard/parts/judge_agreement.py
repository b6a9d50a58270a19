"""A calibration of a judge: its statement, kappa over time, the table of labels, and what stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import estimates, frame, heat_map, lists, palette, picture
from dashboard.parts.change import Figure
from dashboard.text import inert, one_line

STATES: Final[dict[str, tuple[Literal["green", "red", "orange"], str]]] = {
    "certified": ("green", "verified"),
    "failed": ("red", "cancel"),
    "undetermined": ("orange", "help"),
}
_DAY_NS: Final = 86_400 * 10**9
_APART: Final = 0.2  # between AC1 and kappa, from where the page explains it


def badge(state: str) -> None:
    """One of the three states."""
    colour, icon = STATES.get(state, STATES["undetermined"])
    st.badge(state, icon=f":material/{icon}:", color=colour)


def statement(certificate: Row, told: Row | None) -> None:
    """What holds now, in one sentence with both numbers, and what would settle it. `told` is the newest calibration of
    this version, None where there is none."""
    state = str(certificate["state"])
    more = None if told is None else told["labels_more"]
    known = ""
    if told is not None and told["kappa"] is not None:
        n = human.plural(told["n"], "label")
        known = f"{_named(told['report'])} is {estimates.number(told['kappa'])} over {n}; "
    with st.container(border=True, key="assay-judge-statement", gap="small"):
        wanted = f": label {more:,} more" if state == "undetermined" and more else ""
        with st.container(key="assay-heading-small-judge-state"):
            st.text(f"{state.capitalize()}{wanted}" if state in STATES else "Undetermined")
        st.text(inert(f"{known}{certificate['reason']}.", 900))
        if state != "certified":
            st.caption("Gates and monitors that need this judge are inconclusive until it is certified.")
    notes = [] if told is None else told["report"].get("notes") or []
    if notes:
        with st.container(border=True, horizontal=True, gap="small", key="assay-judge-notes"):
            st.badge("note" if len(notes) == 1 else "notes", icon=":material/warning:", color="orange")
            with st.container(gap=None):
                for note in notes[:8]:
                    st.text(inert(_sentence(note), 500))


def figures(told: Row) -> None:
    """The numbers that decide, each with its interval."""
    report = told["report"]
    agreement = report["agreement"]
    ceiling = agreement["ceiling"]
    people = (ceiling.get("kappa") or {}).get("estimate")
    missing = agreement["missing_rate"]
    cells = [
        _figure("Kappa" if not agreement["ordinal"] else "Weighted kappa", agreement["coefficient"]["estimate"]),
        Figure(name="Bar to reach", value=f"{told['bar']:g}"),
        _people(people, ceiling),
        Figure(name="Labels", value=human.count(told["n"])),
        Figure(name="Verdicts", value=human.count(report["n_verdicts"])),
        _figure("Without a verdict", missing, estimates.share),
    ]
    with st.container(horizontal=True, key="assay-numbers-judge", gap="small"):
        for cell in cells:
            st.metric(
                cell.name, cell.value, delta=cell.change, delta_color="off", delta_arrow="off", border=True,
                width="stretch",
                height="stretch",
            )  # fmt: skip


def _people(found: Row | None, ceiling: Row) -> Figure:
    """The ceiling, or what it would take."""
    name = "Human ceiling"
    if estimates.value_of(found) is not None:
        return _figure(name, found)
    few = str(ceiling.get("reason")) == "few_annotators"
    return Figure(name=name, value=human.UNKNOWN, change="too few answers" if few else None)


def _figure(name: str, one: Row | None, words: estimates.Words = estimates.number) -> Figure:
    """A number with its interval below it."""
    found = estimates.between(one, words)
    return Figure(
        name=name, value=estimates.said(one, words), change=None if found == human.UNKNOWN else f"95%: {found}"
    )


def details(told: Row, history: Sequence[Row]) -> None:
    """Kappa over time beside the table of labels; then the figures by label, the other coefficients, the segments."""
    report = told["report"]
    agreement = report["agreement"]
    first, second = st.columns(2, gap="medium")
    with first:
        _over_time(told, history)
    with second:
        heat_map.draw(
            "Labels against verdicts",
            agreement["labels"],
            agreement["labels"],
            agreement["counts"],
            key="judge-confusion",
            said=(f"{labeller(report)} say{'s' if labeller(report) != 'people' else ''}", "the judge says"),
        )
        _missing(agreement)
    _by_label(agreement, labeller(report))
    _beside(report)
    _segments(agreement)


def _over_time(told: Row, history: Sequence[Row]) -> None:
    """Windows of verdicts in grey, calibrations in blue, the bar, and how far people agree."""
    shade = palette.colours()
    until = frame.nanoseconds(told["at"]) or 0
    windows = [spot for one in told["report"]["agreement"]["windows"] if (spot := _of_window(one, until)) is not None]
    whole = [spot for one in reversed(history) if (spot := _of_calibration(one)) is not None]
    length = min((one["end_ns"] - one["start_ns"] for one in told["report"]["agreement"]["windows"]), default=0)
    named = f"by {'day' if length <= _DAY_NS else 'week'} of the verdict"
    if not windows and not whole:
        with st.container(border=True, key="assay-chart-none-kappa"):
            st.markdown("**Kappa over time**")
            st.text(f"No kappa yet: {estimates.lack(told['report']['agreement']['coefficient']['estimate'])}.")
        return
    traces = [_points(named, windows, shade["grey"], 7, "circle")] if windows else []
    traces += [_points("each calibration, all its labels", whole, shade["blue"], 11, "diamond")] if whole else []
    people = told["human_ceiling"]
    marks = [(float(told["bar"]), shade["red"], "the bar")]
    marks += [(float(people), shade["green"], "people among themselves")] if people is not None else []
    lowest = min([0.0, *(one.low for one in (*windows, *whole))])
    times = [one.at for one in (*windows, *whole) if one.at is not None]
    room = max((max(times) - min(times)) / 12, timedelta(hours=16)) if times else timedelta(days=1)
    layout: dict[str, Any] = {
        "height": 300,
        "xaxis": {
            "type": "date",
            "showgrid": False,
            "tickformat": "%-d %b",
            "range": [min(times) - room, max(times) + room] if times else None,
            **({"dtick": 86_400_000} if room < timedelta(hours=17) else {"nticks": 6}),
        },
        "legend": {"orientation": "h", "y": -0.16, "x": 0, "xanchor": "left", "yanchor": "top"},
        "yaxis": {"range": [max(-1.05, lowest - 0.08), 1.05], "nticks": 6, "showgrid": True, "tickformat": ".1f"},
        "shapes": [_line(y, colour) for y, colour, _ in marks],
        "annotations": [_named_line(y, colour, text) for y, colour, text in marks],
        "showlegend": True,
    }
    picture.draw("Kappa over time, with the 95% bounds that decide", traces, layout, key="judge-kappa")


@dataclass(frozen=True, kw_only=True)
class _Spot:
    """Kappa at one time with its bounds."""

    at: datetime | None
    value: float
    low: float
    high: float
    n: int


def _of_window(one: Row, until: int) -> _Spot | None:
    """In the middle of the window, of one under way as far as it came."""
    value, of = estimates.value_of(one["coefficient"]["estimate"]), one["coefficient"]
    if value is None:
        return None
    at = human.moment((one["start_ns"] + min(one["end_ns"], until)) // 2, frame.timezone())
    low, high = (value if of[name] is None else float(of[name]) for name in ("lower", "upper"))
    return _Spot(at=at, value=value, low=low, high=high, n=one["n"])


def _of_calibration(one: Row) -> _Spot | None:
    if one["kappa"] is None:
        return None
    low, high = (one["kappa"] if one[name] is None else one[name] for name in ("kappa_low", "kappa_high"))
    return _Spot(at=frame.moment(one["at"]), value=one["kappa"], low=low, high=high, n=one["n"])


def _points(name: str, spots: Sequence[_Spot], colour: str, size: int, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.at for one in spots],
        "y": [one.value for one in spots],
        "marker": {"size": size, "color": colour, "symbol": symbol},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in spots],
            "arrayminus": [one.value - one.low for one in spots],
            "color": colour,
            "thickness": 2 if size > 8 else 1.2,
            "width": 5,
        },
        "text": [f"{one.value:.2f}, bounds {one.low:.2f} and {one.high:.2f}, {one.n:,} labels" for one in spots],
        "hovertemplate": "%{text}<br>%{x|%-d %b %Y %H:%M}<extra></extra>",
    }


def _line(y: float, colour: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1.5, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line, "layer": "below"}


def _named_line(y: float, colour: str, text: str) -> dict[str, Any]:
    font = {"color": colour, "size": 11}
    where = {"xref": "paper", "x": 0.005, "xanchor": "left", "y": y, "yanchor": "bottom"}
    return {**where, "text": text, "showarrow": False, "font": font}


def _missing(agreement: Row) -> None:
    """Verdicts that are none: counted, in no cell."""
    n = sum(agreement["missing"].values())
    said = [f"{human.plural(agreement['n'], 'target')} with both a label and a verdict."]
    if n:
        reasons = ", ".join(f"{one.replace('_', ' ')} {count:,}" for one, count in agreement["missing"].items())
        said.append(f"{n:,} labelled ones have no verdict and are in no cell: {reasons}.")
    if agreement["n_unknown_label"]:
        said.append(f"{agreement['n_unknown_label']:,} labels are none of the rubric's.")
    with st.container(key="assay-quiet-confusion"):
        st.text(inert(" ".join(said), 600))


def _by_label(agreement: Row, who: str) -> None:
    rows = agreement["by_label"]
    if not rows:
        return
    st.subheader("By label", anchor=False)
    column = st.column_config
    told = {
        "prevalence": ("Labelled so", f"Its share among the labels, which {who} gave"),
        "verdicts": ("Judged so", "Its share among the verdicts, of the same targets"),
        "sensitivity": ("Sensitivity", "Of those that are labelled so, how many the judge calls so too"),
        "specificity": ("Specificity", "Of those that are not labelled so, how many the judge does not call so either"),
        "precision": ("Precision", "Of those that the judge calls so, how many are labelled so too"),
    }
    lists.plain_table(
        {
            "Label": [one_line(one["label"], 60) for one in rows],
            **{title: [estimates.whole(one[name], estimates.share) for one in rows] for name, (title, _) in
               told.items()},
        },
        {"Label": column.TextColumn(width=150)}
        | {title: column.TextColumn(width=190, help=about) for title, about in told.values()},
        "judge-labels",
    )  # fmt: skip


def _beside(report: Row) -> None:
    """The other coefficients, and in one line why they differ."""
    agreement = report["agreement"]
    test, ceiling = agreement["alternative"], agreement["ceiling"]
    rows: list[tuple[str, str, str]] = [
        ("Cohen's kappa", estimates.whole(agreement["kappa"]["estimate"]), "what chance alone would give taken off"),
        ("Gwet's AC1" if not agreement["ordinal"] else "Gwet's AC2", estimates.whole(agreement["gwet_ac"]["estimate"]),
         "the same with another chance, near plain agreement where one label is rare"),
        ("Krippendorff's alpha", estimates.whole(agreement["alpha"]["estimate"]), "judge and people as two raters"),
        ("Plain agreement", estimates.whole(agreement["agreement"], estimates.share), "chance included"),
    ]  # fmt: skip
    if agreement["ordinal"]:
        weighted = agreement["kappa_quadratic"]["estimate"]
        rows.insert(0, ("Kappa, quadratic weights", estimates.whole(weighted), "a near miss counts less; it decides"))
    if "judge_kappa" in ceiling:
        n = human.count(ceiling["n_items"])
        alone = f"on {n} items of {human.plural(ceiling['n_annotators'], 'person').replace('persons', 'people')}"
        rows += [
            ("People with each other", estimates.whole(ceiling["kappa"]["estimate"]), f"the ceiling, {alone}"),
            ("Judge with each person", estimates.whole(ceiling["judge_kappa"]["estimate"]), "on the same items"),
        ]
    if "winning_rate" in test:
        won = (
            f"{estimates.share(test['winning_rate'])} of people beaten, {'passed' if test['passed'] else 'not passed'}"
        )
        rows.append(("May it replace one annotator?", won, f"alternative-annotator test, epsilon {test['epsilon']:g}"))
    else:
        rows.append(("May it replace one annotator?", "not tested", one_line(test.get("detail") or "", 120)
                     or estimates.lack(test)))  # fmt: skip
    st.subheader("Kappa, and what stands beside it", anchor=False)
    column = st.column_config
    lists.plain_table(
        {"Figure": [row[0] for row in rows], "Value (95%)": [row[1] for row in rows], "Is": [row[2] for row in rows]},
        {"Figure": column.TextColumn(width=230), "Value (95%)": column.TextColumn(width=230),
         "Is": column.TextColumn(width=480)},
        "judge-beside",
    )  # fmt: skip
    _paradox(agreement)


def _paradox(agreement: Row) -> None:
    """Why plain agreement and AC1 can be high where kappa is low."""
    kappa = estimates.value_of(agreement["kappa"]["estimate"])
    other = estimates.value_of(agreement["gwet_ac"]["estimate"])
    said = "Kappa decides: it takes off what two raters agree upon by chance; where nearly all answers get one label, "
    said += "that is nearly everything, so agreement and AC1 can be high while kappa is low."
    if kappa is not None and other is not None and other - kappa > _APART:
        said += f" Here AC1 is {estimates.number(other)} and kappa {estimates.number(kappa)}: "
        said += "agreeing on the common label proves little about the rare one."
    st.caption(said)


def _segments(agreement: Row) -> None:
    rows = agreement["segments"]
    if len(rows) < 2:
        return
    st.subheader("By segment", anchor=False)
    column = st.column_config
    lists.plain_table(
        {
            "Segment": [one_line(one["segment"] or "", 80) for one in rows],
            "State alone": [[one["certificate"]["standing"]] for one in rows],
            "Kappa (95%)": [estimates.whole(one["coefficient"]["estimate"]) for one in rows],
            "Labels": [one["n"] for one in rows],
            "Without a verdict": [one["n_missing"] for one in rows],
            "Labels more": [one["certificate"]["labels_more"] for one in rows],
        },
        {
            "Segment": column.TextColumn(width=220),
            "State alone": column.MultiselectColumn(
                options=list(STATES), color=[colour for colour, _ in STATES.values()], width=130
            ),
            "Kappa (95%)": column.TextColumn(width=220),
            **{name: column.NumberColumn(format="localized", width=120)
               for name in ("Labels", "Without a verdict", "Labels more")},
        },
        "judge-segments",
    )  # fmt: skip
    st.caption(f"Of {len(rows)} segments some fall out by chance: nothing is corrected for their number.")


def labeller(report: Row) -> str:
    """Whose labels they are: people's, or what happened."""
    return "the outcome" if set(report["label_kinds"]) == {"outcome"} else "people"


def _sentence(text: object) -> str:
    said = str(text)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")


def _named(report: Row) -> str:
    return "Quadratically weighted kappa" if report["agreement"]["ordinal"] else "Cohen's kappa"
