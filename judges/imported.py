"""Verdicts and labels from elsewhere, read under a rubric: each item is understood or refused with the reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.errors import InvalidInput
from core.ids import trace_id
from core.records import TargetKind
from judges.parsing import read_label
from judges.records import Missing, Rubric, ScaleKind

_MOST_ANNOTATORS: Final = 50
_UNWANTED: Final = re.compile("[\0\ud800-\udfff]")  # what no control database holds


@dataclass(frozen=True, kw_only=True)
class ImportedItem:
    """What is known of one target: a raw `verdict` or the reason why it is `missing`; the programmatic `outcome`;
    what people said (`annotations`, by their names). `target` is the rubric's where it is not said."""

    session_id: str | None = None
    trace_id: str | None = None
    target: TargetKind | None = None
    verdict: str | None = None
    missing: str | None = None
    confidence: float | None = None
    explanation: str = ""
    outcome: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    at_ns: int | None = None
    segment: str | None = None
    probability: float | None = None
    orders: Sequence[str | None] | None = None  # of a pair: what was chosen in the order ab, and in ba


@dataclass(frozen=True, kw_only=True)
class Read:
    """An item under the rubric."""

    kind: TargetKind
    name: str
    item: ImportedItem
    verdict: tuple[str, ...] | None = None
    missing: Missing | None = None
    outcome: tuple[str, ...] | None = None
    said: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_all(
    rubric: Rubric, items: Sequence[ImportedItem], with_judge: bool
) -> tuple[list[Read], list[tuple[int, str]]]:
    """The items that are understood, and (place, why) of the others; a target is understood once. `with_judge`: there
    is somebody whose verdicts they can be."""
    read, refused = [], []
    seen: set[tuple[TargetKind, str]] = set()
    for at, item in enumerate(items):
        try:
            one = _read(rubric, item, with_judge)
            if (one.kind, one.name) in seen:
                raise InvalidInput(f"{one.name[:80]!r} is there twice")
        except InvalidInput as error:
            refused.append((at, str(error)))
            continue
        seen.add((one.kind, one.name))
        read.append(one)
    return read, refused


def _read(rubric: Rubric, item: ImportedItem, with_judge: bool) -> Read:
    """The item under the rubric. Raises InvalidInput."""
    kind, name = _target(rubric, item)
    if item.confidence is not None and not 0 <= item.confidence <= 1:
        raise InvalidInput(f"a confidence is from 0 to 1, not {item.confidence}")
    if item.probability is not None and not 0 < item.probability <= 1:
        raise InvalidInput(f"a probability is above 0 and at most 1, not {item.probability}")
    if len(item.annotations) > _MOST_ANNOTATORS or not all(0 < len(who) <= 200 for who in item.annotations):
        raise InvalidInput(f"an item has at most {_MOST_ANNOTATORS} annotators, each with a name")
    if any(_UNWANTED.search(text) for text in (*item.annotations, item.segment or "")):
        raise InvalidInput("the name of an annotator or segment holds characters that are no text")
    verdict: tuple[str, ...] | Missing | None = None
    if item.missing is not None:
        if item.missing not in set(Missing):
            raise InvalidInput(f"{item.missing[:40]!r} is no reason for a missing verdict")
        verdict = Missing(item.missing)
    elif item.verdict is not None:
        verdict = read_labels(rubric, item.verdict)
    if verdict is not None and not with_judge:
        raise InvalidInput("it has a verdict, and no judge is named")
    if verdict is None and item.outcome is None and not item.annotations:
        raise InvalidInput("it has neither a verdict nor a label")
    return Read(
        kind=kind,
        name=name,
        item=item,
        verdict=None if isinstance(verdict, Missing) else verdict,
        missing=verdict if isinstance(verdict, Missing) else None,
        outcome=None if item.outcome is None else _offered(rubric, item.outcome),
        said={who: _offered(rubric, label) for who, label in item.annotations.items()},
    )


def _target(rubric: Rubric, item: ImportedItem) -> tuple[TargetKind, str]:
    if (item.session_id is None) == (item.trace_id is None):
        raise InvalidInput("it needs one of session_id and trace_id")
    if item.trace_id is not None:
        return TargetKind.TURN, trace_id(item.trace_id)
    kind = item.target or (rubric.target if rubric.target is not TargetKind.TURN else TargetKind.SESSION)
    if kind not in (TargetKind.SESSION, TargetKind.EXAMPLE) or not item.session_id:
        raise InvalidInput("a session_id names a session or an example")
    return kind, item.session_id


def read_labels(rubric: Rubric, word: str) -> tuple[str, ...] | Missing:
    """The labels that a raw word stands for; why none."""
    if not word.strip():
        return Missing.EMPTY
    words = word.split(",") if rubric.kind is ScaleKind.MULTI_LABEL else [word]
    found = [read_label(rubric, one) for one in words]
    labels = tuple(dict.fromkeys(one for one in found if not isinstance(one, Missing)))
    return next((one for one in found if isinstance(one, Missing)), labels)


def _offered(rubric: Rubric, word: str) -> tuple[str, ...]:
    """The labels of a person or a program. Raises InvalidInput: they have to be the rubric's."""
    found = read_labels(rubric, word)
    if isinstance(found, Missing):
        raise InvalidInput(f"the label {word[:60]!r} is none of {', '.join(rubric.labels)}, nor mapped by the rubric")
    return found
