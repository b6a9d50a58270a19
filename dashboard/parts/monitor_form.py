"""The fields of a monitor's definition. What is left empty is the default of its series and band, as the server has it.

Nothing here knows a rule: what cannot be, the server refuses, in the words that the page then shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from dashboard.api import Row
from dashboard.parts import monitor_words as words
from dashboard.text import one_line

STEPS: Final = ("1m", "5m", "15m", "1h")
_HELD: Final = "distribution"
_DEFAULT: Final = "default"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number or a switch of a band. `default` is in words: what an empty field means."""

    name: str
    title: str
    default: str
    help: str = ""
    whole: bool = False
    switch: bool = False


def _number(name: str, title: str, default: str, about: str = "", *, whole: bool = False) -> Parameter:
    return Parameter(name=name, title=title, default=default, help=about, whole=whole)


_SEASON: Final = Parameter(
    name="season", title="Season", default="on", switch=True,
    help="What is usual is learned for each hour of the week, as soon as there are three weeks of it.",
)  # fmt: skip
_BY_BUDGET: Final = "budget"
PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = {
    "ema": (
        _number("k", "k (sigmas)", _BY_BUDGET, "How wide. Empty: as wide as the budget of false pages makes it."),
        _number("alpha", "alpha", "0.02", "Weight of the newest point: 0.02 looks back on about 50."),
        _SEASON,
        _number("adopt_after", "New level after", _DEFAULT, "So many points beyond it on one side.",
                whole=True),
    ),
    "ewma": (
        _number("limit", "Limit", _BY_BUDGET, "Empty: what the budget of false pages makes it."),
        _number("lam", "lambda", "0.1", "Weight of the newest point."),
        _SEASON,
    ),
    "cusum": (
        _number("h", "h", _BY_BUDGET, "Empty: what the budget of false pages makes it."),
        _number("allowance", "Allowance (sigmas)", "0.5", "Half of the shift that is to be found."),
        _SEASON,
    ),
    "novelty": (
        _number("threshold", "Threshold (widths)", "0.12", "How far beyond the range it has kept to."),
        _number("window", "Window (points)", "20", "Over which drift and spread are taken.", whole=True),
        _number("quiet", "Rest after an alarm (points)", "144", "", whole=True),
    ),
    "static": (
        _number("low", "Low", "none", "Below it a point is a breach."),
        _number("high", "High", "none", "Above it a point is a breach."),
        _number("least_n", "Least observations", "1", "Points of fewer say nothing.", whole=True),
    ),
    "slo": (
        _number("objective", "Objective (0 to 1)", "needed", "The share that is to be good, such as 0.99."),
        _number("min_events", "Least events", "10", "Of the long window.", whole=True),
    ),
    "zero": (),
    _HELD: (
        _number("window_s", "Window (s)", "21600", "The time that is held against the reference.", whole=True),
        _number("reference_s", "Reference (s)", "604800", "The time before it.", whole=True),
        _number("least", "Least index", "0.1", "The smallest move that counts."),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the fields offer: `kinds` as the API tells them, the channels that are set. `key` tells forms apart."""

    kinds: Row
    channels: Sequence[str]
    key: str

    def at(self, name: str) -> str:
        """The key of a field."""
        return f"monitor-form-{self.key}-{name}"


def fields(form: Form, base: Row) -> Row:
    """Draws the fields, which begin as `base` says, and returns the definition as they stand."""
    wanted = dict(base)
    st.markdown("**What is watched**")
    wanted |= _watched(form, base)
    st.markdown("**What is usual**")
    wanted |= _band(form, base, str(wanted["series"]))
    st.markdown("**When it fires**")
    wanted |= _firing(form, base)
    with st.expander("Whom it tells, and who looks after it", key=form.at("who")):
        wanted |= _people(form, base)
    return wanted


def _watched(form: Form, base: Row) -> Row:
    known = [str(one["name"]) for one in form.kinds["series"]]
    series = st.selectbox(
        "Series", list(dict.fromkeys([str(base["series"]), *known])), key=form.at("series"), accept_new_options=True,
        format_func=lambda one: one_line(one, 60), help="; ".join(form.kinds["families"].values()),
    )  # fmt: skip
    chosen = str(series or base["series"])
    left, right = st.columns(2)
    with left:
        by = _one("Split by", _dimensions(form, chosen, base), base.get("by"), form.at("by"), "not split", new=True)
    with right:
        step = st.selectbox("Step", STEPS, index=_place(STEPS, base["step"]), key=form.at("step"))
    return {"series": chosen, "by": by, "step": step}


def _dimensions(form: Form, series: str, base: Row) -> list[str]:
    known = next((one["by"] for one in form.kinds["series"] if one["name"] == series), None)
    if known is None:  # of a family
        known = ["release", "variant", "environment"] if series.startswith(("score:", "tool_errors:")) else []
    now = base.get("by") if series == base["series"] else None
    return list(dict.fromkeys([*([str(now)] if now else []), *map(str, known)]))


def _place(options: Sequence[str], value: object) -> int:
    return options.index(str(value)) if str(value) in options else 0


def _one(
    title: str, options: Sequence[str], value: object, key: str, none: str, *, new: bool = False
) -> str | None:  # fmt: skip
    """One of the options, or none of them; with `new` also one that is typed, such as attribute:tier."""
    chosen: str | None = st.selectbox(
        title, ["", *options], index=_place(["", *options], value or ""), key=key, accept_new_options=new,
        format_func=lambda one: one_line(one, 60) or none,
    )  # fmt: skip
    return chosen or None


def _band(form: Form, base: Row, series: str) -> Row:
    said = dict(base.get("band") or {"kind": "ema"})
    is_held = series.startswith(("mix:", "embeddings:"))  # what is only held against what came before
    offered = [one for one in form.kinds["bands"] if one == _HELD or not is_held] or [said["kind"]]
    kind: str = st.selectbox(
        "Band", offered, index=_place(offered, said.get("kind")), key=form.at(f"band-{is_held}"),
        format_func=lambda one: " · ".join((words.BANDS.get(one, (one, ""))[0], one)),
    )  # fmt: skip
    st.caption(f"For {words.BANDS.get(kind, ('', 'what it is for'))[1]}.")
    now = said if said.get("kind") == kind else {}
    # What has no field here (a time zone, an estimator) stays as it is.
    named = {one.name for one in PARAMETERS.get(kind, ())}
    band: dict[str, Any] = {"kind": kind} | {name: of for name, of in now.items() if name not in {*named, "kind"}}
    columns = st.columns(2)
    for at, one in enumerate(PARAMETERS.get(kind, ())):
        with columns[at % 2]:
            found = _parameter(one, now.get(one.name), form.at(f"{kind}-{one.name}"))
        if found is not None:
            band[one.name] = found
    budget = st.number_input(
        "False pages a week", min_value=0.001, max_value=1000.0, value=float(base["false_pages_per_week"]), step=0.05,
        format="%.3g", key=form.at("budget"), disabled=kind in ("static", "zero", "slo", "novelty"),
        help="Of all its series together. It is divided over them and their points; the band is as wide as that asks.",
    )  # fmt: skip
    return {"band": band, "false_pages_per_week": float(budget)}


def _parameter(one: Parameter, value: Any, key: str) -> Any:
    """What the field says; None: nothing, so the default."""
    if one.switch:
        checked = st.checkbox(one.title, value=value is not False, key=key, help=one.help)
        return (value or None) if checked else False
    step: Any = 1 if one.whole else None
    given: Any = None if value is None else int(value) if one.whole else float(value)
    return st.number_input(
        one.title, value=given, step=step, format=None if one.whole else "%.6g", placeholder=one.default, key=key,
        help=one.help or None,
    )  # fmt: skip


def _firing(form: Form, base: Row) -> Row:
    direction = _words("Trouble is", ("down", "up", "both"), base["direction"], form.at("direction"))
    left, right = st.columns(2)
    with left:
        fires = st.number_input(
            "Breaches to fire", min_value=1, max_value=1000, step=1, placeholder="own", value=base.get("for_points"),
            key=form.at("for"), help="In a row. Empty: as many as its band is best with.",
        )  # fmt: skip
    with right:
        clears = st.number_input(
            "Calm to resolve", min_value=1, max_value=1000, step=1, value=int(base["clear_points"]),
            key=form.at("clear"), help="Points well inside the band, in a row.",
        )  # fmt: skip
    severity = _words("Severity", ("page", "ticket"), base["severity"], form.at("severity"))
    no_data = _words("A point without data", ("keep", "ok", "alert"), base["no_data"], form.at("no-data"))
    return {
        "direction": direction, "for_points": None if fires is None else int(fires), "clear_points": int(clears),
        "severity": severity, "no_data": no_data,
    }  # fmt: skip


def _words(title: str, options: Sequence[str], value: object, key: str) -> str:
    chosen: str | None = st.segmented_control(
        title, options, default=options[_place(options, value)], key=key, required=True
    )
    return chosen or str(value)


def _people(form: Form, base: Row) -> Row:
    now = [str(one) for one in base.get("channels") or []]
    channels: list[str] = st.multiselect(
        "Channels", list(dict.fromkeys([*form.channels, *now])), default=now, key=form.at("channels"),
        accept_new_options=True, placeholder="nobody: it stands on the pages only",
    )  # fmt: skip
    left, right = st.columns(2)
    with left:
        owner = _text("Owner", base.get("owner"), form.at("owner"))
        hours = st.number_input(
            "Told again after (hours)", min_value=0.1, max_value=10_000.0, step=1.0, placeholder="never",
            value=None if base.get("renotify_s") is None else base["renotify_s"] / 3600, format="%.3g",
            key=form.at("renotify"),
        )  # fmt: skip
    with right:
        runbook = _text("Runbook", base.get("runbook"), form.at("runbook"))
        guard = _one("Guards rollouts", ("hold", "roll_back"), base.get("guard"), form.at("guard"), "no")
    return {
        "channels": list(channels), "owner": owner, "runbook": runbook, "guard": guard,
        "renotify_s": None if hours is None else round(hours * 3600),
    }  # fmt: skip


def _text(title: str, value: object, key: str) -> str | None:
    return st.text_input(title, value=str(value or ""), key=key, max_chars=2000).strip() or None
