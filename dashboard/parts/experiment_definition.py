"""What an experiment was registered to be, and what could be done with it next as commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import frame, lists
from dashboard.text import inert, one_line

UNITS = {"user": "user", "session": "session"}
DESIGNS = {
    "group_sequential": "group-sequential, O'Brien-Fleming spending",
    "confidence_sequence": "confidence sequence, no horizon",
}


def facts(definition: Row, told: Row) -> None:
    """The line under an experiment's name."""
    horizon = definition.get("horizon") or {}
    days = horizon.get("days")
    frame.facts(
        (
            ("App", definition["app"]),
            ("Unit", UNITS.get(str(definition["unit"]), definition["unit"])),
            ("Arms", _arms(definition["arms"])),
            ("Design", DESIGNS.get(str(definition.get("design")), definition.get("design"))),
            ("Horizon", f"{horizon['units']:,} units{f' in {days} days' if days else ''}" if horizon else None),
            ("Alpha", f"{definition['alpha']:g}" if definition.get("alpha") else None),
            ("Started", _when(definition.get("started_at"))),
            ("Looked at", _when(told.get("looked_at"), zone=True) if definition.get("started_at") else None),
            ("Owner", definition.get("owner")),
        ),
        "experiment",
    )
    if definition.get("hypothesis"):
        with st.container(key="assay-quiet-hypothesis"):
            st.text(inert(definition["hypothesis"], 600))


def show(definition: Row) -> None:
    """Everything that was registered: it cannot be changed under way, only a new version can be made."""
    with st.expander("As it was registered", icon=":material/assignment:", key="experiment-definition"):
        st.caption("Fixed at the start; a change makes a new version. Only the share of units that take part may grow.")
        column = st.column_config
        metrics: Sequence[Row] = definition.get("metrics") or []
        lists.plain_table(
            {
                "Metric": [one_line(one["name"], 60) for one in metrics],
                "Role": [str(one["role"]) for one in metrics],
                "Better": [str(one["better"]) for one in metrics],
                "May be lost": [_margin(one) for one in metrics],
            },
            {
                "Metric": column.TextColumn(width=220),
                "Role": column.TextColumn(width=120),
                "Better": column.TextColumn(width=100),
                "May be lost": column.TextColumn(width=140),
            },
            "experiment-registered",
        )
        slot = definition.get("slot") or (0.0, 1.0)
        frame.facts(
            (
                ("Version", definition.get("version")),
                ("Assigned by", definition.get("assigned_by")),
                ("Taking part", _share(definition.get("coverage"))),
                ("Layer", definition.get("layer")),
                ("Its part of the layer", f"{100 * slot[0]:g}% to {100 * slot[1]:g}%"),
                ("Holdout", _share(definition.get("holdout"))),
                ("Strata", ", ".join(definition.get("strata") or [])),
                ("Covariate", _days(definition.get("covariate_days"))),
                ("Outcomes mature after", _seconds(definition.get("mature_s"))),
                ("Testers", human.count(definition["n_overrides"]) if definition.get("n_overrides") else None),
                ("Made by", definition.get("created_by")),
                ("Stopped by", definition.get("stopped_by")),
                ("Why", definition.get("reason")),
            ),
            "experiment-definition",
        )
        _ramps(definition.get("ramps") or [])


def _ramps(ramps: Sequence[Row]) -> None:
    """From when on which share of the units took part."""
    if len(ramps) < 2:
        return
    said = [f"{_share(one['coverage']) or '0%'} from {_when(one['at'])}" for one in ramps]
    with st.container(key="assay-quiet-ramps"):
        st.text(inert("Taking part: " + ", then ".join(said), 600))


def commands(definition: Row) -> None:
    """What may be done next with one that was begun."""
    name = shlex.quote(inert(definition["name"], 120))
    match str(definition.get("status")):
        case "running":
            said = f"assay experiments show {name}\nassay experiments ramp {name} 50\nassay experiments stop {name}"
        case _:
            said = f"assay experiments show {name}"
    with st.expander("On the command line", icon=":material/terminal:", key="experiment-commands"):
        st.code(said, language="bash", wrap_lines=True)


def _arms(arms: Sequence[Row]) -> str:
    return ", ".join(map(_arm, arms))


def _arm(one: Row) -> str:
    release = one.get("release")
    named = f" = {one_line(release, 40)}" if release and release != one["variant"] else ""
    share = "" if one.get("share") is None else f" ({100 * one['share']:.3g}%)"
    return f"{one_line(one['variant'], 40)}{named}{share}"


def _margin(one: Row) -> str | None:
    if one.get("margin") is None:
        return None
    return f"{100 * one['margin']:g}% of the control" if one.get("relative") else f"{one['margin']:g}"


def _share(found: float | None) -> str | None:
    return None if not found else f"{100 * found:g}%"


def _days(found: int | None) -> str | None:
    return human.plural(found, "day") + " before" if found else None


def _seconds(found: float | None) -> str | None:
    return human.duration(found * 1000) if found else None


def _when(at: object, *, zone: bool = False) -> str | None:
    moment = frame.moment(at)
    if moment is None:
        return None
    year = "" if moment.year == datetime.now(frame.timezone()).year else f" {moment.year}"
    return f"{moment.day} {moment:%b}{year}, {moment:%H:%M}" + (f" {human.offset(moment)}" if zone else "")
