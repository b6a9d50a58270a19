"""What a judge is shown: a session, a turn, an example's output or a pair of answers, as JSON lines. Deterministic.

Every line is one JSON object, so that no text can end a line or look like what stands around it. What is longer than
its limit is cut in the middle, with a mark that says how much is left out. Limits are in characters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.records import TargetKind
from evaluators.records import Expected, Trajectory
from judges.injection import shown, signs

CONTENT_VERSION: Final = "1"  # a change of what is shown is another target
MOST_MESSAGE: Final = 8_000
MOST_RESULT: Final = 4_000
MOST_ARGUMENT: Final = 2_000
MOST_ANSWER: Final = 40_000  # one answer of a pair, or an example's
MOST_WHOLE: Final = 120_000
MOST_ENTRIES: Final = 2_000
_HEAD: Final = 0.4  # of what is kept when entries are left out; the rest is from the end
_DEEPEST: Final = 20
_PLACES: Final = {"system": 0, "user": 1, "document": 2, "tool_call": 3, "assistant": 4}  # in a turn without times
_LINES: Final = {0x2028: "\\u2028", 0x2029: "\\u2029"}  # line ends that JSON lets stand
_ANSWERS: Final = frozenset({"question", "answer", "answer_1", "answer_2", "reference"})

Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A named text of JSON lines."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is judged. `signs` name what looked like an injection; `n_hidden` hidden characters were taken out and
    `n_cut` characters left out. Of a pair the last two parts are the answers, the first answer first."""

    parts: tuple[Part, ...]
    pair: bool = False
    empty: bool = False
    signs: tuple[str, ...] = ()
    n_hidden: int = 0
    n_cut: int = 0

    @property
    def hash(self) -> str:
        """SHA-256 in hex of what is shown, in its order."""
        said = [CONTENT_VERSION, self.pair, [[part.name, part.text] for part in self.parts]]
        return hashlib.sha256(json.dumps(said, ensure_ascii=True).encode("ascii")).hexdigest()

    @property
    def injection_suspected(self) -> bool:
        """Whether any sign was found."""
        return bool(self.signs)

    @property
    def n_characters(self) -> int:
        """Of all parts."""
        return sum(len(part.text) for part in self.parts)

    def in_order(self, order: str) -> tuple[Part, ...]:
        """The parts as a pair is shown in the order "ab" or "ba": the first answer shown is named answer_1."""
        if not self.pair:
            return self.parts
        *before, first, second = self.parts
        one, other = (first, second) if order == "ab" else (second, first)
        return (*before, Part(name="answer_1", text=one.text), Part(name="answer_2", text=other.text))


def of_session(trajectory: Trajectory) -> Content:
    """The whole conversation with its tool calls and their results."""
    return _whole([("conversation", _entries(trajectory), MOST_WHOLE)], empty=_is_silent(trajectory))


