"""Where a change happened: what each release, variant, model, tool and cluster carries of it, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import alert_words as words
from dashboard.parts import forest, verdict
from dashboard.text import chart_text, inert

_TITLES: Final = {
    "release": "By release", "variant": "By variant", "environment": "By environment", "model": "By model",
    "cluster": "By cluster", "tool": "By tool",
}  # fmt: skip
_MOST: Final = 6
_COLOURS: Final = {"only_here": "red", "more_here": "orange"}


def show(incident: Row) -> None:
    """A picture for each dimension, those that say most first."""
    diagnosis: Row = incident.get("diagnosis") or {}
    told = [one for one in diagnosis.get("where") or [] if one.get("dimension") in _TITLES]
    found = [one for one in told if len(one["contributions"]) > 1]
    if not found:
        st.text("Nothing tells its sessions apart, or too few were scored before or since: where it happened is not "
                "known.")  # fmt: skip
        return
    evaluator = str((diagnosis.get("lead") or {}).get("evaluator") or "")
    whole: Row = found[0]["change"]
    scale, unit = _scale(found)
    with st.container(key="assay-quiet-where"):
        change = _interval(whole, scale, unit)
        st.text(inert(f"Of the change of {evaluator.replace('_', ' ')}, {change}, each group carries so much (95% over "
                      f"all groups that were looked at):", 300))  # fmt: skip
    for row in range(0, len(found), 2):
        for column, one in zip(st.columns(2, gap="medium"), found[row : row + 2], strict=False):
            with column:
                _dimension(one, scale, unit)
    alone = [one for one in told if len(one["contributions"]) == 1]
    if alone:
        with st.container(key="assay-quiet-alone"):
            said = ", ".join(f"{one['dimension']} {one['contributions'][0]['value']}" for one in alone)
            st.text(inert(f"All of them alike, so that nothing is to be told apart: {said}.", 400))


def _scale(found: Sequence[Row]) -> tuple[float, str]:
    """Points where all means are shares, else as they are."""
    groups = [group for one in found for group in one["contributions"]]
    means = [mean for group in groups for name in ("before", "now") if (mean := words.known(group[name])) is not None]
    return (100.0, "points") if means and all(0 <= one <= 1 for one in means) else (1.0, "")


def _dimension(one: Row, scale: float, unit: str) -> None:
    name = str(one["dimension"])
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-where-{name}"):
        verdict.badge(verdict.of(words.WHERE, one.get("verdict")))
        st.text(inert(_sentence(one, scale, unit), 300))
    groups: Sequence[Row] = one["contributions"]
    drawn = [
        group for group in groups if forest.drawable(*(group["total"].get(end) for end in ("value", "low", "high")))
    ]
    lines = [_line(group, at, one, scale, unit) for at, group in enumerate(drawn[:_MOST])]
    more = f", the {_MOST} with most of {len(drawn):,}" if len(drawn) > _MOST else ""
    forest.draw(f"{_TITLES[name]}{more}", lines, key=f"incident-where-{name}", unit=unit)


def _sentence(one: Row, scale: float, unit: str) -> str:
    lead: Row = one["contributions"][0]
    rest = lead.get("rest")
    part = words.known(lead.get("part"))
    match one.get("verdict"):
        case "only_here":
            said = f"{lead['value']} carries {_share(part)} of it"
            return said if not rest else f"{said}; without it: {_interval(rest, scale, unit)}"
        case "more_here":
            return f"{lead['value']} carries {_share(part)} of it, with {_share(lead.get('share_now'))} of the sessions"
        case "everywhere":
            return "all groups changed about alike"
        case _:
            return "no group's part can be told from nothing"


def _share(value: object) -> str:
    found = words.known(value)
    return human.UNKNOWN if found is None else f"{100 * found:.0f}%"


def _interval(one: Row, scale: float, unit: str) -> str:
    """ "−5.2 points (−6.1 to −4.3)"."""
    value, low, high = (f"{scale * float(one[name]):+.{1 if unit else 3}f}".replace("-", "\u2212")
                        for name in ("value", "low", "high"))  # fmt: skip
    return f"{value} {unit}".strip() + f" ({low} to {high})"


def _line(group: Row, at: int, one: Row, scale: float, unit: str) -> forest.Line:
    total: Row = group["total"]
    before, now = (_mean(group.get(name), unit) for name in ("before", "now"))
    shares = f"{_share(group.get('share_before'))} → {_share(group.get('share_now'))} of sessions"
    colour = _COLOURS.get(str(one.get("verdict")), "blue") if at == 0 else "grey"
    said = f"{chart_text(group['value'], 80)}<br>{_interval(total, scale, unit)}<br>{before} → {now}, {shares}"
    return forest.Line(
        name=str(group["value"]),
        below=f"{before} → {now} · {shares}",
        estimate=scale * float(total["value"]),
        low=scale * float(total["low"]),
        high=scale * float(total["high"]),
        said=said,
        colour=colour,
        thick=at == 0 and str(one.get("verdict")) in _COLOURS,
    )


def _mean(value: object, unit: str) -> str:
    found = words.known(value)
    if found is None:
        return "not there"
    return words.percent(found) if unit == "points" else f"{found:.3g}"
