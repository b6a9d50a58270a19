"""What evaluators read and what they say: trajectories, what was expected of them, scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind


class Dimension(StrEnum):
    """The dimensions of quality, and what stands beside them."""

    CORRECTNESS = "correctness"
    SAFETY = "safety"
    HELPFULNESS = "helpfulness"
    GROUNDING = "grounding"
    LATENCY_COST = "latency_cost"
    RELIABILITY = "reliability"
    RETRIEVAL = "retrieval"


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


class Reason(StrEnum):
    """Why there is no score. Each is counted; none becomes a number."""

    NOT_EXPECTED = "not_expected"  # the example says nothing about what this evaluator compares with
    UNREADABLE = "unreadable_expectation"  # it says something that cannot be read
    NOT_RECORDED = "not_recorded"  # the trajectory lacks what is needed: no answer, no times, no documents
    NOT_APPLICABLE = "not_applicable"  # nothing of the kind happened, as no refund where a refund's amount is checked
    NOT_FINISHED = "not_finished"  # the trial failed or has not ended
    FAILED = "evaluator_failed"  # the evaluator raised or answered nonsense
    TIMED_OUT = "evaluator_timed_out"
    OUT_OF_MEMORY = "evaluator_out_of_memory"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a user or the agent said. `role` is user, assistant or system; `turn` counts from 0."""

    role: str
    text: str
    turn: int = 0
    at_ns: int | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool. `result` is what it gave (parsed where it was JSON), `error` why it gave nothing."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: str | None = None
    turn: int = 0
    start_ns: int | None = None
    end_ns: int | None = None
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """One call of a model. Times in ms, money in US dollars; None is not known."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    error: str | None = None
    finish_reasons: str | None = None
    turn: int = 0
    start_ns: int | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A passage that was retrieved, in order of rank."""

    document_id: str
    text: str = ""
    score: float | None = None
    turn: int = 0


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """All that happened in one span, turn, session or trial, in order of time. Times in ns since the epoch, UTC."""

    session_id: str | None = None
    trace_ids: tuple[str, ...] = ()
    app: str | None = None
    release: str | None = None
    variant: str | None = None
    user_id: str | None = None
    messages: tuple[Message, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    model_calls: tuple[ModelCall, ...] = ()
    documents: tuple[Document, ...] = ()
    start_ns: int | None = None
    end_ns: int | None = None
    n_spans: int = 0
    errors: tuple[str, ...] = ()
    end_state: Mapping[str, Any] | None = None  # of the world after it, where the target tells
    outcome: float | None = None  # the session's latest outcome score; above 0 it was resolved
    attributes: Mapping[str, str] = field(default_factory=dict)  # of the roots

    @property
    def answer(self) -> str | None:
        """The agent's last message; None when it never spoke."""
        return next((one.text for one in reversed(self.messages) if one.role == "assistant"), None)

    @property
    def said(self) -> str:
        """All that the agent said, one message a paragraph."""
        return "\n\n".join(one.text for one in self.messages if one.role == "assistant")

    @property
    def duration_ms(self) -> float | None:
        """From the first start to the last end."""
        if self.start_ns is None or self.end_ns is None or self.end_ns < self.start_ns:
            return None
        return (self.end_ns - self.start_ns) / 1e6


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an example expects. None or empty: it says nothing about that. See docs/datasets.md for the JSON."""

    answer: str | None = None
    answers: tuple[str, ...] = ()  # any of them is right
    contains: tuple[str, ...] = ()  # must be said
    tool_calls: tuple[ToolCall, ...] | None = None  # gold, in order; () = no call is right
    comparators: Mapping[str, str] = field(default_factory=dict)  # "tool.argument" or "argument" -> comparator
    write_tools: tuple[str, ...] | None = None  # which tools change the world
    end_state: Mapping[str, Any] | None = None
    post_conditions: tuple[str, ...] = ()  # expressions of evaluators/rules/conditions.py over the end state
    relevant: Mapping[str, float] | None = None  # document id -> grade
    refusal: bool | None = None
    json_schema: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None  # caps, allowed and irreversible tools: docs/evaluators.md
    source: str | None = None  # the text that an answer has to be grounded in


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is scored: a span, turn, session or trial of an example, and what was expected of it."""

    kind: TargetKind
    trajectory: Trajectory
    expected: Expected | None = None
    example_id: str | None = None
    trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """What an evaluator found. `value` is in the evaluator's unit; `passed` where it is a yes or no.

    Raises InvalidInput for a value that is no finite number.
    """

    value: float
    passed: bool | None = None
    label: str | None = None
    explanation: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)  # plain JSON: the figures behind the value
    span_id: str | None = None  # where it is to be seen

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise InvalidInput(f"a score's value is a finite number, not {str(self.value)[:40]}", field="value")


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """No score, and why: a code and a sentence."""

    reason: Reason
    detail: str = ""

    @property
    def text(self) -> str:
        """As it is stored: 'code: sentence'."""
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


Scored = Score | Unscored


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """What an evaluator is, for its reader. `version` changes whenever the same target could get another score.

    `unit` is share (0 to 1), ms, usd, tokens or count; `binary` when every value is 0 or 1. `validity` says how well
    it predicts what it stands for, with the figure and the data it was measured on; None: not measured.
    """

    name: str
    version: str
    dimension: Dimension
    summary: str
    failure_modes: tuple[str, ...]
    targets: frozenset[TargetKind]
    kind: EvaluatorKind = EvaluatorKind.RULE
    unit: str = "share"
    direction: Direction = Direction.HIGHER
    binary: bool = False
    needs: tuple[str, ...] = ()  # fields of Expected
    validity: str | None = None


def shortened(texts: Sequence[str], most: int = 5) -> str:
    """A list for an explanation: the first few, and how many more."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
