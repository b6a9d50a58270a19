"""Patterns told from synthetic apps: one story for each pattern, in seeded worlds that no pattern was made from."""

from __future__ import annotations

import pytest

from monitors.diagnosis.patterns import BY_NAME, PATTERNS
from monitors.diagnosis.records import Change, Expect, Move, Pattern
from monitors.diagnosis.runbooks import FIRST
from monitors.diagnosis.scoring import (
    CHANCES,
    KEY,
    NO_CAUSE,
    NO_PATTERN,
    NOT_KNOWN,
    NOTHING,
    OTHERWISE,
    UNEXPLAINED,
    diagnose,
)
from monitors.diagnosis.signs import BY_NAME as SIGNS
from monitors.diagnosis.signs import likelihoods, moves, of_several, seen, sign_of
from monitors.records import Kind
from tests.monitors.diagnosis.stories import STORIES
from tests.monitors.diagnosis.worlds import QUIET, changes


def change(series: str, z: float, effect: float, kind: Kind = Kind.RATE, half: float = 0.01) -> Change:
    return Change(
        series=series,
        kind=kind,
        before=0.5,
        now=0.5 + effect,
        effect=effect,
        low=effect - half,
        high=effect + half,
        z=z,
    )


DROP = change("resolution", -8.0, -0.07)
FLAT_LATENCY = change("p95_latency", 0.2, 0.01, Kind.POSITIVE)


def test_every_pattern_has_a_story_and_every_story_a_pattern() -> None:
    assert set(STORIES) == set(BY_NAME)


@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_pattern_is_told_from_its_story(name: str) -> None:
    told = [diagnose(changes(STORIES[name], seed)).told for seed in (11, 12)]
    assert [one and one.pattern for one in told] == [name, name]


def test_an_hour_in_which_nothing_happened_has_no_cause() -> None:
    found = [diagnose(changes(QUIET, seed)) for seed in range(20, 26)]
    assert [one.told for one in found] == [None] * 6
    assert {one.why for one in found} == {NO_CAUSE}


def test_the_issues_own_words() -> None:
    """Quality down, latency flat: model or prompt change. One tool's errors up: tool outage. And so on."""
    tokens = change("input_tokens", 9, 0.5, Kind.POSITIVE)
    slow = change("p95_latency", 9, 0.4, Kind.POSITIVE)
    cases = {
        "model_or_prompt_change": [DROP, FLAT_LATENCY],
        "prompt_bloat": [slow, tokens],
        "tool_outage": [change("tool_errors:refund", 9, 0.3), change("tool_errors:find", 0.3, 0.001)],
        "judge_moved": [
            change("score:helpful", -9, -0.1),
            change("agreement:helpful", -9, -0.2),
            change("resolution", 0.1, 0.001),
        ],
        "traffic_mix": [
            DROP,
            change("mix:intent", 12, 0.3, Kind.LEVEL),
            change("resolution:within", 0.1, 0.001, Kind.LEVEL),
        ],
        "loop": [
            change("cost_per_session", 9, 0.5, Kind.POSITIVE),
            change("traffic", 0.2, 0.01, Kind.COUNT),
            change("score:loop_free", -9, -0.1),
        ],
    }
    told = {name: diagnose(some).told for name, some in cases.items()}
    assert {name: one and one.pattern for name, one in told.items()} == {name: name for name in cases}


def test_judged_quality_that_falls_with_resolution_is_the_product_and_not_the_judge() -> None:
    found = diagnose([DROP, FLAT_LATENCY, change("score:helpful", -9, -0.1), change("agreement:helpful", 0.1, 0.001)])
    assert found.told is not None
    assert found.told.pattern == "model_or_prompt_change"


def test_without_any_series_nothing_is_told() -> None:
    found = diagnose([Change(series="resolution", kind=Kind.RATE, unknown="nothing before")])
    assert (found.told, found.why, found.causes, found.moved) == (None, NOT_KNOWN, (), ())
    assert "resolution" in found.unknown


def test_what_moved_against_every_pattern_has_no_cause() -> None:
    better = [change("resolution", 9, 0.05), change("turns", -9, -0.5, Kind.LEVEL)]
    faster = [change("p95_latency", -9, -0.4, Kind.POSITIVE), change("escalation", -9, -0.05)]
    found = diagnose([*better, *faster])
    assert (found.told, found.why) == (None, NO_PATTERN)
    assert {one.sign for one in found.moved} == {"quality", "turns", "latency", "escalation"}


def test_a_key_sign_that_nobody_measures_is_not_told() -> None:
    found = diagnose([DROP, change("cost_per_session", 9, 0.5, Kind.POSITIVE)])
    assert "loop" not in {one.pattern for one in found.causes}  # nobody looked for repeated calls


