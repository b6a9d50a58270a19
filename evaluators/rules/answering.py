"""Rules about answers themselves: whether there is one, and whether the agent asks what it was told."""

from __future__ import annotations

from typing import Final

from core.errors import TooLarge
from core.records import TargetKind
from evaluators.records import Dimension, Direction, EvaluatorSpec, Reason, Score, Scored, Target, Unscored, shortened
from evaluators.rules.wording import agents, sentences, text_rule, words

_SMALL: Final = frozenset(
    words(
        "a an the to of for in on at by with and or is are be do does did can could would will shall may please you"
        " your i me my it its this that these those any have has also let know us we need so if as from"
    )
)
_ALIKE: Final = 0.8  # Jaccard index of the words of two questions
_FEWEST_WORDS: Final = 3
_MOST: Final = 1_000  # questions of one target
_FORMS: Final = (
    "anything else",
    "something else",
    "else i can",
    "else can i",
    "can i help",
    "may i help",
    "assist you",
)


def _questions(text: str) -> list[tuple[str, frozenset[str]]]:
    found = [one for one in sentences(text) if one.endswith("?") and not any(f in one.lower() for f in _FORMS)]
    keyed = [(one, frozenset(words(one)) - _SMALL) for one in found]
    return [(one, key) for one, key in keyed if len(key) >= _FEWEST_WORDS]


def _repeated(target: Target) -> Scored:
    trajectory = target.trajectory
    spoken = agents(trajectory)
    if not spoken:
        return Unscored(reason=Reason.NOT_RECORDED, detail="the agent's words are not recorded")
    answered = {one.turn for one in trajectory.messages if one.role == "user"}
    earlier: list[tuple[int, frozenset[str]]] = []
    repeats: list[str] = []
    for message in spoken:
        asked = _questions(message.text)
        for text, key in asked:
            before = [turn for turn, known in earlier if len(key & known) >= _ALIKE * len(key | known)]
            if any(turn < later <= message.turn for turn in before for later in answered):
                repeats.append(f"turn {message.turn + 1}: {text[:80]}")
        earlier += [(message.turn, key) for _, key in asked]
        if len(earlier) > _MOST:
            raise TooLarge(f"the agent asked more than {_MOST:,} questions")
    told = shortened(repeats, 3) if repeats else "none"
    parts = {"questions": repeats[:50], "n_questions": len(earlier)}
    return Score(value=float(len(repeats)), passed=not repeats, explanation=told, parts=parts)


def _empty(target: Target) -> Scored:
    messages = target.trajectory.messages
    if not messages:
        return Unscored(reason=Reason.NOT_RECORDED, detail="no message is recorded")
    last_user = max((one.turn for one in messages if one.role == "user"), default=None)
    if last_user is None:
        return Unscored(reason=Reason.NOT_APPLICABLE, detail="no message of a user to answer")
    turns = {one.turn for one in messages if one.role == "user"}
    answered = {one.turn for one in agents(target.trajectory)}
    missing = sorted(turns - answered)
    if missing == [last_user] and len(turns) > 1:
        missing = []  # the user closed the conversation, or it is going on
    told = (
        f"no answer in turn {', '.join(str(one + 1) for one in missing[:5])}" if missing else "every turn is answered"
    )
    return Score(value=float(bool(missing)), passed=not missing, explanation=told, parts={"turns": missing[:50]})


_WHOLE: Final = frozenset({TargetKind.TURN, TargetKind.SESSION, TargetKind.EXAMPLE})
_REPEATED_SPEC: Final = EvaluatorSpec(
    name="repeated_questions",
    version="1",
    dimension=Dimension.HELPFULNESS,
    summary="how many questions the agent asked again (four fifths of the words the same) after the user had replied",
    failure_modes=(
        "a question in other words is not seen as the same",
        "asking again because the reply did not say it counts too",
        "the same confirmation asked for each of several actions counts",
    ),
    targets=frozenset({TargetKind.SESSION, TargetKind.EXAMPLE}),
    unit="count",
    direction=Direction.LOWER,
    validity="as a predictor of failure AUC .49 on tau-bench airline, .56 on tau2",
)
_EMPTY_SPEC: Final = EvaluatorSpec(
    name="empty_answer",
    version="1",
    dimension=Dimension.RELIABILITY,
    summary="1 when a turn has a user's message and no words of the agent; the last turn of several may be the user's",
    failure_modes=("an answer that was not recorded is empty here", "an answer of one sign counts as an answer"),
    targets=_WHOLE,
    direction=Direction.LOWER,
    binary=True,
)

REPEATED_QUESTIONS: Final = text_rule(_REPEATED_SPEC, _repeated)
EMPTY_ANSWER: Final = text_rule(_EMPTY_SPEC, _empty)
