"""What else is known of a judge: its biases, each with its interval or why it is not known, and its canaries."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import estimates, lists
from dashboard.text import inert

_CANARIES: Final = {
    "constant": "the same kind sentence to everything",
    "empty": "no answer at all",
    "shuffled": "the answers of another conversation",
}
Told = tuple[str, str, str, str]


def show(report: Row) -> None:
    """Biases, then canaries."""
    st.subheader("Biases", anchor=False)
    rows = _rows(report["biases"])
    column = st.column_config
    lists.plain_table(
        {
            "Towards": [row[0] for row in rows],
            "Figure": [row[1] for row in rows],
            "Value (95%)": [row[2] for row in rows],
            "Without bias": [row[3] for row in rows],
        },
        {
            "Towards": column.TextColumn(width=170),
            "Figure": column.TextColumn(width=420),
            "Value (95%)": column.TextColumn(width=260),
            "Without bias": column.TextColumn(width=200),
        },
        "judge-biases",
    )
    for name, why in (report["biases"].get("why") or {}).items():
        with st.container(key=f"assay-quiet-bias-{name}"):
            st.text(inert(f"{name.replace('_', ' ').capitalize()} is not known: {why}.", 400))
    _canaries(report["canaries"])


def _rows(biases: Row) -> list[Told]:
    found: list[Told] = []
    order, length, controlled = biases["order"], biases["length"], biases["length_controlled"]
    if order:
        found += [
            ("order", "the same winner in both orders", estimates.whole(order["consistency"], estimates.share), "100%"),
            ("order", "the winner was read first", estimates.whole(order["p_first"], estimates.share), "50%"),
        ]
    if biases["one_order"]:
        found.append(("order", "the winner was read first, one random order each",
                      estimates.whole(biases["one_order"], estimates.share), "50%"))  # fmt: skip
    if length:
        found += [
            ("length", "pass rate of a short answer, people's label held fixed",
             estimates.whole(length["short"], estimates.share), "as the long one's"),
            ("length", "pass rate of a long answer, people's label held fixed",
             estimates.whole(length["long"], estimates.share), "as the short one's"),
        ]  # fmt: skip
    if controlled:
        found += [
            ("length", "win rate as judged", estimates.whole(controlled["raw"], estimates.share), ""),
            ("length", "win rate at equal length", estimates.whole(controlled["controlled"], estimates.share),
             "as judged"),
        ]  # fmt: skip
    if biases["longer_chosen"]:
        longer = biases["longer_chosen"]
        found.append(("length", "takes the longer answer more often than people",
                      estimates.whole(longer["excess"], estimates.points), "0 points"))  # fmt: skip
    return found + _own(biases)


def _own(biases: Row) -> list[Told]:
    """Towards its own family, and with itself."""
    found: list[Told] = []
    own, steady = biases["self_preference"], biases["self_consistency"]
    if own and own["labelled"]:
        found += [
            ("its own family", "passes its own more than people do, beyond other families",
             estimates.whole(own["preference"], estimates.points), "0 points"),
            ("its own family", "of those that people pass: its own beyond other families'",
             estimates.whole(own["equal_opportunity"], estimates.points), "0 points"),
        ]  # fmt: skip
    elif own:
        found.append(("its own family", "passes its own more than others'; quality or bias, nobody labelled",
                      estimates.whole(own["disagreement"], estimates.points), "not known"))  # fmt: skip
    n = human.count(steady["n"])
    found.append(("repeats", f"another verdict when asked again, {n} targets asked twice",
                  estimates.whole(steady["flip_rate"], estimates.share), "0%"))  # fmt: skip
    return found


def _canaries(told: Row) -> None:
    st.subheader("Canaries", anchor=False)
    st.caption(
        "Answers that deserve nothing, made of real ones. A judge that passes one kind more often than by chance is "
        "failed, however well it agrees with people on ordinary answers."
    )
    if not told["ran"]:
        with st.container(border=True, key="assay-canaries-none"):
            st.text(inert(f"They were not run: {told['why']}.", 500))
            st.caption("Without canaries no judge is certified.")
        return
    nulls = told["nulls"]
    column = st.column_config
    lists.plain_table(
        {
            "Canary": [str(one["kind"]) for one in nulls],
            "Is": [_CANARIES.get(one["kind"], "") for one in nulls],
            "Outcome": [["beats chance" if one["beats_chance"] else "stood"] for one in nulls],
            "Passed": [f"{one['n_passed']} of {one['n']}" for one in nulls],
            "Pass rate (95%)": [estimates.whole(one["rate"], estimates.share) for one in nulls],
            "Chance": [estimates.share(one["chance"]) for one in nulls],
            "Fails from": [one["fails_from"] for one in nulls],
            "p, corrected": [one["p_adjusted"] for one in nulls],
            "No verdict": [one["n_missing"] for one in nulls],
        },
        {
            "Is": column.TextColumn(width=250),
            "Outcome": column.MultiselectColumn(
                options=["stood", "beats chance"], color=["green", "red"], width=130
            ),
            "Pass rate (95%)": column.TextColumn(width=190),
            "Fails from": column.NumberColumn(format="localized", help="So many passes alone are too many"),
            "p, corrected": column.NumberColumn(format="%.3g", help="Holm over all kinds of canaries"),
            "No verdict": column.NumberColumn(format="localized"),
        },
        "judge-canaries",
    )  # fmt: skip
    _injected(told)


def _injected(told: Row) -> None:
    one = told["injection"]
    with st.container(border=True, key="assay-canaries-injected", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Injected: the real answer with a sentence that tells the judge what to say**")
            failed = one["shifts"]
            st.badge("moved" if failed else "stood", icon=f":material/{'cancel' if failed else 'check_circle'}:",
                     color="red" if failed else "green")  # fmt: skip
        rose = f"the score rose in {one['n_up']:,}, fell in {one['n_down']:,} of {human.plural(one['n'], 'pair')}"
        st.text(f"With the sentence {rose} (p {one['p_adjusted']:.2g}). {_attacked(one['success'])}")
        st.text(f"Of the real answers, asked anew, {estimates.whole(told['real'], estimates.share)} passed.")
    usage = told.get("usage") or {}
    cost = usage.get("cost_usd")
    price = "at a price that is not known" if cost is None else human.usd(cost).replace("$", "\\$")
    sources = human.plural(told["n_sources"], "conversation")
    st.caption(f"Made of {sources}, with {human.plural(usage.get('n_calls') or 0, 'call')}, {price}.")


def _attacked(success: Row) -> str:
    if estimates.value_of(success) is None:
        return "All of these answers passed without it."
    return f"Of answers that did not pass, {estimates.whole(success, estimates.share)} did with it."
