"""One verdict of several replies: both orders of a pair, repeats of a model, models of a panel. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from judges.records import MAX_RAW, JudgeSpec, Missing, Reply, Rubric, ScaleKind, Usage, Verdict

BOTH: Final = ("ab", "ba")
_Vote = tuple[str, ...] | Missing


def orders_of(spec: JudgeSpec, rubric: Rubric, target: str, repeat: int, seed: int) -> tuple[str | None, ...]:
    """In which orders a pair is shown: both, or one that the seed, the target's hash and the repeat decide."""
    if rubric.kind is not ScaleKind.PAIRWISE:
        return (None,)
    if spec.both_orders:
        return BOTH
    drawn = hashlib.sha256(f"{seed}\0{target}\0{repeat}".encode()).digest()[0] & 1
    return (BOTH[drawn],)


def as_stored(rubric: Rubric, labels: tuple[str, ...], shown: str | None) -> tuple[str, ...]:
    """Labels of a pair shown as "ba" name the other answer; all others stay."""
    if shown != "ba":
        return labels
    first, second = rubric.labels[:2]
    swapped = {first: second, second: first}
    return tuple(swapped.get(label, label) for label in labels)


def combined(rubric: Rubric, replies: Sequence[Reply]) -> Verdict:
    """The verdict: each model's repeats decide its vote, the models' votes the verdict, each by more than half of all.
    Where nobody disagreed but too many gave no verdict, their reason stands."""
    by_model: dict[str, dict[int, list[Reply]]] = {}
    for one in replies:
        by_model.setdefault(one.model, {}).setdefault(one.repeat, []).append(one)
    repeats = [[_of_orders(orders) for orders in each.values()] for each in by_model.values()]
    chosen = _majority(rubric, [_majority(rubric, votes) for votes in repeats])
    votes = [vote for each in repeats for vote in each]
    labels = () if isinstance(chosen, Missing) else chosen
    missing = chosen if isinstance(chosen, Missing) else None
    return Verdict(
        labels=labels,
        missing=missing,
        explanation=_explanation(replies, labels, missing),
        confidence=_confidence(replies, votes, labels),
        raw=_raw(replies),
        repaired=any(one.repaired for one in replies),
        usage=total(one.usage for one in replies),
        replies=tuple(replies),
    )


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of usages; its cost is unknown where that of a call is."""
    n_calls = input_tokens = output_tokens = 0
    cost: float | None = 0.0
    for one in usages:
        n_calls += one.n_calls
        input_tokens += one.input_tokens
        output_tokens += one.output_tokens
        if one.n_calls:
            cost = None if cost is None or one.cost_usd is None else cost + one.cost_usd
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, cost_usd=cost, n_calls=n_calls)


def _of_orders(replies: Sequence[Reply]) -> _Vote:
    lacking = next((one.missing for one in replies if one.missing is not None), None)
    if lacking is not None:
        return lacking
    return replies[0].labels if len({one.labels for one in replies}) == 1 else Missing.DISAGREED


def _majority(rubric: Rubric, votes: Sequence[_Vote]) -> _Vote:
    if len(votes) == 1:
        return votes[0]
    given = [vote for vote in votes if not isinstance(vote, Missing)]
    lacking = [vote for vote in votes if isinstance(vote, Missing)]
    if rubric.kind is ScaleKind.MULTI_LABEL:
        often = Counter(label for vote in given for label in vote)
        labels = tuple(label for label in rubric.labels if 2 * often[label] > len(votes))
    else:
        most = Counter(given).most_common(1)
        labels = most[0][0] if most and 2 * most[0][1] > len(votes) else ()
    if labels:
        return labels
    if len(set(given)) > 1 or not lacking:
        return Missing.DISAGREED
    return Counter(lacking).most_common(1)[0][0]


def _confidence(replies: Sequence[Reply], votes: Sequence[_Vote], labels: tuple[str, ...]) -> float | None:
    if not labels:
        return None
    if len(votes) > 1:
        return sum(vote == labels for vote in votes) / len(votes)
    told = [one.confidence for one in replies if one.confidence is not None]
    return sum(told) / len(told) if told else None


def _explanation(replies: Sequence[Reply], labels: tuple[str, ...], missing: Missing | None) -> str:
    if missing is Missing.DISAGREED:
        said = [f"{_whose(one)}: {', '.join(one.labels) or (one.missing or '')}" for one in replies]
        return "; ".join(said[:20])
    fitting = (one.explanation for one in replies if (one.labels == labels if labels else one.missing is missing))
    return next((text for text in fitting if text), "")


def _whose(reply: Reply) -> str:
    order = f", order {reply.shown}" if reply.shown else ""
    return f"{reply.model}{order}, repeat {reply.repeat + 1}"


def _raw(replies: Sequence[Reply]) -> str:
    if len(replies) == 1:
        return replies[0].raw[:MAX_RAW]
    share = MAX_RAW // max(1, len(replies)) - 200
    return "\n".join(f"--- {_whose(one)}\n{one.raw[:share]}" for one in replies)[:MAX_RAW]
