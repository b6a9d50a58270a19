"""Topics: planted groups of clusters are found, numbered by size, named by their words; few clusters have none."""

from __future__ import annotations

import numpy as np
import pytest

from clustering.records import NOISE, Vectors
from clustering.topics import FEWEST, centroids, groups, renumbered, siblings, silhouette, topics_of


def planted(each: int = 3, n_groups: int = 3, alone: int = 0) -> Vectors:
    """Centroids (k, 16) near `n_groups` axes, then some on axes of their own."""
    rng = np.random.default_rng(7)
    axes = [group for group in range(n_groups) for _ in range(each)] + [n_groups + n for n in range(alone)]
    made = 0.1 * rng.normal(size=(len(axes), 16)) + np.eye(16)[axes]
    unit: Vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_planted_groups_become_topics() -> None:
    found = groups(planted())
    assert [len(set(found[at : at + 3].tolist())) for at in (0, 3, 6)] == [1, 1, 1]
    assert len(set(found.tolist())) == 3


def test_a_cluster_apart_stands_alone() -> None:
    found = groups(planted(alone=2))
    assert found[-2:].tolist() == [NOISE, NOISE]
    assert NOISE not in found[:-2]


@pytest.mark.parametrize("k", range(FEWEST))
def test_few_clusters_have_no_topics(k: int) -> None:
    assert groups(planted()[:k]).tolist() == [NOISE] * k


def test_clusters_in_one_place_are_no_error() -> None:
    assert groups(np.tile(planted()[:1], (8, 1))).shape == (8,)
    assert groups(np.zeros((8, 4), dtype=np.float32)).shape == (8,)


def test_silhouette_by_hand() -> None:
    """Points 0, 1 | 10, 11 on a line: (10.5 - 1) / 10.5 and (9.5 - 1) / 9.5, each twice."""
    points = np.array([0.0, 1.0, 10.0, 11.0])
    apart = np.abs(points[:, None] - points[None, :])
    assert silhouette(apart, np.array([0, 0, 1, 1])) == pytest.approx((9.5 / 10.5 + 8.5 / 9.5) / 2)
    assert silhouette(apart, np.array([0, 0, 0, 0])) == -1.0
    assert silhouette(apart, np.array([0, 1, 2, 3])) == 0.0


def test_the_topic_of_most_sessions_is_the_first_and_named_by_its_words() -> None:
    group = np.array([0, 0, 1, 1, NOISE], dtype=np.int32)
    sizes = [10, 10, 10, 30, 50]
    counts = np.array([[9, 0, 4.0], [8, 0, 4], [0, 8, 4], [0, 27, 12], [0, 0, 20]])
    ordered = renumbered(group, sizes)
    assert ordered.tolist() == [1, 1, 0, 0, NOISE]
    first, second = topics_of(ordered, sizes, counts, sizes, ("refund", "parcel", "please"))
    assert (first.index, first.title, first.clusters) == (0, "parcel", (3, 2))
    assert (second.index, second.title, second.clusters) == (1, "refund", (0, 1))


def test_topics_without_words_have_a_title() -> None:
    (one,) = topics_of(np.array([0, 0], dtype=np.int32), [5, 5], np.zeros((2, 0)), [5, 5], ())
    assert one.title == "topic 1"


def test_siblings_are_of_the_topic_or_the_nearest() -> None:
    centres = planted(alone=1)
    near = siblings(centres, groups(centres), 2)
    assert set(near[0]) == {1, 2}
    assert len(near[9]) == 2
    assert 9 not in near[9]
    assert siblings(centres[:1], np.array([NOISE], dtype=np.int32)) == [()]


def test_centroids_are_means_of_length_one() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [-1, 0], [9, 9]], dtype=np.float32)
    found = centroids(vectors, np.array([0, 0, 1, 1, NOISE], dtype=np.int32))
    assert found == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0, 0]]), abs=1e-6)
