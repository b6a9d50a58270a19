"""What density stands on: exact neighbours, copies, agreement of clusterings, reassignment, sizes. No UMAP here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from clustering.agreement import best_jaccard
from clustering.copies import capped, distinct
from clustering.density import by_size
from clustering.fast import finest_close, returned_share
from clustering.neighbours import Neighbours, nearest
from clustering.reassignment import reassigned
from clustering.records import NOISE, Method, Params
from clustering.sizes import method_for, min_cluster_size, min_samples

LABELS = arrays.arrays(np.int32, st.integers(1, 40), elements=st.integers(-1, 5))


def unit(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Random directions (n, d)."""
    rows = np.random.default_rng(seed).normal(size=(n, d))
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@pytest.mark.parametrize(("n", "k"), [(1, 3), (7, 3), (300, 15)])
def test_neighbours_are_those_of_sorting_all_similarities(n: int, k: int) -> None:
    rows = unit(n, 12, 1)
    found = nearest(rows, k)
    alike = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(alike, 3.0)
    expected = np.argsort(-alike, axis=1, kind="stable")[:, :k]
    assert np.array_equal(found.indices, expected)
    assert found.indices.shape == (n, min(n, k))
    own = np.take_along_axis(alike, expected, axis=1)[:, 1:]
    assert np.allclose(found.distances[:, 1:], 1 - own, atol=1e-5)
    assert np.array_equal(found.distances[:, 0], np.zeros(n))


def test_neighbours_among_others_need_not_hold_the_row_itself() -> None:
    rows, others = unit(40, 8, 2), unit(9, 8, 3)
    found = nearest(rows, 3, among=others)
    assert np.array_equal(found.indices[:, 0], (rows @ others.T).argmax(axis=1))
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_a_row_is_its_own_first_neighbour_among_copies_of_it() -> None:
    rows = np.repeat(unit(3, 8, 4), 5, axis=0)
    assert np.array_equal(nearest(rows, 4).indices[:, 0], np.arange(15))


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 2).map(float)))
def test_distinct_rows_give_back_all_rows(rows: NDArray[np.float32]) -> None:
    first, group = distinct(rows)
    assert np.array_equal(rows[first][group], rows)
    assert len(first) == len({tuple(row) for row in rows.tolist()})
    assert np.array_equal(first, np.sort(first))


@given(arrays.arrays(np.intp, st.integers(1, 60), elements=st.integers(0, 6)), st.integers(1, 8))
def test_at_most_so_many_copies_are_kept_and_no_group_is_lost(group: NDArray[np.intp], most: int) -> None:
    names, group = np.unique(group, return_inverse=True)
    kept = capped(group, most)
    assert np.array_equal(np.bincount(group[kept]), np.minimum(np.bincount(group), most))
    assert len(set(kept.tolist())) == len(kept)
    assert len(names) == len(np.unique(group[kept]))


def test_best_jaccard_by_hand() -> None:
    of = np.array([0, 0, 0, 0, 1, 1, NOISE, NOISE], np.int32)
    among = np.array([3, 3, 3, NOISE, 0, 3, 0, NOISE], np.int32)
    # cluster 0: 3 in both of 5 in either; cluster 1: 1 of 5 with 3, 1 of 3 with 0; cluster 2 has no rows
    found = best_jaccard(of, among, 3)
    assert found[0] == pytest.approx(3 / 5)
    assert found[1] == pytest.approx(1 / 3)
    assert np.isnan(found[2])


@given(LABELS)
def test_a_clustering_agrees_with_itself_under_other_numbers(labels: NDArray[np.int32]) -> None:
    k = int(labels.max(initial=NOISE)) + 1
    renamed = np.where(labels == NOISE, NOISE, (labels + 3) * 2).astype(np.int32)
    found = best_jaccard(labels, renamed, k)
    present = np.isin(np.arange(k), labels)
    assert np.array_equal(found[present], np.ones(present.sum()))
    assert np.isnan(found[~present]).all()


@given(LABELS, st.permutations(range(6)))
def test_numbers_by_size_do_not_depend_on_the_numbers_before(labels: NDArray[np.int32], names: list[int]) -> None:
    renamed = np.where(labels == NOISE, NOISE, np.array(names)[labels]).astype(np.int32)
    numbered = by_size(labels)
    assert np.array_equal(numbered, by_size(renamed))
    counts = np.bincount(numbered[numbered != NOISE])
    assert (np.diff(counts) <= 0).all()
    assert (counts > 0).all()
    assert np.array_equal(numbered == NOISE, labels == NOISE)


