"""Who a cluster is from run to run: ids that stay, and what moves between clusters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering.lineage import match
from clustering.lineage_records import Found, Known, Lineage, space_of
from clustering.overlap import pairs
from clustering.records import State, Weights
from core.errors import InvalidInput
from tests.clustering.histories import (
    DIMS,
    OTHER_SPACE,
    SPACE,
    WEEK_NS,
    axis,
    found,
    kinds,
    known,
    look,
    place,
    remembered,
    sessions,
    states,
)

Labels = list[int]
N_SESSIONS = 60
partitions = st.lists(st.integers(-1, 5), min_size=N_SESSIONS, max_size=N_SESSIONS)


def grouped(labels: Labels, places: Sequence[int]) -> list[Found]:
    """Clusters of the sessions with one label; below 0 is noise. Each lies at the axis its label is given."""
    groups = {label: frozenset(f"s{at}" for at, one in enumerate(labels) if one == label) for label in set(labels)}
    return [
        found(label, members, centroid=axis(places[label])) for label, members in groups.items() if label >= 0
    ]  # fmt: skip


def told(lineage: Lineage, given: Sequence[Found]) -> tuple[object, ...]:
    """All that a lineage says, without labels and order."""
    members = {one.label: one.members for one in given}
    return (
        {(members[label], cluster_id) for label, cluster_id in lineage.given.items()},
        {(one.cluster_id, one.state, one.alive, one.n, one.centroid.tobytes()) for one in lineage.standings},
        set(lineage.events),
        lineage.next_number,
    )


@settings(max_examples=60)
@given(before=partitions, after=partitions, places=st.permutations(range(6)), seed=st.integers(0, 1_000))
def test_neither_order_nor_labels_change_who_is_who(
    before: Labels, after: Labels, places: list[int], seed: int
) -> None:
    first = grouped(before, range(6))
    registry = remembered(match([], first, look=look(at_ns=WEEK_NS), next_number=1), first)
    second = grouped(after, places)
    straight = match(registry, second, look=look(), next_number=50)
    chance = random.Random(seed)
    names = chance.sample(range(100), 6)
    others = [replace(one, label=names[one.label]) for one in second]
    mixed = match(
        chance.sample(registry, len(registry)), chance.sample(others, len(others)), look=look(), next_number=50
    )
    assert told(mixed, others) == told(straight, second)


@settings(max_examples=60)
@given(runs=st.lists(st.tuples(partitions, st.permutations(range(6))), min_size=2, max_size=5))
def test_no_id_is_ever_given_to_two_clusters(runs: list[tuple[Labels, list[int]]]) -> None:
    registry: list[Known] = []
    next_number, ever = 1, set[str]()
    for number, (labels, places) in enumerate(runs):
        clusters = grouped(labels, places)
        window = look(at_ns=(number + 1) * WEEK_NS, start_ns=number * WEEK_NS, since_ns=number * WEEK_NS)
        lineage = match(registry, clusters, look=window, next_number=next_number)
        born = {one.cluster_id for one in lineage.events if one.kind is State.BORN}
        assert not born & ever
        assert sorted(lineage.given) == sorted(one.label for one in clusters)
        assert len(set(lineage.given.values())) == len(clusters)
        assert {one.cluster_id for one in lineage.standings} == ever | born
        assert lineage.next_number == next_number + len(born)
        ever |= born
        next_number, registry = lineage.next_number, remembered(lineage, clusters)


@settings(max_examples=60)
@given(labels=partitions, space=st.sampled_from([SPACE, OTHER_SPACE]), names=st.permutations(range(6)))
def test_unchanged_data_keeps_every_id(labels: Labels, space: str, names: list[int]) -> None:
    clusters = [one for one in grouped(labels, range(6)) if one.n >= 5]
    first = match([], clusters, look=look(at_ns=WEEK_NS, n=N_SESSIONS), next_number=1)
    again = [replace(one, label=names[one.label]) for one in clusters]
    second = match(
        remembered(first, clusters), again, look=look(n=N_SESSIONS, embedder=space), next_number=first.next_number
    )
    assert second.given == {names[label]: cluster_id for label, cluster_id in first.given.items()}
    assert {one.kind for one in second.events} <= {State.CONTINUED}
    assert second.next_number == first.next_number


def test_larger_clusters_get_the_smaller_numbers() -> None:
    lineage = match([], [found(0, sessions("a", 7)), found(1, sessions("b", 9))], look=look(), next_number=42)
    assert lineage.given == {1: "C-0042", 0: "C-0043"}
    assert [one.text for one in lineage.events] == ["9 of 1,000 sessions", "7 of 1,000 sessions"]


def test_sessions_of_another_window_are_matched_by_place_alone() -> None:
    moved = place(0.0, 1.0, 0.1)  # a distance of .005 from axis 1, the radius is .4
    lineage = match([known(1)], [found(3, sessions("new", 30), centroid=moved)], look=look(), next_number=2)
    assert lineage.given == {3: "C-0001"}
    assert lineage.standings[0].similarity == pytest.approx(1 - 0.00496 / 0.4, abs=1e-3)


def test_a_place_half_a_radius_away_is_another_cluster() -> None:
    near, far = place(0.0, 1.0, 0.64), place(0.0, 1.0, 0.90)  # cosine distances .158 and .257, bar .2
    first = match([known(1)], [found(0, sessions("n", 9), centroid=near)], look=look(), next_number=2)
    second = match([known(1)], [found(0, sessions("n", 9), centroid=far)], look=look(), next_number=2)
    assert (first.given, second.given) == ({0: "C-0001"}, {0: "C-0002"})


def test_places_do_not_deny_what_sessions_say() -> None:
    members = sessions("s", 20)
    lineage = match([known(1, members)], [found(5, members)], look=look(), next_number=2)
    assert lineage.given == {5: "C-0001"}


def test_an_equal_place_does_not_make_other_sessions_the_cluster() -> None:
    registry = [known(1, sessions("s", 20))]
    clusters = [found(1, sessions("t", 20)), found(5, sessions("s", 20))]
    lineage = match(registry, clusters, look=look(), next_number=2)
    assert lineage.given == {5: "C-0001", 1: "C-0002"}


def test_another_embedder_compares_sessions_only() -> None:
    registry = [known(1, sessions("s", 20)), known(2)]
    clusters = [
        found(2, sessions("s", 16), centroid=np.ones(1024, dtype=np.float32) / 32),
        found(1, sessions("t", 20), centroid=np.ones(1024, dtype=np.float32) / 32),
    ]
    lineage = match(registry, clusters, look=look(embedder=OTHER_SPACE), next_number=3)
    assert lineage.given == {2: "C-0001", 1: "C-0003"}
    standing = lineage.standings[0]
    assert (standing.embedder, standing.centroid.shape, standing.similarity) == (OTHER_SPACE, (1024,), 0.8)
    # Where no session of it is left, the run can neither find nor miss it: its place means nothing in the new space.
    assert (states(lineage)["C-0002"], kinds(lineage, "C-0002")) == (State.CONTINUED, [])


def test_other_weights_are_another_space() -> None:
    version = "all-MiniLM-L6-v2/1"
    assert space_of(version, Weights(outcome=1.0)) == SPACE
    assert space_of(version, Weights(outcome=2.0)) != SPACE


def test_a_cluster_that_lost_a_part_stays_and_says_so() -> None:
    registry = [known(1, sessions("s", 40))]
    clusters = [found(1, sessions("s", 24)), found(2, sessions("s", 14, 24))]
    lineage = match(registry, clusters, look=look(), next_number=2)
    assert lineage.given == {1: "C-0001", 2: "C-0002"}
    split, born = lineage.events
    assert (split.kind, split.others, split.text) == (State.SPLIT, ("C-0002",), "35% of its sessions are in C-0002")
    assert (born.kind, born.others) == (State.BORN, ("C-0001",))
    assert states(lineage) == {"C-0001": State.SPLIT, "C-0002": State.BORN}


def test_a_cluster_in_three_like_parts_ends() -> None:
    registry = [known(1, sessions("s", 42))]
    clusters = [found(2 + part, sessions("s", 14, 14 * part)) for part in range(3)]
    lineage = match(registry, clusters, look=look(), next_number=2)
    assert sorted(lineage.given.values()) == ["C-0002", "C-0003", "C-0004"]
    parent = lineage.standings[0]
    assert (parent.state, parent.alive, parent.label) == (State.SPLIT, False, None)
    assert set(lineage.events[0].others) == {"C-0002", "C-0003", "C-0004"}


def test_a_few_sessions_that_stray_are_no_split() -> None:
    registry = [known(1, sessions("s", 40)), known(2, sessions("t", 40))]
    clusters = [
        found(1, sessions("s", 30)),
        found(2, sessions("t", 40) | sessions("s", 10, 30)),  # a quarter strayed, into what another cluster is
    ]
    lineage = match(registry, clusters, look=look(), next_number=3)
    assert states(lineage) == {"C-0001": State.CONTINUED, "C-0002": State.CONTINUED}


def test_two_clusters_that_became_one() -> None:
    registry = [known(1, sessions("s", 30)), known(2, sessions("t", 20))]
    lineage = match(registry, [found(7, sessions("s", 30) | sessions("t", 18))], look=look(), next_number=3)
    assert lineage.given == {7: "C-0001"}
    assert states(lineage) == {"C-0001": State.MERGED, "C-0002": State.MERGED}
    assert [one.alive for one in lineage.standings] == [True, False]
    kept, gone = lineage.events
    assert (kept.others, gone.others) == (("C-0002",), ("C-0001",))
    assert gone.text == "90% of its sessions are in C-0001"


def test_many_clusters_that_became_a_new_one() -> None:
    registry = [known(number, sessions(f"s{number}_", 20)) for number in (1, 2, 3)]
    union = frozenset().union(*(one.members for one in registry))
    lineage = match(registry, [found(7, union)], look=look(), next_number=4)
    assert lineage.given == {7: "C-0004"}
    assert lineage.events[-1].others == ("C-0001", "C-0002", "C-0003")
    assert states(lineage) == {"C-0004": State.BORN} | dict.fromkeys(["C-0001", "C-0002", "C-0003"], State.MERGED)


def test_what_merged_by_mistake_comes_back_under_its_id() -> None:
    registry = [
        known(1, sessions("s", 30) | sessions("t", 20), centroid=place(0.0, 1.0, 0.2)),
        known(2, state=State.MERGED, alive=False),
    ]
    clusters = [found(1, sessions("s", 30)), found(2, sessions("t", 20))]
    lineage = match(registry, clusters, look=look(), next_number=3)
    assert lineage.given == {1: "C-0001", 2: "C-0002"}
    assert (kinds(lineage, "C-0001"), kinds(lineage, "C-0002")) == ([State.SPLIT], [State.CONTINUED])


def test_centroid_and_radius_keep_half_of_the_old_until_the_cluster_changes_shape() -> None:
    members = sessions("s", 20)
    moved = found(1, members, centroid=place(0.0, 1.0, 0.4), radius=0.2)
    kept = match([known(1, members)], [moved], look=look(), next_number=2).standings[0]
    assert kept.centroid == pytest.approx((axis(1) + moved.centroid) / np.linalg.norm(axis(1) + moved.centroid))
    assert [kept.radius, float(np.linalg.norm(kept.centroid))] == pytest.approx([0.3, 1.0])
    both = [known(1, members), known(2, sessions("t", 6))]
    merged = match(both, [replace(moved, members=members | sessions("t", 6))], look=look(), next_number=3)
    assert (merged.standings[0].radius, merged.standings[0].state) == (0.2, State.MERGED)


def test_the_assignment_neither_gives_up_the_best_pair_nor_leaves_the_second_choice() -> None:
    first = np.array([True, True])
    assert pairs(np.array([[0.9, 0.8], [0.8, 0.0]]), 0.5, first) == {0: 0}
    assert pairs(np.array([[0.9, 0.2], [0.66, 0.65]]), 0.5, first) == {0: 0, 1: 1}
    assert pairs(np.array([[0.9, 0.2], [0.66, 0.45]]), 0.5, first) == {0: 0}
    assert pairs(np.array([[0.7], [0.7]]), 0.5, np.array([False, True])) == {1: 0}  # the living goes first


def test_bad_input_is_named() -> None:
    members = sessions("s", 9)
    with pytest.raises(InvalidInput, match="cluster_id C-0001 is there twice"):
        match([known(1), known(1)], [], look=look(), next_number=2)
    with pytest.raises(InvalidInput, match="label 3 is there twice"):
        match([], [found(3, members), found(3, sessions("t", 9))], look=look(), next_number=1)
    with pytest.raises(InvalidInput, match="in two found clusters"):
        match([], [found(3, members), found(4, members)], look=look(), next_number=1)
    with pytest.raises(InvalidInput, match="in two known clusters"):
        match([known(1, members), known(2, members)], [found(0, members)], look=look(), next_number=3)
    with pytest.raises(InvalidInput, match="without sessions"):
        match([], [found(3, frozenset())], look=look(), next_number=1)
    with pytest.raises(InvalidInput, match="C-0005 is given already"):
        match([known(5)], [], look=look(), next_number=5)
    with pytest.raises(InvalidInput, match="no cluster id"):
        match([known(5, cluster_id="refunds")], [], look=look(), next_number=6)
    with pytest.raises(InvalidInput, match=f"{DIMS} and 384 dimensions"):
        match([known(1)], [found(0, members, centroid=np.ones(384, dtype=np.float32))], look=look(), next_number=2)


def test_nothing_known_and_nothing_found_is_an_empty_lineage() -> None:
    lineage = match([], [], look=look(n=0), next_number=1)
    assert (lineage.standings, lineage.events, lineage.given, lineage.next_number) == ((), (), {}, 1)
