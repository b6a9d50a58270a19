"""What became of a cluster: grown or continued, fixed, regressed, died; each by a test, or not said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clustering.failing import absent, excess, failing, no_longer
from clustering.growth import ASSUMED, Counted, compared, dispersion
from clustering.lineage import match
from clustering.lineage_records import DAY_NS, Known, Lineage, Matching
from clustering.records import State
from tests.clustering.histories import OTHER_SPACE, WEEK_NS, failed, found, kinds, known, look, remembered, sessions

STEADY = 12


def after_a_week(new: Sequence[int], *, n_new: int = 1_000, **of_known: Any) -> Lineage:
    """Clusters that had 40 of 1,000 sessions, and now have `new` of `n_new` new ones. The windows do not overlap."""
    registry = [known(number, **of_known) for number in range(1, len(new) + 1)]
    registry = [replace(one, members=sessions(one.cluster_id, 9)) for one in registry]
    clusters = [
        found(at, one.members, n=n, n_new=n, centroid=one.centroid)
        for at, (one, n) in enumerate(zip(registry, new, strict=True))
    ]
    return match(registry, clusters, look=look(n=n_new, n_new=n_new), next_number=100)


def test_a_share_that_tripled_has_grown_and_a_few_more_have_not() -> None:
    lineage = after_a_week([120, 48, *[38, 42] * 5])
    kind = {one.cluster_id: one.kind for one in lineage.events}
    assert kind.pop("C-0001") is State.GROWN
    assert set(kind.values()) == {State.CONTINUED}
    assert lineage.events[0].text.startswith("3.0 times its former share of sessions (q ")


def test_with_few_clusters_twice_as_many_is_not_yet_growth() -> None:
    # Their scatter from week to week is not known: z = ln 2 / sqrt(1/80 + 1/40 + .2) = 1.4.
    assert {one.kind for one in after_a_week([80, 40]).events} == {State.CONTINUED}
    assert after_a_week([80, 40]).dispersion == ASSUMED
    assert after_a_week([160, 40]).events[0].kind is State.GROWN


def test_more_traffic_is_no_growth() -> None:
    assert {one.kind for one in after_a_week([120] * STEADY, n_new=3_000).events} == {State.CONTINUED}


def test_no_new_session_is_no_growth() -> None:
    registry = [known(1, sessions("s", 90))]
    lineage = match(registry, [found(1, sessions("s", 90))], look=look(), next_number=2)
    assert kinds(lineage, "C-0001") == [State.CONTINUED]


def test_a_cluster_found_since_the_run_before_is_not_compared_with_itself() -> None:
    assert after_a_week([120, *[40] * STEADY]).events[0].kind is State.GROWN
    since = after_a_week([120, *[40] * STEADY], last_run_ns=WEEK_NS + DAY_NS)
    assert {one.kind for one in since.events} == {State.CONTINUED}


def test_what_a_cluster_took_in_is_no_growth() -> None:
    registry = [known(number, sessions(f"s{number}_", 40)) for number in range(1, STEADY + 1)]
    both = registry[0].members | registry[1].members
    clusters = [found(1, both, n_new=80)]
    clusters += [found(at, one.members, n_new=40) for at, one in enumerate(registry[2:], start=3)]
    lineage = match(registry, clusters, look=look(n_new=1_000), next_number=50)
    assert kinds(lineage, "C-0001") == [State.MERGED]


def test_growth_is_weighed_by_the_formula() -> None:
    counts = [Counted(60, 1_000, 40, 1_000), *[Counted(40 + one, 1_000, 40, 1_000) for one in range(-6, 6)]]
    answer = compared([*counts, None], Matching())
    assert answer.dispersion == 0.0  # they scatter less than Poisson counts would
    assert answer.growth[-1] is None
    assert answer.growth[0] is not None
    # d = ln(60.5 / 40.5) = .4014, sd sqrt(1/60.5 + 1/40.5) = .2030, z 1.977, p .02402; 13 tests: q .3122
    assert answer.growth[0].ratio == pytest.approx(60.5 / 40.5)
    assert answer.growth[0].q_value == pytest.approx(0.3122, abs=5e-4)


def test_dispersion_is_that_of_the_many_whatever_the_few_do() -> None:
    chance = np.random.default_rng(4)
    v = np.full(400, 0.05)
    d = chance.normal(0, np.sqrt(0.05 + 0.2), 400)
    d[:20] += 1.5
    assert dispersion(d, v) == pytest.approx(0.2, abs=0.07)
    assert dispersion(chance.normal(0, np.sqrt(0.05), 400), v) == pytest.approx(0.0, abs=0.02)
    assert dispersion(np.zeros(9), np.zeros(9)) == ASSUMED


def test_quiet_weeks_rarely_have_growth_whatever_their_scatter() -> None:
    """Counts of variance mean + .1 mean^2, of which Poisson's test would call many grown."""
    chance = np.random.default_rng(11)
    rates = chance.lognormal(3.5, 0.5, 60)

    def counts() -> list[int]:
        return [int(one) for one in chance.poisson(rates * chance.gamma(10, 0.1, 60))]

    def week() -> list[Counted]:
        return [Counted(new, 3_000, old, 3_000) for new, old in zip(counts(), counts(), strict=True)]

    weeks = [compared(week(), Matching()) for _ in range(100)]
    grown = [any(one is not None and one.grown for one in each.growth) for each in weeks]
    assert sum(grown) <= 12  # of 100 weeks; 5 are expected where q holds


