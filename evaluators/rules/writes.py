"""The calls that change the world, against the gold ones: what most of a task's reward hangs on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from evaluators.records import Dimension, EvaluatorSpec, Expected, Score, Scored, Target, ToolCall, shortened
from evaluators.rules.matching import Matched, matched
from evaluators.rules.rule import WHOLE, Rule, not_expected
from evaluators.rules.validity import VALIDITY

# A tool writes when the first word of its name is one of these. `write_tools` of an example says it for certain.
_VERBS: Final = (
    "accept activate add allocate apply approve archive assign authorize block book buy cancel change charge "
    "checkin clear close complete confirm connect create credit deactivate debit decline delete deny deploy "
    "disable disconnect dispatch drop edit enable escalate exchange execute grant insert install invite issue "
    "lock make mark merge modify move open order patch pay place post publish purchase push put reactivate "
    "reassign rebook reboot redeem refuel refund register reject release remove rename renew replace reschedule "
    "reserve reset resolve restart restore resume return revoke rotate save schedule sell send set ship sign "
    "start stop submit subscribe suspend toggle transfer trigger unassign unblock uninstall unlock unsubscribe "
    "update upgrade upload upsert void withdraw write"
)
WRITE_VERBS: Final = frozenset(_VERBS.split())
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_HANDOVER: Final = frozenset({"human", "humans", "agent", "agents", "operator", "representative"})


def writes(name: str, declared: Sequence[str] | None = None) -> bool:
    """Whether a call of this tool changes the world: as declared or, where nothing is, by the first word of its name.

    A namespace before a dot, slash or double underscore is left out; handing over to a person is no write.
    """
    if declared is not None:
        return name in declared
    words = [word.lower() for word in _WORDS.findall(re.split(r"[./:]|__", name[:300])[-1])]
    if not words or words[0] not in WRITE_VERBS:
        return False
    return not (words[0] in {"transfer", "escalate"} and _HANDOVER & set(words))


def made_writes(calls: Sequence[ToolCall], declared: Sequence[str] | None) -> tuple[ToolCall, ...]:
    """The writing calls that did not fail: a failed one changed nothing."""
    return tuple(one for one in calls if one.error is None and writes(one.name, declared))


def _compared(target: Target) -> tuple[Expected, tuple[ToolCall, ...], tuple[ToolCall, ...], Matched] | None:
    """(expected, gold writes, writes made, their pairing); None where the example names no gold calls."""
    expected = target.expected
    if expected is None or expected.tool_calls is None:
        return None
    gold = tuple(one for one in expected.tool_calls if writes(one.name, expected.write_tools))
    made = made_writes(target.trajectory.tool_calls, expected.write_tools)
    return expected, gold, made, matched(gold, made, expected.comparators)


def _write_set(target: Target) -> Scored:
    compared = _compared(target)
    if compared is None:
        return not_expected("tool_calls")
    _, gold, made, found = compared
    fits = found.n_matched == found.n_gold == found.n_made
    return Score(
        value=float(fits),
        passed=fits,
        explanation=f"{len(gold)} writes, each as expected" if fits else _difference(gold, made, found),
        parts={**found.parts, "gold": [one.name for one in gold[:50]], "made": [one.name for one in made[:50]]},
        span_id=None if fits or not made else made[-1].span_id,
    )


def _difference(gold: Sequence[ToolCall], made: Sequence[ToolCall], found: Matched) -> str:
    wanted = shortened([one.name for one in gold]) or "no write"
    given = shortened([one.name for one in made]) or "no write"
    return f"expected {wanted}; made {given}; {found.n_matched} of {found.n_gold} as expected"


def _write_f1(target: Target) -> Scored:
    compared = _compared(target)
    if compared is None:
        return not_expected("tool_calls")
    found = compared[3]
    return Score(value=found.f1, parts=found.parts)


_BY_DEFINITION: Final = (
    "These rewards compare the database with the one that the gold writes lead to, so that on airline and retail tasks "
    "this is nearly their definition; in telecom much is done by the user. Published for an exact multiset of writes "
    "on 200 tau-bench runs: .695; counted with failed calls and hand-overs to a person, ours gives .73 on 120."
)


def _spec(name: str, summary: str, *failure_modes: str, binary: bool) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.CORRECTNESS,
        summary=summary,
        failure_modes=failure_modes,
        targets=WHOLE,
        binary=binary,
        needs=("tool_calls",),
        validity=f"{VALIDITY[name]} {_BY_DEFINITION}",
    )


_HEURISTIC: Final = "without write_tools in the example a tool is taken to write by the first word of its name"

WRITE_SET: Final = Rule(
    spec=_spec(
        "write_set",
        "The calls that change the world are the gold ones, each as often, by name and arguments; failed calls and "
        "look-ups do not count.",
        _HEURISTIC,
        "another set of writes that leads to the same state fails it: use end_state where the state is known",
        "says nothing of what the agent told the user",
        binary=True,
    ),
    score=_write_set,
)
WRITE_F1: Final = Rule(
    spec=_spec(
        "write_f1",
        "F1 of the calls that change the world against the gold ones, by name and arguments. None and none: 1.",
        _HEURISTIC,
        "half of the right writes may be worse than none",
        binary=False,
    ),
    score=_write_f1,
)
