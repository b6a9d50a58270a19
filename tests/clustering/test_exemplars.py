"""Exemplars: the medoid first, every part of a cluster shown, nothing twice, no outlier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clustering.exemplars import exemplars
from clustering.records import Vectors


def around(angles: list[float]) -> Vectors:
    """Unit vectors in the plane, by their angles in degrees."""
    radians = np.deg2rad(np.array(angles))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def certain(n: int) -> NDArray[np.float32]:
    return np.ones(n, dtype=np.float32)


def test_the_first_is_the_medoid() -> None:
    vectors = around([0, 10, 20, 30, 40])
    assert exemplars(vectors, np.arange(5), certain(5), 1) == (2,)


def test_every_part_of_a_cluster_is_shown_before_one_is_shown_twice() -> None:
    vectors = around([0, 1, 2, 3, 50, 51, 52, 100, 101, 102])
    shown = exemplars(vectors, np.arange(10), certain(10), 3)
    assert {0 if at < 4 else 1 if at < 7 else 2 for at in shown} == {0, 1, 2}


def test_confidence_moves_the_choice() -> None:
    vectors = around([0, 1, 60, 61])
    doubtful = np.array([0.01, 0.01, 1.0, 1.0], dtype=np.float32)
    assert exemplars(vectors, np.arange(4), doubtful, 1)[0] in (2, 3)


def test_equal_sessions_are_shown_once() -> None:
    vectors = np.repeat(around([10]), 1_000, axis=0)
    assert len(exemplars(vectors, np.arange(1_000), certain(1_000))) == 1


def test_a_lone_outlier_is_not_shown() -> None:
    rng = np.random.default_rng(5)
    vectors = around([*rng.normal(0, 20, 400).tolist(), 179.0])
    assert 400 not in exemplars(vectors, np.arange(401), certain(401))


@pytest.mark.parametrize("n", [0, 5])
def test_few_members_none_and_empty_sessions(n: int) -> None:
    nothing = np.zeros((3, 4), dtype=np.float32)
    assert exemplars(nothing, np.arange(0), certain(3), n) == ()
    assert len(exemplars(nothing, np.arange(3), np.zeros(3, dtype=np.float32), n)) == min(3, n)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 360), min_size=1, max_size=30), st.integers(1, 8))
def test_they_are_members_and_distinct(angles: list[float], n: int) -> None:
    vectors = around([*angles, 0.0, 0.0])
    members = np.arange(len(angles))
    shown = exemplars(vectors, members, certain(len(vectors)), n)
    assert set(shown) <= set(members.tolist())
    assert len(set(shown)) == len(shown) <= n
    assert shown


def test_a_large_cluster_is_looked_at_in_parts() -> None:
    rng = np.random.default_rng(2)
    vectors = around(rng.normal(30, 5, 20_000).tolist())
    (first, *_) = exemplars(vectors, np.arange(20_000), certain(20_000))
    assert vectors[first] @ around([30.0])[0] > np.cos(np.deg2rad(2))
