"""One turn of an agent, read from its spans: lanes of a picture, steps, guardrails, memory, plan and routing. Pure.

The attributes are those of docs/releases.md; a span that lacks them is shown by its kind, and nothing is made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dashboard.api import Row
from dashboard.parts.arrange import Placed, arrange
from dashboard.parts.messages import PartKind, messages_of
from dashboard.text import parsed

_LEAVES: Final = ("LLM", "TOOL", "RETRIEVER", "RERANKER", "EMBEDDING", "GUARDRAIL", "MEMORY")
_FIELD: Final = re.compile(r"retrieval\.documents\.(\d{1,4})\.document\.(id|score|content)\Z")
_CITED: Final = re.compile(r"\[([\w.:-]{1,120})\]")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document that a search found; what was not told is "" or None."""

    doc_id: str
    text: str = ""
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A memory that was recalled. `age_days` since it was last said; what was not told is "" or None."""

    text: str
    horizon: str = ""
    score: float | None = None
    age_days: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A span in the picture. `kind` is one of those drawn solid, or "STEP", "AGENT", "TURN": the ground behind."""

    lane: str
    kind: str
    span: Row
    start_ms: float
    ms: float


@dataclass(kw_only=True)
class Step:
    """A step of the loop: its span, and what happened inside it in order of time."""

    span: Row
    agent: str | None
    tools: list[Row] = field(default_factory=list)
    models: list[Row] = field(default_factory=list)
    guardrails: list[Row] = field(default_factory=list)
    retrievals: list[Row] = field(default_factory=list)


@dataclass(kw_only=True)
class Reasoning:
    """All of it. `lanes` are the names of the picture's rows from the top, `agents` those that worked, in order."""

    root: Row | None = None
    lanes: list[str] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    tools: list[Row] = field(default_factory=list)  # outside of any step
    guardrails: list[Row] = field(default_factory=list)
    memory: list[Row] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    plan: list[Row] = field(default_factory=list)
    route: Row = field(default_factory=dict)


def kind_of(span: Row) -> str:
    """What a span is here: its attributes know better than its kind."""
    about = attributes(span)
    if "assay.step.index" in about:
        return "STEP"
    if "assay.guardrail.name" in about or "assay.guardrail.decision" in about:
        return "GUARDRAIL"
    said = about.get("assay.span.kind")
    return said if said in _LEAVES else str(span.get("kind") or "SPAN")


def attributes(span: Row) -> Mapping[str, Any]:
    """The span's attributes; none when it came without."""
    found = span.get("attributes")
    return found if isinstance(found, Mapping) else {}


def texts(value: object) -> list[str]:
    """A list attribute as texts, whether it came as a list, as JSON, or as one text."""
    if isinstance(value, str):
        spelled = parsed(value)
        value = spelled if isinstance(spelled, list) else [value] if value else []
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in _listed(value)]


