"""Clusters of planted groups, and of what is no group at all; through UMAP, HDBSCAN and EVoC themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from clustering.density import cluster
from clustering.records import NOISE, Cancelled, Clustered, Method, Params
from clustering.reduction import map_of
from clustering.stability import STABLE, another_seed, n_subsamples, stability

DIMS = 32
Rows = NDArray[np.float32]


def unit(rows: NDArray[np.float64]) -> Rows:
    """Each of length 1."""
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def groups(k: int, each: int, seed: int, spread: float = 0.4) -> tuple[Rows, NDArray[np.int32]]:
    """k groups around random directions (k * each, 32), shuffled, and the group of each row."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, DIMS)))
    truth = rng.permutation(np.repeat(np.arange(k, dtype=np.int32), each))
    return unit(centres[truth] + rng.normal(scale=spread / np.sqrt(DIMS), size=(len(truth), DIMS))), truth


def silent(stage: str, done: int, total: int) -> None:
    """Nothing to tell."""


def found(rows: Rows, params: Params | None = None) -> Clustered:
    """Clustered in silence."""
    return cluster(rows, params or Params(), silent)


def test_planted_groups_are_found_the_same_each_time_and_their_number_is_not_given() -> None:
    rows, truth = groups(12, 60, 1)
    first, again = found(rows), found(rows)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.confidence, again.confidence)
    assert first.n_clusters == 12
    assert adjusted_rand_score(truth, first.labels) >= 0.95
    assert first.used["deterministic"] is True
    assert first.used["method"] == "umap_hdbscan"


def test_confidence_is_a_share_and_that_of_noise_is_none() -> None:
    rows, _ = groups(8, 50, 2, spread=0.9)
    one = found(rows)
    assert one.confidence.min() >= 0
    assert one.confidence.max() <= 1
    assert (one.confidence[one.given == NOISE] == 0).all()
    assert (one.confidence[one.given != NOISE] > 0).mean() > 0.99


def test_reassignment_leaves_the_density_s_own_word() -> None:
    rows, _ = groups(10, 50, 3, spread=1.1)
    plain, given_away = found(rows), found(rows, Params(reassign=True, reassign_at=0.0))
    assert np.array_equal(plain.labels, given_away.labels)
    assert np.array_equal(plain.given, plain.labels)
    assert (given_away.given == NOISE).sum() < max(1, (plain.labels == NOISE).sum())
    kept = plain.labels != NOISE
    assert np.array_equal(given_away.given[kept], plain.labels[kept])


def test_few_rows_are_noise_and_say_why() -> None:
    rows, _ = groups(3, 3, 4)
    one = found(rows)
    assert (one.labels == NOISE).all()
    assert one.used["why"] == "few"
    assert found(rows[:0]).n_clusters == 0


def test_ten_sessions_have_an_answer() -> None:
    rows, truth = groups(2, 5, 5, spread=0.1)
    one = found(rows)
    assert one.labels.shape == (10,)
    assert one.n_clusters in {0, 2}
    if one.n_clusters:
        assert adjusted_rand_score(truth, one.labels) == 1


def test_one_row_a_thousand_times_is_one_cluster() -> None:
    one = found(np.repeat(groups(1, 1, 6)[0], 1_000, axis=0))
    assert one.n_clusters == 1
    assert one.noise_share == 0
    assert one.used["why"] == "same"
    assert stability(np.ones((1_000, 2), np.float32), one, Params(), np.random.default_rng(0), silent).tolist() == [1.0]


def test_empty_rows_are_noise_and_move_nothing_else() -> None:
    rows, _ = groups(6, 40, 7)
    with_empty = np.concatenate([np.zeros((25, DIMS), np.float32), rows])
    one = found(with_empty)
    assert (one.labels[:25] == NOISE).all()
    assert np.array_equal(one.labels[25:], found(rows).labels)
    assert one.used["n_empty"] == 25
    assert found(np.zeros((40, DIMS), np.float32)).n_clusters == 0


