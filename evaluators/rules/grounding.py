"""Grounding without a model: whether what the agent said is to be found in what it was given.

The no-model tier: strong for answers that quote, weak for answers that put things into other words. Trigram precision
against the source is in the spirit of the lexical baselines of summarisation (Wang et al. 2020, QAGS).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from core.errors import TooLarge
from core.records import TargetKind
from evaluators.records import Dimension, EvaluatorSpec, Reason, Score, Scored, Target, Trajectory, Unscored, shortened
from evaluators.rules.figures import numbers_of, numbers_said
from evaluators.rules.rule import Rule
from evaluators.rules.wording import agents, plain, result_text, text_rule, words

_TRIGRAM: Final = 3
_LISTED: Final = 50  # unsupported ones in `parts`
_MOST: Final = 2_000  # different ones of a target
_LONGEST: Final = 100  # characters of each


def facts(target: Target) -> list[str]:
    """The texts that an answer is grounded in: the example's source, documents, tool results."""
    trajectory = target.trajectory
    found = [target.expected.source] if target.expected and target.expected.source else []
    found += [one.text for one in trajectory.documents if one.text]
    return [*found, *(text for call in trajectory.tool_calls if (text := result_text(call)))]


def given(target: Target) -> list[str]:
    """`facts`, and what the user and the prompt said: repeating that invents nothing."""
    return [*facts(target), *(one.text for one in target.trajectory.messages if one.role != "assistant")]


def _trigrams(target: Target) -> Scored:
    sources = facts(target)
    if not sources:
        return Unscored(reason=Reason.NOT_RECORDED, detail="no document, tool result or source text")
    known: set[tuple[str, ...]] = set()
    for text in sources:
        tokens = words(text)
        known.update(zip(tokens, tokens[1:], tokens[2:], strict=False))
    said = [tri for one in _answers(target.trajectory) for tri in _three(words(one))]
    if not said:
        return Unscored(reason=Reason.NOT_RECORDED, detail=f"the agent said fewer than {_TRIGRAM} words")
    n_found = sum(one in known for one in said)
    told = f"{n_found} of {len(said)} trigrams of the answer are in the sources"
    return Score(value=n_found / len(said), explanation=told, parts={"found": n_found, "n": len(said)})


def _three(tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(tokens, tokens[1:], tokens[2:], strict=False)


def _answers(trajectory: Trajectory) -> list[str]:
    return [one.text for one in agents(trajectory)]


# --- links, identifiers, names --------------------------------------------------------------------------------------

_LINK: Final = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'\]\[{}|\\^`]+", re.IGNORECASE)
_MAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_ID: Final = re.compile(r"(?<![\w.@/-])#?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*(?![\w@])")
_NO_ID: Final = re.compile(
    r"\d+(?:st|nd|rd|th|am|pm|h|hr|hrs|min|mins|s|ms|x|k|kg|lb|lbs|g|gb|mb|tb|kb|mbps|gbps|cm|mm|m|km|usd|eur|d|w|y"
    r"|p|ft|in|oz"
    r"|ml|l|v|mah|hz|ghz|mhz|inch|piece|pieces|day|days|hour|hours|minute|minutes|year|years|month|months|week|weeks"
    r"|way|pack"
    r"|person|passenger|passengers|item|items|stop|bag|bags|ish|s)?|[\d-]+(?:[a-z]{1,9})?|\d+[a-z]{1,3}-\d+[a-z]{0,3}"
    r"|[a-z]{1,3}-?\d{1,2}|\d+-[a-z]+(?:-[a-z]+)?",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Z][\w'&-]*(?:[ ](?:(?:of|the|de|van|von|la|and|&)[ ])?[A-Z][\w'&-]*)*")
_COMMON: Final = frozenset(
    words(
        "i i'm i'll i've i'd january february march april may june july august september october november december"
        " monday tuesday wednesday thursday friday saturday sunday jan feb mar apr jun jul aug sep sept oct nov dec mon"
        " tue wed thu fri sat sun am pm est pst utc gmt usd yes no ok id ids faq url api app pin"
    )
)
_SENTENCE_START: Final = re.compile(r"(?:^|[.!?:;\n>\"(*•#|-]|\d\.)[\s*_\"'(#>-]*\Z")


def links(text: str) -> Iterator[str]:
    """Web and mail addresses, without the signs that end a sentence."""
    for one in _LINK.finditer(text):
        yield one[0].rstrip(".,;:!?)*").lower().rstrip("/")
    for one in _MAIL.finditer(text):
        yield one[0].lower()


def ids(text: str) -> Iterator[str]:
    """Identifiers: letters with digits in one word (HAT136, mia_li_3668), #W4923227; not 20th, 5GB, 2024-05-20."""
    bare = _MAIL.sub(" ", _LINK.sub(" ", text))
    for one in _ID.finditer(bare):
        word = one[0]
        if len(word) < 4 or not re.search(r"\d", word) or not (re.search(r"[A-Za-z]", word) or word[0] == "#"):
            continue
        if not _NO_ID.fullmatch(word):
            yield word.lstrip("#").lower()


