"""Signals of whether a user was helped: how the conversation ended, who took it over, how the user sounded."""

from __future__ import annotations

import re
from typing import Final

from core.records import TargetKind
from evaluators.records import (
    Dimension,
    Direction,
    EvaluatorSpec,
    Reason,
    Score,
    Scored,
    Target,
    Trajectory,
    Unscored,
    shortened,
)
from evaluators.rules.policy import named, policy_of
from evaluators.rules.wording import agents, plain, spoken, text_rule, users, words

_SESSIONS: Final = frozenset({TargetKind.SESSION, TargetKind.EXAMPLE})
_WHOLE: Final = frozenset({TargetKind.TURN, TargetKind.SESSION, TargetKind.EXAMPLE})
_THANKS: Final = re.compile(
    r"\b(?:thank(?:s| you)|thx|appreciate|perfect|great|awesome|wonderful|excellent|that(?:'s| is) (?:all|it"
    r"|everything)"
    r"|all set|no(?:thing)? (?:else|more|further)|bye|goodbye|have a (?:great|good|nice)|it(?:'s| is) working|that "
    r"(?:worked"
    r"|fixed it|helps|helped)|problem solved|resolved)\b",
    re.IGNORECASE,
)
_COMPLAINS: Final = re.compile(
    r"\b(?:still (?:not|doesn't|don't|isn't|no|can't|having|broken)|doesn't work|didn't (?:work|help)|not (?:working"
    r"|helpful"
    r"|what i|acceptable|happy|satisfied)|unacceptable|ridiculous|useless|disappoint\w*|frustrat\w*|terrible|awful"
    r"|waste of"
    r"|complain\w*|human|supervisor|manager|real person|never mind|forget it|give up|unfortunate(?:ly)?)\b",
    re.IGNORECASE,
)
_HUMAN: Final = re.compile(
    r"\btransfer(?:red|ring)?\s+(?:you\b|this\b|your\s+\w+)?.{0,40}\b(?:human|agent|person|specialist|representative"
    r"|supervisor|colleague|team)\b|\b(?:connect(?:ing)?|escalat\w*|hand(?:ing|ed)?)\s+(?:you|this|your\s+\w+)\b.{0,40}"
    r"\b(?:human|agent|person|specialist|representative|supervisor|colleague|team)\b",
    re.IGNORECASE,
)
ESCALATES: Final = re.compile(
    r"(?:transfer|escalat|hand_?off|hand_?over|connect)\w*(?:human|agent|person|support|supervisor|staff)|^escalate\w*$"
    r"|human_?(?:agent|handoff|takeover)",
    re.IGNORECASE,
)
_FRUSTRATED: Final = re.compile(
    r"\b(?:frustrat\w*|annoy\w*|ridiculous|unacceptable|useless|terrible|awful|horrible|worst|angry|furious|upset"
    r"|fed up"
    r"|waste of (?:my )?time|disappoint\w*|(?:already|just) (?:told|said|gave|answered|explained)|how many times|as "
    r"i said"
    r"|again and again|come on|seriously|wtf|damn|stupid|nonsense|speak to (?:a )?(?:human|manager|supervisor|person)"
    r"|heartless|not listening|you (?:don't|do not|aren't|are not) (?:understand|listen\w*|help\w*))\b|[!?]{3,}",
    re.IGNORECASE,
)
_LETTERS_SHOUTED: Final = 12  # capitals in a message of which most letters are capitals
_WORDS_REPEATED: Final = 5


def ending(trajectory: Trajectory) -> tuple[str, str]:
    """(label, what tells so) of how a conversation ended: resolved, complaint, escalated, unanswered, unclear."""
    handed = handovers(trajectory, ())
    if handed:
        return "escalated", handed[0]
    said = users(trajectory)
    if not said:
        return "unclear", "the user said nothing"
    last = spoken(said[-1])
    complaint, thanks = _COMPLAINS.search(last), _THANKS.search(last)
    if complaint:
        return "complaint", f"last words of the user: {complaint[0].lower()}"
    if not any(one.turn >= said[-1].turn for one in agents(trajectory)) and not thanks:
        return "unanswered", "the user's last message has no answer"
    if thanks:
        return "resolved", f"last words of the user: {thanks[0].lower()}"
    return "unclear", "the user's last words say neither"


def handovers(trajectory: Trajectory, tools: tuple[str, ...]) -> list[str]:
    """Each sign that a person took over: a tool of that kind, or words of the agent."""
    called = [one.name for one in trajectory.tool_calls]
    found = [f"tool {name[:100]}" for name in called if named(name, tools) or ESCALATES.search(name)]
    found += [f"words in turn {one.turn + 1}" for one in agents(trajectory) if _HUMAN.search(plain(one.text))]
    return found


def _resolution(target: Target) -> Scored:
    if not users(target.trajectory):
        return Unscored(reason=Reason.NOT_RECORDED, detail="the user's words are not recorded")
    label, told = ending(target.trajectory)
    if label == "unclear":
        return Unscored(reason=Reason.NOT_APPLICABLE, detail=told)
    resolved = label == "resolved"
    return Score(value=float(resolved), passed=resolved, label=label, explanation=told)


