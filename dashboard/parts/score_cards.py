"""Scores of a span, turn or session. Unscored is shown with its reason, never as a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.text import inert

_ICON: Final = {
    "rule": ":material/rule:",
    "judge": ":material/gavel:",
    "human": ":material/person:",
    "outcome": ":material/flag:",
}
_VERDICTS: Final[dict[str, tuple[str, Literal["green", "red"]]]] = {
    "pass": (":material/check:", "green"),
    "fail": (":material/close:", "red"),
}
_MOST_BADGES: Final = 3


def cards(scores: Sequence[Row], key: str) -> None:
    """One card per score, with its evaluator, kind, explanation and author."""
    for place, score in enumerate(scores[:100]):
        with st.container(border=True, gap="small", key=f"assay-score-{key}-{place}"):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                with st.container(key=f"assay-quiet-{key}-{place}", width="content"):
                    st.text(
                        f"{inert(score.get('evaluator'), 80)} · version {inert(score.get('evaluator_version'), 20)}"
                    )
                _kind(score)
            with st.container(key=f"assay-heading-small-score-{key}-{place}"):
                st.text(verdict(score))
            if score.get("explanation"):
                st.text(inert(score["explanation"], 4_000))
            if score.get("author"):
                with st.container(key=f"assay-quiet-author-{key}-{place}"):
                    st.text(f"by {inert(score['author'], 80)}")
    if len(scores) > 100:
        st.caption(f"{len(scores) - 100} more scores are not shown.")


def line(scores: Sequence[Row], key: str) -> None:
    """The scores in one wrapping line: evaluator above, verdict below."""
    with st.container(horizontal=True, gap="medium", key=f"assay-facts-scores-{key}"):
        for score in scores[:12]:
            with st.container(width="content", gap=None):
                with st.container(key=f"assay-quiet-line-{key}-{score.get('score_id')}"):
                    st.text(inert(score.get("evaluator"), 40))
                st.text(verdict(score))


def split(scores: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Those that say pass or fail, the first few of them, and all others."""
    verdicts = [score for score in scores if score.get("label") in _VERDICTS and not score.get("unscored")][
        :_MOST_BADGES
    ]
    return verdicts, [score for score in scores if score not in verdicts]


def badges(scores: Sequence[Row], key: str) -> None:
    """Verdicts (see `split`) in one line, green for pass and red for fail, each after its evaluator."""
    for score in scores:
        icon, colour = _VERDICTS[str(score["label"])]
        with st.container(key=f"assay-quiet-badge-{key}-{score.get('score_id')}", width="content"):
            st.text(inert(score.get("evaluator"), 40))
        value = "" if score.get("value") is None else f" · {human.score(score['value'])}"
        st.badge(f"{score['label']}{value}", icon=icon, color=colour)


def verdict(score: Row) -> str:
    """What the evaluator said, in words: "pass · 1", "0.83", "unscored: no retrieval in this turn"."""
    if score.get("unscored"):
        return f"unscored: {inert(score['unscored'], 200)}"
    said = [inert(score["label"], 80)] if score.get("label") else []
    if score.get("value") is not None:
        said.append(human.score(score["value"]))
    return " · ".join(said) or human.UNKNOWN


def _kind(score: Row) -> None:
    kind = score.get("evaluator_kind")
    if kind in _ICON:
        st.badge(str(kind), icon=_ICON[str(kind)], color="gray")
