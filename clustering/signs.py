"""Signs: short phrases about how a session went that its words do not say. Pure, and of one session alone.

An embedder sees texts. What a trace shows beside them (a model that is slow, another one than was asked for, a tool
called twice with the same arguments, an argument that nobody named, an answer that cites nothing) becomes a phrase of
always the same words, so that sessions that share it are near each other. Numbers are told in steps of four, so that
chance does not change the phrase. No sign is a judgement: which of them go with failures, the clusters show.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean, median
from typing import Any, Final

from clustering.cleaning import cleaned
from clustering.told import Told

LONG_WORDS: Final = (80, 160, 320)  # mean words of an agent's messages from which an answer is long, longer, longest
SLOW_S: Final = (1.0, 4.0, 16.0, 64.0)
LONG_CONTEXT: Final = (8_000, 32_000, 128_000)
MANY_TURNS: Final = (4, 8, 16)
_FINISHED: Final = frozenset(
    {"stop", "end_turn", "tool_calls", "tool_use", "tool_call", "function_call", "stop_sequence"}
)
_MARK: Final = re.compile(r"\[(EMAIL|PHONE|CARD|SSN|IBAN|IP|SECRET)(?::[0-9a-f]{6,64})?\]")
_ID: Final = re.compile(r"\b([A-Za-z]{0,6})[-_#]?\d{3,}\b")
_MOST_NUMBER: Final = 1e15
_FIGURE: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,6})?")
_NAME: Final = re.compile(r"[\w.\[\]-]{4,80}")
_REASON: Final = re.compile(r"[\w-]+")
_TIMES: Final = {2: "twice", 3: "three times", 4: "many times"}
_FEWEST_CHARS: Final = 4  # of an argument that is looked for in what was said: shorter ones are found anywhere
_MOST_CHARS: Final = 24  # and at most, as longer ones are the agent's own words
_MOST_TEXT: Final = 60_000


def signs_of(told: Told) -> list[str]:
    """The session's signs, those that say most first."""
    return list(dict.fromkeys([*_of_calls(told), *_of_models(told), *_of_answers(told), *_of_the_course(told)]))


def step(value: float, steps: Iterable[float]) -> float | None:
    """The greatest of the ascending `steps` that `value` reaches; None below the first."""
    return max((one for one in steps if value >= one), default=None)


def _of_calls(told: Told) -> Iterator[str]:
    again = Counter((call.name, json.dumps(call.arguments, sort_keys=True, default=str)) for call in told.calls)
    for name, n in sorted({(name, min(n, 4)) for (name, _), n in again.items() if n > 1}):
        yield f"{name} called {_TIMES[n]} with the same arguments"
    yield from _of_arguments(told)
    slow = max((call.duration_ms or 0.0 for call in told.calls), default=0.0)
    if (seconds := step(slow / 1e3, SLOW_S[1:])) is not None:
        yield f"a tool took over {seconds:g} seconds"


def _of_arguments(told: Told) -> Iterator[str]:
    """Arguments that were told by nobody, and ids beside those that the user named."""
    users = " ".join(told.said_by("user"))[:_MOST_TEXT]
    known = [" ".join(one.text for one in told.messages)[:_MOST_TEXT]]
    for call in told.calls:
        heard = " ".join(known)[-_MOST_TEXT:]
        for key, value in call.arguments.items():
            if _is_told(value, heard):
                if _is_another_id(value, users):
                    yield f"{call.name} with another {key} than the user named"
            else:
                yield f"{call.name} with {key} that nobody named"
        known.append((call.result or "")[:_MOST_TEXT])


def _is_told(value: Any, heard: str) -> bool:
    """Whether a value was said before, or is none that could have been."""
    match value:
        case bool():
            return True
        case int() | float() if not abs(value) <= _MOST_NUMBER:  # nor infinity, nor NaN
            return True
        case int() | float():
            return _is_small(value) or any(form in heard for form in _written(value))
        case str() if _FIGURE.fullmatch(value):
            return value in heard or _is_told(float(value), heard)
        case str() if _FEWEST_CHARS <= len(value) <= _MOST_CHARS and any(char.isdigit() for char in value):
            return value.casefold() in heard.casefold()
        case _:
            return True


