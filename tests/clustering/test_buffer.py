"""What waits is clustered again: the only way a cluster is born between full runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clustering.buffer import Settled, settle
from clustering.incremental import assign, waiting
from clustering.records import NOISE, Labels, State, Vectors
from tests.clustering.histories import OTHER_SPACE, axis, failed, known, look, place
from tests.clustering.test_incremental import ball


def by_axis(vectors: Vectors) -> Labels:
    """Each vector in the cluster of the axis it lies along: what a density would find of balls around axes."""
    return np.asarray(vectors.argmax(axis=1), dtype=np.int32)


def settled(vectors: Vectors, **changes: Any) -> Settled:
    """Of sessions s0, s1, ... with one living cluster, C-0001 at axis 1."""
    given: dict[str, Any] = {
        "failed": [None] * len(vectors), "known": [known(1)], "cluster": by_axis, "look": look(), "next_number": 9,
        "least": 20,
    }  # fmt: skip
    return settle(vectors, [f"s{at}" for at in range(len(vectors))], **(given | changes))


def test_new_sessions_that_are_alike_found_a_cluster() -> None:
    vectors = ball(axis(4), 24, 0.1)
    answer = settled(vectors, failed=[True] * 20 + [None] * 4, look=look(failure=failed(120, 900)))
    assert answer.given == ["C-0009"] * 24
    assert (answer.lineage.next_number, answer.joined, answer.n_waiting) == (10, 0, 0)
    (born,), (event,) = answer.lineage.standings, answer.lineage.events
    assert (born.state, born.n, born.of, born.failure) == (State.BORN, 24, 1_000, failed(20, 20))
    assert event.text.startswith("24 of 1,000 sessions; fails in 100%, the rest in 11%")


def test_the_rim_that_a_radius_cuts_off_joins_its_cluster() -> None:
    """Sessions around the living cluster, all farther than its radius: a shell, whose middle is the cluster's."""
    chance = np.random.default_rng(2)
    sides = chance.normal(size=(60, 8)).astype(np.float32)
    sides[:, 1] = 0.0
    shell = axis(1) + 0.9 * sides / np.linalg.norm(sides, axis=1, keepdims=True)
    shell = np.asarray(shell / np.linalg.norm(shell, axis=1, keepdims=True), dtype=np.float32)
    living = known(1, radius=0.2)
    index = assign(shell, living.centroid[None], np.array([living.radius], np.float32)).index
    assert waiting(shell, index).all()
    answer = settled(shell, known=[living], cluster=lambda vectors: np.zeros(len(vectors), np.int32))
    assert answer.given == ["C-0001"] * 60
    assert (answer.joined, answer.lineage.events, answer.lineage.next_number) == (60, (), 9)


def test_few_wait_on_and_are_not_clustered() -> None:
    answer = settled(ball(axis(4), 19, 0.1), cluster=pytest.fail)
    assert (answer.given, answer.n_waiting, answer.lineage.next_number) == ([None] * 19, 19, 9)


def test_noise_waits_on() -> None:
    answer = settled(ball(axis(4), 30, 0.1), cluster=lambda vectors: np.full(len(vectors), NOISE, np.int32))
    assert (answer.n_waiting, answer.lineage.standings) == (30, ())


def test_an_ended_cluster_comes_back_under_its_id() -> None:
    ended = known(4, state=State.DIED, alive=False)
    answer = settled(ball(axis(4), 24, 0.02), known=[known(1), ended], failed=[True] * 24,
                     look=look(failure=failed(120, 1_000)))  # fmt: skip
    assert answer.given == ["C-0004"] * 24
    (back,) = answer.lineage.standings
    assert (back.state, back.alive, answer.lineage.next_number) == (State.REGRESSED, True, 9)


def test_living_clusters_are_neither_missed_nor_compared() -> None:
    long_ago = known(1, last_run_ns=0)
    answer = settled(ball(axis(4), 24, 0.1), known=[long_ago, known(2, alive=False, state=State.DIED)])
    assert [one.cluster_id for one in answer.lineage.standings] == ["C-0009"]
    assert {one.cluster_id for one in answer.lineage.events} == {"C-0009"}


def test_a_living_cluster_of_another_space_takes_nobody_in() -> None:
    answer = settled(ball(axis(1), 24, 0.1), known=[known(1, embedder=OTHER_SPACE)])
    assert set(answer.given) == {"C-0009"}


def test_the_nearest_of_two_living_ones_takes_the_rim() -> None:
    living = [known(number, centroid=place(0.0, 1.0, side), radius=0.6) for number, side in ((1, 0.1), (2, 0.4))]
    vectors = ball(place(0.0, 1.0, 0.3), 24, 0.02)  # .018 from the first, .004 from the second
    answer = settled(vectors, known=living, cluster=lambda waits: np.zeros(len(waits), np.int32))
    assert set(answer.given) == {"C-0002"}