def names(text: str) -> Iterator[str]:
    """Capitalised words inside of sentences, those that stand together as one name; headings and lists begin anew."""
    for one in _NAME.finditer(text):
        name = one[0]
        if _SENTENCE_START.search(text[max(0, one.start() - 40) : one.start()]):
            name = name.partition(" ")[2].strip()  # what begins a sentence is capitalised anyway
            name = re.sub(r"^(?:of|the|de|van|von|la|and|&) ", "", name)
        if len(name) > 1 and name.lower() not in _COMMON and not re.search(r"\d", name) and not name.isupper():
            yield name.lower()


def _within(found: str, text: str) -> bool:
    place = text.find(found)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(found) : place + len(found) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        place = text.find(found, place + 1)
    return False


def _supported(target: Target, extract: Callable[[str], Iterator[str]], what: str) -> Scored:
    said = list(dict.fromkeys(item for one in _answers(target.trajectory) for item in extract(plain(one))))
    sources = given(target)
    if not facts(target):
        return Unscored(reason=Reason.NOT_RECORDED, detail="no document, tool result or source text")
    if len(said) > _MOST:
        raise TooLarge(f"the agent named more than {_MOST:,} {what}")
    text = plain("\n".join(sources)).lower()
    return _share(said, [one for one in said if not _within(one, text)], what)


def _share(said: Sequence[str], missing: Sequence[str], what: str) -> Scored:
    if not said:
        return Unscored(reason=Reason.NOT_APPLICABLE, detail=f"the agent named no {what}")
    missing = [one[:_LONGEST] for one in missing]
    told = f"not in any source: {shortened(missing)}" if missing else f"all {len(said)} {what} are in the sources"
    parts: dict[str, Any] = {"unsupported": list(missing[:_LISTED]), "n_unsupported": len(missing), "n": len(said)}
    return Score(value=1 - len(missing) / len(said), passed=not missing, explanation=told, parts=parts)


def _numbers(target: Target) -> Scored:
    if not facts(target):
        return Unscored(reason=Reason.NOT_RECORDED, detail="no document, tool result or source text")
    known = {number for text in given(target) for number in numbers_of(plain(text))}
    said = {text: number for one in _answers(target.trajectory) for text, number in numbers_said(plain(one))}
    return _share(list(said), [text for text, number in said.items() if number not in known], "numbers")


_WHERE: Final = frozenset({TargetKind.TURN, TargetKind.SESSION, TargetKind.EXAMPLE})
_TIER: Final = "no-model tier, strong for extractive and weak for abstractive text"


def _exact(name: str, what: str, score: Callable[[Target], Scored], modes: tuple[str, ...], valid: str | None) -> Rule:
    return text_rule(
        EvaluatorSpec(
            name=name,
            version="1",
            dimension=Dimension.GROUNDING,
            summary=f"share of {what} that the agent said which stand in a document, a tool result, the example's "
            "source, the prompt or the user's words; each other one is listed in parts.unsupported",
            failure_modes=modes,
            targets=_WHERE,
            validity=valid,
        ),
        score,
    )


TRIGRAM_SUPPORT: Final = text_rule(
    EvaluatorSpec(
        name="trigram_support",
        version="1",
        dimension=Dimension.GROUNDING,
        summary=f"share of the answer's word trigrams that stand in the sources ({_TIER})",
        failure_modes=(
            "a true answer in other words scores low: compare it between releases, never with a fixed bar",
            "a false answer made of the source's words scores high: no negation, no order of facts",
            "greetings and questions of the agent count as unsupported",
        ),
        targets=_WHERE,
        validity="published for this kind of measure, not measured here: Pearson .679 with human consistency on "
        "QAGS-CNN "
        "(extractive), .309 on QAGS-XSum (abstractive; best lexical measure)",
    ),
    _trigrams,
)
NUMBER_SUPPORT: Final = _exact(
    "number_support",
    "the numbers",
    _numbers,
    (
        "a sum or difference that the agent worked out itself is unsupported, though it may be right",
        "a number that is right somewhere and wrong here counts as supported",
        "whole numbers up to 10 without a currency or percent sign are not looked at; number words neither",
    ),
    "tau-bench and tau2: of 117 wrong amounts planted into supported conversations 113 are listed, and nothing else "
    "is; 118 "
    "of 345 conversations as recorded have a number that is in no source, mostly sums",
)
ENTITY_SUPPORT: Final = _exact(
    "entity_support",
    "the capitalised names inside sentences",
    partial(_supported, extract=names, what="names"),
    (
        "no model of names: capitals only, so Headings In Title Case count as names and lower-case names do not",
        "an abbreviation or a translation of a name in the sources is unsupported",
    ),
    None,
)
ID_SUPPORT: Final = _exact(
    "id_support",
    "the identifiers (letters with digits, #numbers)",
    partial(_supported, extract=ids, what="identifiers"),
    ("identifiers of letters only or digits only are not seen", "an id of another object in the sources is supported"),
    None,
)
LINK_SUPPORT: Final = _exact(
    "link_support",
    "the web and mail addresses",
    partial(_supported, extract=links, what="links"),
    ("compared as text: a shorter address of a longer one in the sources is supported, another spelling is not",),
    None,
)
