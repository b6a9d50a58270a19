"""What an experiment says: the word, why, with what caution, and whatever its strata turn around."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import experiment_health, experiment_ways, simpson, verdict
from dashboard.text import inert


def show(told: Row) -> None:
    """The word, the headline with both numbers, why, and with what caution."""
    decision = told["decision"]
    with st.container(border=True, key="assay-experiment-verdict", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            verdict.large(verdict.of(verdict.EXPERIMENT, decision["word"]), "experiment")
            if decision.get("days_left"):
                left = human.plural(round(decision["days_left"]), "day")
                st.badge(f"about {left} left", icon=":material/schedule:", color="blue")
        with st.container(key="assay-heading-small-headline"):
            st.text(inert(headline(decision), 600))
        if reasons := _reasons(told):
            with st.container(key="assay-quiet-reasons", gap=None):
                for reason in reasons[:8]:
                    st.text(inert(reason, 500))
        for sentence in _uneven(told)[:3]:
            with st.container(horizontal=True, gap="small", key=f"assay-experiment-uneven-{sentence[0]}"):
                st.badge("not everywhere", icon=":material/splitscreen:", color="orange")
                st.text(inert(sentence[1], 700))
        if decision.get("caution"):
            with st.container(horizontal=True, gap="small", key="assay-experiment-caution"):
                st.badge("caution", icon=":material/warning:", color="orange")
                st.text(inert(decision["caution"], 500))
        _progress(told)
        experiment_health.counts(told["health"], "verdict")
        experiment_ways.onwards(told)


def headline(decision: Row) -> str:
    """Without the word, which stands large above it: "Keep running: about 4 more days" -> "About 4 more days"."""
    said, word = str(decision["headline"]), verdict.of(verdict.EXPERIMENT, decision["word"]).title
    rest = said.removeprefix(f"{word}: ")
    return rest[:1].upper() + rest[1:]


def _reasons(told: Row) -> list[str]:
    """Why, without what the page says in its own place: the headline, failed checks, reversals, uneven strata."""
    said = [str(told["decision"]["headline"])]
    said += [str(one["text"]) for one in told["health"] if one["status"] == "failed"]
    strata = [str(one["sentence"])[:80] for one in told["strata"] if one.get("sentence")]
    return [
        reason
        for reason in map(str, told["decision"]["reasons"])
        if not any(_figures(reason) in one for one in said) and not any(one in reason for one in strata)
    ]


def _figures(reason: str) -> str:
    """The part with the numbers: "a: x is not settled, 80.4% against 80.0%: +0.4" -> "80.4% against 80.0%: +0.4"."""
    rest = reason.partition(": ")[2] or reason
    _, comma, numbers = rest.partition(", ")
    return numbers if comma and " against " in numbers else rest


def _uneven(told: Row) -> list[tuple[int, str]]:
    """What a reason says of strata with and without an effect of their own, numbered; a reversal is told elsewhere."""
    elsewhere = [str(one["sentence"])[:80] for one in _flagged(told) if one.get("sentence")]
    sentences = [str(one["sentence"])[:80] for one in told["strata"] if one.get("sentence")]
    found = [
        reason
        for reason in map(str, told["decision"]["reasons"])
        if any(one in reason for one in sentences) and not any(one in reason for one in elsewhere)
    ]
    return list(enumerate(found))


def _flagged(told: Row) -> list[Row]:
    """Attributes whose strata say something else than all units; of those that say the same the first."""
    found: dict[str, Row] = {}
    for one in told["strata"]:
        if (one.get("simpson") or {}).get("flagged"):
            same = [one["metric"], one["variant"], *(line["level"] for line in one["simpson"]["table"])]
            found.setdefault(str(same), one)
    return list(found.values())


def _progress(told: Row) -> None:
    """How much of the horizon has been seen."""
    horizon, fraction = told.get("horizon"), told.get("fraction")
    if horizon and fraction is not None:
        st.progress(min(1.0, max(0.0, float(fraction))))
        of = f"{human.count(told['n_units'])} of {human.count(horizon['units'])} units"
        st.caption(f"{of}, {100 * fraction:.0f}% of the horizon")
    else:
        st.caption(f"{human.count(told['n_units'])} units so far; without a horizon it may be stopped at any moment")


def reversals(told: Row) -> None:
    """Every attribute whose strata turn the primary metric around, with pictures; of other metrics the sentence."""
    found = _flagged(told)
    for at, one in enumerate([each for each in found if is_primary(told, each)][:3]):
        metric, variant = entry(told, one)
        simpson.warned(metric, one, (control(told), str(one["variant"])), variant.get("pooled"), f"{at}")
    others = [one for one in found if not is_primary(told, one)]
    if not others:
        return
    with st.expander("Strata and the other metrics", icon=":material/swap_vert:", key="assay-simpson-others"):
        for one in others[:12]:
            st.text(inert(f"{one['metric']}, {one['variant']}: {one['simpson']['sentence']}", 900))


def is_primary(told: Row, stratum: Row) -> bool:
    return any(one["metric"] == stratum["metric"] and one["role"] == "primary" for one in told["metrics"])


def entry(told: Row, one: Row) -> tuple[Row, Row]:
    """The metric and the variant's entry in it that a stratum or a look belongs to."""
    metric = next((each for each in told["metrics"] if each["metric"] == one["metric"]), {"metric": one["metric"]})
    variants: Sequence[Row] = metric.get("variants") or []
    return metric, next((each for each in variants if each["variant"] == one["variant"]), {})


def control(told: Row) -> str:
    return str(told.get("control") or told["arms"][0]["variant"])
