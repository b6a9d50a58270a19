"""Planner: how many units an experiment takes, for how many days, and what it could find; nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Refused, Row
from dashboard.parts import address, frame, power_curve, states
from dashboard.parts import metric_words as words
from dashboard.text import inert

_DESIGNS: Final = {
    "group_sequential": "every day, up to a horizon",
    "confidence_sequence": "at any moment, without a horizon",
    "once": "once, at the end",
}
_SPLITS: Final = {"50/50": (0.5, 0.5), "80/20": (0.8, 0.2), "90/10": (0.9, 0.1), "95/5": (0.95, 0.05)}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What was typed. Shares are from 0 to 1; `users` a day."""

    binary: bool
    baseline: float
    sd: float
    mde: float
    users: float
    sessions: float
    icc: float
    rho: float
    split: str
    power: float
    alpha: float
    n_metrics: int
    design: str

    @property
    def body(self) -> Row:
        """As the API is asked."""
        return {
            "kind": "binary" if self.binary else "mean",
            "baseline": self.baseline,
            "mde": self.mde,
            "users_per_day": self.users,
            "sessions_per_user": self.sessions,
            "icc": self.icc,
            "rho": self.rho,
            "split": list(_SPLITS[self.split]),
            "power": self.power,
            "alpha": self.alpha,
            "n_metrics": self.n_metrics,
            "sequential": self.design != "once",
        } | self._more

    @property
    def _more(self) -> Row:
        found: Row = {} if self.binary else {"sd": self.sd}
        return found if self.design == "once" else found | {"design": self.design}


@st.cache_data(ttl=300, max_entries=64, show_spinner=False)
def _planned(_api: Api, body: Row) -> Row:
    return _api.post("/experiments/plan", body)


