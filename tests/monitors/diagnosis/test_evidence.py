"""Examples, onset and the nearest deploy; changes of series and mixes with bad input."""

from __future__ import annotations

import numpy as np
import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from monitors.diagnosis.changes import change_of
from monitors.diagnosis.evidence import Candidate, Deployed, Onset, examples, nearest, onset_of
from monitors.diagnosis.mixes import mix_change_of
from monitors.diagnosis.records import Course, MixCourse
from monitors.diagnosis.runbooks import PAGE, as_markdown
from monitors.records import Kind
from tests.docs.test_docs import ROOT

HOUR = 3600 * NS_PER_S
START = 1_700_006_400 * NS_PER_S  # a midnight, UTC


def candidates(n: int) -> list[Candidate]:
    return [
        Candidate(
            session_id=f"s{i:03d}", at_ns=START + i * NS_PER_S, badness=1.0, user_id=f"u{i // 10}",
            groups={"release": "2" if i % 2 else "1"},
        )
        for i in range(n)
    ]  # fmt: skip


def test_ten_examples_of_where_it_happened_spread_over_time_and_users() -> None:
    found = examples(candidates(100), [("release", "2")])
    assert len(found) == 10
    assert all(int(one[1:]) % 2 for one in found)
    assert {int(one[1:]) // 10 for one in found} == set(range(10))
    assert found == examples([*reversed(candidates(100)), *candidates(3)], [("release", "2")])


def test_examples_are_bad_ones_and_few_of_one_user() -> None:
    of_one = [Candidate(session_id=str(i), at_ns=START, badness=i - 1.0, user_id="u") for i in range(5)]
    assert examples(of_one) == ("3", "4")
    assert examples([]) == ()
    with pytest.raises(InvalidInput):
        examples([], n=0)


def course(x: np.ndarray, kind: Kind = Kind.LEVEL, step_ns: int = 300 * NS_PER_S) -> Course:
    at = START + np.arange(len(x)) * step_ns
    return Course(series="s", kind=kind, at_ns=at, x=x, n=np.full(len(x), np.nan))


def test_the_onset_of_a_step_is_found_with_its_interval() -> None:
    x = np.random.default_rng(3).normal(size=288) + np.where(np.arange(288) >= 200, 3.0, 0.0)
    found = onset_of(course(x))
    assert found is not None
    true = START + 200 * 300 * NS_PER_S
    assert found.low_ns <= true <= found.high_ns
    assert abs(found.at_ns - true) <= 2 * 300 * NS_PER_S
    assert onset_of(course(x[:10])) is None


def test_the_deploy_nearest_before_the_onset_is_named() -> None:
    some = [
        Deployed(what="release", name="v7", at_ns=START - 2 * HOUR),
        Deployed(what="rollout", name="v8", at_ns=START - HOUR // 6),
    ]
    onset = Onset(at_ns=START, low_ns=START - HOUR // 60, high_ns=START + HOUR // 60, z=9.0)
    later = Deployed(what="release", name="v9", at_ns=START + HOUR)  # no cause: it began before
    found = nearest([*some, later], onset)
    assert found.found == some[1]
    assert found.before_s == pytest.approx(600)
    assert found.said == "rollout v8, 10 min before it seems to have begun"
    none = nearest([later], onset)
    assert (none.found, none.said) == (None, "nothing was deployed in the 24 h before it began")


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (np.full(300, np.nan), Kind.LEVEL),
        (np.full(300, -1.0), Kind.POSITIVE),
        (np.full(300, 2.0), Kind.RATE),
        (np.array([1.0]), Kind.LEVEL),
        (np.array([]), Kind.LEVEL),
    ],
)
def test_a_series_without_anything_to_hold_against_has_no_figure_and_says_why(x: np.ndarray, kind: Kind) -> None:
    found = change_of(course(x, kind), onset_ns=START + 290 * 300 * NS_PER_S, now_ns=START + 300 * 300 * NS_PER_S)
    assert (found.z, found.is_known) == (None, False)
    assert found.unknown


def test_a_constant_series_is_as_before_and_its_step_is_not() -> None:
    onset, now = START + 290 * 300 * NS_PER_S, START + 302 * 300 * NS_PER_S
    flat = change_of(course(np.full(302, 5.0)), onset_ns=onset, now_ns=now)
    assert flat.z == pytest.approx(0.0, abs=1e-6)
    step = change_of(course(np.where(np.arange(302) >= 290, 6.0, 5.0)), onset_ns=onset, now_ns=now)
    assert step.z is not None
    assert step.z > 5


def test_a_mix_that_bursts_as_ever_is_no_shift_and_a_lasting_one_is() -> None:
    chance = np.random.default_rng(1)
    at = START + np.arange(300) * 300 * NS_PER_S
    share = np.where(np.arange(300)[:, None] % 24 < 12, [0.5, 0.3, 0.2], [0.3, 0.4, 0.3])
    counts = np.array([chance.multinomial(100, one) for one in share]).astype(float)
    onset, now = int(at[276]), int(at[-1]) + 300 * NS_PER_S
    mix = MixCourse(series="mix:intent", at_ns=at, values=("a", "b", "c"), counts=counts)
    usual = mix_change_of(mix, onset_ns=onset, now_ns=now)
    shifted = counts.copy()
    shifted[276:] = [[10, 10, 80]] * 24
    lasting = MixCourse(series="m", at_ns=at, values=mix.values, counts=shifted)
    moved = mix_change_of(lasting, onset_ns=onset, now_ns=now)
    assert usual.z is not None
    assert moved.z is not None
    assert usual.z < 2 < 6 < moved.z
    assert "c 2" in moved.said


def test_the_runbooks_page_is_the_table() -> None:
    assert as_markdown() in (ROOT / PAGE).read_text(encoding="utf-8")
