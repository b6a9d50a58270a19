"""A judge's biases as far as what is stored shows them: each figure with its interval, or the reason why there is none.

Order and self-consistency come from the single replies of which verdicts were made, length from the answers, and
self-preference from the models that gave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluators.statistics.estimates import Estimate, Unestimated
from judges.biases.family import Answers, SelfPreference, self_preference
from judges.biases.length import (
    LengthControlled,
    LengthEffect,
    LongerChosen,
    length_controlled,
    length_effect,
    longer_chosen,
)
from judges.biases.order import OrderBias, first_share, order_bias
from judges.biases.repeats import SelfConsistency, self_consistency
from judges.reach import families
from judges.records import Reply, Rubric, ScaleKind

MOST_FAMILIES: Final = 50


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One target as the biases are measured on it, labelled or of a pair. `verdict` and `label` are as stored, None
    where there is none; `length` of the answer in characters (of a pair the first answer's minus the second's);
    `prompt` names what was asked; `models` gave the answer; `replies` are those of which the verdict was made."""

    target: str
    verdict: str | None
    label: str | None
    length: float | None = None
    prompt: str = ""
    models: tuple[str, ...] = ()
    replies: tuple[Reply, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Biases:
    """What is known of each; `why` says of those that are None or unestimated what would show them."""

    order: OrderBias | None
    one_order: Estimate | Unestimated | None
    length: LengthEffect | None
    length_controlled: LengthControlled | None
    longer_chosen: LongerChosen | None
    self_preference: SelfPreference | None
    self_consistency: SelfConsistency
    why: Mapping[str, str]


def biases(
    rubric: Rubric,
    seen: Sequence[Seen],
    judge_models: Sequence[str],
    *,
    asked_again: Sequence[Sequence[str | None]] = (),
    seed: int = 0,
) -> Biases:
    """All of them. `asked_again`: of targets that were asked again, all verdicts."""
    pair = rubric.kind is ScaleKind.PAIRWISE
    why: dict[str, str] = {}
    order, one_order = _order(rubric, seen, why) if pair else (None, None)
    known = [one for one in seen if one.length is not None and (pair or one.label is not None)]
    if not known:
        which = "were compared" if pair else "were labelled"
        why["length"] = f"the answers that {which} are not stored here, so their lengths are not known"
    return Biases(
        order=order,
        one_order=one_order,
        length=_length(rubric, known) if known and not pair else None,
        length_controlled=_controlled(rubric, known) if known and pair else None,
        longer_chosen=_longer(rubric, known) if known and pair else None,
        self_preference=_self_preference(rubric, seen, judge_models, seed, why) if not pair else None,
        self_consistency=_consistency(seen, asked_again, why),
        why=why,
    )


def _order(
    rubric: Rubric, seen: Sequence[Seen], why: dict[str, str]
) -> tuple[OrderBias | None, Estimate | Unestimated | None]:
    ab, ba, first = [], [], []
    for one in seen:
        by_order: dict[tuple[str, int], dict[str, int]] = {}
        for reply in one.replies:
            if reply.shown in ("ab", "ba"):
                by_order.setdefault((reply.model, reply.repeat), {})[reply.shown] = _choice(rubric, reply)
        for both in by_order.values():
            if len(both) == 2:
                ab.append(both["ab"])
                ba.append(both["ba"])
            else:
                first += [(choice == 0) == (shown == "ab") for shown, choice in both.items() if choice >= 0]
    if not ab and not first:
        why["order"] = "the single replies of these verdicts are not stored here"
        return None, None
    found = order_bias(np.array(ab, dtype=np.int64), np.array(ba, dtype=np.int64))
    return found, first_share(np.array(first, dtype=np.bool_)) if first else None


def _choice(rubric: Rubric, reply: Reply) -> int:
    """Which answer a reply chose: 0, 1, or -1 for none and for a tie."""
    return rubric.labels.index(reply.labels[0]) if reply.labels and reply.labels[0] in rubric.labels[:2] else -1


def _length(rubric: Rubric, known: Sequence[Seen]) -> LengthEffect:
    passed, label = (np.array([_passes(rubric, said) for said in each]) for each in _both(known))
    return length_effect(passed, np.array([one.length or 0.0 for one in known]), label)


def _controlled(rubric: Rubric, known: Sequence[Seen]) -> LengthControlled:
    won = np.array([_wins(rubric, one.verdict) for one in known])
    return length_controlled(won, np.array([one.length or 0.0 for one in known]))


def _longer(rubric: Rubric, known: Sequence[Seen]) -> LongerChosen:
    won, gold = (np.array([_wins(rubric, said) for said in each]) for each in _both(known))
    return longer_chosen(won, gold, np.array([one.length or 0.0 for one in known]))


def _self_preference(
    rubric: Rubric, seen: Sequence[Seen], judge_models: Sequence[str], seed: int, why: dict[str, str]
) -> SelfPreference | None:
    own = frozenset().union(*map(families, judge_models)) if judge_models else frozenset()
    rows = [(one, family) for one in seen if (family := _family(one, own)) is not None]
    names = sorted({family for _, family in rows})[:MOST_FAMILIES]
    if _OWN not in names or len(names) < 2:
        why["self_preference"] = (
            "answers of the judge's own model family and of another are needed; "
            f"these are of {', '.join(names) if names else 'models that are not known'}"
        )
        return None
    prompts = {name: n for n, name in enumerate(dict.fromkeys(one.prompt or one.target for one, _ in rows))}
    answers = Answers(
        prompt=np.array([prompts[one.prompt or one.target] for one, _ in rows]),
        family=np.array([names.index(family) for _, family in rows]),
        judge=np.array([_passes(rubric, one.verdict) for one, _ in rows]),
        human=np.array([_passes(rubric, one.label) for one, _ in rows]),
    )
    found = self_preference(answers, names.index(_OWN), seed=seed)
    if not found.labelled:
        why["self_preference"] = "without labels of people only the families' disagreement can be told"
    return found


_OWN: Final = "the judge's own"


def _family(one: Seen, own: frozenset[str]) -> str | None:
    """The family of the model that answered: the judge's own, or by its name; None where it is not known."""
    found = frozenset().union(*map(families, one.models)) if one.models else frozenset()
    if not found:
        return None
    return _OWN if found & own else min(found)


def _consistency(
    seen: Sequence[Seen], asked_again: Sequence[Sequence[str | None]], why: dict[str, str]
) -> SelfConsistency:
    repeats: list[list[str | None]] = [list(both) for both in asked_again]
    for one in seen:
        by_question: dict[tuple[str, str | None], list[str | None]] = {}
        for reply in one.replies:
            said = ",".join(sorted(reply.labels)) or None
            by_question.setdefault((reply.model, reply.shown), []).append(said)
        repeats += [said for said in by_question.values() if len(said) > 1]
    found = self_consistency(repeats)
    if isinstance(found.flip_rate, Unestimated):
        why["self_consistency"] = "no target was asked twice: canaries ask again, and so does a judge with repeats"
    return found


def _both(known: Sequence[Seen]) -> tuple[list[str | None], list[str | None]]:
    return [one.verdict for one in known], [one.label for one in known]


def _passes(rubric: Rubric, said: str | None) -> float:
    """1 where all labels of a verdict pass, else 0; NaN for none."""
    return float("nan") if said is None else float(all(label in rubric.passing for label in said.split(",")))


def _wins(rubric: Rubric, said: str | None) -> float:
    """1 where the first answer of a pair is chosen, 0 the second, a half for a tie; NaN for none."""
    if said not in rubric.labels:
        return float("nan")
    return {0: 1.0, 1: 0.0}.get(rubric.labels.index(said), 0.5)
