"""An experiment by stratum: the forest plot, the tests over strata, and the same in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import forest, lists, simpson
from dashboard.parts import metric_words as words
from dashboard.text import chart_text, inert, one_line

_DRAWN: Final = 24  # levels, the largest
_LOOKS: Final = (
    "Intervals of all units hold however often one looks; those of a stratum are of this look alone, so they may be "
    "narrower."
)


def show(metric: Row, stratum: Row, variant: Row, arms: tuple[str, str], key: str) -> None:
    """One attribute: `variant` is the metric's entry of the arm that `stratum` compares with the control."""
    if not stratum["levels"]:
        st.text(inert(stratum.get("why_missing") or "No stratum has units in both arms yet.", 400))
        return
    told = stratum.get("simpson") or {}
    if stratum.get("sentence") and not told.get("flagged"):  # one that is flagged stands at the top of the page
        with st.container(border=True, key=f"assay-strata-sentence-{key}"):
            st.text(inert(stratum["sentence"], 900))
    _forest(metric, stratum, variant, key)
    _tests(stratum, key)
    _table(metric, stratum, arms, key)
    if stratum.get("why_missing"):
        st.text(inert(stratum["why_missing"], 400))
    if told.get("table") and not told.get("flagged"):
        st.markdown("**Mix of strata by arm**")
        simpson.table(metric, stratum, arms, f"mix-{key}")


def _forest(metric: Row, stratum: Row, variant: Row, key: str) -> None:
    """The strata from the largest to the smallest; below them all units pooled, and the strata weighted together."""
    told = [one for one in stratum["levels"] if forest.drawable(one["estimate"], one["low"], one["high"])]
    in_order = all(str(one["level"]).isdigit() for one in told)  # hours of the day
    told = sorted(told, key=lambda one: 0 if in_order else -(one["n_control"] + one["n_treatment"]))
    total = sum(one["n_control"] + one["n_treatment"] for one in told) or 1
    lines = [_level(metric, one, total) for one in told[:_DRAWN]]
    n_levels = len(lines)
    lines += _wholes(metric, variant)
    if not lines:
        st.text("No stratum has enough units for an interval yet.")
        return
    unit = words.unit(metric)
    better = "right" if words.toward(metric) > 0 else "left"
    title = "Effect by stratum, with 95% intervals" if _level_of(variant) in (None, 0.95) else "Effect by stratum"
    forest.draw(
        title, lines, key=f"forest-{key}", unit=unit, better=better, rule_above=n_levels if n_levels else None
    )  # fmt: skip
    said = [f"The {_DRAWN} largest of {len(told)} strata are drawn."] if len(told) > _DRAWN else []
    none = len(stratum["levels"]) - len(told)
    together = stratum.get("collapsed") or []
    if together:
        names = one_line(", ".join(map(str, together)), 200)
        with st.container(key=f"assay-quiet-together-{key}"):
            st.text(f"For the stratified effect the small strata are put together: {names}.")
    said += [f"{human.plural(none, 'stratum').replace('stratums', 'strata')} without an interval: too few units."] * (
        none > 0
    )
    said += ["Of many strata some fall out by chance: their intervals are not corrected for their number."]
    if n_levels and len(lines) > n_levels and _sequential(variant):
        said += [_LOOKS]
    st.caption(" ".join(said))


def _level(metric: Row, one: Row, total: int) -> forest.Line:
    n = one["n_control"] + one["n_treatment"]
    both = f"{words.value(metric, one['control'])} → {words.value(metric, one['treatment'])}"
    colour = _colour(metric, one["low"], one["high"])
    return forest.Line(
        name=one_line(one["level"], 60),
        below=f"{both}, n {one['n_control']:,} and {one['n_treatment']:,}",
        estimate=words.scaled(metric, one["estimate"]) or 0.0,
        low=words.scaled(metric, one["low"]) or 0.0,
        high=words.scaled(metric, one["high"]) or 0.0,
        said=f"{chart_text(one['level'])}<br>{_hover(metric, one, both)}<br>{human.share(n, total)} of the units",
        colour=colour,
        size=8 + 12 * (n / total) ** 0.5,
    )


