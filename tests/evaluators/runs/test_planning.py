"""Ids and plans: the same for the same, another for another, whatever examples are called."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from evaluators.datasets.records import Example
from evaluators.records import Expected, ToolCall
from evaluators.runs.calling import Pace, Stopped
from evaluators.runs.outputs import filled
from evaluators.runs.planning import MOST_TRIALS, Params, params_of, planned, score_id, session_of, trace_of, turn_of
from evaluators.runs.selection import GROUPS, selected
from store.control.run_records import TrialStatus

NAMES = st.text(min_size=1, max_size=120)


def example(name: str, **more: Any) -> Example:
    return Example(example_id=name, turns=("hello",), **more)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.integers(1, 4))
def test_every_trial_has_a_session_of_its_own_that_can_stand_in_a_path(names: list[str], k: int) -> None:
    trials = planned("run_1", [example(name) for name in names], k)
    assert len({one.session_id for one in trials}) == len({one.position for one in trials}) == len(names) * k
    assert [one.position for one in trials] == list(range(len(trials)))
    for one in trials:
        assert re.fullmatch(r"run_1\.[A-Za-z0-9._-]{1,120}\.[0-9]+", one.session_id)
        assert session_of("run_1", one.example_id, one.trial) == one.session_id


@given(NAMES, st.integers(0, 3), st.integers(0, 3))
def test_the_ids_of_a_call_are_the_same_each_time(name: str, trial: int, index: int) -> None:
    made = planned("run_1", [example(name)], trial + 1)[trial]
    asked = Example(example_id=name, turns=("hello",) * 4)
    first, again = turn_of("run_1", made, asked, index), turn_of("run_1", made, asked, index)
    assert first == again
    other = turn_of("run_1", made, asked, index + 1 if index < 3 else 0)
    assert first.message_id != other.message_id
    assert first.traceparent != other.traceparent
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first.traceparent)
    assert trace_of(made.session_id, index) in first.traceparent
    assert first.user_id.startswith("eval-")


def test_the_person_an_example_was_taken_from_is_never_sent_unless_the_author_names_them() -> None:
    from evaluators.datasets.records import Source

    taken = example("e", source=Source(user_id="maria"))
    trial = planned("run_1", [taken], 1)[0]
    assert trial.user_id == "maria", "for erasure"
    assert "maria" not in str(turn_of("run_1", trial, taken, 0))
    named = example("e", metadata={"user_id": "test-user"})
    assert turn_of("run_1", trial, named, 0).user_id == "test-user"


def test_a_score_has_an_id_of_its_own() -> None:
    ids = {score_id(r, e, t, v) for r in ("r", "s") for e in ("a", "b") for t in (0, 1) for v in ("x@1", "x@2")}
    assert len(ids) == 16


def test_params_come_back_and_too_much_is_refused() -> None:
    made = Params(concurrency=9, per_minute=3.5, max_cost_usd=1, split="dev", via="gateway", address="http://x")
    assert params_of(json.loads(json.dumps(made.json()))) == made
    for wrong in ({"concurrency": 0}, {"per_minute": float("nan")}, {"attempts": 21}, {"max_cost_usd": -1}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            Params(**wrong)
    with pytest.raises(InvalidInput, match="at most"):
        planned("run_1", [example(str(n)) for n in range(MOST_TRIALS // 100 + 1)], 100)


def test_calls_are_let_through_evenly() -> None:
    stopping = threading.Event()
    pace = Pace(per_minute=1200, stopping=stopping)
    began = time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - began >= 4 * 0.05
    slow = Pace(per_minute=1, stopping=stopping)
    slow.wait()
    stopping.set()
    with pytest.raises(Stopped):
        slow.wait()


def test_a_word_stands_for_the_evaluators_that_apply() -> None:
    gold = Expected(tool_calls=(ToolCall(name="book"),))
    names = {one.spec.name for one in selected(["correctness"], [Expected(), gold])}
    assert {"write_set", "outcome"} <= names
    assert "answer_match" not in names
    assert "json_valid" not in names
    assert {one.spec.unit for one in selected(["cost"], [])} == {"usd", "tokens"}
    assert [one.spec.name for one in selected(["outcome", "outcome@1"], [])] == ["outcome"]
    for word in GROUPS:
        if word not in ("policy", "retrieval"):
            assert selected([word], []), word
    with pytest.raises(InvalidInput, match="no example expects policy"):
        selected(["policy"], [gold])
    with pytest.raises(InvalidInput, match="version"):
        selected(["outcome@99"], [])


@given(st.lists(st.recursive(st.none() | st.text() | st.floats() | st.integers(), lambda inner: st.lists(inner) |
       st.dictionaries(st.sampled_from(["example_id", "trial", "output", "usage", "tool_calls", "name", "x"]), inner)),
       max_size=3))  # fmt: skip
def test_outputs_of_any_shape_are_taken_or_refused(said: list[Any]) -> None:
    trials = planned("run_1", [example("e")], 1)
    with suppress(InvalidInput):
        assert all(one.status in (TrialStatus.DONE, TrialStatus.FAILED) for one in filled(trials, said))
