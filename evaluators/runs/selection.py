"""Which evaluators a run is scored by: names of the catalogue, and short words that stand for several. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from core.errors import InvalidInput
from evaluators.catalogue import BY_NAME, every, find
from evaluators.protocol import Evaluator
from evaluators.records import Dimension, EvaluatorSpec, Expected

_Member = Callable[[EvaluatorSpec], bool]


def _of(dimension: Dimension) -> _Member:
    return lambda spec: spec.dimension is dimension


GROUPS: Final[Mapping[str, tuple[str, _Member]]] = {
    "correctness": (
        "what the examples expect of calls, end state and answer; and the outcome that is told",
        lambda spec: spec.dimension is Dimension.CORRECTNESS and (bool(spec.needs) or spec.name == "outcome"),
    ),
    "policy": ("caps, unauthorised and unconfirmed actions", lambda spec: "policy" in spec.needs),
    "latency": ("times", lambda spec: spec.dimension is Dimension.LATENCY_COST and spec.unit == "ms"),
    "cost": (
        "dollars and tokens",
        lambda spec: spec.dimension is Dimension.LATENCY_COST and spec.unit in ("usd", "tokens"),
    ),
    "safety": ("leaks, injection, refusal and policy", _of(Dimension.SAFETY)),
    "helpfulness": ("resolution, escalation, frustration", _of(Dimension.HELPFULNESS)),
    "grounding": ("support of what is said by what was read", _of(Dimension.GROUNDING)),
    "reliability": ("loops, errors, recovery", _of(Dimension.RELIABILITY)),
    "retrieval": ("what was found against what is relevant", _of(Dimension.RETRIEVAL)),
}


def selected(wanted: Sequence[str], expected: Sequence[Expected]) -> tuple[Evaluator, ...]:
    """The evaluators that `wanted` names, each once. Of a group those that apply: where an evaluator compares with what
    an example expects, at least one of `expected` says so. Raises InvalidInput for an unknown name, and for a group of
    which none applies."""
    if not wanted:
        raise InvalidInput("no evaluator is named; assay evaluators list names them all", field="evaluators")
    found: dict[str, Evaluator] = {}
    for name in wanted:
        for one in _named(name.strip(), expected):
            found[one.spec.name] = one
    return tuple(found.values())


def _named(name: str, expected: Sequence[Expected]) -> Sequence[Evaluator]:
    if name in BY_NAME or name not in GROUPS:
        return (find(name),)
    summary, belongs = GROUPS[name]
    members = [one for one in every() if belongs(one.spec)]
    found = [one for one in members if _applies(one.spec, expected)]
    if not found:
        needs = sorted({need for one in members for need in one.spec.needs})
        raise InvalidInput(
            f"no evaluator of {name} ({summary}) applies: no example expects {', '.join(needs) or 'anything'}",
            field="evaluators",
        )
    return found


def _applies(spec: EvaluatorSpec, expected: Sequence[Expected]) -> bool:
    """Whether any example says something of what the evaluator needs; () of tool calls says that none is right."""
    empty: tuple[object, ...] = (None, {}) if "tool_calls" in spec.needs else (None, {}, ())
    return not spec.needs or any(getattr(one, need) not in empty for one in expected for need in spec.needs)