def _turns(target: Target) -> Scored:
    said = users(target.trajectory)
    if not said:
        return Unscored(reason=Reason.NOT_RECORDED, detail="the user's words are not recorded")
    label, told = ending(target.trajectory)
    if label != "resolved":
        return Unscored(reason=Reason.NOT_APPLICABLE, detail=f"not resolved: {told}")
    closing = len(said) > 1 and "?" not in said[-1].text and len(words(said[-1].text)) <= 40
    n = len(said) - closing
    return Score(value=float(n), explanation=f"{n} messages of the user before the thanks", parts={"closing": closing})


def _escalation(target: Target) -> Scored:
    trajectory = target.trajectory
    if not agents(trajectory) and not trajectory.tool_calls:
        return Unscored(reason=Reason.NOT_RECORDED, detail="neither words nor calls of the agent are recorded")
    found = handovers(trajectory, policy_of(target.expected).escalation_tools)
    told = shortened(found) if found else "nobody took over"
    return Score(value=float(bool(found)), passed=not found, explanation=told, parts={"signs": found[:50]})


def _frustration(target: Target) -> Scored:
    said = users(target.trajectory)
    if not said:
        return Unscored(reason=Reason.NOT_RECORDED, detail="the user's words are not recorded")
    before: set[str] = set()
    signs: list[str] = []
    for one in said:
        text = spoken(one)
        same = " ".join(words(text))
        if sign := _sign(text, same in before):
            signs.append(f"{sign} in turn {one.turn + 1}")
        if len(same.split()) >= _WORDS_REPEATED:
            before.add(same)
    share = len(signs) / len(said)
    told = shortened(signs) if signs else "no sign"
    return Score(value=share, explanation=told, parts={"signs": signs[:50], "n_messages": len(said)})


def _sign(text: str, repeated: bool) -> str | None:
    if found := _FRUSTRATED.search(text):
        return found[0].lower()
    letters = [char for char in text if char.isalpha()]
    if len(letters) >= _LETTERS_SHOUTED and sum(map(str.isupper, letters)) > 0.7 * len(letters):
        return "capitals"
    return "the same words again" if repeated else None


_RESOLUTION_SPEC: Final = EvaluatorSpec(
    name="resolution",
    version="1",
    dimension=Dimension.HELPFULNESS,
    summary="1 when the user's last words thank or close and no person took over; 0 for a complaint, a handover or no "
    "answer; neither is not_applicable",
    failure_modes=(
        "polite users thank for a wrong answer: it says how the conversation ended, not that the task was done",
        "English words; sarcasm reads as thanks",
        "a handover that was right counts as unresolved",
    ),
    targets=_SESSIONS,
    binary=True,
    validity="weak: as a predictor of the checked reward AUC .37 on tau-bench airline (a handover can be what is "
    "right) and .58 on "
    "tau2; simulated users thank for wrong answers too",
)
_TURNS_SPEC: Final = EvaluatorSpec(
    name="turns_to_resolution",
    version="1",
    dimension=Dimension.HELPFULNESS,
    summary="messages that the user needed in a conversation that resolution calls resolved, closing thanks not "
    "counted",
    failure_modes=("as resolution", "of resolved conversations only: read it beside the share of these"),
    targets=_SESSIONS,
    unit="count",
    direction=Direction.LOWER,
    validity="no predictor of reward: AUC .56 on tau-bench airline and .51 on tau2 (fewer is better)",
)
_ESCALATION_SPEC: Final = EvaluatorSpec(
    name="escalation",
    version="1",
    dimension=Dimension.HELPFULNESS,
    summary="1 when a person took over: a tool such as transfer_to_human_agents or one of policy.escalation_tools was "
    "called, or the agent said so",
    failure_modes=(
        "an offer to transfer that the user declined may count",
        "tools of unusual names must be named in the policy",
        "a handover that the policy asks for counts too",
    ),
    targets=_WHOLE,
    direction=Direction.LOWER,
    binary=True,
    validity="as a predictor of failure: AUC .36 on tau-bench airline, where the handover is often right, and .55 on "
    "tau2",
)
_FRUSTRATION_SPEC: Final = EvaluatorSpec(
    name="user_frustration",
    version="1",
    dimension=Dimension.HELPFULNESS,
    summary="share of the user's messages with a sign of frustration: words, capitals, !!!, or the same words again",
    failure_modes=(
        "English words; quiet dissatisfaction is not seen",
        "a user who came upset over something else counts",
    ),
    targets=_WHOLE,
    direction=Direction.LOWER,
    validity="as a predictor of failure AUC .50 and .54 on tau-bench and tau2, whose simulated users stay polite",
)

RESOLUTION: Final = text_rule(_RESOLUTION_SPEC, _resolution)
TURNS_TO_RESOLUTION: Final = text_rule(_TURNS_SPEC, _turns)
ESCALATION: Final = text_rule(_ESCALATION_SPEC, _escalation)
USER_FRUSTRATION: Final = text_rule(_FRUSTRATION_SPEC, _frustration)
