"""That one cluster went into another, or into noise, is believed when three runs in a row say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clustering.holding import Held, held_apart, sure_of_held
from clustering.incremental import assign, shapes
from clustering.lineage import match
from clustering.lineage_records import Known, Lineage
from clustering.records import NOISE, Labels, State, Vectors
from tests.clustering.histories import OTHER_SPACE, SPACE, axis, known, look, place, remembered, states
from tests.clustering.sittings import Talk, sitting
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


def after(lineage: Lineage, answer: Held, lost: frozenset[str] = frozenset()) -> list[Known]:
    """The registry before the next run over the same sessions; `lost`: those of C-0002 where it was not found."""
    found = shapes(VECTORS, answer.labels, NAMES, failed=[None] * len(NAMES), held=answer.apart)
    first, second = remembered(lineage, found)
    return [first, replace(second, members=second.members or lost)]


def test_two_that_are_found_as_one_stay_apart_for_two_runs_and_then_merge() -> None:
    registry = both()
    for again in (1, 2):
        answer = held_apart(VECTORS, TOGETHER, NAMES, registry, space=SPACE)
        assert answer.labels.tolist() == [0] * 40 + [1] * 20 + [0] * 6 + [1] * 6 + [NOISE] * 3
        assert answer.apart == {1}
        lineage = run(registry, answer.labels, answer.apart)
        assert states(lineage) == {"C-0001": State.CONTINUED, "C-0002": State.CONTINUED}
        assert [one.held for one in lineage.standings] == [0, again]
        assert lineage.events[1].text.endswith("not found by itself, held until three runs say so")
        registry = after(lineage, answer)
    last = held_apart(VECTORS, TOGETHER, NAMES, registry, space=SPACE)
    assert (last.labels.tolist(), last.apart) == (TOGETHER.tolist(), NOBODY)
    assert states(run(registry, last.labels, last.apart)) == {"C-0001": State.MERGED, "C-0002": State.MERGED}


def test_one_that_is_found_by_itself_again_is_held_no_more() -> None:
    by_itself = np.array([0] * 40 + [1] * 20 + [0] * 6 + [1] * 6 + [NOISE] * 3, np.int32)
    registry = both(held=1)
    again = held_apart(VECTORS, by_itself, NAMES, registry, space=SPACE)
    assert (again.labels.tolist(), again.apart) == (by_itself.tolist(), NOBODY)
    assert [one.held for one in run(registry, again.labels, again.apart).standings] == [0, 0]


def test_new_sessions_go_to_the_largest_where_centroids_are_of_another_space() -> None:
    answer = held_apart(VECTORS, TOGETHER, NAMES, both(), space=OTHER_SPACE)
    assert answer.labels.tolist() == [0] * 40 + [1] * 20 + [0] * 12 + [NOISE] * 3


def test_a_part_of_a_cluster_and_an_ended_one_are_not_held() -> None:
    half_elsewhere = known(2, frozenset(NAMES[40:60]) | frozenset(f"t{at}" for at in range(25)))
    for second in (half_elsewhere, known(2, frozenset(NAMES[40:60]), state=State.MERGED, alive=False)):
        answer = held_apart(VECTORS, TOGETHER, NAMES, [known(1, frozenset(NAMES[:40])), second], space=SPACE)
        assert (answer.labels.tolist(), answer.apart) == (TOGETHER.tolist(), NOBODY)


def test_of_two_that_take_turns_in_size_the_one_that_was_held_stays_held() -> None:
    registry = [known(1, frozenset(NAMES[:18])), known(2, frozenset(NAMES[40:60]), held=1)]
    assert held_apart(VECTORS, TOGETHER, NAMES, registry, space=SPACE).labels[40:60].tolist() == [1] * 20
    registry = [registry[0], known(2, frozenset(NAMES[40:60]), held=2)]
    answer = held_apart(VECTORS, TOGETHER, NAMES, registry, space=SPACE)
    assert (answer.labels.tolist(), answer.apart) == (TOGETHER.tolist(), NOBODY)


def test_three_found_as_one_are_three() -> None:
    third = known(3, frozenset(NAMES[60:66]), centroid=place(0.0, 1.0, 0.5))
    answer = held_apart(VECTORS, TOGETHER, NAMES, [*both(), third], space=SPACE)
    assert sorted(set(answer.labels.tolist())) == [NOISE, 0, 1, 2]
    assert answer.apart == {1, 2}
    assert (answer.labels[60:66] == 2).all()


def test_one_whose_sessions_are_noise_is_kept_for_two_runs_with_the_noise_about_it() -> None:
    dissolved: Labels = np.array([0] * 40 + [NOISE] * 20 + [0] * 6 + [NOISE] * 9, np.int32)
    registry = both()
    for again in (1, 2):
        answer = held_apart(VECTORS, dissolved, NAMES, registry, space=SPACE)
        assert answer.labels.tolist() == [0] * 40 + [1] * 20 + [0] * 6 + [1] * 6 + [NOISE] * 3
        lineage = run(registry, answer.labels, answer.apart)
        assert states(lineage) == {"C-0001": State.CONTINUED, "C-0002": State.CONTINUED}
        assert [one.held for one in lineage.standings] == [0, again]
        registry = after(lineage, answer)
    for _ in range(2):  # and is not held anew when a run has not found it
        last = held_apart(VECTORS, dissolved, NAMES, registry, space=SPACE)
        assert (last.labels.tolist(), last.apart) == (dissolved.tolist(), NOBODY)
        registry = after(run(registry, last.labels, last.apart), last, lost=frozenset(NAMES[40:60]))


def test_one_with_less_than_half_of_its_sessions_in_noise_is_not_kept() -> None:
    scattered: Labels = np.array([0] * 51 + [NOISE] * 9 + [0] * 12 + [NOISE] * 3, np.int32)
    second = known(2, frozenset(NAMES[40:60]), held=2)  # so that it is not held for going into another either
    registry = [known(1, frozenset(NAMES[:40])), second]
    for third in (registry, [registry[0], known(2, frozenset(NAMES[51:60] + [f"t{at}" for at in range(10)]))]):
        answer = held_apart(VECTORS, scattered, NAMES, third, space=SPACE)
        assert (answer.labels.tolist(), answer.apart) == (scattered.tolist(), NOBODY)


def test_without_a_registry_nothing_changes() -> None:
    answer = held_apart(VECTORS, TOGETHER, NAMES, [], space=SPACE)
    assert (answer.labels.tolist(), answer.apart) == (TOGETHER.tolist(), NOBODY)


def test_noise_that_is_held_is_as_sure_as_what_joins_between_runs() -> None:
    dissolved: Labels = np.array([0] * 40 + [NOISE] * 20 + [0] * 6 + [NOISE] * 9, np.int32)
    held = held_apart(VECTORS, dissolved, NAMES, both(), space=SPACE).labels
    density = np.where(dissolved == NOISE, 0.0, 0.9).astype(np.float32)
    sure = sure_of_held(VECTORS, dissolved, held, NAMES, density)
    was_noise = (dissolved == NOISE) & (held != NOISE)
    assert was_noise.sum() == 26
    assert (sure[was_noise] > 0.3).all()
    assert (sure[~was_noise] == density[~was_noise]).all()  # also the 0 of what stayed noise
    found = shapes(VECTORS, held, NAMES, failed=[None] * len(NAMES))
    radii = np.array([one.radius for one in found], np.float32)
    joined = assign(VECTORS, np.stack([one.centroid for one in found]), radii)
    inside = was_noise & (joined.index == 1)
    assert inside.sum() >= 20
    np.testing.assert_allclose(sure[inside], joined.confidence[inside], rtol=1e-5)
    assert sure_of_held(VECTORS, dissolved, dissolved, NAMES, density) is density


def test_a_run_counts_as_noise_what_it_put_nowhere_and_says_how_sure_held_sessions_are(tmp_path: Path) -> None:
    things = ("tent", "lamp", "jacket", "boots", "stove", "watch", "rope", "pack")
    talks = [
        Talk(user=user.format(thing), agent=agent.format(thing), tools=(tool,))
        for user, agent, tool in (
            ("Please refund the {} of my order", "I have refunded the {}", "refund_order"),
            ("How do I wash the {} at home", "Wash the {} by hand with soap", "search_help"),
            ("My parcel with the {} is late, where is it", "Sorry, no answer about the {}", "track_parcel"),
        )
        for thing in things
    ]
    with sitting(tmp_path, talks) as one:
        assert one.done().n_clusters == 3
        run = one.done({"min_cluster_size": 13})  # too few for two of these: all are noise by the density's own word
        assert run.used["why"] == "few"
        rows = one.members()
        nowhere = rows["cluster_id"].is_null()
        assert run.n_noise == nowhere.sum()
        assert nowhere.sum() < len(talks)
        assert (rows.filter(~nowhere)["confidence"] > 0).all()
        assert {record.standing["held"] for record in one.clusters()} == {1}
