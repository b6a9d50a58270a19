"""Tool calls against the gold ones of an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from evaluators.records import Dimension, EvaluatorSpec, Expected, Score, Scored, Target, ToolCall, shortened
from evaluators.rules.comparators import arguments_equal
from evaluators.rules.matching import Matched, argument_shares, in_order, longest_common, matched
from evaluators.rules.rule import WHOLE, Rule, not_applicable, not_expected
from evaluators.rules.validity import VALIDITY

Against = Callable[[Sequence[ToolCall], Sequence[ToolCall], Expected], Score]


def _against_gold(
    score: Callable[[Sequence[ToolCall], Sequence[ToolCall], Expected], Score],
) -> Callable[[Target], Scored]:
    def scored(target: Target) -> Scored:
        if target.expected is None or target.expected.tool_calls is None:
            return not_expected("tool_calls")
        return score(target.expected.tool_calls, target.trajectory.tool_calls, target.expected)

    return scored


def _exact(gold: Sequence[ToolCall], made: Sequence[ToolCall], expected: Expected) -> Score:
    pairs = zip(gold, made, strict=False)
    at = next(
        (at for at, (one, other) in enumerate(pairs) if not arguments_equal(one, other, expected.comparators)), None
    )
    if at is None and len(gold) == len(made):
        return Score(value=1.0, passed=True, explanation=f"all {len(gold)} calls as expected")
    first = min(len(gold), len(made)) if at is None else at
    wanted = gold[first].name if first < len(gold) else "no call"
    given = made[first].name if first < len(made) else "no call"
    said = f"call {first + 1}: expected {wanted}, found {given}"
    if wanted == given:
        said += " with other arguments"
    where = made[first].span_id if first < len(made) else None
    return Score(value=0.0, passed=False, explanation=said, parts={"first_difference": first}, span_id=where)


def _in_order(gold: Sequence[ToolCall], made: Sequence[ToolCall], expected: Expected) -> Score:
    fits = in_order(gold, made, expected.comparators)
    return Score(value=float(fits), passed=fits, explanation="" if fits else _missing(gold, made, expected))


def _any_order(gold: Sequence[ToolCall], made: Sequence[ToolCall], expected: Expected) -> Score:
    found = matched(gold, made, expected.comparators)
    fits = found.n_matched == found.n_gold
    said = "" if fits else _missing(gold, made, expected)
    return Score(value=float(fits), passed=fits, explanation=said, parts=found.parts)


def _missing(gold: Sequence[ToolCall], made: Sequence[ToolCall], expected: Expected) -> str:
    missing = [
        one.name
        for one in gold[:50]
        if not any(arguments_equal(one, other, expected.comparators) for other in made[:500])
    ]
    if missing:
        return f"not called as expected: {shortened(missing)}"
    return "called, but not in order or not often enough"


def _rate(of: Callable[[Matched], float]) -> Callable[[Target], Scored]:
    def rated(gold: Sequence[ToolCall], made: Sequence[ToolCall], expected: Expected) -> Score:
        found = matched(gold, made, expected.comparators)
        said = f"{found.n_matched} of {found.n_made} calls made are among the {found.n_gold} expected"
        return Score(value=of(found), explanation=said, parts=found.parts)

    return _against_gold(rated)


def _names_f1(gold: Sequence[ToolCall], made: Sequence[ToolCall], _expected: Expected) -> Score:
    both = Counter(one.name for one in gold) & Counter(one.name for one in made)
    found = Matched(n_matched=both.total(), n_made=len(made), n_gold=len(gold))
    return Score(value=found.f1, parts=found.parts)


def _order(gold: Sequence[ToolCall], made: Sequence[ToolCall], expected: Expected) -> Score:
    if not gold:
        return Score(value=1.0, explanation="no call is expected")
    length = longest_common(gold, made, expected.comparators)
    return Score(value=length / len(gold), parts={"n_in_order": length, "n_gold": len(gold)})


def _argument_match(target: Target) -> Scored:
    if target.expected is None or target.expected.tool_calls is None:
        return not_expected("tool_calls")
    gold = target.expected.tool_calls
    if not gold:
        return not_applicable("no call is expected, so no argument is")
    shares = argument_shares(gold, target.trajectory.tool_calls, target.expected.comparators)
    n_whole = sum(share == 1.0 for share in shares)
    return Score(
        value=sum(shares) / len(shares),
        explanation=f"{n_whole} of {len(gold)} expected calls have all arguments as expected",
        parts={"n_whole": n_whole, "n_gold": len(gold)},
    )


def _single_tool(target: Target) -> Scored:
    if target.expected is None or target.expected.tool_calls is None:
        return not_expected("tool_calls")
    names = {one.name for one in target.expected.tool_calls}
    if len(names) != 1:
        return not_applicable(f"the example expects {len(names)} tools, not one")
    used = any(one.name in names for one in target.trajectory.tool_calls)
    said = f"{next(iter(names))} was {'' if used else 'not '}called"
    return Score(value=float(used), passed=used, explanation=said)


def _spec(name: str, summary: str, *failure_modes: str, binary: bool = False) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.CORRECTNESS,
        summary=summary,
        failure_modes=failure_modes,
        targets=WHOLE,
        binary=binary,
        needs=("tool_calls",),
        validity=VALIDITY.get(name),
    )


_OTHER_WAYS: Final = "an agent that reaches the goal by other calls than the gold ones is marked down"
_SUPERFLUOUS: Final = "a harmful call beside the expected ones is not seen: use write_set"
_FREE_TEXT: Final = "free-text arguments differ in wording: choose a comparator for them"

TOOL_CALLS_EXACT: Final = Rule(
    spec=_spec(
        "tool_calls_exact",
        "The calls made are the gold calls: same tools, same arguments, same order, none besides.",
        _OTHER_WAYS,
        "one look-up more or in another order fails it",
        _FREE_TEXT,
        binary=True,
    ),
    score=_against_gold(_exact),
)
TOOL_CALLS_IN_ORDER: Final = Rule(
    spec=_spec(
        "tool_calls_in_order",
        "All gold calls were made in their order; others may stand between them.",
        _OTHER_WAYS,
        _SUPERFLUOUS,
        _FREE_TEXT,
        binary=True,
    ),
    score=_against_gold(_in_order),
)
TOOL_CALLS_ANY_ORDER: Final = Rule(
    spec=_spec(
        "tool_calls_any_order",
        "All gold calls were made, in any order; others may be there too.",
        _OTHER_WAYS,
        _SUPERFLUOUS,
        _FREE_TEXT,
        binary=True,
    ),
    score=_against_gold(_any_order),
)
TOOL_PRECISION: Final = Rule(
    spec=_spec(
        "tool_precision",
        "The share of the calls made that are gold calls, by name and arguments. No call where some are expected: 0.",
        _OTHER_WAYS,
        "says nothing about the gold calls that were not made",
    ),
    score=_rate(lambda found: found.precision),
)
TOOL_RECALL: Final = Rule(
    spec=_spec(
        "tool_recall",
        "The share of the gold calls that were made, by name and arguments. Where none is expected: 1.",
        _OTHER_WAYS,
        _SUPERFLUOUS,
    ),
    score=_rate(lambda found: found.recall),
)
TOOL_F1: Final = Rule(
    spec=_spec(
        "tool_f1",
        "Harmonic mean of tool_precision and tool_recall, over calls by name and arguments.",
        _OTHER_WAYS,
        "a look-up counts as much as a refund: use write_set to decide, this to diagnose",
    ),
    score=_rate(lambda found: found.f1),
)
TOOL_NAMES_F1: Final = Rule(
    spec=_spec(
        "tool_names_f1",
        "As tool_f1, by the names of the tools alone.",
        "the right tool with wrong arguments counts as right",
        _OTHER_WAYS,
    ),
    score=_against_gold(_names_f1),
)
TOOL_ORDER: Final = Rule(
    spec=_spec(
        "tool_order",
        "The longest run of gold calls made in their order, as a share of the gold calls.",
        "independent calls have no right order",
        _SUPERFLUOUS,
    ),
    score=_against_gold(_order),
)
ARGUMENT_MATCH: Final = Rule(
    spec=_spec(
        "argument_match",
        "Of each gold call's arguments the share that matches in the call paired with it, averaged over gold calls.",
        "an argument that gold does not name counts as a miss",
        "calls that gold does not have are not looked at",
        _FREE_TEXT,
    ),
    score=_argument_match,
)
SINGLE_TOOL_USE: Final = Rule(
    spec=_spec(
        "single_tool_use",
        "The one tool that the example expects was called, with whatever arguments.",
        "looks at the name alone, and says nothing of examples with several tools",
        binary=True,
    ),
    score=_single_tool,
)