def number(value: object) -> float | None:
    """A finite number attribute; None for anything else."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if known else None  # type: ignore[arg-type]


def documents(span: Row) -> list[Document]:
    """What a search found, best first as it was told: OpenInference's attributes, or those of OTel GenAI."""
    about = attributes(span)
    found: dict[int, dict[str, Any]] = {}
    for name, value in about.items():
        if match := _FIELD.match(name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    told = about.get("gen_ai.retrieval.documents")
    listed = _listed(parsed(told) if isinstance(told, str) else told)
    rows: list[Mapping[str, Any]] = [found[place] for place in sorted(found)] or [
        one for one in listed if isinstance(one, Mapping)
    ]
    return [
        Document(doc_id=str(row.get("id") or ""), text=str(row.get("content") or ""), score=number(row.get("score")))
        for row in rows
    ]


def cited(text: str) -> list[str]:
    """The ids that an answer names in square brackets, each once."""
    return list(dict.fromkeys(_CITED.findall(text)))


def recalled(span: Row) -> list[Memory]:
    """The memories of a recall: with their previews where the span has them, else their ids."""
    about = attributes(span)
    found = []
    for told in texts(about.get("assay.memory.recalled")) or texts(about.get("assay.memory.pieces")):
        piece = parsed(told)
        if isinstance(piece, Mapping) and isinstance(piece.get("text"), str):
            found.append(
                Memory(
                    text=piece["text"],
                    horizon=str(piece.get("horizon") or ""),
                    score=number(piece.get("score")),
                    age_days=number(piece.get("age_days")),
                )
            )
        else:
            found.append(Memory(text=told))
    return found


def read(spans: Sequence[Row]) -> Reasoning:
    """The turn that these spans, with attributes, tell of."""
    found = Reasoning()
    placed = arrange(spans)
    if not placed:
        return found
    found.root = placed[0].span
    begin = min(int(place.span.get("start_ns") or 0) for place in placed)
    above: list[tuple[int, str, str | None, Step | None]] = []  # depth, lane, agent and step of the spans around
    for place in placed:
        while above and above[-1][0] >= place.depth:
            above.pop()
        lane, agent, step = above[-1][1:] if above else ("turn", None, None)
        lane, agent, step = _placed(found, place, lane, agent, step)
        above.append((place.depth, lane, agent, step))
        _draw(found, place.span, lane, begin)
    found.plan = next((steps for steps in map(_plan_in, _outputs(spans)) if steps), [])
    found.route = next((route for route in map(_route_in, _outputs(spans)) if route), {})
    return found


def _placed(
    found: Reasoning, place: Placed, lane: str, agent: str | None, step: Step | None
) -> tuple[str, str | None, Step | None]:
    """Sorts a span into its list; returns the lane, agent and step that it and what is below it belong to."""
    span = place.span
    match kind_of(span):
        case "STEP":
            step = Step(span=span, agent=agent)
            found.steps.append(step)
            who = f"{agent} · " if agent else ""
            return f"{who}step {attributes(span).get('assay.step.index')}", agent, step
        case "AGENT" if place.depth:
            agent = str(span.get("agent_name") or span.get("name") or "agent")
            if agent not in found.agents:
                found.agents.append(agent)
            return agent, agent, None
        case "GUARDRAIL":
            found.guardrails.append(span)
            if step is not None:
                step.guardrails.append(span)
                return lane, agent, step
            return "guardrails", agent, step
        case "MEMORY":
            found.memory.append(span)
            return "memory", agent, step
        case "TOOL":
            (found.tools if step is None else step.tools).append(span)
        case "LLM" if step is not None:
            step.models.append(span)
        case "RETRIEVER" if step is not None:
            step.retrievals.append(span)
        case _:
            pass
    return lane, agent, step


def _draw(found: Reasoning, span: Row, lane: str, begin: int) -> None:
    if lane not in found.lanes:
        found.lanes.append(lane)
    kind = kind_of(span)
    ground = "TURN" if span is found.root else "STEP" if kind == "STEP" else "AGENT"
    found.bars.append(
        Bar(
            lane=lane,
            kind=kind if kind in _LEAVES and span is not found.root else ground,
            span=span,
            start_ms=(int(span.get("start_ns") or begin) - begin) / 1e6,
            ms=number(span.get("duration_ms")) or 0.0,
        )
    )


def _outputs(spans: Sequence[Row]) -> Iterator[object]:
    """The JSON objects that agents and models answered or called tools with, in the order of the spans."""
    for span in spans:
        if span.get("kind") not in ("AGENT", "LLM"):
            continue
        for message in messages_of(attributes(span).get("gen_ai.output.messages") or span.get("output")):
            for part in message.parts:
                if part.kind in (PartKind.TEXT, PartKind.TOOL_CALL):
                    yield parsed(part.content) if isinstance(part.content, str) else part.content


def _plan_in(value: object) -> list[Row]:
    steps = value.get("steps") if isinstance(value, Mapping) else None
    return [step for step in _listed(steps) if isinstance(step, dict) and "tool" in step]


def _route_in(value: object) -> Row:
    return dict(value) if isinstance(value, Mapping) and {"agent", "intent"} <= value.keys() else {}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