def test_copies_do_not_make_an_island_of_each_wording() -> None:
    rows, truth = groups(6, 12, 8)
    times = 20
    one = found(np.repeat(rows, times, axis=0))
    assert adjusted_rand_score(np.repeat(truth, times), one.labels) >= 0.9
    assert one.used["n_distinct"] == 72


def test_copies_enough_of_what_is_alike_to_nothing_are_a_cluster() -> None:
    rows, _ = groups(6, 40, 9)
    alone = unit(np.random.default_rng(10).normal(size=(1, DIMS)))
    one = found(np.concatenate([rows, np.repeat(alone, 30, axis=0)]))
    labels = set(one.labels[-30:].tolist())
    assert len(labels) == 1
    assert labels != {NOISE}
    assert not labels & set(one.labels[:-30].tolist())


def test_one_giant_cluster_is_looked_into() -> None:
    tight, _ = groups(1, 400, 11, spread=0.5)
    few, _ = groups(2, 30, 12)
    one = found(np.concatenate([tight, few]))
    sizes = np.bincount(one.labels[one.labels != NOISE])
    assert sizes.max() <= 0.6 * len(one.labels) or one.used["giant"] == "kept"
    assert len(set(one.labels[-60:].tolist()) - {NOISE}) >= 2


def test_planted_groups_are_stable_and_clusters_of_nothing_are_not() -> None:
    params = Params(n_resamples=4)
    rows, _ = groups(6, 50, 13)
    planted = found(rows, params)
    sure = stability(rows, planted, params, np.random.default_rng(0), silent)
    assert sure.shape == (planted.n_clusters,)
    assert (sure >= STABLE).all()
    nothing = unit(np.random.default_rng(14).normal(size=(300, DIMS)))
    spurious = found(nothing, params)
    unsure = stability(nothing, spurious, params, np.random.default_rng(0), silent)
    assert np.nan_to_num(unsure).mean() < STABLE if spurious.n_clusters else unsure.size == 0


def test_stability_of_no_subsample_is_not_known() -> None:
    rows, _ = groups(4, 40, 15)
    params = Params(n_resamples=0)
    one = found(rows, params)
    assert np.isnan(stability(rows, one, params, np.random.default_rng(0), silent)).all()
    assert n_subsamples(1_000, Params()) == 10
    assert 2 <= n_subsamples(1_000_000, Params()) < 10


def test_the_last_seed_there_is_has_others_behind_it() -> None:
    assert [another_seed(2**32 - 1, place) for place in range(3)] == [0, 1, 2]
    assert another_seed(0, 0) == 1


def test_a_run_that_is_told_to_end_ends() -> None:
    def told(stage: str, done: int, total: int) -> None:
        raise Cancelled

    rows, _ = groups(4, 40, 16)
    with pytest.raises(Cancelled):
        cluster(rows, Params(), told)


def test_the_map_keeps_groups_together_and_is_the_same_each_time() -> None:
    rows, truth = groups(6, 40, 17)
    whole = np.concatenate([rows, np.zeros((3, DIMS), np.float32)])
    places = map_of(whole, 3)
    assert places.shape == (243, 2)
    assert np.array_equal(places, map_of(whole, 3))
    assert np.array_equal(places[-3:], np.zeros((3, 2), np.float32))
    apart = np.linalg.norm(places[:240, None] - places[None, :240], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (truth[apart.argmin(axis=1)] == truth).mean() >= 0.95
    copies = map_of(np.repeat(rows[:1], 50, axis=0), 3)
    assert len({tuple(place) for place in copies.tolist()}) == 50  # beside each other, so that each can be seen


@pytest.mark.timeout(900)  # EVoC is compiled when it is imported first on a machine: about a minute and a half of CPU
def test_the_fast_path_finds_planted_groups_the_same_each_time() -> None:
    rows, truth = groups(12, 150, 18)
    params = Params(method=Method.EVOC)
    first, again = found(rows, params), found(rows, params)
    assert first.used["method"] == "evoc"
    assert adjusted_rand_score(truth, first.labels) >= 0.9
    assert np.array_equal(first.labels, again.labels)
    sure = stability(rows, first, replace(params, n_resamples=2), np.random.default_rng(0), silent)
    assert np.nanmedian(sure) >= STABLE
