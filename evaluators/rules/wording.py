"""Words of a trajectory as the rules about text read them: plain, in sentences, and where they came from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from evaluators.records import EvaluatorSpec, Message, Reason, Scored, Target, ToolCall, Trajectory, Unscored
from evaluators.rules.rule import Rule

MOST_CHARACTERS: Final = 2_000_000  # of all texts of a target; a session that is longer is not read
_DEEPEST: Final = 32  # levels of a tool's result
_QUOTES: Final = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u202f": " "}
)
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:\.(?=\w)[^.!?\n]*)*[.!?]*")
_CONTROL: Final = re.compile(r"(?<!#)#{3}[A-Z-]{1,40}#{3}")  # a simulated user's signal, as ###STOP###


def plain(text: str) -> str:
    """The text with compatibility forms folded, straight quotes, and nothing invisible."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return "".join(char for char in folded if unicodedata.category(char) != "Cf")


def words(text: str) -> list[str]:
    """Its words in lower case."""
    return _WORD.findall(plain(text).lower())


def sentences(text: str) -> list[str]:
    """Its sentences with their signs; a line ends one."""
    return [one.strip() for one in _SENTENCE.findall(plain(text)) if one.strip()]


def spoken(message: Message) -> str:
    """What was said in it, without the signals of a simulated user."""
    return _CONTROL.sub("", plain(message.text)).strip()


def flat(value: Any, depth: int = 0) -> Iterator[str]:
    """All texts, keys and numbers of a JSON value, those of a mapping as 'key: value'."""
    if depth > _DEEPEST or value is None:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, str | int | float):
                yield f"{key}: {each}"
            else:
                yield str(key)
                yield from flat(each, depth + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from flat(each, depth + 1)
    else:
        yield str(value)


def result_text(call: ToolCall) -> str:
    """What a call gave, as text, its error included."""
    return "\n".join([*flat(call.result), *([call.error] if call.error else [])])


def took_effect(call: ToolCall) -> bool:
    """Whether a call did what it was made for: it has no error, and its result says of itself neither that it failed
    nor that it was refused."""
    if call.error is not None:
        return False
    if isinstance(call.result, Mapping):
        return not (call.result.get("error") or call.result.get("refused"))
    return not (isinstance(call.result, str) and call.result.lstrip().lower().startswith("error"))


def users(trajectory: Trajectory) -> list[Message]:
    """The user's messages that say something."""
    return [one for one in trajectory.messages if one.role == "user" and spoken(one)]


def agents(trajectory: Trajectory) -> list[Message]:
    """The agent's messages that say something."""
    return [one for one in trajectory.messages if one.role == "assistant" and one.text.strip()]


def text_rule(spec: EvaluatorSpec, score: Callable[[Target], Scored]) -> Rule:
    """A rule that reads texts: TOO_LARGE where there is more than MOST_CHARACTERS of them."""
    return Rule(spec=spec, score=partial(_bounded, score))


def _bounded(score: Callable[[Target], Scored], target: Target) -> Scored:
    trajectory = target.trajectory
    n = sum(len(one.text) for one in trajectory.messages) + sum(len(one.text) for one in trajectory.documents)
    n += sum(len(one.result) for one in trajectory.tool_calls if isinstance(one.result, str))
    if n > MOST_CHARACTERS:
        return Unscored(reason=Reason.TOO_LARGE, detail=f"{n:,} characters; {MOST_CHARACTERS:,} are read")
    return score(target)
