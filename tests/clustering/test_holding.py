"""A merge is believed when two runs in a row say so."""

from __future__ import annotations

from typing import Any

import numpy as np

from clustering.holding import held_apart
from clustering.incremental import shapes
from clustering.lineage import match
from clustering.lineage_records import Known, Lineage
from clustering.records import NOISE, Labels, State, Vectors
from tests.clustering.histories import OTHER_SPACE, SPACE, axis, known, look, place, remembered, states
from tests.clustering.test_incremental import ball

# Forty sessions of one cluster, twenty of another, then six of each that no run has seen; and three of noise.
VECTORS: Vectors = np.concatenate(
    [ball(axis(1), 40, 0.05, 1), ball(axis(2), 20, 0.05, 2), ball(axis(1), 6, 0.05, 3), ball(axis(2), 6, 0.05, 4),
     ball(axis(5), 3, 0.05, 5)]
)  # fmt: skip
NAMES = [f"s{at}" for at in range(len(VECTORS))]
TOGETHER: Labels = np.array([0] * 72 + [NOISE] * 3, np.int32)
NOBODY: frozenset[int] = frozenset()


def both(**of_second: Any) -> list[Known]:
    """The two, as the run before left them."""
    return [
        known(1, frozenset(NAMES[:40])),
        known(2, frozenset(NAMES[40:60]), **of_second),
    ]


def run(registry: list[Known], labels: Labels, apart: frozenset[int]) -> Lineage:
    """The lineage of what was found."""
    found = shapes(VECTORS, labels, NAMES, failed=[None] * len(NAMES), held=apart)
    return match(registry, found, look=look(n=len(NAMES)), next_number=3)


def test_two_that_are_found_as_one_stay_apart_for_one_run_and_then_merge() -> None:
    first = held_apart(VECTORS, TOGETHER, NAMES, both(), space=SPACE)
    assert first.labels.tolist() == [0] * 40 + [1] * 20 + [0] * 6 + [1] * 6 + [NOISE] * 3
    assert first.apart == {1}
    lineage = run(both(), first.labels, first.apart)
    assert states(lineage) == {"C-0001": State.CONTINUED, "C-0002": State.CONTINUED}
    assert [one.held for one in lineage.standings] == [False, True]
    assert lineage.events[1].text.endswith("found inside another, apart until the next run says so too")
    found = shapes(VECTORS, first.labels, NAMES, failed=[None] * len(NAMES), held=first.apart)
    registry = remembered(lineage, found)
    second = held_apart(VECTORS, TOGETHER, NAMES, registry, space=SPACE)
    assert (second.labels.tolist(), second.apart) == (TOGETHER.tolist(), NOBODY)
    assert states(run(registry, second.labels, second.apart)) == {"C-0001": State.MERGED, "C-0002": State.MERGED}


def test_one_that_is_found_by_itself_again_is_held_no_more() -> None:
    by_itself = np.array([0] * 40 + [1] * 20 + [0] * 6 + [1] * 6 + [NOISE] * 3, np.int32)
    registry = both(held=True)
    again = held_apart(VECTORS, by_itself, NAMES, registry, space=SPACE)
    assert (again.labels.tolist(), again.apart) == (by_itself.tolist(), NOBODY)
    assert [one.held for one in run(registry, again.labels, again.apart).standings] == [False, False]


def test_new_sessions_go_to_the_largest_where_centroids_are_of_another_space() -> None:
    answer = held_apart(VECTORS, TOGETHER, NAMES, both(), space=OTHER_SPACE)
    assert answer.labels.tolist() == [0] * 40 + [1] * 20 + [0] * 12 + [NOISE] * 3


def test_a_part_of_a_cluster_and_an_ended_one_are_not_held() -> None:
    half_elsewhere = known(2, frozenset(NAMES[40:60]) | frozenset(f"t{at}" for at in range(25)))
    for second in (half_elsewhere, known(2, frozenset(NAMES[40:60]), state=State.MERGED, alive=False)):
        answer = held_apart(VECTORS, TOGETHER, NAMES, [known(1, frozenset(NAMES[:40])), second], space=SPACE)
        assert (answer.labels.tolist(), answer.apart) == (TOGETHER.tolist(), NOBODY)


def test_three_found_as_one_are_three() -> None:
    third = known(3, frozenset(NAMES[60:66]), centroid=place(0.0, 1.0, 0.5))
    answer = held_apart(VECTORS, TOGETHER, NAMES, [*both(), third], space=SPACE)
    assert sorted(set(answer.labels.tolist())) == [NOISE, 0, 1, 2]
    assert answer.apart == {1, 2}
    assert (answer.labels[60:66] == 2).all()


def test_without_a_registry_nothing_changes() -> None:
    answer = held_apart(VECTORS, TOGETHER, NAMES, [], space=SPACE)
    assert (answer.labels.tolist(), answer.apart) == (TOGETHER.tolist(), NOBODY)
