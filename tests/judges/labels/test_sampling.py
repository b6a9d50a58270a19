"""Samples for labelling: the chances that are stored are those with which things are drawn."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, InvalidInput
from core.ids import TenantId
from core.records import TargetKind
from judges.labels import draws, sampling
from judges.labels.draws import Candidate, Wanted
from store.control.label_records import QueueRecord, TaskRecord
from tests.thorough import often

QUEUE = QueueRecord(
    tenant=TenantId("acme"), name="q", app="desk", rubric="r", rubric_version=1, rubric_digest="", rubric_body={}
)


def population(n: int = 400, seed: int = 0) -> tuple[list[Candidate], dict[str, float]]:
    """Judged sessions, mostly passes of high confidence, and what people would say of each."""
    rng = np.random.default_rng(seed)
    found, labels = [], {}
    for at in range(n):
        verdict = "pass" if rng.random() < 0.85 else "fail"
        confidence = float(rng.choice([0.5, 0.7, 0.95], p=[0.1, 0.2, 0.7]))
        right = rng.random() < (0.9 if verdict == "pass" else 0.6)
        found.append(
            Candidate(target=TargetKind.SESSION, session_id=f"s{at}", at_ns=at, verdict=verdict, confidence=confidence)
        )
        labels[f"s{at}"] = float((verdict == "pass") == right)
    return found, labels


def wanted(n: int = 60, **given: Any) -> Wanted:
    return Wanted(n=n, start_ns=0, end_ns=10**9, seed=given.pop("seed", 1), judge="j", judge_version="v", **given)


SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=12)


@given(sizes=SIZES, n=st.integers(1, 600), data=st.data())
def test_an_allocation_is_whole_within_its_bounds_and_adds_up(sizes: list[int], n: int, data: st.DataObject) -> None:
    sds = data.draw(st.lists(st.floats(0, 0.5), min_size=len(sizes), max_size=len(sizes)))
    n = max(n, len(sizes))
    floor = sampling.possible_floor(sizes, n)
    found = sampling.allocate(sizes, sds, n, floor)
    assert sum(found) == min(n, sum(sizes))
    assert all(min(floor, size) <= one <= size for one, size in zip(found, sizes, strict=True))
    assert floor == sampling.FLOOR or sum(min(floor + 1, size) for size in sizes) > n


def test_the_allocation_is_neymans() -> None:
    assert sampling.allocate([1000, 1000, 2000], [0.1, 0.3, 0.2], 80, 0) == [10, 30, 40]
    assert sampling.allocate([1000, 1000, 2000], [0.1, 0.3, 0.2], 80, 20) == [20, 26, 34]
    assert sampling.allocate([5, 1000], [0.5, 0.01], 40, 10) == [5, 35]
    with pytest.raises(InvalidInput):
        sampling.allocate([10, 10], [0.5, 0.5], 5, 10)
    with pytest.raises(InvalidInput, match="3 strata"):
        sampling.possible_floor([10, 10, 10], 2)


def test_horvitz_thompson_is_unbiased_with_the_stored_chances() -> None:
    """Over 4,000 draws the mean of sum(y / p) / N is the population's mean, although strata are drawn unevenly, and the
    share of draws that a thing is in is its chance."""
    people, labels = population()
    chosen = draws.plan(people, {}, wanted())
    strata = [draws.stratum(one, wanted()) for one in people]
    y = np.array([labels[one.session_id] for one in people])
    p = np.array([chosen.probability(name) for name in strata])
    assert p.sum() == pytest.approx(60, abs=0.1)  # as many as were asked for, but where a stratum is drawn empty
    assert p.max() / p.min() > 2  # the design is uneven, so the mean of what is drawn would be biased
    rng, times, estimates, plain = np.random.default_rng(5), np.zeros(len(people)), [], []
    for _ in range(4_000):
        drawn = sampling.draw(strata, chosen, rng)
        times[drawn] += 1
        estimates.append((y[drawn] / p[drawn]).sum() / len(people))
        plain.append(y[drawn].mean())
    se = np.std(estimates) / math.sqrt(len(estimates))
    assert abs(np.mean(estimates) - y.mean()) < 4 * se
    assert abs(np.mean(plain) - y.mean()) > 10 * se
    assert (times[p == 1] == 4_000).all()
    times, p = times[p < 1], p[p < 1]
    off = np.abs(times / 4_000 - p) / np.sqrt(p * (1 - p) / 4_000)
    assert off.max() < 5
    assert np.mean(off) == pytest.approx(math.sqrt(2 / math.pi), abs=0.1)  # as normal deviates are


def test_the_chance_is_that_of_every_way_to_draw() -> None:
    """All samples of a small population, counted."""
    strata, n_random, n_drawn = "aaabb", 2, {"a": 1, "b": 1}
    ways = dict.fromkeys(range(5), 0.0)
    first = list(itertools.combinations(range(5), n_random))
    for at_random in first:
        left = {name: [at for at in range(5) if strata[at] == name and at not in at_random] for name in "ab"}
        then = itertools.product(
            *[list(itertools.combinations(left[k], min(n, len(left[k])))) for k, n in n_drawn.items()]
        )
        every = [set(at_random).union(*some) for some in then]
        for sample in every:
            for at in sample:
                ways[at] += 1 / len(first) / len(every)
    for name, at in (("a", 0), ("b", 4)):
        size = strata.count(name)
        assert sampling.inclusion(5, size, n_random, n_drawn[name]) == pytest.approx(ways[at])


def test_two_draws_together_are_unbiased_and_update_the_chances() -> None:
    people, labels = population(200)
    y_mean = np.mean(list(labels.values()))
    estimates = []
    for seed in range(often(600, 200)):
        tasks: dict[str, TaskRecord] = {}
        queue = QUEUE
        for number, n in ((1, 40), (2, 30)):
            asked = wanted(n, seed=2 * seed + number)
            chosen = draws.plan(people, {}, asked)
            draw = draws.told(chosen, asked, number, 10**9)
            new, changed = draws.merged(queue, list(tasks.values()), people, chosen, draw, asked)
            tasks |= {one.item: one for one in [*changed, *new]}
            queue = QueueRecord(**{**vars(queue), "draws": (*queue.draws, draw)})
        estimates.append(sum(labels[one.item] / one.probability for one in tasks.values()) / len(people))
    assert abs(np.mean(estimates) - y_mean) < 4 * np.std(estimates) / math.sqrt(len(estimates))


def test_a_session_outside_an_earlier_draws_window_had_no_chance_in_it() -> None:
    people, _ = population(100)
    first = wanted(40)
    draw = draws.told(draws.plan(people, {}, first), first, 1, at_ns=50)  # drawn when 50 of them were judged
    assert draw["end_ns"] == 50
    assert draws.chance(people[49], [draw], first) > 0
    assert draws.chance(people[50], [draw], first) == 0
    assert draws.chance(people[49], [draw, draw], first) == pytest.approx(
        1 - (1 - draws.chance(people[49], [draw], first)) ** 2
    )


def test_everything_is_drawn_with_certainty_when_there_is_no_more() -> None:
    people, _ = population(30)
    chosen = draws.plan(people, {}, wanted(30))
    assert {one.probability for one in chosen.strata} == {1.0}
    assert len(sampling.draw([draws.stratum(one, wanted()) for one in people], chosen, np.random.default_rng(1))) == 30


def test_at_least_two_percent_are_random_and_every_stratum_has_its_floor() -> None:
    people, _ = population()
    chosen = draws.plan(people, {}, wanted(120))
    assert chosen.n_random == 3
    assert all(one.n_drawn >= min(10, one.n) for one in chosen.strata)
    few = draws.plan(people, {}, wanted(20))
    assert 1 <= few.floor < 10  # lowered, and said to be


def test_labels_move_the_allocation_to_where_the_judge_errs() -> None:
    people, labels = population(2_000)
    before = draws.plan(people, {}, wanted(200))
    after = draws.plan(people, labels, wanted(200))
    first, then = ({one.name: one for one in each.strata} for each in (before, after))
    assert then["fail / high"].sd > first["fail / high"].sd  # it is wrong in 40 %, and said 5 %
    assert then["fail / high"].n_drawn > first["fail / high"].n_drawn
    assert sampling.seen_sd(0.3, [1.0] * 100) < 0.1
    assert sampling.assumed_sd([None], has_verdict=True) == pytest.approx(0.4)
    assert sampling.assumed_sd([], has_verdict=False) == 0.5


def test_the_order_in_the_queue_says_nothing_of_the_stratum() -> None:
    people, _ = population()
    asked = wanted(200)
    chosen = draws.plan(people, {}, asked)
    new, _ = draws.merged(QUEUE, [], people, chosen, draws.told(chosen, asked, 1, 10**9), asked)
    assert [one.position for one in new] == list(range(len(new)))
    fails = [at for at, one in enumerate(new) if (one.stratum or "").startswith("fail")]
    spread = np.std(np.arange(len(new))) / math.sqrt(len(fails))
    assert abs(np.mean(fails) - len(new) / 2) < 4 * spread
    again, _ = draws.merged(QUEUE, [], people, chosen, draws.told(chosen, asked, 1, 10**9), asked)
    assert again == new  # the seed


def test_what_was_put_in_by_hand_stays_certain() -> None:
    people, _ = population(50)
    by_hand = TaskRecord(
        queue="q", task_id="t", position=3, item="s1", target=TargetKind.SESSION, session_id="s1", probability=1.0
    )
    asked = wanted(40, assign=("ann", "bob"))
    chosen = draws.plan(people, {}, asked)
    draw = draws.told(chosen, asked, 1, 10**9)
    new, changed = draws.merged(QUEUE, [by_hand], people, chosen, draw, asked)
    assert changed == []
    assert "s1" not in {one.item for one in new}
    assert new[0].position == 4
    assert [one.assigned for one in new[:3]] == [("ann",), ("bob",), ("ann",)]


def test_draws_that_cannot_be_put_together_are_refused() -> None:
    people, _ = population(50)
    asked = wanted(20)
    queue = QueueRecord(**{**vars(QUEUE), "draws": (draws.told(draws.plan(people, {}, asked), asked, 1, 10**9),)})
    draws.require_alike(queue, asked)
    for other in (wanted(20, by_segment=True), Wanted(n=20, start_ns=0, end_ns=9, seed=1)):
        with pytest.raises(Conflict):
            draws.require_alike(queue, other)
    for n, some in ((0, people), (6_000, people), (10, [])):
        with pytest.raises(InvalidInput):
            draws.plan(some, {}, wanted(n))


@pytest.mark.parametrize(
    ("confidence", "band"),
    [(None, "unknown"), (math.nan, "unknown"), (0, "low"), (0.6, "medium"), (0.85, "high"), (1, "high"), (7, "high")],
)
def test_bands_of_confidence(confidence: float | None, band: str) -> None:
    assert sampling.band_of(confidence) == band
