"""Attribution adds up, says where it happened, and its intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.diagnosis.attribution import MOST_GROUPS, OTHERS, attribution_of, folded, where
from monitors.diagnosis.contributions import Groups, Verdict, within_change

counts = st.integers(0, 400)


def rates(dimension: str, names: str, n: list[list[float]], passed: list[list[float]]) -> Groups:
    good = np.array(passed, dtype=float)
    return Groups(dimension=dimension, values=tuple(names), n=np.array(n, dtype=float), total=good, squares=good)


@settings(max_examples=60)
@given(st.lists(st.tuples(counts, counts, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_contributions_add_up_to_the_change(some: list[tuple[int, int, float, float]]) -> None:
    """Over any groups, also those that one window lacks; and within and mix add up, too."""
    n = np.array([[one[0] for one in some], [one[1] for one in some]], dtype=float)
    total = np.floor(n * np.array([[one[2] for one in some], [one[3] for one in some]]))
    groups = Groups(dimension="d", values=tuple(map(str, range(len(some)))), n=n, total=total, squares=total)
    if (n.sum(axis=1) == 0).any():
        with pytest.raises(InvalidInput):
            attribution_of(groups)
        return
    found = attribution_of(groups)
    change = total[1].sum() / n[1].sum() - total[0].sum() / n[0].sum()
    assert found.change.value == pytest.approx(change, abs=1e-12)
    assert sum(one.total.value for one in found.contributions) == pytest.approx(change, abs=1e-9)
    assert found.split is not None
    assert found.split.within.value + found.split.mix.value == pytest.approx(change, abs=1e-12)
    assert all(one.total.low <= one.total.value <= one.total.high for one in found.contributions)


def test_kitagawas_parts_by_hand() -> None:
    """Shares .5, .5 -> .8, .2 and rates .9, .5 -> .9, .4: within (.35)(-.1) = -.035, mix .3 (.9 - .45) = .135."""
    found = attribution_of(rates("d", "ab", [[500, 500], [800, 200]], [[450, 250], [720, 80]]))
    assert found.split is not None
    assert found.change.value == pytest.approx(0.1)
    assert found.split.within.value == pytest.approx(-0.035)
    assert found.split.mix.value == pytest.approx(0.135)


def test_what_happened_in_one_release_is_told_there_and_not_by_tenant() -> None:
    release = rates("release", "12", [[9000, 1000], [9000, 1000]], [[7830, 870], [7830, 270]])
    tenant = rates("tenant", "xy", [[5000, 5000], [5000, 5000]], [[4350, 4350], [4050, 4050]])
    found = where([tenant, release])
    assert [(one.dimension, one.verdict) for one in found] == [
        ("release", Verdict.ONLY_HERE),
        ("tenant", Verdict.EVERYWHERE),
    ]
    first = found[0].contributions[0]
    assert first.value == "2"
    assert first.part == pytest.approx(1.0)


def test_nothing_that_happened_is_told_as_such() -> None:
    found = attribution_of(rates("d", "ab", [[500, 500], [500, 500]], [[435, 435], [433, 437]]))
    assert found.verdict is Verdict.UNCHANGED


def test_a_new_group_is_all_mix() -> None:
    found = attribution_of(rates("release", "12", [[1000, 0], [500, 500]], [[870, 0], [435, 100]]))
    new = next(one for one in found.contributions if one.value == "2")
    assert (new.before, new.within) == (None, 0.0)
    assert new.rest is not None
    assert new.rest.value == pytest.approx(0.0)


def test_intervals_hold_as_often_as_they_say() -> None:
    """Of 400 drawn windows the 95% interval of one group's contribution holds the true one in 92 to 98%."""
    chance, w, r = np.random.default_rng(5), np.array([[0.3, 0.7], [0.4, 0.6]]), np.array([[0.9, 0.85], [0.7, 0.85]])
    centre = float((w * r).sum(axis=1).mean())
    true = float(w[1, 0] * (r[1, 0] - centre) - w[0, 0] * (r[0, 0] - centre))
    held = 0
    for _ in range(400):
        n = np.array([chance.multinomial(600, one) for one in w])
        passed = chance.binomial(n, r).astype(float)
        found = attribution_of(rates("d", "ab", n.tolist(), passed.tolist()), level=0.95**2)  # two groups: 0.95 each
        one = next(each for each in found.contributions if each.value == "a")
        held += one.total.low <= true <= one.total.high
    assert 0.92 <= held / 400 <= 0.98


def test_groups_that_overlap_need_all_sessions_and_have_no_split() -> None:
    n = np.array([[600.0, 600.0], [600.0, 600.0]])
    total = np.array([[540.0, 540.0], [300.0, 540.0]])
    whole = np.array([[1000.0, 870.0, 870.0], [1000.0, 650.0, 650.0]])
    found = attribution_of(Groups(dimension="tool", values=("a", "b"), n=n, total=total, squares=total, whole=whole))
    assert found.split is None
    assert found.contributions[0].value == "a"
    assert within_change(found).unknown != ""


def test_small_groups_and_those_beyond_the_most_are_one() -> None:
    k = MOST_GROUPS + 50
    n = np.full((2, k), 30.0)
    n[:, 0] = 3.0
    many = Groups(dimension="d", values=tuple(map(str, range(k))), n=n, total=n / 2, squares=n / 2)
    kept = folded(many)
    assert (len(kept.values), kept.values[-1]) == (MOST_GROUPS + 1, OTHERS)
    assert kept.n.sum() == pytest.approx(n.sum())
    assert "0" not in kept.values


@pytest.mark.parametrize("bad", [np.array([[1.0], [np.nan]]), np.array([[1.0], [-1.0]]), np.ones((2, 2))])
def test_counts_that_are_none_are_refused(bad: np.ndarray) -> None:
    one = np.ones((2, 1))
    with pytest.raises(InvalidInput):
        Groups(dimension="d", values=("a",), n=bad, total=one, squares=one)


def test_a_dimension_without_sessions_in_a_window_is_left_out() -> None:
    assert where([rates("d", "a", [[10], [0]], [[5], [0]])]) == ()