def test_the_difference_of_two_rates_has_newcombes_interval() -> None:
    found_excess = excess(failed(56, 70), failed(56 + 48, 70 + 80), 0.95)
    assert found_excess is not None  # Newcombe 1998, Statistics in Medicine 17:873, table II, (a), method 10
    assert [found_excess.low, found_excess.high] == pytest.approx([0.0524, 0.3339], abs=5e-5)
    assert found_excess.text == "fails in 80%, the rest in 60%: +20 points (+5 to +33)"


def test_failing_needs_both_rates_and_a_clear_difference() -> None:
    assert failing(failed(20, 40), failed(120, 1_040)) is not None
    assert failing(failed(6, 40), failed(106, 1_040)) is None
    assert failing(failed(0, 0), failed(100, 1_000)) is None
    assert failing(failed(20, 40), failed(20, 40)) is None  # the rest has no known outcome


def test_fixed_is_no_longer_above_the_rest_and_known_to_have_fallen() -> None:
    assert no_longer(failed(3, 40), failed(103, 1_040), 0.4) is not None
    assert no_longer(failed(0, 4), failed(100, 1_004), 0.4) is None  # four sessions fix nothing
    assert no_longer(failed(12, 40), failed(112, 1_040), 0.4) is None  # still above
    assert no_longer(failed(0, 0), failed(100, 1_000), 0.4) is None


def run_with(lineage_state: State, n_failed: int, **of_known: Any) -> Lineage:
    """A cluster found again, `n_failed` of its 40 sessions failed, and 100 of 1,000 others."""
    registry = [known(1, sessions("s", 40), state=lineage_state, **of_known)]
    clusters = [found(1, sessions("s", 40), failure=failed(n_failed, 40))]
    return match(registry, clusters, look=look(failure=failed(100 + n_failed, 1_040)), next_number=2)


def test_a_failing_cluster_that_fails_like_the_rest_is_fixed_until_it_fails_again() -> None:
    first = match([], [found(1, sessions("s", 40), failure=failed(20, 40))],
                  look=look(failure=failed(120, 1_040)), next_number=1)  # fmt: skip
    assert first.standings[0].excess == pytest.approx(0.4)
    fixed = run_with(State.BORN, 3, excess=0.4)
    assert (kinds(fixed, "C-0001"), fixed.standings[0].excess) == ([State.FIXED], None)
    assert fixed.events[0].text == "fails in 8%, the rest in 10%: -3 points (-8 to +10); it was +40"
    quiet = run_with(State.FIXED, 5)
    assert (kinds(quiet, "C-0001"), quiet.standings[0].state) == ([State.CONTINUED], State.FIXED)
    again = run_with(State.FIXED, 20)
    assert (kinds(again, "C-0001"), again.standings[0].state) == ([State.REGRESSED], State.REGRESSED)
    assert again.standings[0].excess == pytest.approx(0.4)


def test_the_excess_remembered_is_the_largest_while_it_fails() -> None:
    assert run_with(State.CONTINUED, 16, excess=0.6).standings[0].excess == 0.6
    assert run_with(State.CONTINUED, 9, excess=0.6).standings[0].excess == 0.6  # neither failing nor fixed
    assert run_with(State.CONTINUED, 30, excess=0.6).standings[0].excess == pytest.approx(0.65)


def test_a_cluster_that_never_failed_is_never_fixed() -> None:
    assert kinds(run_with(State.CONTINUED, 0), "C-0001") == [State.CONTINUED]


