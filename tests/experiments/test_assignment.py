"""Assignment: uniform, independent between salts, the same for ever; another weight moves as few units as can be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.errors import InvalidInput
from experiments.assignment import WHOLE, Layout, assign, layout, place_of

BASE: Final = "base"
CLOSE: Final = 1e-12
# For ever: who changes one of these moves users between releases. The first is the beginning of what
# `printf salt:session-1 | sha256sum` prints, 6c953a6b7cd789a8.
GOLDEN: Final = {
    ("session-1", "salt"): 7_824_224_160_956_516_776,
    ("session-2", "salt"): 11_752_198_780_195_516_814,
    ("session-1", "another salt"): 9_925_781_967_762_234_438,
    ("", ""): 16_693_726_192_583_184_368,
    ("é𝄞", "s" * 100): 17_039_306_919_528_801_141,
}
GOLDEN_RELEASES: Final = (
    "v4 base v4 v2 v4 v4 base v4 v4 v4 v2 v4 v4 base v4 v4 base v2 v2 v2 base base v4 v3 v4 v4 v4 base v4 v4"
)
SHARES = st.floats(min_value=0, max_value=1, allow_nan=False)


def moves(before: Layout, after: Layout) -> dict[tuple[str, str], float]:
    """(from, to) -> the part of all units that moves so."""
    edges = sorted({0, *before.ends, *after.ends})
    found: Counter[tuple[str, str]] = Counter()
    for begin, end in pairwise(edges):
        there, here = before.at(begin), after.at(begin)
        if there != here:
            found[there, here] += end - begin
    return {pair: size / WHOLE for pair, size in found.items()}


def rest(*shares: float) -> float:
    """What the candidates leave."""
    return max(0.0, 1 - sum(shares))


def test_places_are_the_same_for_ever() -> None:
    assert {key: place_of(*key) for key in GOLDEN} == GOLDEN
    weights = {"v2": 0.2, "v3": 0.1, "v4": 0.3, BASE: 0.4}
    assert " ".join(assign(f"session-{n}", weights, BASE, "salt") for n in range(30)) == GOLDEN_RELEASES


def test_a_place_is_uniform() -> None:
    """Chi-square with 1,000 cells over 100,000 names that differ in a digit: below its 99.9th percentile, 1,143."""
    n, cells = 100_000, 1_000
    counts = Counter(place_of(f"user-{number}", "a salt") * cells // WHOLE for number in range(n))
    chi_square = sum((counts[cell] - n / cells) ** 2 / (n / cells) for cell in range(cells))
    assert chi_square < 1_143


def test_two_salts_are_independent() -> None:
    """Of a table of 20 by 20: chi-square with 361 degrees of freedom, below its 99.9th percentile, 451."""
    n, cells = 100_000, 20
    units = [f"user-{number}" for number in range(n)]
    pairs = Counter(
        (place_of(unit, "salt 1") * cells // WHOLE, place_of(unit, "salt 2") * cells // WHOLE) for unit in units
    )
    rows, columns = Counter[int](), Counter[int]()
    for (row, column), count in pairs.items():
        rows[row] += count
        columns[column] += count
    chi_square = 0.0
    for row in range(cells):
        for column in range(cells):
            expected = rows[row] * columns[column] / n
            chi_square += (pairs[row, column] - expected) ** 2 / expected
    assert chi_square < 451


def test_the_shares_are_those_of_the_weights_in_a_hundred_thousand_units() -> None:
    weights = {"v2": 0.05, "v3": 0.25, BASE: 0.7}
    counts = Counter(assign(f"user-{number}", weights, BASE, "x") for number in range(100_000))
    for name, weight in weights.items():
        assert abs(counts[name] / 100_000 - weight) < 0.005


@given(st.dictionaries(st.text(max_size=5), st.floats(0, 1e9), min_size=1, max_size=20), st.data())
def test_every_release_has_its_share(weights: dict[str, float], data: st.DataObject) -> None:
    assume(sum(weights.values()) > 0)
    baseline = data.draw(st.sampled_from(sorted(weights)))
    found = layout(weights, baseline)
    total = sum(weights.values())
    for name, weight in weights.items():
        assert found.shares().get(name, 0.0) == pytest.approx(weight / total, abs=CLOSE)
    assert found.ends[-1] == WHOLE
    assert list(found.ends) == sorted(set(found.ends))
    assert found == layout(dict(reversed(weights.items())), baseline), (
        "the order in which weights are given says nothing"
    )


@given(SHARES, SHARES, SHARES, st.booleans())
def test_with_one_or_two_candidates_exactly_those_move_that_must(a: float, b: float, more: float, two: bool) -> None:
    """To or from the baseline, and no others."""
    b = b if two else 0.0
    assume(a + b <= 1)
    assume(more + b <= 1)
    kept = {"b": b} if two else {}
    before = layout({"a": a, **kept, BASE: rest(a, b)}, BASE)
    after = layout({"a": more, **kept, BASE: rest(more, b)}, BASE)
    _only(moves(before, after), "a", more - a)
    if two:  # the second grows, the first stays
        swapped = (
            layout({"a": b, "b": a, BASE: rest(a, b)}, BASE),
            layout({"a": b, "b": more, BASE: rest(more, b)}, BASE),
        )
        _only(moves(*swapped), "b", more - a)


def _only(found: dict[tuple[str, str], float], name: str, change: float) -> None:
    """Nothing moved but `change` of the units, to `name` from the baseline, or back."""
    way = (BASE, name) if change > 0 else (name, BASE)
    assert found.pop(way, 0.0) == pytest.approx(abs(change), abs=CLOSE)
    assert sum(found.values()) == pytest.approx(0.0, abs=CLOSE)


@given(st.lists(st.floats(0, 0.125), min_size=1, max_size=8), st.data())
def test_with_up_to_eight_small_candidates_exactly_those_move_that_must(
    shares: list[float], data: st.DataObject
) -> None:
    weights = {f"v{n}": share for n, share in enumerate(shares)}
    name = data.draw(st.sampled_from(sorted(weights)))
    more = data.draw(st.floats(0, 0.125))
    before = layout({**weights, BASE: rest(*shares)}, BASE)
    changed = {**weights, name: more}
    after = layout({**changed, BASE: rest(*changed.values())}, BASE)
    _only(moves(before, after), name, more - weights[name])


@given(st.lists(SHARES, min_size=2, max_size=8), st.data())
def test_a_candidate_never_moves_the_units_of_those_before_it(shares: list[float], data: st.DataObject) -> None:
    """Whatever the weights: who is first by name keeps its units when a later one joins, grows, shrinks or leaves."""
    total = sum(shares)
    shares = [share / max(1.0, total) for share in shares]
    weights = {f"v{n}": share for n, share in enumerate(shares)}
    last = f"v{len(shares) - 1}"
    without = {name: share for name, share in weights.items() if name != last}
    before, after = layout(without, BASE), layout(weights, BASE)
    for (there, here), size in moves(before, after).items():
        assert there == BASE or size < CLOSE, f"{size} went from {there} to {here}"


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100), max_size=8), st.integers(1, 100))
def test_the_same_weights_in_another_unit_are_the_same(weights: dict[str, int], rest: int) -> None:
    percent = layout({**weights, BASE: rest}, BASE)
    doubled = layout({name: 2.0 * weight for name, weight in {**weights, BASE: rest}.items()}, BASE)
    assert sum(moves(percent, doubled).values()) < CLOSE


def test_a_weight_of_nothing_gets_nobody() -> None:
    units = [f"user-{n}" for n in range(2_000)]
    assert {assign(unit, {"v2": 0, BASE: 1}, BASE, "s") for unit in units} == {BASE}
    assert {assign(unit, {"v2": 0.0}, BASE, "s") for unit in units} == {BASE}
    assert {assign(unit, {}, BASE, "s") for unit in units} == {BASE}
    assert {assign(unit, {"v2": 3, BASE: 0}, BASE, "s") for unit in units} == {"v2"}


def test_a_baseline_that_has_no_weight_takes_the_rest() -> None:
    assert layout({"v2": 0.25}, BASE) == layout({"v2": 0.25, BASE: 0.75}, BASE)


@pytest.mark.parametrize(
    "weights",
    [
        {"v2": -0.1, BASE: 1},
        {"v2": float("nan"), BASE: 1},
        {"v2": float("inf"), BASE: 1},
        {"v2": 1e308, "v3": 1e308, BASE: 1},
        {"v2": 0.7, "v3": 0.7},
        {"v2": 0, BASE: 0},
    ],
)
def test_weights_that_split_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="weight"):
        assign("unit", weights, BASE, "salt")


def test_any_text_is_a_unit() -> None:
    for unit in ("", "\0", "\ud800", "x" * 100_000, "".join(map(chr, range(1, 2_000)))):
        assert 0 <= place_of(unit, unit) < WHOLE
