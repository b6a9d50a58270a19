"""Profiles: figures beside the rest, levels that differ and how sure that is, users who come often."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering.intervals import share_of
from clustering.profile import Measure, Spec, attributes, figures, wrong_at
from clustering.records import Labels
from core.errors import InvalidInput


def sessions(n: int, **columns: object) -> pl.DataFrame:
    return pl.DataFrame({"session_id": [f"s{one}" for one in range(n)], **columns})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_holds_its_share_and_lies_within_0_and_1(rows: list[tuple[bool, int]]) -> None:
    told = share_of(np.array([yes for yes, _ in rows]), np.array([user for _, user in rows]))
    assert told.low is not None
    assert told.high is not None
    assert told.value is not None
    assert 0 <= told.low <= told.value <= told.high <= 1


def test_figures_stand_beside_the_rest_and_say_what_is_not_known() -> None:
    frame = sessions(
        60,
        user_id=[f"u{one}" if one % 3 else None for one in range(60)],
        failed=[True] * 15 + [False] * 5 + [None] * 10 + [False] * 30,
        cost_usd=[0.5] * 10 + [1.5] * 10 + [0.1, 0.3] * 20,
        duration_ms=[None] * 20 + [float(one) for one in range(40)],
    )
    labels = np.repeat(np.array([0, 1, -1], dtype=np.int32), 20)
    told = figures(frame, labels, [
        Spec(name="failure rate", column="failed", measure=Measure.SHARE, unit="share"),
        Spec(name="cost", column="cost_usd", measure=Measure.MEAN, unit="usd"),
        Spec(name="duration", column="duration_ms", measure=Measure.MEDIAN, unit="ms"),
        Spec(name="escalated", column="escalated", measure=Measure.SHARE, unit="share"),
    ])  # fmt: skip
    assert set(told) == {0, 1}
    failure, cost, duration = told[0]
    assert (failure.value, failure.rest) == (0.75, 0.0)
    assert failure.low is not None
    assert failure.rest_high is not None
    assert failure.low > failure.rest_high
    assert [cost.value, cost.rest] == pytest.approx([1.0, 0.2])
    assert (duration.value, duration.rest, duration.note) == (None, 19.5, "not known of any session")
    assert told[1][0].value == 0.0
    with pytest.raises(InvalidInput):
        figures(frame, labels[:3])


def test_levels_are_shares_of_the_sessions_in_which_they_are_known() -> None:
    frame = sessions(30)
    labels = np.repeat(np.array([0, -1], dtype=np.int32), [10, 20])
    levels = pl.DataFrame({
        "session_id": [f"s{one}" for one in range(24)] + ["s0", "s1"],
        "attribute": ["release"] * 24 + ["tool"] * 2,
        "level": ["2.4"] * 8 + ["2.3"] * 16 + ["refund"] * 2,
    })  # fmt: skip
    told = attributes(frame["session_id"].to_list(), labels, levels)[0]
    assert [(one.attribute, one.level, one.n, one.n_known, one.share, one.share_rest) for one in told] == [
        ("release", "2.4", 8, 10, 0.8, 0.0),
        ("release", "2.3", 2, 10, 0.2, 1.0),
        ("tool", "refund", 2, 2, 1.0, None),
    ]
    assert (told[2].ratio, told[2].q_value, told[2].differs) == (None, None, False)
    assert told[0].low is not None
    assert told[0].low > 1
    assert told[0].differs


def world(n: int, **levels: tuple[int, int]) -> tuple[list[str], Labels, pl.DataFrame]:
    """A cluster of the first n sessions of 240, and levels that so many of them and so many of the rest have."""
    names = [f"s{one}" for one in range(240)]
    labels = np.where(np.arange(240) < n, 0, -1).astype(np.int32)
    rows = [
        (name, "document", level)
        for level, (here, there) in levels.items()
        for name in (*names[:here], *names[n : n + there])
    ]
    rows += [(name, "document", "some") for name in names]
    return names, labels, pl.DataFrame(rows, schema=["session_id", "attribute", "level"], orient="row")


def test_levels_are_ordered_by_the_end_of_the_interval_that_is_nearer_to_1() -> None:
    told = attributes(*world(30, often=(30, 21), seldom=(4, 1)))[0]
    often, seldom = told[:2]
    assert [one.level for one in told] == ["often", "seldom", "some"]
    assert often.ratio is not None
    assert seldom.ratio is not None
    assert seldom.ratio > often.ratio  # but less sure: 1 of the rest may be many
    assert often.nearest > seldom.nearest > 1
    rare = attributes(*world(60, rare=(1, 150)))[0][0]
    assert (rare.level, rare.differs) == ("rare", True)
    assert rare.high is not None
    assert rare.nearest == pytest.approx(1 / rare.high)


def test_what_two_sessions_have_is_not_said_to_differ() -> None:
    names, labels, levels = world(60)
    shown = levels.filter(pl.col("session_id").is_in([*names[:2], *names[60:]]))  # known of two of the cluster's
    policy = pl.DataFrame({"session_id": [*names[:2], *names[60:62]], "attribute": "document", "level": "policy"})
    told = {one.level: one for one in attributes(names, labels, pl.concat([shown, policy]))[0]}
    assert (told["policy"].n, told["policy"].n_known, told["policy"].share) == (2, 2, 1.0)
    assert not told["policy"].differs


def test_of_levels_that_differ_by_chance_few_are_said_to() -> None:
    chance, said = np.random.default_rng(3), 0
    names = [f"s{one}" for one in range(240)]
    labels = np.where(np.arange(240) < 60, 0, -1).astype(np.int32)
    for _ in range(20):
        rows = [(f"s{one}", "tool", f"t{at}") for at in range(40) for one in np.flatnonzero(chance.random(240) < 0.2)]
        levels = pl.DataFrame(rows, schema=["session_id", "attribute", "level"], orient="row")
        said += any(one.differs for one in attributes(names, labels, levels)[0])
    assert said <= 3  # each alone at 95%, two of forty would be in every one of twenty


def test_sessions_of_one_user_make_no_level_sure() -> None:
    names, labels, levels = world(60, odd=(10, 10))
    users = np.arange(240)
    free = {one.level: one for one in attributes(names, labels, levels, users)[0]}["odd"]
    assert free.differs
    users[:10] = 0  # the ten of the cluster that have it are one user's
    bound = {one.level: one for one in attributes(names, labels, levels, users)[0]}["odd"]
    assert (bound.n, bound.ratio) == (free.n, free.ratio)
    assert not bound.differs


def test_where_it_goes_wrong_most_is_what_others_do_right() -> None:
    frame = sessions(200)
    labels = np.repeat(np.array([0, -1], dtype=np.int32), [40, 160])
    rows = [(one, "tool", "refund") for one in range(30)] + [(one, "tool", "search") for one in range(0, 200, 2)]
    rows += [(one, "span", "answer") for one in range(35)] + [(one, "span", "answer") for one in range(60, 80)]
    places = pl.DataFrame(
        [(f"s{one}", kind, name) for one, kind, name in rows], schema=["session_id", "attribute", "level"], orient="row"
    )
    told = wrong_at(frame["session_id"].to_list(), labels, places)[0]
    assert [(one.level, one.n, one.share) for one in told] == [("refund", 30, 0.75), ("answer", 35, 0.875)]
    assert told[1].share_rest == 20 / 160
    assert wrong_at(frame["session_id"].to_list(), labels, places.clear()) == {0: []}
