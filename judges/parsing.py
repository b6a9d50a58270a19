"""A judge's reply, read strictly: a verdict is one of the labels that were offered, or there is none and a reason why.

The reply is untrusted: whatever it holds, these functions answer something and raise nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from judges.records import Missing, Rubric, ScaleKind

MOST_REPLY: Final = 262_144  # characters; a longer reply is not read
MOST_EXPLANATION: Final = 4_000
_MOST_OBJECTS: Final = 1_000  # places at which a JSON object is looked for
NONE_LABEL: Final = "none"  # on a multi-label scale it excludes the others

_FENCE: Final = re.compile(r"\A\s*```[A-Za-z]*\s*\n(.*?)\n\s*```\s*\Z", re.DOTALL)
_REFUSAL: Final = re.compile(
    r"\A\W*(?:(?:i['’]?m|i\s+am)\s+(?:very\s+|really\s+)?(?:sorry|afraid|unable)|sorry|i\s+apologi[sz]e"
    r"|i\s+(?:can(?:not|['’]?t|\s+not)|won['’]?t|will\s+not|must\s+(?:decline|refuse))"
    r"|as\s+an?\s+(?:ai|language\s+model))\b",
    re.IGNORECASE,
)
_DECLINES: Final = re.compile(
    r"\b(?:can(?:not|['’]?t|\s+not)|won['’]?t|will\s+not|unable\s+to|not\s+able\s+to|decline|refuse)\b", re.IGNORECASE
)
_SEVERAL: Final = re.compile(r"\s*(?:[,/|;&+]|\bor\b|\band\b)\s*", re.IGNORECASE)
_UNWANTED: Final = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a reply says: labels, or why none."""

    labels: tuple[str, ...] = ()
    missing: Missing | None = None
    explanation: str = ""
    confidence: float | None = None


class _Twice(ValueError):
    """A JSON object that says `label` or `labels` twice."""


def parse_reply(rubric: Rubric, text: str, *, cut_off: bool = False, refused: bool = False) -> Parsed:
    """Reads a reply. `cut_off`: the model says that it stopped for length; `refused`: that it, or its provider's
    filter, would not. A verdict is the reply's JSON object with `label` (`labels` of a multi-label scale), or a reply
    that is a label and nothing else."""
    if refused:
        return Parsed(missing=Missing.REFUSED, explanation=cleaned(text))
    if len(text) > MOST_REPLY:
        return Parsed(missing=Missing.TOO_LARGE, explanation=f"{len(text):,} characters; {MOST_REPLY:,} are read")
    if not text.strip():
        return Parsed(missing=Missing.CUT_OFF if cut_off else Missing.EMPTY)
    fenced = _FENCE.match(text)
    inner = fenced[1] if fenced else text
    try:
        said = [one for one in _objects(inner) if "label" in one or "labels" in one]
    except _Twice:
        return Parsed(missing=Missing.SEVERAL, explanation="a JSON object names its label twice")
    if said:
        return _agreed([_of_object(rubric, one) for one in said])
    if cut_off or _opened(inner):
        return Parsed(missing=Missing.CUT_OFF, explanation=cleaned(inner))
    bare = read_label(rubric, inner.strip().strip("\"'`*.").strip())
    if not isinstance(bare, Missing):
        return Parsed(labels=(bare,))
    if bare is Missing.SEVERAL:
        return Parsed(missing=bare, explanation=cleaned(inner))
    declined = _REFUSAL.match(inner) and _DECLINES.search(inner[:300])
    return Parsed(missing=Missing.REFUSED if declined else Missing.PROSE, explanation=cleaned(inner))


def read_label(rubric: Rubric, word: str) -> str | Missing:
    """The label that a word is or is mapped to, whatever its capitals; SEVERAL where it joins several, else
    NOT_OFFERED."""
    found = _known(rubric, word)
    if found is not None:
        return found
    joined = {_known(rubric, part) for part in _SEVERAL.split(word[:500]) if part}
    return Missing.SEVERAL if len(joined) > 1 and None not in joined else Missing.NOT_OFFERED


def cleaned(text: str, most: int = MOST_EXPLANATION) -> str:
    """A text that every store can hold, cut to `most` characters."""
    return _UNWANTED.sub("\ufffd", text.strip()[:most])


def _known(rubric: Rubric, word: str) -> str | None:
    plain = " ".join(word[:200].lower().split())
    found = next((label for label in rubric.labels if label.lower() == plain), None)
    return found or rubric.aliases.get(plain)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a text, none of them inside another. Raises _Twice."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_int=_number)
    at, tried = text.find("{"), 0
    while at >= 0 and tried < _MOST_OBJECTS:
        tried += 1
        end = at + 1
        try:
            found, end = decoder.raw_decode(text, at)
        except _Twice:
            raise
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield found
        at = text.find("{", end)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if names.count("label") > 1 or names.count("labels") > 1:
        raise _Twice
    return dict(pairs)


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) < 16 else digits


def _opened(text: str) -> bool:
    """Whether it begins as a JSON object does and does not end as one."""
    plain = text.strip()
    return plain.startswith("{") and not plain.endswith("}")


def _of_object(rubric: Rubric, said: dict[str, Any]) -> Parsed:
    explanation = said.get("explanation")
    confidence = said.get("confidence")
    sure = isinstance(confidence, int | float) and not isinstance(confidence, bool) and 0 <= confidence <= 1
    chosen = _chosen(rubric, said)
    return Parsed(
        labels=() if isinstance(chosen, Missing) else chosen,
        missing=chosen if isinstance(chosen, Missing) else None,
        explanation=cleaned(explanation) if isinstance(explanation, str) else "",
        confidence=float(confidence) if sure and confidence is not None else None,
    )


def _chosen(rubric: Rubric, said: dict[str, Any]) -> tuple[str, ...] | Missing:
    many = rubric.kind is ScaleKind.MULTI_LABEL
    given = said.get("labels", said.get("label")) if many else said.get("label", said.get("labels"))
    if "label" in said and "labels" in said and said["labels"] not in (said["label"], [said["label"]]):
        return Missing.SEVERAL
    if isinstance(given, list) and not many:
        return Missing.SEVERAL if len(given) > 1 else Missing.NOT_OFFERED
    words = [_word(one) for one in (given if isinstance(given, list) else [given])]
    if not words or len(words) > 2 * len(rubric.labels):
        return Missing.NOT_OFFERED
    found = [Missing.NOT_OFFERED if word is None else read_label(rubric, word) for word in words]
    lacking = [one for one in found if isinstance(one, Missing)]
    if lacking:
        return lacking[0]
    if NONE_LABEL in found and len(set(found)) > 1:
        return Missing.SEVERAL
    return tuple(label for label in rubric.labels if label in found)


def _word(given: object) -> str | None:
    if isinstance(given, str):
        return given
    if isinstance(given, float) and given.is_integer() and abs(given) < 1e6:
        return str(int(given))
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else None


def _agreed(verdicts: list[Parsed]) -> Parsed:
    """The last of several objects, where all of them say the same."""
    if any((one.labels, one.missing) != (verdicts[0].labels, verdicts[0].missing) for one in verdicts):
        return Parsed(missing=Missing.SEVERAL, explanation="the reply holds several verdicts that differ")
    return verdicts[-1]
