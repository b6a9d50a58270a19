"""Whether examples are given away: their words in a prompt, or the same example in two splits.

An example that stands in the prompt, as a few-shot example say, is answered from there, and its score says nothing of
the agent. Eight words in the same order are taken for the same text, as GPT-2 and its successors were checked
(Radford et al. 2019, section 4); of a text of four to seven words, all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from evaluators.datasets.likeness import THRESHOLD, alike, words_of
from evaluators.datasets.records import Example

WORDS: Final = 8
LEAST_WORDS: Final = 4  # a shorter text stands anywhere
_SHOWN_WORDS: Final = 30


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text that the model is given with every question, and where it was found."""

    place: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Given:
    """Words of an example that stand in a prompt. `part` is input or answer, `share` that of its words, `words` the
    longest piece."""

    example_id: str
    split: str
    part: str
    place: str
    share: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Across:
    """Two examples of different splits that say the same, or nearly."""

    first_id: str
    first_split: str
    second_id: str
    second_split: str
    similarity: float


def given_away(examples: Iterable[Example], prompts: Sequence[Prompt]) -> list[Given]:
    """The examples with words in a prompt, the largest share of each part, most first."""
    index = _Index(prompts)
    found = []
    for example in examples:
        for part, text in _parts(example):
            hit = index.look(words_of(text))
            if hit is not None:
                place, share, words = hit
                found.append(
                    Given(
                        example_id=example.example_id,
                        split=example.split,
                        part=part,
                        place=place,
                        share=share,
                        words=words,
                    )
                )
    return sorted(found, key=lambda one: (-one.share, one.example_id, one.part))


def across_splits(examples: Sequence[Example], threshold: float = THRESHOLD) -> list[Across]:
    """Examples that are like one of another split, in their order."""
    pairs = alike([one.text for one in examples], threshold)
    told = [(examples[pair.first], examples[pair.second], pair.similarity) for pair in pairs]
    return [
        Across(
            first_id=first.example_id,
            first_split=first.split,
            second_id=second.example_id,
            second_split=second.split,
            similarity=similarity,
        )
        for first, second, similarity in told
        if first.split != second.split
    ]


def _parts(example: Example) -> Iterator[tuple[str, str]]:
    for turn in example.turns:
        yield "input", turn
    for answer in filter(None, (example.expected.answer, *example.expected.answers)):
        yield "answer", answer


class _Index:
    """Where each run of WORDS words stands in the prompts."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts
        self._words = [words_of(prompt.text) for prompt in prompts]
        self._whole = [f" {' '.join(words)} " for words in self._words]
        self._places: dict[tuple[str, ...], int] = {}
        for number, words in enumerate(self._words):
            for at in range(len(words) - WORDS + 1):
                self._places.setdefault(tuple(words[at : at + WORDS]), number)

    def look(self, words: list[str]) -> tuple[str, float, str] | None:
        """(place, share of the words, longest piece) of the first prompt with a piece; None when there is none."""
        if len(words) < LEAST_WORDS:
            return None
        if len(words) < WORDS:
            piece = " ".join(words)
            number = next((n for n, whole in enumerate(self._whole) if f" {piece} " in whole), None)
            return None if number is None else (self._prompts[number].place, 1.0, piece)
        hits = [self._places.get(tuple(words[at : at + WORDS])) for at in range(len(words) - WORDS + 1)]
        number = next((hit for hit in hits if hit is not None), None)
        if number is None:
            return None
        covered = [any(hit is not None for hit in hits[max(0, at - WORDS + 1) : at + 1]) for at in range(len(words))]
        start, end = _longest(covered)
        return self._prompts[number].place, sum(covered) / len(words), " ".join(words[start:end][:_SHOWN_WORDS])


def _longest(covered: Sequence[bool]) -> tuple[int, int]:
    best, start = (0, 0), None
    for at, one in enumerate([*covered, False]):
        if one and start is None:
            start = at
        elif not one and start is not None:
            best = max(best, (start, at), key=lambda piece: piece[1] - piece[0])
            start = None
    return best
