"""Pairing calls that were made with gold ones: by name and arguments, in order or in any order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from core.errors import TooLarge
from evaluators.records import ToolCall
from evaluators.rules.comparators import arguments_equal, arguments_matched, compares
from evaluators.rules.values import call_key

MOST_PAIRS: Final = 250_000  # calls of one tool times gold calls of it, where each pair has to be compared


@dataclass(frozen=True, kw_only=True)
class Matched:
    """How many of the calls made are gold ones, each gold call used once."""

    n_matched: int
    n_made: int
    n_gold: int

    @property
    def precision(self) -> float:
        """Of the calls made. Without calls: 1 where none is right, else 0."""
        return self.n_matched / self.n_made if self.n_made else float(not self.n_gold)

    @property
    def recall(self) -> float:
        """Of the gold calls. Without gold calls: 1."""
        return self.n_matched / self.n_gold if self.n_gold else 1.0

    @property
    def f1(self) -> float:
        """Twice the matched over both; 1 when both are empty."""
        both = self.n_made + self.n_gold
        return 2 * self.n_matched / both if both else 1.0

    @property
    def parts(self) -> dict[str, int]:
        """The counts."""
        return {"n_matched": self.n_matched, "n_made": self.n_made, "n_gold": self.n_gold}


def matched(gold: Sequence[ToolCall], made: Sequence[ToolCall], comparators: Mapping[str, str]) -> Matched:
    """The largest pairing of gold calls with calls made, by name and arguments. Raises TooLarge, InvalidInput."""
    n_matched = sum(
        _n_matched(wanted, given, comparators) for wanted, given in _by_name(gold, made).values() if wanted and given
    )
    return Matched(n_matched=n_matched, n_made=len(made), n_gold=len(gold))


def in_order(gold: Sequence[ToolCall], made: Sequence[ToolCall], comparators: Mapping[str, str]) -> bool:
    """Whether the gold calls are among those made in their order. The earliest fit is always a fit."""
    rest = iter(made)
    return all(any(arguments_equal(wanted, given, comparators) for given in rest) for wanted in gold)


def longest_common(gold: Sequence[ToolCall], made: Sequence[ToolCall], comparators: Mapping[str, str]) -> int:
    """The length of the longest common subsequence. Raises TooLarge over MOST_PAIRS pairs."""
    _bounded(len(gold) * len(made))
    row = [0] * (len(made) + 1)
    for wanted in gold:
        before = row
        row = [0]
        for at, given in enumerate(made, 1):
            fits = arguments_equal(wanted, given, comparators)
            row.append(before[at - 1] + 1 if fits else max(before[at], row[-1]))
    return row[-1]


def argument_shares(gold: Sequence[ToolCall], made: Sequence[ToolCall], comparators: Mapping[str, str]) -> list[float]:
    """For each gold call the share of arguments that match in the call paired with it, 0 where none is.

    Calls of one tool are paired so that the shares sum to the most. Raises TooLarge, InvalidInput.
    """
    shares: list[float] = []
    for wanted, given in _by_name(gold, made).values():
        shares += _paired_shares(wanted, given, comparators)
    return shares


def _paired_shares(
    wanted: Sequence[ToolCall], given: Sequence[ToolCall], comparators: Mapping[str, str]
) -> list[float]:
    if not wanted or not given:
        return [0.0] * len(wanted)
    _bounded(len(wanted) * len(given))
    table = np.array([[_share(one, other, comparators) for other in given] for one in wanted])
    rows, columns = scipy.optimize.linear_sum_assignment(table, maximize=True)
    found = [float(one) for one in table[rows, columns]]
    return found + [0.0] * (len(wanted) - len(found))


def _share(gold: ToolCall, found: ToolCall, comparators: Mapping[str, str]) -> float:
    each = arguments_matched(gold, found, comparators)
    return sum(each.values()) / len(each) if each else 1.0


def _n_matched(wanted: Sequence[ToolCall], given: Sequence[ToolCall], comparators: Mapping[str, str]) -> int:
    """Calls of one tool. Equal arguments are counted; chosen comparators need every pair looked at."""
    if not compares(wanted[0].name, comparators):
        return (Counter(map(call_key, wanted)) & Counter(map(call_key, given))).total()
    _bounded(len(wanted) * len(given))
    fits = np.array([[arguments_equal(one, other, comparators) for other in given] for one in wanted], dtype=np.int8)
    return int(
        (scipy.sparse.csgraph.maximum_bipartite_matching(scipy.sparse.csr_array(fits), perm_type="column") >= 0).sum()
    )


def _by_name(gold: Sequence[ToolCall], made: Sequence[ToolCall]) -> dict[str, tuple[list[ToolCall], list[ToolCall]]]:
    found: dict[str, tuple[list[ToolCall], list[ToolCall]]] = defaultdict(lambda: ([], []))
    for one in gold:
        found[one.name][0].append(one)
    for one in made:
        found[one.name][1].append(one)
    return found


def _bounded(n_pairs: int) -> None:
    if n_pairs > MOST_PAIRS:
        raise TooLarge(f"{n_pairs} pairs of calls would have to be compared; {MOST_PAIRS} are at most")
