"""What is usual in an app, and what of a session is not. Pure.

Much of what goes wrong is wrong only beside the others: a model that answers late for this app, an action without the
question that its agent asks first, an answer without a source where answers name theirs, a document in a text that few
sessions were shown. `usual_of` learns from the sessions of a run what is usual; it is kept with the run, so that
sessions that come later are held against the same. Quantities are compared with the median of the sessions that used
the same tools, since tasks differ more than faults do: the modified z-score of Iglewicz and Hoaglin (1993), "How to
detect and handle outliers", section 3.3, of the logarithm, over all sessions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log
from statistics import median
from typing import Any, Final

from clustering.cleaning import cleaned
from clustering.conduct import repeats_of, took_effect
from clustering.signs import errors_of, signs_of
from clustering.told import Told
from evaluators.records import Message, ToolCall
from evaluators.rules.consent import consent_at, every_yes
from evaluators.rules.writes import writes

FEWEST: Final = 20  # sessions that tell what is usual
FEWEST_ALIKE: Final = 8  # with the same tools, to be a group of their own
MOST_KEPT: Final = 400  # groups, documents and tools: what is kept with a run is some 100 kB at most
MOSTLY: Final = 0.6  # of the sessions do it: the others are told
SELDOM: Final = 0.2
COMMON: Final = 0.5
OUTLYING: Final = 3.5  # modified z-scores, as they propose
LEAST_TIMES: Final = {"model_ms": 1.6, "tool_ms": 3.0, "reply_words": 1.6, "input_tokens": 2.5, "turns": 2.5}  # medians
_LEAST_SPREAD: Final = 0.05  # of a logarithm: a spread of nothing would make everything an outlier
_MOST_NAME: Final = 60
_OF_MAD: Final = 1.4826
_PHRASES: Final = {
    "model_ms": "models answer much more slowly than usual",
    "tool_ms": "a tool took much longer than usual",
    "reply_words": "replies are much longer than usual",
    "input_tokens": "far more input tokens than usual",
    "turns": "far more turns than usual",
}
_FLOORS: Final = {
    "model_ms": 500,
    "tool_ms": 1_000,
    "reply_words": 40,
    "input_tokens": 2_000,
    "turns": 4,
}  # below: none


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What of a session is compared. `asked`: of each tool that wrote, whether every call had the user's yes before it;
    `texts`: documents with the hash of the text that was found; `cites`: whether the answers name a document, None
    where none was found; `figures` above 0, by the names of `_PHRASES`; `signs` of the session alone, and
    its `repeats`, which follow from much else."""

    release: str | None
    tools: str
    asked: Mapping[str, bool]
    texts: tuple[tuple[str, int], ...]
    cites: bool | None
    models: tuple[str, ...]
    figures: Mapping[str, float]
    signs: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What is usual: shares as (yes, of), `cites` by group of tools; `common` signs that more than half of the sessions
    show; `texts` the most frequent text of a document that has several; `levels` the median logarithm of a figure by
    group of tools ("" for all), `spreads` the deviations from it: within groups, and over all."""

    n: int = 0
    asked: Mapping[str, Sequence[int]] = field(default_factory=dict)
    texts: Mapping[str, int] = field(default_factory=dict)
    cites: Mapping[str, Sequence[int]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    spreads: Mapping[str, Sequence[float]] = field(default_factory=dict)
    common: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """A plain object, as runs keep it."""
        return asdict(self)


def usual_from(kept: Mapping[str, Any] | None) -> Usual:
    """What `as_json` kept; nothing is usual where nothing was."""
    return Usual(**kept) if kept else Usual()


def facts_of(told: Told) -> Facts:
    """The facts of one session."""
    replies = [len(text.split()) for text in told.said_by("assistant") if text]
    times = [one.duration_ms for one in told.models if one.duration_ms]
    figures = {
        "model_ms": median(times) if times else 0.0,
        "tool_ms": max((one.duration_ms or 0.0 for one in told.calls), default=0.0),
        "reply_words": min(replies, default=0),
        "input_tokens": max((one.input_tokens or 0 for one in told.models), default=0),
        "turns": told.n_turns,
    }
    return Facts(
        release=told.release,
        tools=" ".join(sorted({one.name for one in told.calls})),
        asked=_asked(told),
        texts=tuple(dict.fromkeys(told.texts)),
        cites=_cites(told),
        models=tuple(sorted({one.answered for one in told.models if one.answered})),
        figures={name: float(value) for name, value in figures.items() if value > 0},
        signs=(*signs_of(told), *errors_of(told)),
        repeats=tuple(repeats_of(told)),
    )


def usual_of(seen: Iterable[Facts]) -> Usual:
    """What is usual among these sessions."""
    facts = list(seen)
    asked: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    texts: dict[str, Counter[int]] = defaultdict(Counter)
    models: dict[str, Counter[str]] = defaultdict(Counter)
    cites: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    shown = Counter(sign for one in facts for sign in (*one.signs, *one.repeats))
    for one in facts:
        for tool, was in one.asked.items():
            asked[tool][0] += was
            asked[tool][1] += 1
        for document, text in one.texts:
            texts[document][text] += 1
        models[one.release or ""].update(one.models)
        if one.cites is not None:
            cites[one.tools][0] += one.cites
            cites[one.tools][1] += 1
    return Usual(
        n=len(facts),
        asked={tool: tuple(counts) for tool, counts in _most(asked, lambda counts: counts[1])},
        texts={name: found.most_common(1)[0][0] for name, found in _most(_several(texts), lambda one: one.total())},
        cites={tools: tuple(counts) for tools, counts in _most(cites, lambda counts: counts[1])},
        models={release: dict(counts) for release, counts in _most(models, lambda one: one.total())},
        common=tuple(sorted(sign for sign, n in shown.items() if n > COMMON * len(facts))),
        **_quantities(facts),
    )


def signs_beside(facts: Facts, usual: Usual) -> list[str]:
    """All signs of a session, those that say most first: its own but for what more than half show, and what of it is
    unusual. What everybody shows would make all sessions alike."""
    common = set(usual.common) if usual.n >= FEWEST else set()
    found = unusual(facts, usual)
    first = [one for one in found if one not in _PHRASES.values()]
    many = [_PHRASES["turns"]]  # as repeats are, what follows from much else
    told = [*first, *facts.signs, *(one for one in found if one not in many), *facts.repeats, *found]
    return [one for one in dict.fromkeys(told) if one not in common]


def unusual(facts: Facts, usual: Usual) -> list[str]:
    """What of a session is not usual, those that say most first; nothing where too few sessions told what is."""
    if usual.n < FEWEST:
        return []
    return [
        *_of_conduct(facts, usual),
        *_of_sources(facts, usual),
        *_of_models(facts, usual),
        *_of_figures(facts, usual),
    ]


def _asked(told: Told) -> dict[str, bool]:
    messages = [Message(role=one.role, text=one.text, turn=one.turn) for one in told.messages]
    agreed = every_yes(messages)
    found: dict[str, bool] = {}
    for call in told.calls:
        if writes(call.name) and took_effect(call):
            made = ToolCall(name=call.name, arguments=call.arguments, turn=call.turn)
            found[call.name] = found.get(call.name, True) and consent_at(made, agreed) is not None
    return found


def _cites(told: Told) -> bool | None:
    names = {name for name, _ in told.texts if len(name) > 3 and not name.isdigit()}
    said = " ".join(told.said_by("assistant"))
    return any(name in said for name in names) if names and said else None


def _several(texts: Mapping[str, Counter[int]]) -> dict[str, Counter[int]]:
    return {name: found for name, found in texts.items() if len(found) > 1}


def _most(found: Mapping[str, Any], size: Any) -> list[tuple[str, Any]]:
    return sorted(found.items(), key=lambda one: (-size(one[1]), one[0]))[:MOST_KEPT]


def _quantities(facts: Sequence[Facts]) -> dict[str, Any]:
    levels: dict[str, dict[str, float]] = {}
    spreads: dict[str, tuple[float, float]] = {}
    for name in _PHRASES:
        by_tools: dict[str, list[float]] = defaultdict(list)
        for one in facts:
            if name in one.figures:
                by_tools[one.tools].append(log(one.figures[name]))
        every = [value for values in by_tools.values() for value in values]
        if len(every) < FEWEST:
            continue
        large = {tools: values for tools, values in by_tools.items() if len(values) >= FEWEST_ALIKE}
        own = {tools: median(values) for tools, values in _most(large, len)}
        levels[name] = {"": median(every), **own}
        away = [
            abs(value - levels[name][tools]) for tools, values in by_tools.items() if tools in own for value in values
        ]
        over_all = [abs(value - levels[name][""]) for value in every]
        spreads[name] = (_spread(away or over_all), _spread(over_all))
    return {"levels": levels, "spreads": spreads}


def _spread(away: Sequence[float]) -> float:
    return max(_OF_MAD * median(away), _LEAST_SPREAD)


def _of_conduct(facts: Facts, usual: Usual) -> Iterator[str]:
    for tool, was in sorted(facts.asked.items()):
        n_asked, n = usual.asked.get(tool, (0, 0))
        if not was and n >= FEWEST_ALIKE and n_asked >= MOSTLY * n:
            yield f"{cleaned(tool, _MOST_NAME)} without asking first"


def _of_sources(facts: Facts, usual: Usual) -> Iterator[str]:
    for document, text in facts.texts:
        if usual.texts.get(document, text) != text:
            yield f"found another text of {cleaned(document, _MOST_NAME)} than is usual"
    n_cite, n = usual.cites.get(facts.tools, (0, 0))
    if facts.cites is False and n >= FEWEST_ALIKE and n_cite >= MOSTLY * n:
        yield "answers name no source where others do"


def _of_models(facts: Facts, usual: Usual) -> Iterator[str]:
    counts = usual.models.get(facts.release or "", {})
    n = sum(counts.values())
    for model in facts.models:
        if n >= FEWEST and counts.get(model, 0) < SELDOM * n:
            yield f"answered by the model {cleaned(model, _MOST_NAME)} which is unusual"


def _of_figures(facts: Facts, usual: Usual) -> Iterator[str]:
    """Figures that lie far out among the sessions with the same tools, or among all: a fault may be most of a group."""
    for name, phrase in _PHRASES.items():
        levels = usual.levels.get(name)
        if levels is None or facts.figures.get(name, 0.0) < _FLOORS[name]:
            continue
        within, over_all = usual.spreads[name]
        fences = (
            levels.get(facts.tools, levels[""]) + max(log(LEAST_TIMES[name]), OUTLYING * within),
            levels[""] + max(log(LEAST_TIMES[name]), OUTLYING * over_all),
        )
        if log(facts.figures[name]) > min(fences):
            yield phrase
