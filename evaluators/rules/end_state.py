"""What the world is after a trajectory: equal to the expected state, or such that conditions on it hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from typing import Any, Final

from core.errors import TooLarge
from evaluators.records import Dimension, EvaluatorSpec, Reason, Score, Scored, Target, Unscored, shortened
from evaluators.rules import conditions
from evaluators.rules.condition_text import parse, roots_of
from evaluators.rules.rule import WHOLE, Rule, not_expected, not_recorded
from evaluators.rules.values import MOST_DEPTH, same

MOST_DIFFERENCES: Final = 100
_NOTHING: Final = object()


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Where the state differs: {path, kind: changed | missing | extra, expected, found}, in order of the path.

    Each key that the expected state has is compared whole, what is extra inside it included; keys at the top that it
    does not have are not looked at. An expected null is as one that is missing. Raises TooLarge for too deep a state.
    """
    for key in sorted(expected, key=str):
        yield from _differences(expected[key], found.get(key, _NOTHING), str(key), 0)


def _differences(expected: Any, found: Any, path: str, depth: int) -> Iterator[dict[str, Any]]:
    if depth > MOST_DEPTH:
        raise TooLarge(f"a state is nested more than {MOST_DEPTH} deep")
    expected, found = (None if one is _NOTHING else one for one in (expected, found))
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}, key=str):
            yield from _differences(expected.get(key), found.get(key), f"{path}.{key}", depth + 1)
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        for at, (one, other) in enumerate(zip_longest(expected, found)):
            yield from _differences(one, other, f"{path}[{at}]", depth + 1)
    elif not same(expected, found):
        kind = "missing" if found is None else "extra" if expected is None else "changed"
        yield {"path": path[:300], "kind": kind, "expected": _brief(expected), "found": _brief(found)}


def _brief(value: Any) -> Any:
    """The value itself where it is short, else its beginning as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 1e15:
        return value
    return str(value)[:200]


def _end_state(target: Target) -> Scored:
    if target.expected is None or target.expected.end_state is None:
        return not_expected("end_state")
    found = target.trajectory.end_state
    if found is None:
        return not_recorded("end state")
    diff = list(islice(differences(target.expected.end_state, found), MOST_DIFFERENCES + 1))
    fits = not diff
    said = "" if fits else f"differs at {shortened([one['path'] for one in diff])}"
    parts = {"diff": diff[:MOST_DIFFERENCES], "n_differences": min(len(diff), MOST_DIFFERENCES)}
    return Score(value=float(fits), passed=fits, explanation=said[:1000], parts=parts)


def _post_conditions(target: Target) -> Scored:
    if target.expected is None or not target.expected.post_conditions:
        return not_expected("post_conditions")
    texts = target.expected.post_conditions
    parsed = [parse(one) for one in texts]
    trajectory = target.trajectory
    roots = {
        "state": trajectory.end_state,
        "calls": conditions.Calls(trajectory.tool_calls),
        "answer": trajectory.answer,
        "said": trajectory.said,
    }
    looked_at = frozenset().union(*map(roots_of, parsed))
    if "state" in looked_at and trajectory.end_state is None:
        return not_recorded("end state")
    if "answer" in looked_at and trajectory.answer is None:
        return Unscored(reason=Reason.NOT_RECORDED, detail="the agent said nothing")
    held = [conditions.holds(one, roots) for one in parsed]
    broken = [text for text, holds in zip(texts, held, strict=True) if not holds]
    return Score(
        value=float(not broken),
        passed=not broken,
        explanation=f"does not hold: {shortened([one[:100] for one in broken])}" if broken else "",
        parts={"broken": broken[:50], "n_held": sum(held), "n_conditions": len(held)},
    )


END_STATE: Final = Rule(
    spec=EvaluatorSpec(
        name="end_state",
        version="1",
        dimension=Dimension.CORRECTNESS,
        summary="The world after the trajectory is as expected; the differences are in the score's parts.",
        failure_modes=(
            "needs the state of the world, which only a test bench or a sandbox tells",
            "what the expected state leaves out at its top is not looked at",
            "two right ways to different states: use post_conditions",
        ),
        targets=WHOLE,
        binary=True,
        needs=("end_state",),
    ),
    score=_end_state,
)
POST_CONDITIONS: Final = Rule(
    spec=EvaluatorSpec(
        name="post_conditions",
        version="1",
        dimension=Dimension.CORRECTNESS,
        summary="All conditions of the example hold of the end state, the calls and what was said.",
        failure_modes=(
            "what no condition names may have gone wrong",
            "a misspelled path is null, so that a 'not' over it holds: try the conditions on a known good trajectory",
        ),
        targets=WHOLE,
        binary=True,
        needs=("post_conditions",),
    ),
    score=_post_conditions,
)