def test_noise_goes_to_its_neighbours_and_then_carries_on() -> None:
    near = Neighbours(
        indices=np.array([[0, 1], [1, 0], [2, 1], [3, 2], [4, 5], [5, 4]], np.int32),
        distances=np.full((6, 2), 0.2, np.float32),
    )
    labels = np.array([0, 0, NOISE, NOISE, NOISE, NOISE], np.int32)
    given_away, agreement = reassigned(labels, near, 0.5)
    # 2 is next to 1, 3 next to 2 in the second round; 4 and 5 know only each other
    assert given_away.tolist() == [0, 0, 0, 0, NOISE, NOISE]
    assert agreement.tolist() == [0, 0, 1, 1, 0, 0]


def test_noise_among_noise_stays_noise_where_agreement_is_asked_for() -> None:
    indices = np.array([[0, 1, 2, 3, 4]] + [[at, 0, 1, 2, 3] for at in range(1, 5)], np.int32)
    near = Neighbours(indices=indices, distances=np.full((5, 5), 0.1, np.float32))
    labels = np.array([NOISE, 0, NOISE, NOISE, NOISE], np.int32)
    assert reassigned(labels, near, 0.5)[0].tolist() == labels.tolist()
    assert reassigned(labels, near, 0.0)[0].tolist() == [0, 0, 0, 0, 0]


@given(LABELS, st.floats(0, 1))
def test_what_was_in_a_cluster_stays_there(labels: NDArray[np.int32], at: float) -> None:
    near = nearest(unit(len(labels), 4, 7), 5)
    given_away, agreement = reassigned(labels, near, at)
    kept = labels != NOISE
    assert np.array_equal(given_away[kept], labels[kept])
    moved = ~kept & (given_away != NOISE)
    assert (agreement[moved] >= np.float32(at) - 1e-6).all()
    assert (agreement[~moved] == 0).all()


def test_nothing_is_given_where_there_is_no_cluster() -> None:
    labels = np.full(6, NOISE, np.int32)
    assert reassigned(labels, nearest(unit(6, 4, 8), 3), 0.0)[0].tolist() == labels.tolist()


def test_a_layer_is_worth_the_rows_in_clusters_that_come_back() -> None:
    layer = np.array([0, 0, 0, 0, 1, 1, 1, 1, NOISE, NOISE], np.int32)
    half = np.array([0, 0, 0, 0, 1, NOISE, NOISE, NOISE, NOISE, NOISE], np.int32)
    assert returned_share(layer, [layer]) == pytest.approx(0.8)
    assert returned_share(layer, [half]) == pytest.approx(0.4)
    assert returned_share(layer, []) == 0.0
    assert returned_share(np.full(5, NOISE, np.int32), [half[:5]]) == 0.0


def test_the_finest_layer_near_the_best_is_taken() -> None:
    assert finest_close((0.2, 0.85, 0.9)) == 1
    assert finest_close((0.89, 0.85, 0.9)) == 0
    assert finest_close((0.0, 0.0)) == 0


def test_sizes_follow_the_rows_unless_they_are_given() -> None:
    assert [min_cluster_size(n, Params()) for n in (0, 10, 250)] == [5, 5, 5]
    assert min_cluster_size(1_000_000, Params()) > min_cluster_size(10_000, Params()) > 5
    assert min_cluster_size(1_000_000, Params(min_cluster_size=8)) == 8
    assert min_cluster_size(100, Params(min_cluster_size=1)) == 2  # of one row nothing is dense
    assert min_samples(50, Params(min_samples=3)) == 3
    assert 1 <= min_samples(5, Params()) <= min_samples(50, Params()) <= 30


def test_the_method_is_by_rows_and_never_one_that_cannot_do_it() -> None:
    assert method_for(1_000, Params()) is Method.UMAP_HDBSCAN
    assert method_for(100_000, Params()) is Method.EVOC
    assert method_for(100_000, Params(method=Method.UMAP_HDBSCAN)) is Method.UMAP_HDBSCAN
    assert method_for(5_000, Params(method=Method.EVOC)) is Method.EVOC
    assert method_for(50, Params(method=Method.EVOC)) is Method.UMAP_HDBSCAN
