"""New sessions join a cluster within its radius, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustering.incremental import assign, centroid, radius, shapes, waiting
from clustering.records import NOISE, Vectors
from core.errors import InvalidInput
from tests.clustering.histories import axis, failed, place


def ball(middle: Vectors, n: int, spread: float, seed: int = 0) -> Vectors:
    """(n, d) vectors of length 1 around a direction."""
    drawn = middle + np.random.default_rng(seed).normal(0, spread, (n, len(middle)))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def test_a_centroid_is_the_mean_direction() -> None:
    vectors = np.stack([place(1.0), place(0.0, 1.0)])
    assert centroid(vectors) == pytest.approx(place(1.0, 1.0))
    assert not centroid(np.zeros((3, 8), np.float32)).any()
    assert not centroid(np.zeros((0, 8), np.float32)).any()
    assert not centroid(np.stack([place(1.0), place(-1.0)])).any()  # they cancel: no direction


def test_a_radius_is_of_distances_from_the_others() -> None:
    three = np.stack([axis(0), axis(0), place(1.0, 1.0)])
    # From the middle of the two alike the third is 1 - cos 45 degrees away, they from that of the others 22.5 degrees.
    assert radius(three, quantile=0.5) == pytest.approx(1 - np.cos(np.pi / 8), abs=1e-6)
    assert radius(np.stack([axis(0)] * 9)) == pytest.approx(0.0, abs=1e-6)
    assert (radius(three[:1]), radius(three[:0])) == (0.0, 0.0)
    assert radius(np.stack([axis(0), axis(1)])) == pytest.approx(0.8)  # the widest


def test_noise_in_a_cluster_does_not_widen_it() -> None:
    own, noise = ball(axis(0), 170, 0.1, 1), ball(place(1.0, 1.7), 30, 0.1, 2)
    clean, mixed = radius(own), radius(np.vstack([own, noise]))
    assert clean < mixed < 2 * clean
    assert mixed < 1 - float((noise @ centroid(own)).max())


@pytest.mark.parametrize("n", [10, 15, 40, 300])
def test_the_next_sessions_of_a_cluster_are_within_its_radius_however_few_it_has(n: int) -> None:
    middle = np.eye(384, dtype=np.float32)[0]
    inside = []
    for seed in range(20):
        drawn = ball(middle, n + 200, 1 / np.sqrt(384), seed)
        index = assign(drawn[n:], centroid(drawn[:n])[None], np.array([radius(drawn[:n])], np.float32)).index
        inside.append(float((index == 0).mean()))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)


@given(spread=st.floats(0.001, 0.15), n=st.integers(20, 200), seed=st.integers(0, 50))
def test_a_clusters_own_sessions_are_assigned_to_it_but_for_its_strays(spread: float, n: int, seed: int) -> None:
    vectors = ball(axis(0), n, spread, seed)
    middle = centroid(vectors)
    index = assign(vectors, middle[None], np.array([radius(vectors)], np.float32)).index
    assert (index == 0).mean() >= 0.8


def test_shapes_count_what_lineage_reads() -> None:
    vectors = np.stack([axis(0), axis(0), place(1.0, 1.0), axis(3), axis(3)])
    clusters = shapes(
        vectors, np.array([1, 1, NOISE, 0, 0], np.int32), ["a", "b", "c", "d", "e"],
        failed=[True, None, True, False, True], new=[True, False, True, True, True],
    )  # fmt: skip
    first, second = clusters
    assert (first.label, first.members, first.n, first.n_new) == (0, frozenset("de"), 2, 2)
    assert (second.label, second.members, second.failure, second.n_new) == (1, frozenset("ab"), failed(1, 1), 1)
    assert second.centroid == pytest.approx(axis(0))
    assert shapes(vectors, np.full(5, NOISE, np.int32), list("abcde"), failed=[None] * 5) == []
    with pytest.raises(InvalidInput, match="of the same sessions"):
        shapes(vectors, np.zeros(5, np.int32), ["a"], failed=[None] * 5)


def test_the_deepest_wins_and_outside_of_all_is_nobodys() -> None:
    centroids = np.stack([axis(0), place(1.0, 1.0)])
    radii = np.array([0.01, 0.4], np.float32)  # a tight cluster beside a wide one, .29 apart
    vectors = np.stack([place(1.0, 0.05), place(1.0, 0.3), place(0.0, 0.0, 1.0)])  # .001, .042 and 1 from the tight
    given_to = assign(vectors, centroids, radii)
    index, confidence = given_to.index, given_to.confidence
    assert index.tolist() == [0, 1, NOISE]  # the second is nearer to the tight, but outside of it
    assert confidence[0] > confidence[1] > confidence[2] == 0.0
    # depth 1 - .00125 / .01, margin 1 - .00125 / .2585
    assert confidence[0] == pytest.approx((0.8754 + 0.9952) / 2, abs=2e-3)


def test_a_session_said_again_is_in_the_cluster_of_its_likes() -> None:
    same = place(0.3, 0.2, 0.7)
    vectors = np.stack([same] * 1_000)
    middle = centroid(vectors)
    given_to = assign(vectors[:3] * 5, middle[None], np.array([radius(vectors)], np.float32))
    index, confidence = given_to.index, given_to.confidence
    assert index.tolist() == [0, 0, 0]  # of any length
    assert (confidence > 0.9).all()


def test_who_says_nothing_is_assigned_nowhere_and_does_not_wait() -> None:
    vectors = np.stack([np.zeros(8, np.float32), axis(5), axis(0)])
    given_to = assign(vectors, axis(0)[None], np.array([1.5], np.float32))
    index, confidence = given_to.index, given_to.confidence
    assert index.tolist() == [NOISE, 0, 0]
    assert confidence[0] == 0.0
    index = assign(vectors, axis(0)[None], np.array([0.5], np.float32)).index
    assert waiting(vectors, index).tolist() == [False, True, False]


def test_without_clusters_everybody_waits() -> None:
    vectors = ball(axis(0), 5, 0.1)
    given_to = assign(vectors, np.zeros((0, 8), np.float32), np.zeros(0, np.float32))
    index, confidence = given_to.index, given_to.confidence
    assert (index.tolist(), confidence.tolist()) == ([NOISE] * 5, [0.0] * 5)
    assert waiting(vectors, index).all()
    assert assign(vectors[:0], axis(0)[None], np.ones(1, np.float32)).index.tolist() == []


def test_vectors_of_another_embedder_are_refused() -> None:
    with pytest.raises(InvalidInput, match="8 dimensions for centroids of 384"):
        assign(ball(axis(0), 5, 0.1), np.ones((2, 384), np.float32), np.ones(2, np.float32))


def test_many_at_once_are_answered_as_one_by_one() -> None:
    vectors = np.vstack([ball(axis(number), 3_000, 0.2, number) for number in range(4)])
    centroids, radii = np.stack([axis(number) for number in range(4)]), np.full(4, 0.3, np.float32)
    given_to = assign(vectors, centroids, radii)
    index, confidence = given_to.index, given_to.confidence
    for row in (0, 2_999, 8_191, 8_192, 11_999):
        alone = assign(vectors[row : row + 1], centroids, radii)
        assert (alone.index[0], alone.confidence[0]) == (index[row], pytest.approx(confidence[row], abs=1e-5))
