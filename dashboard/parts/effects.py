"""What an experiment did to its metrics: every effect with its interval, drawn on one axis and told in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import streamlit as st

from dashboard.api import Row
from dashboard.parts import forest, lists
from dashboard.parts import metric_words as words
from dashboard.text import chart_text, inert, one_line

FINDINGS: Final[dict[str, tuple[str, Literal["green", "red", "orange", "gray", "blue"]]]] = {
    "better": ("better", "green"),
    "not_worse": ("not worse", "green"),
    "unsettled": ("open", "orange"),
    "missing": ("no estimate", "gray"),
    "worse": ("worse", "red"),
}
_LINE_COLOURS: Final = {"better": "green", "not_worse": "green", "worse": "red", "unsettled": "orange"}
_METHODS: Final = {
    "group_sequential": "group-sequential",
    "confidence_sequence": "confidence sequence",
    "delta_welch_t": "Welch t over units",
    "cuped_delta_welch_t": "CUPED, Welch t over units",
    "post_stratified_t": "post-stratified t",
    "miettinen_nurminen": "Miettinen-Nurminen",
    "wild_cluster_bootstrap": "wild bootstrap over units",
}
_ROLES: Final = ("primary", "guardrail", "secondary")
_DRAWN: Final = 20


def show(metrics: Sequence[Row]) -> None:
    """All metrics: a picture of those that can be shown as a share of the control, and all of them as a table."""
    rows = sorted(
        ((metric, variant) for metric in metrics for variant in metric["variants"]),
        key=lambda one: _ROLES.index(one[0]["role"]) if one[0]["role"] in _ROLES else len(_ROLES),
    )
    if not rows:
        st.text("No metric has been computed yet.")
        return
    several = len({str(variant["variant"]) for _, variant in rows}) > 1
    lines = [line for metric, variant in rows if (line := _line(metric, variant, several))]
    forest.draw(
        "Every metric, as a share of the control", lines[:_DRAWN], key="experiment-metrics", unit="%", better="right"
    )
    if lines:
        st.caption(
            "Right of 0 the treatment is better, also where less is better. Thick: the primary metric. A red tick is "
            "what may be lost: a guardrail holds when its whole interval is right of it."
        )
    _table(rows, several)


def _line(metric: Row, variant: Row, several: bool) -> forest.Line | None:
    effect = variant.get("effect")
    if not effect or not effect.get("control"):
        return None
    scale = 100 * words.toward(metric) / abs(effect["control"])
    ends = sorted((effect["low"] * scale, effect["high"] * scale))
    if not forest.drawable(effect["estimate"], *ends):
        return None
    arm = f" · {one_line(variant['variant'], 20)}" if several else ""
    margin = words.margin(metric, effect["control"])
    both = f"{words.value(metric, effect['control'])} → {words.value(metric, effect['treatment'])}"
    told = f"{words.change(metric, effect['estimate'])} ({words.interval(metric, effect['low'], effect['high'])})"
    return forest.Line(
        name=f"{one_line(metric['metric'], 26)}{arm}",
        below=f"{metric['role']}, {both}",
        estimate=effect["estimate"] * scale,
        low=ends[0],
        high=ends[1],
        said=f"{chart_text(metric['metric'])}<br>{both}<br>{told}",
        colour=_LINE_COLOURS.get(str(variant["finding"]), "grey"),
        thick=metric["role"] == "primary",
        may_lose=None if margin is None else -100 * margin / abs(effect["control"]),
    )


def _table(rows: Sequence[tuple[Row, Row]], several: bool) -> None:
    column = st.column_config
    effects: list[Row] = [variant.get("effect") or {} for _, variant in rows]
    both = list(zip(rows, effects, strict=True))
    cells: dict[str, Sequence[Any]] = {
        "Metric": [one_line(metric["metric"], 60) for metric, _ in rows],
        "Role": [str(metric["role"]) for metric, _ in rows],
        **({"Variant": [one_line(variant["variant"], 60) for _, variant in rows]} if several else {}),
        "Finding": [[FINDINGS.get(str(variant["finding"]), FINDINGS["missing"])[0]] for _, variant in rows],
        "Control": [words.value(metric, one.get("control")) for (metric, _), one in both],
        "Treatment": [words.value(metric, one.get("treatment")) for (metric, _), one in both],
        "Difference": [words.change(metric, one.get("estimate")) for (metric, _), one in both],
        "Interval": [words.interval(metric, one.get("low"), one.get("high")) for (metric, _), one in both],
        "Of the control": [words.relative(one.get("relative")) for one in effects],
        "May be lost": [_margin(metric, one) for (metric, _), one in both],
        "p adjusted": [_p(variant.get("p_adjusted")) for _, variant in rows],
        "Units": [_units(one) for one in effects],
        "Method": [_method(metric, variant) for metric, variant in rows],
    }
    lists.plain_table(
        cells,
        {
            "Metric": column.TextColumn(width=130),
            "Role": column.TextColumn(width=85),
            "Variant": column.TextColumn(width=110),
            "Finding": column.MultiselectColumn(
                options=[title for title, _ in FINDINGS.values()],
                color=[colour for _, colour in FINDINGS.values()],
                width=100,
            ),
            **dict.fromkeys(("Control", "Treatment"), column.TextColumn(width=85, alignment="right")),
            "Difference": column.TextColumn(width=105, alignment="right"),
            "Interval": column.TextColumn(
                width=165, alignment="right", help="Of a sequential design it holds at every look so far"
            ),
            "Of the control": column.TextColumn(width=95, alignment="right"),
            "May be lost": column.TextColumn(width=90, alignment="right", help="The margin that was registered"),
            "p adjusted": column.TextColumn(
                width=80, alignment="right", help="Guardrails by Holm, secondary ones by Benjamini-Hochberg"
            ),
            "Units": column.TextColumn(width=120),
            "Method": column.TextColumn(width=240),
        },
        "experiment-metrics",
    )
    lacks = [
        " ".join([one_line(metric["metric"], 60), *([one_line(variant["variant"], 40)] if several else [])])
        + f": {why}"
        for metric, variant in rows
        if (why := inert(variant.get("why_missing"), 300))
    ]
    if lacks:
        with st.container(key="assay-quiet-no-estimate", gap=None):
            for said in lacks[:20]:
                st.text(said)


def _margin(metric: Row, effect: Row) -> str | None:
    margin = words.margin(metric, effect.get("control"))
    if margin is None:
        return f"{100 * metric['margin']:g}% of it" if metric.get("margin") else None
    return words.change(metric, -words.toward(metric) * margin)


def _p(found: float | None) -> str | None:
    return None if found is None else words.p_value(found)


def _units(effect: Row) -> str | None:
    return f"{effect['n_control']:,} and {effect['n_treatment']:,}" if effect else None


def _method(metric: Row, variant: Row) -> str | None:
    if not variant.get("effect"):
        return None
    said = [_METHODS.get(part) or one_line(part.replace("_", " "), 40)
            for part in str(variant["effect"]["method"]).split("+")]  # fmt: skip
    said += ["stratified"] if metric.get("headline") == "stratified" else []
    said += ["corrected for its judge"] if variant.get("corrected") else []
    return ", ".join(said)


def bayes(metrics: Sequence[Row]) -> None:
    """The same effects for who thinks in probabilities; nothing where no metric has them."""
    rows = [(metric, variant) for metric in metrics for variant in metric["variants"] if variant.get("bayes")]
    if not rows:
        return
    with st.expander("Bayesian view", icon=":material/casino:", key="experiment-bayes"):
        st.caption("With a flat prior. It does not correct for looking often, and decides nothing here.")
        column = st.column_config
        lists.plain_table(
            {
                "Metric": [one_line(metric["metric"], 60) for metric, _ in rows],
                "Variant": [one_line(variant["variant"], 60) for _, variant in rows],
                "Probability that it is better": [words.probability(one["bayes"]["p_better"]) for _, one in rows],
                "Expected loss": [words.value(metric, one["bayes"]["expected_loss"]) for metric, one in rows],
                "95% credible": [
                    words.interval(metric, one["bayes"]["low"], one["bayes"]["high"]) for metric, one in rows
                ],
            },
            {
                "Metric": column.TextColumn(width=180),
                "Variant": column.TextColumn(width=140),
                "Probability that it is better": column.TextColumn(width=200),
                "Expected loss": column.TextColumn(
                    width=120, help="What is lost on average by shipping it, should it be the worse one"
                ),
                "95% credible": column.TextColumn(width=190),
            },
            "experiment-bayes",
        )
