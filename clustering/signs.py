"""Signs: short phrases about how a session went that its words do not say. Pure, and of one session alone.

An embedder sees texts. What a trace shows beside them (another model than was asked for, a tool called again and again
with the same arguments, an argument that nobody named) becomes a phrase of always the same words, so that sessions that
share it are near each other. Most sessions show none. No sign is a judgement: which of them go with failures, the
clusters show. What the agent did against what was said is in clustering/conduct.py, what is a sign only beside the
app's other sessions in clustering/usual.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from clustering.cleaning import cleaned
from clustering.conduct import conduct_of, took_effect
from clustering.told import Called, Told
from evaluators.rules.writes import writes

LONG_CONTEXT: Final = (8_000, 32_000, 128_000)  # tokens; no sign where most sessions have one
LOOP: Final = 3  # calls with the same arguments in a turn; fewer may be a second look
_FINISHED: Final = frozenset(
    {"stop", "end_turn", "tool_calls", "tool_use", "tool_call", "function_call", "stop_sequence"}
)
_MARK: Final = re.compile(r"\[(EMAIL|PHONE|CARD|SSN|IBAN|IP|SECRET)(?::[0-9a-f]{6,64})?\]")
_DATED: Final = re.compile(r"[-@:]?(?:\d{4}-?\d{2}-?\d{2}|\d{2,4}|v?\d+(?:\.\d+)*|latest|preview)(?:[-:]\d{1,4})?")
_REASON: Final = re.compile(r"[\w-]+")
_TIMES: Final = {2: "twice", 3: "three times", 4: "many times"}
_MOST_NAME: Final = 60
_MOST_TEXT: Final = 60_000


def signs_of(told: Told) -> list[str]:
    """The session's signs, those that say most first."""
    found = [*conduct_of(told), *_of_calls(told), *_of_models(told), *_of_answers(told), *_of_the_course(told)]
    return list(dict.fromkeys(found))


def _of_calls(told: Told) -> Iterator[str]:
    """What was called again with the same arguments: a write anywhere, anything else in one turn."""
    again = Counter(_key(call) for call in told.calls if writes(call.name) and took_effect(call))
    loops = Counter((call.turn, *_key(call)) for call in told.calls)
    times = {name: n for (name, _), n in again.items() if n > 1}
    for (_, name, _), n in loops.items():
        if n >= LOOP:
            times[name] = max(n, times.get(name, 0))
    for name, n in sorted(times.items()):
        yield f"{cleaned(name, _MOST_NAME)} called {_TIMES[min(n, 4)]} with the same arguments"


def _key(call: Called) -> tuple[str, str]:
    return call.name, json.dumps(call.arguments, sort_keys=True, default=str)


def _of_models(told: Told) -> Iterator[str]:
    for asked, answered in dict.fromkeys((one.asked, one.answered) for one in told.models):
        if asked and answered and not _is_same_model(asked, answered):
            yield f"answered by the model {cleaned(answered, _MOST_NAME)} instead of {cleaned(asked, _MOST_NAME)}"
    for reason in sorted({reason for one in told.models for reason in _REASON.findall(one.finish_reasons or "")}):
        if reason.lower() not in _FINISHED:
            yield f"the model ended by {cleaned(reason.lower(), _MOST_NAME)}"
    most = max((one.input_tokens or 0 for one in told.models), default=0)
    if tokens := max((one for one in LONG_CONTEXT if most >= one), default=0):
        yield f"a context of over {tokens} tokens"


def _is_same_model(asked: str, answered: str) -> bool:
    """Whether an answer's model is the one that was asked for, a date, a version or a provider's prefix apart."""
    one, other = (name.rpartition("/")[2].casefold() for name in (asked, answered))
    if one.startswith(other):
        one, other = other, one
    return one == other or (other.startswith(one) and _DATED.fullmatch(other[len(one) :]) is not None)


def _of_answers(told: Told) -> Iterator[str]:
    said = " ".join(told.said_by("assistant"))[:_MOST_TEXT]
    given = [*told.said_by("user"), *((call.result or "")[:_MOST_TEXT] for call in told.calls)]
    marks = {one[1] for one in _MARK.finditer(said)}
    for mark in sorted(marks - {one[1] for text in given for one in _MARK.finditer(text[:_MOST_TEXT])}):
        yield f"the agent told a [{mark}] that nobody had told"
    if told.retrieved and not any(told.retrieved):
        yield "no document was found"


def _of_the_course(told: Told) -> Iterator[str]:
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