def of_turn(trajectory: Trajectory, turn: int | None = None) -> Content:
    """One turn; where the trajectory holds others (`turn` given), what was before it is shown as such."""
    if turn is None:
        return _whole([("turn", _entries(trajectory), MOST_WHOLE)], empty=_is_silent(trajectory))
    before = [one for one in _entries(trajectory) if one["turn"] < turn]
    judged = [one for one in _entries(trajectory) if one["turn"] == turn]
    parts = [("before", before, MOST_WHOLE // 3)] if before else []
    silent = not any("user" in one or "assistant" in one or "tool_call" in one for one in judged)
    return _whole([*parts, ("turn", judged, MOST_WHOLE * 2 // 3)], empty=silent)


def of_example(trajectory: Trajectory, expected: Expected | None = None) -> Content:
    """What a trial of an example gave, and beside it the reference answer where the example has one."""
    reference = [answer for answer in (expected.answer, *expected.answers) if answer] if expected else []
    parts = [("output", _entries(trajectory), MOST_WHOLE * 2 // 3)]
    parts += [("reference", [{"reference": one} for one in dict.fromkeys(reference)], MOST_ANSWER)] if reference else []
    return _whole(parts, empty=_is_silent(trajectory))


def of_pair(answer_a: str, answer_b: str, question: str = "") -> Content:
    """Two answers to one question."""
    parts = [("question", [{"question": question}], MOST_ANSWER)] if question else []
    parts += [("answer_1", [{"answer": answer_a}], MOST_ANSWER), ("answer_2", [{"answer": answer_b}], MOST_ANSWER)]
    return _whole(parts, pair=True, empty=not (answer_a.strip() or answer_b.strip()))


def of_text(text: str, question: str = "") -> Content:
    """One answer to one question: canaries, and items that come from elsewhere."""
    parts = [("question", [{"question": question}], MOST_ANSWER)] if question else []
    return _whole([*parts, ("answer", [{"answer": text}], MOST_ANSWER)], empty=not text.strip())


def of_target(kind: TargetKind, trajectory: Trajectory, expected: Expected | None = None) -> Content:
    """The content of a target by its kind; a span is shown as a turn is."""
    match kind:
        case TargetKind.SESSION:
            return of_session(trajectory)
        case TargetKind.EXAMPLE:
            return of_example(trajectory, expected)
        case _:
            return of_turn(trajectory)


def _is_silent(trajectory: Trajectory) -> bool:
    return not trajectory.tool_calls and not any(one.text.strip() for one in trajectory.messages)


def _entries(trajectory: Trajectory) -> list[Entry]:
    """One object for each message, call and document, by turn and time; where a time lacks, by what comes first."""
    found: list[tuple[int, int | None, int, Entry]] = []
    for one in trajectory.messages:
        role = one.role if one.role in ("user", "assistant", "system") else "user"
        found.append((one.turn, one.at_ns, _PLACES[role], {"turn": one.turn, role: one.text}))
    for call in trajectory.tool_calls:
        entry: Entry = {"turn": call.turn, "tool_call": call.name, "arguments": _json(call.arguments)}
        entry |= {"error": call.error} if call.error is not None else {"result": _json(call.result)}
        found.append((call.turn, call.start_ns, _PLACES["tool_call"], entry))
    for rank, each in enumerate(trajectory.documents, 1):
        entry = {"turn": each.turn, "document": each.document_id, "rank": rank, "text": each.text}
        found.append((each.turn, None, _PLACES["document"], entry))
    timeless = {turn for turn, at, place, _ in found if at is None and place != _PLACES["document"]}
    found.sort(key=lambda one: (one[0], 0 if one[0] in timeless or one[1] is None else one[1], one[2]))
    return [entry for _, _, _, entry in _documents_first(found)]


def _documents_first(
    found: list[tuple[int, int | None, int, Entry]],
) -> Iterator[tuple[int, int | None, int, Entry]]:
    """Within a turn: what the user said, then what was retrieved, then the rest in its order."""
    yield from sorted(found, key=lambda one: (one[0], min(one[2], _PLACES["tool_call"])))


def _json(value: Any) -> Any:
    """A value as text: itself where it is one, else its JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(_bounded(value), ensure_ascii=False, sort_keys=True, default=str)
    except (ValueError, TypeError, RecursionError):
        return "(a value that cannot be shown)"


def _bounded(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return "(deeper than is shown)"
    if isinstance(value, Mapping):
        return {str(key): _bounded(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(each, depth + 1) for each in value]
    return value


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of JSON, the texts in it as they were recorded, and what was taken out of it."""

    text: str
    raw: tuple[str, ...] = ()
    n_hidden: int = 0
    n_cut: int = 0


def _line(entry: Entry, most_text: int) -> _Line:
    raw: list[str] = []
    n_hidden = n_cut = 0
    ready: Entry = {}
    for name, value in entry.items():
        if not isinstance(value, str):
            ready[name] = value
            continue
        cut = _cut(
            value, {"arguments": MOST_ARGUMENT, "result": MOST_RESULT, "error": MOST_RESULT}.get(name, most_text)
        )
        n_cut += max(0, len(value) - len(cut))
        if name != "system":  # the app's own words, which speak of instructions by nature
            raw.append(cut)
        seen = shown(cut)
        n_hidden += seen.n_hidden
        ready[name] = seen.text
    if n_hidden:
        ready["hidden_characters_removed"] = n_hidden
    text = json.dumps(ready, ensure_ascii=False).translate(_LINES)
    return _Line(text=text, raw=tuple(raw), n_hidden=n_hidden, n_cut=n_cut)


def _cut(text: str, most: int) -> str:
    """The text, or its start and its end around a mark."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]} [... {len(text) - most:,} characters left out ...] {text[len(text) - (most - head) :]}"


def _whole(parts: list[tuple[str, list[Entry], int]], *, pair: bool = False, empty: bool = False) -> Content:
    ready, lines = [], []
    for name, entries, most in parts:
        most_text = most if name in _ANSWERS else MOST_MESSAGE
        kept = _fitting([_line(entry, most_text) for entry in _middle_out(entries, MOST_ENTRIES)], most)
        ready.append(Part(name=name, text="\n".join(line.text for line in kept)))
        lines += kept
    return Content(
        parts=tuple(ready),
        pair=pair,
        empty=empty,
        signs=signs(text for line in lines for text in line.raw),
        n_hidden=sum(line.n_hidden for line in lines),
        n_cut=sum(line.n_cut for line in lines),
    )


def _middle_out(entries: list[Entry], most: int) -> list[Entry]:
    if len(entries) <= most:
        return entries
    head = int(most * _HEAD)
    return [*entries[:head], {"left_out_entries": len(entries) - most}, *entries[len(entries) - (most - head) :]]


def _fitting(lines: list[_Line], most: int) -> list[_Line]:
    """The first and the last lines that fit, around a line that says how many are left out. The last line and the
    first always stay."""
    if sum(len(line.text) + 1 for line in lines) <= most or len(lines) < 3:
        return lines
    head, room = 1, most * _HEAD - len(lines[0].text)
    while head < len(lines) - 1 and len(lines[head].text) < room:
        room -= len(lines[head].text) + 1
        head += 1
    tail, room = len(lines) - 1, most * (1 - _HEAD) - len(lines[-1].text)
    while tail > head and len(lines[tail - 1].text) < room:
        tail -= 1
        room -= len(lines[tail].text) + 1
    gone = lines[head:tail]
    if not gone:
        return lines
    n_cut = sum(len(line.text) for line in gone)
    mark = json.dumps({"left_out_entries": len(gone), "characters": n_cut})
    return [*lines[:head], _Line(text=mark, n_cut=n_cut), *lines[tail:]]