def _wholes(metric: Row, variant: Row) -> list[forest.Line]:
    """Pooled and stratified, the headline of both in bold."""
    found = []
    for name, mark in (("pooled", "square"), ("stratified", "diamond")):
        one = variant.get(name)
        if not one or not forest.drawable(one["estimate"], one["low"], one["high"]):
            continue
        headline = metric.get("headline") == name
        both = f"{words.value(metric, one['control'])} → {words.value(metric, one['treatment'])}"
        found.append(
            forest.Line(
                name="all, pooled" if name == "pooled" else "all, stratified",
                below=f"{both}{', the headline' if headline else ''}",
                estimate=words.scaled(metric, one["estimate"]) or 0.0,
                low=words.scaled(metric, one["low"]) or 0.0,
                high=words.scaled(metric, one["high"]) or 0.0,
                said=f"{name}<br>{_hover(metric, one, both)}",
                colour="blue" if headline else "grey",
                mark=mark,
                size=13,
                thick=headline,
            )
        )
    return found


def _sequential(variant: Row) -> bool:
    """Whether the interval of all units pays for looking often."""
    return any(word in str((variant.get("effect") or {}).get("method")) for word in ("sequential", "sequence"))


def _level_of(variant: Row) -> float | None:
    found = (variant.get("effect") or {}).get("level")
    return None if found is None else float(found)


def _colour(metric: Row, low: float, high: float) -> str:
    """Green and red only of an interval that leaves 0 out."""
    side = words.toward(metric)
    if low <= 0 <= high:
        return "grey"
    return "green" if (low > 0) == (side > 0) else "red"


def _hover(metric: Row, one: Row, both: str) -> str:
    ends = words.interval(metric, one["low"], one["high"])
    return f"{both}<br>{words.change(metric, one['estimate'])} ({ends})"


def _tests(stratum: Row, key: str) -> None:
    """Both tests over strata, each with its number and what it asks."""
    said = []
    if cmh := stratum.get("cmh"):
        ends = ""
        if forest.drawable(cmh.get("low"), cmh.get("high")):
            ends = f" ({words.number(cmh['low'])} to {words.number(cmh['high'])})"
        said.append(
            f"Odds ratio over all strata (Mantel-Haenszel): {words.number(cmh['odds_ratio'])}{ends}, "
            f"p {words.p_value(cmh['p_value'])} (Cochran-Mantel-Haenszel)."
        )
    if same := stratum.get("homogeneity"):
        word = "differs between strata" if (same["p_value"] or 1) < 0.05 else "may be the same in all strata"
        said.append(
            f"The effect {word}: {one_line(same.get('method') or 'homogeneity', 60)} "
            f"{words.number(same['statistic'])} on {same['df']:g} df, p {words.p_value(same['p_value'])}."
        )
    if said:
        with st.container(key=f"assay-quiet-tests-{key}", gap=None):
            for sentence in said:
                st.text(inert(sentence, 300))


def _table(metric: Row, stratum: Row, arms: tuple[str, str], key: str) -> None:
    rows: Sequence[Row] = stratum["levels"]
    column = st.column_config
    control, treatment = (one_line(arm, 24) for arm in arms)  # titles of a grid are no Markdown
    lists.plain_table(
        {
            "level": [one_line(one["level"], 80) for one in rows],
            "control": [words.value(metric, one["control"]) for one in rows],
            "treatment": [words.value(metric, one["treatment"]) for one in rows],
            "Difference": [words.change(metric, one["estimate"]) for one in rows],
            "Interval": [words.interval(metric, one["low"], one["high"]) for one in rows],
            "n_control": [one["n_control"] for one in rows],
            "n_treatment": [one["n_treatment"] for one in rows],
            "Weight": [one.get("weight") for one in rows],
        },
        {
            "level": column.TextColumn(one_line(words.attribute(stratum["attribute"]), 40), width=190),
            "control": column.TextColumn(control, width=100, alignment="right"),
            "treatment": column.TextColumn(treatment, width=100, alignment="right"),
            "Difference": column.TextColumn(width=120, alignment="right"),
            "Interval": column.TextColumn(width=175, alignment="right"),
            "n_control": column.NumberColumn(f"n {control}", format="localized", width=95),
            "n_treatment": column.NumberColumn(f"n {treatment}", format="localized", width=95),
            "Weight": column.NumberColumn(format="percent", width=80, help="Its share in the stratified effect"),
        },
        f"strata-{key}",
    )
