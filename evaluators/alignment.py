"""Two trajectories side by side: their steps aligned by dynamic programming, and where they part.

Needleman and Wunsch 1970 with a linear gap: an equal step costs nothing, a step of the same kind and tool with other
content between .25 and .75 by how much of it is other, a step that only one side has GAP. Two gaps cost more than any
pair of one kind and tool, and steps of different kinds or tools are never paired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import scipy
from numpy.typing import NDArray

from evaluators.records import Trajectory

MOST_STEPS: Final = 2000  # of each side; the steps after them are counted, not aligned
GAP: Final = 0.6
_OTHER, _BY_SHARE = 0.25, 0.5
_NEVER: Final = 1e6
_ROUNDING: Final = 1e-9
_MOST_WORDS: Final = 400  # of a message, for its likeness
_WORD: Final = re.compile(r"\w+")
_MOST_DIFFERENCES: Final = 50  # of one pair


class StepKind(StrEnum):
    """What a step is."""

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"
    TOOL = "tool"
    ASSISTANT = "assistant"


class Match(StrEnum):
    """How a row's two sides go together."""

    EQUAL = "equal"
    CHANGED = "changed"  # same kind and tool, other content
    ONLY_A = "only_a"
    ONLY_B = "only_b"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A message, a tool call or a model call. `name` is the tool's or the model's; money in US dollars."""

    kind: StepKind
    name: str = ""
    text: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: str | None = None
    turn: int = 0
    at_ns: int | None = None
    duration_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which a pair differs: `path` as arguments.order_id, result, error, text or model. None: absent."""

    path: str
    a: Any
    b: Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """A pair, or a step that one side alone has."""

    match: Match
    a: Step | None = None
    b: Step | None = None
    differences: tuple[Difference, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether it is about what was done, not about its words: a tool call, or a message of one side alone."""
        step = self.a or self.b
        if step is None or step.kind is StepKind.MODEL:
            return False
        return step.kind is StepKind.TOOL or self.match is not Match.CHANGED


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The rows in order. `left_off` are steps of a and b beyond MOST_STEPS, which were not aligned.

    `first_difference` is the first row that is not equal; `first_divergence` the first in which the two *do* something
    else (another tool call, argument or result, a message more), or the first difference when they only say or cost
    something else. Both are positions in `rows`; None: no such row.
    """

    rows: tuple[Row, ...]
    first_difference: int | None
    first_divergence: int | None
    left_off: tuple[int, int] = (0, 0)
    cost: float = 0.0

    def count(self, match: Match) -> int:
        """How many rows match so."""
        return sum(row.match is match for row in self.rows)


def steps_of(trajectory: Trajectory) -> tuple[Step, ...]:
    """All steps in order of time; those without a time stand in their turn: what was asked, model, tools, answer."""
    found: list[tuple[tuple[int, int, int], Step]] = []
    for position, step in enumerate(_steps(trajectory)):
        found.append(((step.turn, _ORDER[step.kind], position), step))
    found.sort(key=lambda each: each[0])
    ordered = [step for _, step in found]
    if all(step.at_ns is not None for step in ordered):
        ordered.sort(key=lambda step: step.at_ns or 0)
    return tuple(ordered)


_ORDER: Final = {kind: number for number, kind in enumerate(StepKind)}


def _steps(trajectory: Trajectory) -> Iterator[Step]:
    for message in trajectory.messages:
        kind = StepKind(message.role) if message.role in ("system", "user", "assistant") else StepKind.SYSTEM
        yield Step(kind=kind, text=message.text, turn=message.turn, at_ns=message.at_ns, span_id=message.span_id)
    for model in trajectory.model_calls:
        yield Step(
            kind=StepKind.MODEL,
            name=model.model or "",
            error=model.error,
            turn=model.turn,
            at_ns=model.start_ns,
            duration_ms=model.duration_ms,
            input_tokens=model.input_tokens,
            output_tokens=model.output_tokens,
            cost_usd=model.cost_usd,
            span_id=model.span_id,
        )
    for call in trajectory.tool_calls:
        whole = call.start_ns is not None and call.end_ns is not None
        yield Step(
            kind=StepKind.TOOL,
            name=call.name,
            arguments=call.arguments,
            result=call.result,
            error=call.error,
            turn=call.turn,
            at_ns=call.start_ns,
            duration_ms=((call.end_ns or 0) - (call.start_ns or 0)) / 1e6 if whole else None,
            trace_id=call.trace_id,
            span_id=call.span_id,
        )


def align(a: Sequence[Step], b: Sequence[Step]) -> Alignment:
    """Aligns two lists of steps. align(b, a) is the same with its sides exchanged. Time and memory go with the product
    of the two lengths, each at most MOST_STEPS."""
    left_off = max(0, len(a) - MOST_STEPS), max(0, len(b) - MOST_STEPS)
    a, b = a[:MOST_STEPS], b[:MOST_STEPS]
    keys_a, keys_b = [_key(step) for step in a], [_key(step) for step in b]
    if keys_a <= keys_b:  # of several alignments of equal cost the same one from either side
        pairs, cost = _pairs(a, b, keys_a, keys_b)
    else:
        turned, cost = _pairs(b, a, keys_b, keys_a)
        pairs = [(i, j) for j, i in turned]
    rows = tuple(_rows(a, b, pairs))
    other = [number for number, row in enumerate(rows) if row.match is not Match.EQUAL]
    acting = [number for number in other if rows[number].acts]
    return Alignment(
        rows=rows,
        first_difference=other[0] if other else None,
        first_divergence=next(iter(acting or other), None),
        left_off=left_off,
        cost=cost,
    )


def differences(a: Step, b: Step) -> tuple[Difference, ...]:
    """Where two steps of one kind and tool differ, argument by argument; the first _MOST_DIFFERENCES of them."""
    found = [Difference(path=f"arguments{path}", a=x, b=y) for path, x, y in _unequal(a.arguments, b.arguments)]
    for path, x, y in (
        ("text", a.text, b.text),
        ("result", a.result, b.result),
        ("error", a.error, b.error),
        ("model" if a.kind is StepKind.MODEL else "name", a.name, b.name),
    ):
        if _canonical(x) != _canonical(y):
            found.append(Difference(path=path, a=x, b=y))
    return tuple(found[:_MOST_DIFFERENCES])


def _unequal(a: Any, b: Any, depth: int = 0) -> Iterator[tuple[str, Any, Any]]:
    """Path, value of a, value of b, of every leaf that is not equal; objects are opened, lists are not."""
    if isinstance(a, Mapping) and isinstance(b, Mapping) and depth < 8:
        for name in sorted({*a, *b}, key=str):
            for path, x, y in _unequal(a.get(name), b.get(name), depth + 1):
                yield f".{name}{path}", x, y
    elif _canonical(a) != _canonical(b):
        yield "", a, b


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _key(step: Step) -> str:
    """Equal for steps that are equal: times, ids and costs are not compared."""
    return _canonical([step.kind.value, step.name, step.text, step.arguments, step.result, step.error])


def _group(step: Step) -> tuple[str, str]:
    """What a step can be paired with. Another model's call is a changed step, another tool's is another step."""
    return step.kind.value, step.name if step.kind is StepKind.TOOL else ""


def _features(step: Step) -> set[str]:
    """What two steps of a group have in common or not: arguments and result of a call, words of a message."""
    if step.kind is StepKind.TOOL:
        told = {f"{name}={_canonical(value)}" for name, value in step.arguments.items()}
        return told | {f"\0{_canonical([step.result, step.error])}"}
    words = _WORD.findall(step.text.lower())[:_MOST_WORDS]
    return {*words, f"\0{step.name}\0{step.error}"}


def _pairs(
    a: Sequence[Step], b: Sequence[Step], keys_a: list[str], keys_b: list[str]
) -> tuple[list[tuple[int, int]], float]:
    """The aligned positions in order, and the cost. Equal steps at both ends are taken off before."""
    head = 0
    while head < min(len(a), len(b)) and keys_a[head] == keys_b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and keys_a[-1 - tail] == keys_b[-1 - tail]:
        tail += 1
    n, m = len(a) - head - tail, len(b) - head - tail
    inner: list[tuple[int, int]] = []
    cost = GAP * (n + m)
    if n and m:
        pair = _costs(a[head : head + n], b[head : head + m], keys_a[head : head + n], keys_b[head : head + m])
        inner, cost = _walk(pair)
    first = [(i, i) for i in range(head)]
    last = [(len(a) - i, len(b) - i) for i in range(tail, 0, -1)]
    return [*first, *((i + head, j + head) for i, j in inner), *last], cost


def _costs(a: Sequence[Step], b: Sequence[Step], keys_a: list[str], keys_b: list[str]) -> NDArray[np.float64]:
    """Cost of each pair, shape (len(a), len(b))."""
    groups: dict[tuple[str, str], int] = {}
    whole: dict[str, int] = {}
    of_a, of_b = (np.array([groups.setdefault(_group(step), len(groups)) for step in side]) for side in (a, b))
    same_a, same_b = (np.array([whole.setdefault(key, len(whole)) for key in side]) for side in (keys_a, keys_b))
    vocabulary: dict[str, int] = {}
    told_a, told_b = ([_numbers(step, vocabulary) for step in side] for side in (a, b))
    shared = (_indicator(told_a, len(vocabulary)) @ _indicator(told_b, len(vocabulary)).T).toarray()
    sizes = np.add.outer([len(each) for each in told_a], [len(each) for each in told_b]) - shared
    costs = _OTHER + _BY_SHARE * (1 - shared / np.maximum(sizes, 1))
    costs[np.not_equal.outer(of_a, of_b)] = _NEVER
    costs[np.equal.outer(same_a, same_b)] = 0.0
    return np.asarray(costs, dtype=np.float64)


def _numbers(step: Step, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary.setdefault(each, len(vocabulary)) for each in sorted(_features(step))]


def _indicator(told: list[list[int]], width: int) -> scipy.sparse.csr_array:
    """One row a step, 1 where it has the feature."""
    ends = np.cumsum([0, *(len(each) for each in told)])
    where = np.array([number for each in told for number in each], dtype=np.int64)
    return scipy.sparse.csr_array((np.ones(len(where)), where, ends), shape=(len(told), width))


def _walk(costs: NDArray[np.float64]) -> tuple[list[tuple[int, int]], float]:
    """The cheapest alignment. A row at a time: a gap within it is a running minimum, as the gap is linear."""
    n, m = costs.shape
    along = GAP * np.arange(m + 1)
    best = np.empty((n + 1, m + 1))
    best[0] = along
    for i in range(1, n + 1):
        above = best[i - 1] + GAP
        above[1:] = np.minimum(above[1:], best[i - 1, :-1] + costs[i - 1])
        best[i] = np.minimum.accumulate(above - along) + along
    pairs: list[tuple[int, int]] = []
    i, j = n, m
    while i and j:
        if abs(best[i, j] - best[i - 1, j - 1] - costs[i - 1, j - 1]) < _ROUNDING:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif abs(best[i, j] - best[i - 1, j] - GAP) < _ROUNDING:
            i -= 1
        else:
            j -= 1
    return pairs[::-1], float(best[n, m])


def _rows(a: Sequence[Step], b: Sequence[Step], pairs: Sequence[tuple[int, int]]) -> Iterator[Row]:
    at_a = at_b = 0
    for i, j in [*pairs, (len(a), len(b))]:
        yield from (Row(match=Match.ONLY_A, a=step) for step in a[at_a:i])
        yield from (Row(match=Match.ONLY_B, b=step) for step in b[at_b:j])
        if i < len(a):
            found = differences(a[i], b[j])
            yield Row(match=Match.CHANGED if found else Match.EQUAL, a=a[i], b=b[j], differences=found)
        at_a, at_b = i + 1, j + 1
