"""All that an analysis of an experiment tells, from what failed down to who met which arm."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.api import Row
from dashboard.parts import (
    effects,
    experiment_decision,
    experiment_health,
    exposure,
    sequence_chart,
    strata,
)
from dashboard.parts import metric_words as words
from dashboard.text import one_line


def show(told: Row, registered: Sequence[str]) -> None:
    """`told` is the analysis as the API gives it; `registered`: attributes that are offered first."""
    experiment_health.failed(told["health"])
    experiment_decision.show(told)
    experiment_decision.reversals(told)
    st.subheader("Metrics", anchor=False)
    if told["decision"]["word"] == "unhealthy":
        st.caption("A check failed: these figures are for whoever mends it, and decide nothing.")
    effects.show(told["metrics"])
    effects.bayes(told["metrics"])
    _chosen_metric(told, registered)
    st.subheader("Health", anchor=False)
    experiment_health.table(told["health"])
    st.subheader("Exposure", anchor=False)
    exposure.show(told["arms"], told["exposure"])


def _chosen_metric(told: Row, registered: Sequence[str]) -> None:
    """One metric against the control, look by look and by stratum, those that were registered first."""
    pairs = [(str(metric["metric"]), str(variant["variant"])) for metric in told["metrics"] for variant in
             metric["variants"]]  # fmt: skip
    if not pairs:
        return
    several = len({variant for _, variant in pairs}) > 1
    st.subheader("One metric", anchor=False)
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        first = next(
            (at for at, (name, _) in enumerate(pairs) if experiment_decision.is_primary(told, {"metric": name})), 0
        )
        asked = (st.query_params.get("metric", pairs[first][0]), st.query_params.get("variant", pairs[first][1]))
        chosen: int = st.selectbox(
            "Metric",
            range(len(pairs)),
            index=pairs.index(asked) if asked in pairs else first,
            format_func=lambda at: one_line(pairs[at][0] + (f" · {pairs[at][1]}" if several else ""), 60),
            key="experiment-metric",
            width=280,
        )
        _keep("metric", pairs[chosen][0], pairs[first][0])
        _keep("variant", pairs[chosen][1], pairs[first][1])
        mine = [one for one in told["strata"] if (str(one["metric"]), str(one["variant"])) == pairs[chosen]]
        mine.sort(key=lambda one: one["attribute"] not in registered)
        attribute: int | None = None
        if mine:
            by = [str(one["attribute"]) for one in mine]
            wanted = st.query_params.get("by")
            attribute = st.selectbox(
                "By",
                range(len(mine)),
                index=by.index(wanted) if wanted in by else 0,
                format_func=lambda at: one_line(words.attribute(mine[at]["attribute"]), 60),
                key="experiment-attribute",
                width=240,
            )
            _keep("by", by[attribute], by[0])
    metric, variant = experiment_decision.entry(told, {"metric": pairs[chosen][0], "variant": pairs[chosen][1]})
    looks = [one for one in told["sequence"] if (str(one["metric"]), str(one["variant"])) == pairs[chosen]]
    control = (variant.get("pooled") or {}).get("control")
    sequence_chart.draw(metric, looks, words.margin(metric, control), "experiment-looks")
    if metric.get("headline") == "stratified":
        st.caption("Both are of all units pooled. The headline is stratified: below, and in the table of metrics.")
    if attribute is None:
        st.caption("No strata were registered: with --strata ATTRIBUTE,… a new version is compared within each.")
        return
    strata.show(metric, mine[attribute], variant, (experiment_decision.control(told), pairs[chosen][1]), "experiment")


def _keep(name: str, value: str, otherwise: str) -> None:
    """The choice in the address, for who is sent it; not the one that is there without asking."""
    if value != otherwise:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]