@states.guarded
def show() -> None:
    """The page."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Planner", anchor=False)
            st.caption("How many units an experiment takes before it can find what you look for")
        if st.button("Experiments", icon=":material/experiment:", key="planner-experiments"):
            links.open_experiments()
    left, right = st.columns([2, 5], gap="large")
    with left, st.container(key="assay-planner-inputs"):
        asked = _inputs()
    with right:
        _answer(asked)


def _inputs() -> _Asked:
    kind = st.segmented_control(
        "The metric is", ["a share", "a mean"], default=_kept("kind", "a share"), key="planner-kind", required=True
    )
    binary = kind != "a mean"
    address.keep("planner", "kind", None if binary else "a mean")
    with st.container(horizontal=True, gap="small"):
        baseline = (
            _number("Baseline, %", "baseline", 86.0, 0.1, 99.9, 1.0) / 100
            if binary
            else _number("Baseline", "mean", 1.0, -1e9, 1e9, 0.1)
        )
        mde = (
            _number("Effect to find, points", "mde", 3.0, 0.01, 50.0, 0.5) / 100
            if binary
            else _number("Effect to find", "effect", 0.1, 1e-9, 1e9, 0.1)
        )
    sd = 1.0 if binary else _number("Standard deviation of a session", "sd", 1.0, 1e-9, 1e9, 0.1)
    with st.container(horizontal=True, gap="small"):
        users = _number("Users a day", "users", 800.0, 1.0, 1e9, 50.0)
        sessions = _number("Sessions per user", "sessions", 1.0, 1.0, 1000.0, 0.1)
    icc = 0.0
    if sessions > 1:
        icc = _number(
            "Likeness of a user's sessions (ICC)", "icc", 0.2, 0.0, 1.0, 0.05,
            "0: no more alike than those of two users; 1: all the same. Not known? Take 0.2.",
        )  # fmt: skip
    rho = _number(
        "CUPED: correlation with the time before", "rho", 0.0, 0.0, 0.99, 0.05,
        "Between a user's figure before the experiment and during it; 0: not used.",
    )  # fmt: skip
    split = st.selectbox(
        "Split", list(_SPLITS), index=list(_SPLITS).index(_kept("split", "50/50", _SPLITS)), key="planner-split"
    )
    address.keep("planner", "split", None if split == "50/50" else split)
    with st.expander("How sure", icon=":material/tune:"):
        power = _number("Power, %", "power", 80.0, 50.0, 99.0, 5.0) / 100
        alpha = _number("Alpha, %", "alpha", 5.0, 0.1, 20.0, 1.0) / 100
        n_metrics = int(_number("Primary comparisons", "metrics", 1.0, 1.0, 50.0, 1.0))
        design = st.selectbox("It is looked at", list(_DESIGNS), format_func=_DESIGNS.__getitem__, key="planner-design")
    return _Asked(
        binary=binary, baseline=baseline, sd=sd, mde=mde, users=users, sessions=sessions, icc=icc, rho=rho,
        split=str(split), power=power, alpha=alpha, n_metrics=n_metrics, design=str(design),
    )  # fmt: skip


def _kept(name: str, otherwise: str, known: Any = ("a share", "a mean")) -> str:
    found = address.first("planner", name)
    return found if found is not None and found in known else otherwise


def _number(title: str, name: str, otherwise: float, low: float, high: float, step: float, about: str = "") -> float:
    """A number that the address carries once it differs from what it starts with."""
    try:
        start = min(high, max(low, float(address.first("planner", name) or otherwise)))
    except ValueError:
        start = otherwise
    found = float(
        st.number_input(title, low, high, start, step, key=f"planner-{name}", help=about or None, format="%g")
    )
    address.keep("planner", name, None if found == otherwise else f"{found:g}")
    return found


def _answer(asked: _Asked) -> None:
    try:
        told = _planned(states.api(), asked.body)
    except Refused as refused:
        with st.container(border=True, key="assay-planner-refused", gap="small"):
            st.badge("cannot be planned", icon=":material/block:", color="orange")
            st.text(inert(refused.detail, 500))
        return
    metric: Row = {"binary": asked.binary}
    frame.numbers(
        (
            ("Users in all", human.count(told["units"])),
            ("Control and treatment", " + ".join(map(human.count, told["n_per_arm"]))),
            ("Sessions", human.count(told["sessions"])),
            ("Days", human.count(told["days"])),
        ),
        "planner",
    )
    power_curve.draw(
        metric, [(one["effect"], one["power"]) for one in told["curve"]], asked.mde, asked.power, "planner-curve"
    )
    _early(told)
    _why(told)
    _command(asked, told)


def _early(told: Row) -> None:
    if told["looks"] < 2:
        return
    early, never = (human.count(told[name]) for name in ("expected_units", "expected_units_without_effect"))
    looks = human.plural(told["looks"], "look")
    st.caption(f"It may stop early: at such an effect after {early} users on average, at none after {never} ({looks}).")


def _why(told: Row) -> None:
    if not told["inflations"] and not told["notes"]:
        return
    with st.container(border=True, key="assay-planner-why", gap="small"):
        st.markdown("**What makes it more, or less**")
        st.text(f"{told['n_sessions_independent']:,} independent sessions of the control, looked at once")
        for one in told["inflations"]:
            st.text(f"× {one['factor']:.3g}  {inert(one['reason'], 300)}")
        for note in told["notes"]:
            with st.container(horizontal=True, gap="small"):
                st.badge("note", icon=":material/lightbulb:", color="orange")
                st.text(inert(note, 300))


def _command(asked: _Asked, told: Row) -> None:
    st.markdown("**Register it**")
    weights = "/".join(f"{100 * one:g}" for one in _SPLITS[asked.split])
    said = [
        "assay experiments create NAME --app APP --control v1 --treatment v2",
        f"--split {weights} --primary METRIC --horizon {int(told['units'])} --users {asked.users:g}/day",
    ]
    said += ["--cuped-days 14"] if asked.rho else []
    said += [f"--alpha {asked.alpha:g}"] if asked.alpha != 0.05 else []
    st.code(" ".join(said), language="bash", wrap_lines=True)
    effect = words.change({"binary": asked.binary}, asked.mde)
    st.caption(f"It makes a draft: nothing is assigned before it is started. Planned to find {effect} or more.")