def _is_small(value: float) -> bool:
    """Counts and shares, which an agent may well find itself."""
    return abs(value) <= 100 and value == int(value)


def _written(value: float) -> set[str]:
    """The ways in which people and tools write a number."""
    forms = {f"{value:g}", f"{value:.2f}", f"{value:,.2f}"}
    return forms | {f"{value:.0f}", f"{value:,.0f}"} if value == int(value) else forms


def _is_another_id(value: Any, users: str) -> bool:
    """Whether the user named things of this kind (the same letters before a number), and not this one."""
    if not isinstance(value, str) or (match := _ID.fullmatch(value)) is None:
        return False
    named = {one[0].casefold() for one in _ID.finditer(users) if one[1].casefold() == match[1].casefold() and match[1]}
    return bool(named) and value.casefold() not in named


def _of_models(told: Told) -> Iterator[str]:
    for asked, answered in dict.fromkeys((one.asked, one.answered) for one in told.models):
        if asked and answered and not (answered.startswith(asked) or asked.endswith(answered)):
            yield f"answered by the model {answered} instead of {asked}"
    for reason in sorted({reason for one in told.models for reason in _REASON.findall(one.finish_reasons or "")}):
        if reason.lower() not in _FINISHED:
            yield f"the model ended by {reason.lower()}"
    times = [one.duration_ms / 1e3 for one in told.models if one.duration_ms is not None]
    if times and (seconds := step(median(times), SLOW_S)) is not None:
        yield f"slow: model calls take over {seconds:g} seconds"
    most = max((one.input_tokens or 0 for one in told.models), default=0)
    if (tokens := step(most, LONG_CONTEXT)) is not None:
        yield f"a context of over {tokens:g} tokens"


def _of_answers(told: Told) -> Iterator[str]:
    answers = told.said_by("assistant")
    words = [len(one.split()) for one in answers if one]
    if words and (at := step(fmean(words), LONG_WORDS)) is not None:
        yield {80: "long answers", 160: "very long answers", 320: "endless answers"}[int(at)]
    said, users = " ".join(answers)[:_MOST_TEXT], " ".join(told.said_by("user"))[:_MOST_TEXT]
    marks = {one[1] for one in _MARK.finditer(said)} - {one[1] for one in _MARK.finditer(users)}
    for mark in sorted(marks):
        yield f"the agent told a [{mark}] that the user had not"
    yield from _of_documents(told, said)


def _of_documents(told: Told, said: str) -> Iterator[str]:
    """Whether answers cite what was retrieved, by its id."""
    if not told.retrieved:
        return
    names = {name for found in told.retrieved for name in found if _NAME.fullmatch(name) and not name.isdigit()}
    if not any(told.retrieved):
        yield "no document was found"
    elif names:
        cited = any(name in said for name in names)
        yield "the answer cites a document" if cited else "documents were found and none is cited"


def _of_the_course(told: Told) -> Iterator[str]:
    if (turns := step(told.n_turns, MANY_TURNS)) is not None:
        yield f"over {turns:g} turns"
    if told.messages and told.messages[-1].role == "user":
        yield "the user got no answer"
    if told.broken:
        yield "the last turn failed"


def errors_of(told: Told) -> list[str]:
    """What failed: tools, models and the rest, each once, without what differs from session to session."""
    of_calls = [f"{one.name} failed: {cleaned(one.error, 120)}" for one in told.calls if one.error]
    of_models = [f"model call failed: {cleaned(one.error, 120)}" for one in told.models if one.error]
    return list(dict.fromkeys([*of_calls, *of_models, *(cleaned(one, 160) for one in told.errors)]))


def shown_arguments(arguments: Mapping[str, Any]) -> str:
    """Arguments that name a choice rather than a thing: small whole numbers, yes and no, single lower-case words."""
    shown = []
    for key, value in sorted(arguments.items()):
        match value:
            case bool():
                shown.append(f"{key} {'yes' if value else 'no'}")
            case int() | float() if 0 <= value <= 100 and value == int(value):
                shown.append(f"{key} {int(value)}")
            case str() if re.fullmatch(r"[a-z][a-z_]{1,23}", value):
                shown.append(f"{key} {value}")
            case _:
                continue
    return ", ".join(shown[:4])