def test_reasons_hold_both_figures_and_what_speaks_against() -> None:
    found = diagnose([DROP, FLAT_LATENCY, change("score:redundant_calls", 6, 0.02)])
    assert found.told is not None
    assert "resolution is down, 50.0% → 43.0%" in found.told.reasons
    assert any(one.startswith("repeated calls is up") for one in found.told.against)
    assert found.why.startswith("The model or the prompt changed: resolution is down")
    assert found.told.first == FIRST["model_or_prompt_change"]


def test_the_same_changes_in_any_order_are_the_same_diagnosis() -> None:
    some = changes(STORIES["tool_outage"], 3)
    assert diagnose(some) == diagnose(list(reversed(some)))
    told = diagnose(some).as_json()
    assert told["told"]["pattern"] == "tool_outage"
    assert told["moved"][0]["change"]["series"].startswith("tool_errors:")


def test_large_traffic_does_not_make_a_trifle_a_cause() -> None:
    trifle = change("p95_latency", 9.0, 0.002, Kind.POSITIVE, half=0.0005)
    assert next(one for one in seen([trifle]) if one.sign == "latency").move is Move.FLAT
    assert diagnose([trifle, change("resolution", 0.1, 0.0005, half=0.001)]).told is None


def test_a_series_too_noisy_to_tell_says_nothing() -> None:
    noisy = change("resolution", 0.5, 0.1, half=0.4)
    one = next(one for one in seen([noisy]) if one.sign == "quality")
    assert one.move is Move.UNKNOWN
    assert max(one.p_up, one.p_flat, one.p_down) < 0.5


def test_patterns_speak_of_signs_that_there_are() -> None:
    for one in PATTERNS:
        assert {*one.key, *one.expects} <= set(SIGNS), one.name
        assert one.key, one.name
        assert not {*one.key} & {Expect.RISES, Expect.FALLS, Expect.FREE}


@pytest.mark.parametrize("chances", [*CHANCES.values(), *KEY.values(), OTHERWISE, UNEXPLAINED, NOTHING])
def test_chances_add_up(chances: tuple[float, float, float]) -> None:
    assert sum(chances) == pytest.approx(1)
    assert min(chances) > 0


def test_likelihoods_are_densities() -> None:
    """Each integrates to one over z: below the size that is seen to be large, where the scale is the power's alone."""
    grid = [at / 5 for at in range(-175, 176)]
    for power in (0.3, 1.0, 4.0):
        flat = sum(likelihoods(z, power)[1] for z in grid) / 5
        assert flat == pytest.approx(1, abs=0.001)
    up = sum(likelihoods(z, 12.0)[0] for z in grid) / 5
    assert up == pytest.approx(1, abs=0.01)


def test_moves_grow_with_z() -> None:
    ups = [moves(z)[0] for z in (0, 1, 2, 3, 4, 6, 10, 30)]
    assert ups == sorted(ups)
    assert moves(5.0) == tuple(reversed(moves(-5.0)))


def test_the_strongest_of_several_is_weighed_for_having_been_chosen() -> None:
    assert of_several(3.0, 1) == 3.0
    assert of_several(3.0, 10) == pytest.approx(2.212, abs=0.002)  # 1 - (1 - .00135)^10 = .01342
    assert of_several(-3.0, 10) == -of_several(3.0, 10)
    assert of_several(30.0, 10) == pytest.approx(29.92, abs=0.01)
    assert of_several(0.5, 100) == 0.0


@pytest.mark.parametrize(
    ("series", "sign", "way"),
    [
        ("resolution", "quality", 1),
        ("resolution:within", "strata", 1),
        ("score:loop_free", "loops", -1),
        ("score:anything_else", "judged", 1),
        ("agreement:helpful", "judge_gap", -1),
        ("mix:response_model", "model", 1),
        ("mix:tenant", "mix", 1),
        ("tool_errors:refund", "tool_errors", 1),
    ],
)
def test_series_show_their_sign(series: str, sign: str, way: int) -> None:
    found = sign_of(series)
    assert found is not None
    assert (found[0].name, found[1]) == (sign, way)


def test_a_series_of_no_sign_is_left_out() -> None:
    assert sign_of("temperature") is None
    assert diagnose([change("temperature", 9, 1)]).why == NOT_KNOWN


def test_a_pattern_of_ones_own_is_told_too() -> None:
    own = Pattern(name="leak", title="Ours", cause="", key={"escalation": Expect.UP})
    found = diagnose([change("escalation", 9, 0.1)], [own])
    assert found.told is not None
    assert found.told.title == "Ours"
