"""A reversal: pooled and by stratum they say different things. The sentence, both pictures beside each other, the mix.

What is drawn is `simpson` of one attribute of an analysis: {flagged, paradox, pooled, stratified, mix, effect, smd,
sentence, table: [{level, share_control, share_treatment, control, treatment}]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard.api import Row
from dashboard.parts import forest, frame, lists, palette, picture
from dashboard.parts import metric_words as words
from dashboard.text import chart_text, inert, one_line

_KINDS: Final = {
    "reversed": ("reversal", "swap_vert", "Pooled and within {} they disagree"),
    "shifted": ("shift", "straighten", "By {} the effect is of another size"),
    "imbalanced": ("unequal mix", "balance", "The arms have different mixes of {}"),
}
_COLOURS: Final = ("blue", "orange", "green", "pink", "sky", "red")
_DASHES: Final = ("solid", "dash", "dot", "dashdot")
_MOST: Final = 8  # strata of the picture, the largest


def warned(metric: Row, stratum: Row, arms: tuple[str, str], pooled: Row | None, key: str) -> None:
    """The sentence for who has to decide, highlighted, with the pictures and the mix below it. `pooled` is the effect
    over all units."""
    told = stratum["simpson"]
    word, icon, title = _KINDS.get(str(told.get("paradox")), _KINDS["reversed"])
    with st.container(border=True, key=f"assay-simpson-{key}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(word, icon=f":material/{icon}:", color="orange")
            with st.container(key=f"assay-heading-small-simpson-{key}", width="content"):
                st.text(title.format(inert(words.attribute(stratum["attribute"]), 60)))
        with st.container(key=f"assay-loud-simpson-{key}"):
            st.text(inert(told["sentence"], 900))
    _parts(metric, told, f"simpson-{key}")
    panels(metric, stratum, arms, pooled, f"simpson-panels-{key}")
    table(metric, stratum, arms, f"simpson-mix-{key}")


def _parts(metric: Row, told: Row, key: str) -> None:
    """The difference as it is seen, and what it is made of."""
    seen, mix, effect = told.get("pooled"), told.get("mix"), told.get("effect")
    if not forest.drawable(seen, mix, effect):
        return
    frame.numbers(
        (
            ("As seen, pooled", words.change(metric, seen)),
            ("of it: the mix", words.change(metric, mix)),
            ("of it: the effect", words.change(metric, effect)),
            ("Stratified", words.change(metric, told.get("stratified"))),
        ),
        key,
    )


def table(metric: Row, stratum: Row, arms: tuple[str, str], key: str) -> None:
    """Who was asked in which arm, and what came of it: both shares and both figures of every stratum."""
    rows = stratum["simpson"]["table"]
    if not rows:
        return
    control, treatment = (one_line(arm, 24) for arm in arms)
    column = st.column_config
    lists.plain_table(
        {
            "Stratum": [one_line(one["level"], 80) for one in rows],
            "share_control": [words.probability(one["share_control"]) for one in rows],
            "share_treatment": [words.probability(one["share_treatment"]) for one in rows],
            "control": [words.value(metric, one["control"]) for one in rows],
            "treatment": [words.value(metric, one["treatment"]) for one in rows],
            "Difference": [words.change(metric, _difference(one)) for one in rows],
        },
        {
            "Stratum": column.TextColumn(one_line(words.attribute(stratum["attribute"]), 40), width=200),
            "share_control": column.TextColumn(f"Share of {control}", width=150, alignment="right"),
            "share_treatment": column.TextColumn(f"Share of {treatment}", width=150, alignment="right"),
            "control": column.TextColumn(control, width=120, alignment="right"),
            "treatment": column.TextColumn(treatment, width=120, alignment="right"),
            "Difference": column.TextColumn(width=130, alignment="right"),
        },
        key,
    )


def panels(metric: Row, stratum: Row, arms: tuple[str, str], pooled: Row | None, key: str) -> None:
    """Left: all units pooled; right: each stratum, a dot as large as its share of the arm. The y axis is the same."""
    rows = [one for one in stratum["simpson"]["table"] if forest.drawable(one["control"], one["treatment"])]
    rows = sorted(rows, key=lambda one: -(one["share_control"] + one["share_treatment"]))[:_MOST]
    if not rows or pooled is None or not forest.drawable(pooled["control"], pooled["treatment"]):
        return
    shade = palette.colours()
    names = [chart_text(arm, 18) for arm in arms]
    whole = (pooled["control"], pooled["treatment"])
    together = _slope(metric, "pooled", names, whole, (1.0, 1.0), shade["grey"], "solid", "")
    by_level = [
        _slope(
            metric, chart_text(one["level"], 26), names, (one["control"], one["treatment"]),
            (one["share_control"], one["share_treatment"]),
            shade[_COLOURS[at % len(_COLOURS)]], _DASHES[at % len(_DASHES)], "2",
        )
        for at, one in enumerate(rows)
    ]  # fmt: skip
    picture.draw(
        "The same sessions, pooled and by stratum",
        [together, *by_level],
        _layout(metric, together["name"], f"by {chart_text(words.attribute(stratum['attribute']), 30)}", len(rows)),
        key=key,
    )


def _slope(
    metric: Row,
    name: str,
    arms: Sequence[str],
    means: Sequence[float],
    shares: Sequence[float],
    colour: str,
    dash: str,
    axis: str,
) -> dict[str, Any]:
    said = [f"{name}<br>{arm}: {words.value(metric, mean)}, {100 * share:.0f}% of the arm"
            for arm, mean, share in zip(arms, means, shares, strict=True)]  # fmt: skip
    sizes = [26 if not axis else 8 + 30 * share for share in shares]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{name}: {words.change(metric, means[1] - means[0])}",
        "showlegend": bool(axis),
        "xaxis": f"x{axis}",
        "x": list(arms),
        "y": [words.scaled(metric, mean) for mean in means],
        "line": {"color": colour, "width": 3, "dash": dash},
        "marker": {"size": sizes, "color": colour, "opacity": 0.85, "line": {"width": 0}},
        "cliponaxis": False,
        "customdata": said,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _layout(metric: Row, left: str, right: str, n_levels: int) -> dict[str, Any]:
    ink, grid = ("#AEB8C6", "#28313D") if palette.dark() else ("#5A6675", "#E6EAF0")
    side: Mapping[str, Any] = {"type": "category", "showgrid": False, "range": [-0.4, 1.4], "linecolor": grid}
    above = {"yref": "paper", "y": 1, "xref": "paper", "yanchor": "bottom", "showarrow": False,
             "font": {"size": 12, "color": ink}}  # fmt: skip
    unit = "%" if metric.get("binary") else ""
    return {
        "height": 330 + 18 * (n_levels // 4),
        "xaxis": {**side, "domain": [0, 0.42]},
        "xaxis2": {**side, "domain": [0.52, 1], "gridcolor": grid, "zeroline": False},
        "yaxis": {"showgrid": True, "nticks": 6, "ticksuffix": unit},
        "annotations": [
            {**above, "x": 0, "xanchor": "left", "text": f"<b>{left}</b>"},
            {**above, "x": 0.52, "xanchor": "left", "text": f"<b>{right}</b>"},
        ],
        "showlegend": n_levels > 0,
        "legend": {"orientation": "h", "y": -0.12, "x": 0, "xanchor": "left", "yanchor": "top",
                   "itemsizing": "constant"},
        "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
    }  # fmt: skip


def _difference(one: Row) -> float | None:
    control, treatment = one["control"], one["treatment"]
    return treatment - control if forest.drawable(control, treatment) else None
