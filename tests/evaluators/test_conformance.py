"""The conformance suite over the whole catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.records import TargetKind
from docs.evaluator_tables import updated
from evaluators.catalogue import BY_NAME, CATALOGUE, find, find_all, named, split_version
from evaluators.protocol import Evaluator, evaluate_safely
from evaluators.records import (
    Document,
    EvaluatorSpec,
    Expected,
    Message,
    ModelCall,
    Reason,
    Score,
    Scored,
    Target,
    ToolCall,
    Trajectory,
    Unscored,
)
from tests.evaluators.conformance import agrees_with_its_frame, conforms, lacks, targets, well_described
from tests.thorough import often

DOCS = Path(__file__).resolve().parents[2] / "docs"
FRAMES = [one for one in CATALOGUE if hasattr(one, "value")]
# Without shrinking: it may take longer than a test may.
_AS_FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def _name(evaluator: Evaluator) -> str:
    return evaluator.spec.name


def test_there_are_at_least_thirty_and_no_name_twice() -> None:
    assert len(CATALOGUE) >= 30
    assert len(BY_NAME) == len(CATALOGUE)


@pytest.mark.parametrize("evaluator", CATALOGUE, ids=_name)
def test_every_evaluator_is_well_described(evaluator: Evaluator) -> None:
    well_described(evaluator)


@settings(max_examples=often(60, 15), deadline=None, phases=_AS_FOUND, suppress_health_check=_SLOW)
@given(target=targets())
def test_every_evaluator_answers_hostile_targets_as_it_must(target: Target) -> None:
    for evaluator in CATALOGUE:
        if target.kind in evaluator.spec.targets:
            conforms(evaluator, target)
            lacks(evaluator, target)


@settings(max_examples=15, deadline=None, phases=_AS_FOUND, suppress_health_check=_SLOW)
@given(several=st.lists(targets(), min_size=2, max_size=4))
def test_no_evaluator_remembers_what_it_saw_before(several: list[Target]) -> None:
    for evaluator in CATALOGUE:
        forth = [evaluate_safely(evaluator, one) for one in several]
        back = [evaluate_safely(evaluator, one) for one in reversed(several)]
        assert forth == back[::-1], evaluator.spec.name


@settings(max_examples=often(40, 15), deadline=None, phases=_AS_FOUND, suppress_health_check=_SLOW)
@given(several=st.lists(targets(), min_size=1, max_size=5))
def test_one_pass_over_columns_gives_what_one_after_the_other_gives(several: list[Target]) -> None:
    sessions = [Target(kind=TargetKind.SESSION, trajectory=one.trajectory, expected=one.expected) for one in several]
    for evaluator in FRAMES:
        agrees_with_its_frame(evaluator, sessions)  # type: ignore[arg-type]


def test_some_evaluators_work_in_one_pass() -> None:
    assert {"outcome", "tool_error_rate"} <= {one.spec.name for one in FRAMES}


class _Panic(BaseException):
    """As pyo3's PanicException, which is no Exception."""


@dataclass(frozen=True, kw_only=True)
class _Raising:
    spec: EvaluatorSpec
    error: BaseException

    def evaluate(self, target: Target) -> Scored:
        raise self.error


def test_a_panic_of_a_library_is_a_value_and_an_interrupt_is_none() -> None:
    target = Target(kind=TargetKind.SESSION, trajectory=Trajectory(session_id="s"))
    spec = BY_NAME["json_valid"].spec
    found = evaluate_safely(_Raising(spec=spec, error=_Panic("__eq__ failed!")), target)
    assert isinstance(found, Unscored)
    assert found.reason is Reason.FAILED
    with pytest.raises(KeyboardInterrupt):
        evaluate_safely(_Raising(spec=spec, error=KeyboardInterrupt()), target)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


def _huge() -> Trajectory:
    """20,000 calls and 3 MB of text."""
    calls = tuple(
        ToolCall(name="get_order", arguments={"order_id": f"W{at % 977}"}, result={"status": "ok"})
        for at in range(20_000)
    )
    messages = tuple(
        Message(role=role, text="the order 1,234.50 W123 of ana " * 500, turn=at)
        for at in range(100)
        for role in ("user", "assistant")
    )
    documents = tuple(Document(document_id=f"d{at}", text="word " * 50, score=1.0) for at in range(2000))
    return Trajectory(
        messages=messages,
        tool_calls=calls,
        documents=documents,
        model_calls=(ModelCall(),) * 20_000,
        end_state={"a": 1},
    )


_EXPECTS = Expected(
    answer="yes",
    contains=("yes",),
    tool_calls=(ToolCall(name="get_order", arguments={"order_id": "W1"}),) * 300,
    comparators={"order_id": "ignore_case"},
    end_state={"a": 1},
    post_conditions=("count(calls[*]) > 3",),
    relevant={"d1": 2.0},
    refusal=False,
    json_schema={"type": "object"},
    source="word " * 1000,
)
_EXTREMES = {
    "empty": Trajectory(),
    "huge": _huge(),
    "nested": Trajectory(
        tool_calls=(ToolCall(name="a", arguments={"x": _nested(400)}, result=_nested(400)),) * 3,
        messages=(Message(role="assistant", text="[" * 100_000),),
        end_state={"a": _nested(400)},
    ),
    "one letter": Trajectory(messages=(Message(role="assistant", text="a" * 300_000),)),
    "digits": Trajectory(messages=(Message(role="assistant", text="1" * 100_000 + "x"),)),
}


@pytest.mark.parametrize("extreme", _EXTREMES)
@pytest.mark.parametrize("evaluator", CATALOGUE, ids=_name)
def test_extreme_trajectories_stop_no_evaluator(evaluator: Evaluator, extreme: str) -> None:
    kind = TargetKind.SESSION if TargetKind.SESSION in evaluator.spec.targets else next(iter(evaluator.spec.targets))
    target = Target(kind=kind, trajectory=_EXTREMES[extreme], expected=_EXPECTS)
    found = evaluator.evaluate(target)
    assert isinstance(found, Score | Unscored)
    if isinstance(found, Score):
        json.dumps(found.parts, allow_nan=False)


@pytest.mark.parametrize("evaluator", CATALOGUE, ids=_name)
def test_every_evaluator_has_a_line_in_the_docs(evaluator: Evaluator) -> None:
    assert f"\n| `{evaluator.spec.name}` | {evaluator.spec.version} |" in (DOCS / "evaluators.md").read_text()


def test_the_tables_of_the_docs_are_the_specs() -> None:
    page = (DOCS / "evaluators.md").read_text(encoding="utf-8")
    assert updated(page) == page, "run: python docs/evaluator_tables.py"


# --- the catalogue --------------------------------------------------------------------------------------------------


def test_a_name_finds_its_evaluator_with_and_without_the_version() -> None:
    write_set = find("write_set")
    assert find(named(write_set)) is write_set
    assert find(" write_set ") is write_set
    assert find_all(["write_set", "mrr", "write_set@1"]) == (write_set, find("mrr"))


def test_an_unknown_name_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(InvalidInput, match="did you mean tool_f1"):
        find("tool_f2")
    with pytest.raises(InvalidInput, match="assay evaluators list"):
        find("qqqqqqqq")


@pytest.mark.parametrize("wanted", ["", "@1", "write_set@", "write_set@0", "write_set@latest", "write_set@1@2"])
def test_what_is_no_name_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidInput, match="name@version"):
        split_version(wanted)


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="write_set is at version 1 here, not 7"):
        find("write_set@7")


def test_naming_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no evaluator is named"):
        find_all([])