def test_without_outcomes_nothing_is_fixed() -> None:
    registry = [known(1, sessions("s", 40), excess=0.4)]
    lineage = match(registry, [found(1, sessions("s", 40))], look=look(), next_number=2)
    assert (kinds(lineage, "C-0001"), lineage.standings[0].excess) == ([State.CONTINUED], 0.4)


def missed(**changes: Any) -> tuple[State, bool, list[State]]:
    """A cluster (40 of 1,000 sessions a week ago) of which this week's 1,000 sessions show nothing."""
    of_look = {name: changes.pop(name) for name in ("n", "at_ns", "embedder") if name in changes}
    window = look(**of_look)
    lineage = match([known(1, **changes)], [], look=window, next_number=2)
    return lineage.standings[0].state, lineage.standings[0].alive, kinds(lineage, "C-0001")


def test_a_cluster_away_for_a_window_died_or_is_fixed_where_it_failed() -> None:
    assert missed() == (State.DIED, False, [State.DIED])
    assert missed(excess=0.3) == (State.FIXED, True, [State.FIXED])
    assert missed(state=State.FIXED) == (State.FIXED, True, [])


def test_absence_that_is_not_known_changes_nothing() -> None:
    stays: tuple[State, bool, list[State]] = (State.CONTINUED, True, [])
    assert missed(n=60) == stays  # 4% of 60 sessions: none in 60 happens one time in twelve
    assert missed(n=0) == stays
    assert missed(members=sessions("s", 3)) == stays  # sessions of it lie in the window: too few to be found
    assert missed(last_run_ns=WEEK_NS + 1) == stays  # a run found it within the window
    assert missed(embedder=OTHER_SPACE) == stays  # its place means nothing in this run
    assert missed(n=80)[0] is State.DIED


def test_absence_is_known_by_the_exact_bound() -> None:
    # 1 - .05^(1/n) < .04 from n = 74 on
    assert [absent(40, 1_000, n) for n in (0, 73, 74)] == [False, False, True]


def test_four_weeks_without_it_are_enough_whatever_the_traffic() -> None:
    assert missed(n=3, at_ns=WEEK_NS + 28 * DAY_NS) == (State.DIED, False, [State.DIED])
    assert missed(n=3, at_ns=WEEK_NS + 28 * DAY_NS - 1)[0] is State.CONTINUED


def test_a_cluster_back_from_the_dead_has_its_id_and_regressed_only_if_it_fails() -> None:
    dead = known(1, state=State.DIED, alive=False)
    back = found(1, sessions("s", 40), failure=failed(2, 40))
    window = look(failure=failed(102, 1_040))
    harmless = match([dead], [back], look=window, next_number=2)
    assert (harmless.given, kinds(harmless, "C-0001")) == ({1: "C-0001"}, [State.CONTINUED])
    assert harmless.events[0].text.startswith("back after died")
    failing_again = match([dead], [replace(back, failure=failed(25, 40))], look=look(failure=failed(125, 1_040)),
                          next_number=2)  # fmt: skip
    assert kinds(failing_again, "C-0001") == [State.REGRESSED]
    assert failing_again.standings[0].alive


def test_ended_clusters_stay_as_they_are_until_they_come_back() -> None:
    for state in (State.DIED, State.MERGED, State.SPLIT):
        lineage = match([known(1, state=state, alive=False)], [], look=look(), next_number=2)
        assert (lineage.standings[0].state, lineage.events) == (state, ())


def test_a_life_of_six_weeks() -> None:
    """Born failing, continued, fixed, gone, back and failing: one id, and each state once."""
    told: list[State] = []
    registry: list[Known] = []
    next_number = 1
    for week, rate in enumerate([0.5, 0.5, 0.05, None, 0.5]):
        n_failed = round(40 * (rate or 0))
        clusters = [] if rate is None else [found(1, sessions(f"week{week}_", 40), failure=failed(n_failed, 40))]
        window = look(at_ns=(week + 1) * WEEK_NS, start_ns=week * WEEK_NS, since_ns=week * WEEK_NS, n_new=1_000,
                      failure=failed(100 + n_failed, 1_000 + 40 * len(clusters)))  # fmt: skip
        lineage = match(registry, clusters, look=window, next_number=next_number)
        told += kinds(lineage, "C-0001")
        registry, next_number = remembered(lineage, clusters), lineage.next_number
        registry = [replace(one, members=frozenset()) for one in registry]
    assert told == [State.BORN, State.CONTINUED, State.FIXED, State.REGRESSED]
    assert next_number == 2
