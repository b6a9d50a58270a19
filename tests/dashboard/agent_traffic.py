"""An agent's turns as docs/releases.md describes them, for the pages Agent and Releases; one of them an attack."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.trace import Span, Tracer, set_span_in_context

from tests.dashboard import hostile
from tests.dashboard.traffic import Recorder, ids
from tests.stack import Stack

APP: Final = "larkspur-support"
PARAMETERS: Final = {"temperature": 0.0, "refund_cap_usd": "200", "limits": {"steps": 12, "tokens": 6000}}
ASKED: Final = "Please refund order LK-10023, the tent arrived torn."
ANSWERED: Final = "I refunded $129.00 for LK-10023 to your card. [policy-returns]"
MEMORIES: Final = [
    json.dumps({"id": "f-1", "horizon": "profile", "text": "prefers refunds to card", "score": 0.41, "age_days": 12.2}),
    json.dumps({"id": "s-1", "horizon": "session", "text": "asked about a tent", "score": 0.128, "age_days": 0.5}),
]
_MS: Final = 1_000_000


class Clock:
    """Nanoseconds that go on when told."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, ms: float = 0) -> int:
        self.at += int(ms * _MS)
        return self.at


class Turn:
    """Spans of one turn, nested as they are opened."""

    def __init__(self, tracer: Tracer, clock: Clock, shared: dict[str, Any]) -> None:
        self._tracer, self._clock, self._shared = tracer, clock, shared
        self._open: list[Span] = []

    @contextmanager
    def span(self, name: str, ms: float = 0, **attributes: Any) -> Iterator[Span]:
        """One span inside those that are open; `ms` is what it takes beside what is inside it."""
        inside = set_span_in_context(self._open[-1]) if self._open else None
        told = self._shared | dict(attributes.pop("about", {})) | attributes
        made = self._tracer.start_span(name, context=inside, start_time=self._clock(2), attributes=told)
        self._open.append(made)
        yield made
        self._open.pop()
        made.end(self._clock(ms))

    def guardrail(self, name: str, stage: str, decision: str, reason: str = "") -> None:
        """A guardrail's span."""
        about = {"name": name, "stage": stage, "decision": decision, "reason": reason}
        told = {f"assay.guardrail.{key}": value for key, value in about.items()} | {"assay.span.kind": "GUARDRAIL"}
        with self.span(f"guardrail {name}", 8, about=told):
            pass

    def chat(self, ms: float, calls: Sequence[dict[str, Any]] = (), text: str = "") -> None:
        """A model call that answers with text or tool calls."""
        parts: list[dict[str, Any]] = [{"type": "text", "content": text}] if text else []
        parts += [{"type": "tool_call", **call} for call in calls]
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4.1-mini",
            "gen_ai.usage.input_tokens": 900,
            "gen_ai.usage.output_tokens": 40,
            "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": parts}]),
        }
        with self.span("chat gpt-4.1-mini", ms, about=about):
            pass

    def tool(self, name: str, arguments: object, result: object, ms: float = 60) -> None:
        """A tool call's span."""
        about = _tool(name, arguments) | {"gen_ai.tool.call.result": json.dumps(result)}
        with self.span(f"execute_tool {name}", ms, about=about):
            pass

    def search(self, found: dict[str, tuple[float, str]]) -> None:
        """A retrieval's span: id -> score and text."""
        about: dict[str, Any] = {"openinference.span.kind": "RETRIEVER", "input.value": "query"}
        for place, (doc_id, (score, text)) in enumerate(found.items()):
            prefix = f"retrieval.documents.{place}.document."
            about |= {f"{prefix}id": doc_id, f"{prefix}score": score, f"{prefix}content": text}
        with self.span("retrieve policy", 4, about=about):
            pass


def _tool(name: str, arguments: object) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": f"call_{name}"[:40],
        "gen_ai.tool.call.arguments": json.dumps(arguments),
    }


def _agent(name: str) -> dict[str, Any]:
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}


def _step(index: int, thought: str, confidence: float, alternatives: list[str], **more: Any) -> dict[str, Any]:
    told = {"index": index, "strategy": "plan_then_execute", "thought": thought, "confidence": confidence}
    return {f"assay.step.{name}": value for name, value in {**told, "alternatives": alternatives, **more}.items()}


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def refund(stack: Stack, release: str, *, variant: str = "control", at_s: float = 400, slow: float = 1.0) -> str:
    """A refund: routed, planned, looked up, refused by a cap once, answered. Returns the trace id."""
    recorder = Recorder(APP, release)
    shared = {
        "session.id": f"s-{release}-{at_s:g}",
        "user.id": "u-7",
        "assay.app": APP,
        "assay.release": release,
        "assay.variant": variant,
    }
    turn = Turn(recorder.tracer, Clock(time.time_ns() - int(at_s * 1e9)), shared)
    told = {"strategy": "plan_then_execute", "status": "answered", "index": 3, "resumed": True, "agent": "order"}
    about = {f"assay.turn.{name}": value for name, value in told.items()} | _agent("support")
    about |= {
        "gen_ai.input.messages": _message("user", ASKED),
        "gen_ai.output.messages": _message("assistant", ANSWERED),
    }
    with turn.span("invoke_agent support", 5, about=about) as root:
        turn.guardrail("input.injection", "input", "allow")
        turn.guardrail("input.pii", "input", "rewrite", "one e-mail address")
        recalled = {
            "assay.span.kind": "MEMORY",
            "assay.memory.pieces": ["f-1", "s-1"],
            "assay.memory.recalled": MEMORIES,
        }
        with turn.span("memory recall", 25, about={**recalled, "assay.memory.n_left_away": 1}):
            pass
        route = {"agent": "order", "intent": "refund", "risk": "high", "ambiguous": False, "confidence": 0.94}
        with turn.span("invoke_agent supervisor", 3, about=_agent("supervisor")):
            turn.chat(240 * slow, [{"name": "route", "arguments": route}])
        with turn.span("invoke_agent planner", 3, about=_agent("planner")):
            steps = [
                {"tool": "get_order", "args": {}, "purpose": "see what was bought", "precondition": ""},
                {
                    "tool": "refund_order",
                    "args": {},
                    "purpose": "give the money back",
                    "precondition": "order delivered",
                },
            ]
            turn.chat(320 * slow, [{"name": "make_plan", "arguments": {"steps": steps}}])
        with turn.span("invoke_agent order", 4, about=_agent("order")):
            with turn.span(
                "step 1", 2, about=_step(1, "Look the order up before anything is said.", 0.91, ["escalate"])
            ):
                turn.chat(280 * slow, [{"name": "get_order", "arguments": {"order_id": "LK-10023"}}])
                turn.tool("get_order", {"order_id": "LK-10023"}, {"status": "delivered", "total_usd": "129.00"})
            documents = {"documents": ["policy-returns"]}
            thought = "A torn tent is covered by the returns policy: refund it whole."
            with turn.span("step 2", 2, about=_step(2, thought, 0.83, ["create_return", "escalate"], **documents)):
                turn.chat(310 * slow, [{"name": "refund_order", "arguments": {"amount_usd": "129.00"}}])
                turn.guardrail("action.refund_order", "action", "flag", "near the cap of $200")
                with turn.span("execute_tool search_policy", about=_tool("search_policy", {"query": "torn"})):
                    turn.search({"policy-returns": (0.81, "Torn gear is refunded whole."), "policy-other": (0.2, "")})
                turn.tool("refund_order", {"order_id": "LK-10023", "amount_usd": "129.00"}, {"refunded": "129.00"}, 110)
            with turn.span("step 3", 2, about=_step(3, "Tell the user, with the policy.", 0.97, [])):
                turn.chat(260 * slow, text=ANSWERED)
        turn.guardrail("output.citations", "output", "allow")
        with turn.span("memory store", 12, about={"assay.span.kind": "MEMORY", "assay.memory.n_written": 1}):
            pass
    recorder.send(stack)
    return ids(root)[0]


def unfinished(stack: Stack) -> str:
    """A turn of which only the first guardrail has arrived so far. Returns its session."""
    recorder, session = Recorder("night-desk", "r1"), "s-still-running"
    turn = Turn(recorder.tracer, Clock(time.time_ns()), {"session.id": session})
    root = turn.span("invoke_agent support", about=_agent("support"))
    with root:
        turn.guardrail("input.injection", "input", "allow")
        recorder.send(stack)
    return session


def told_an_address(stack: Stack) -> str:
    """A turn whose message is an e-mail address and nothing else. Returns the trace id."""
    return _short(stack, "user", "robin.vale@example.com")


def approved(stack: Stack) -> str:
    """A turn that went on after an approval, in the session `s-approved`. Returns the trace id."""
    more = {"assay.turn.index": 1, "assay.turn.resumed": True, "assay.turn.resumed_after": "approval"}
    return _short(stack, "system", "Resumed after approval", **more, **{"session.id": "s-approved"})


def _short(stack: Stack, role: str, said: str, **more: Any) -> str:
    recorder = Recorder("night-desk", "r1")
    turn = Turn(recorder.tracer, Clock(time.time_ns() - int(200e9)), {})
    about = {"gen_ai.input.messages": _message(role, said), **_agent("support"), **more}
    with turn.span("invoke_agent support", 5, about=about) as root:
        pass
    recorder.send(stack)
    return ids(root)[0]


def attack(stack: Stack) -> str:
    """A turn whose every text is an attack. Returns the trace id."""
    text = hostile.EVERYTHING
    recorder = Recorder(hostile.MARKUP, hostile.MARKUP)
    turn = Turn(recorder.tracer, Clock(time.time_ns() - int(350e9)), {"assay.release": hostile.MARKUP})
    about = {"assay.turn.strategy": text, "assay.turn.status": text, "error.type": text, **_agent(hostile.MARKUP)}
    about |= {"gen_ai.input.messages": _message("user", text), "gen_ai.output.messages": _message("assistant", text)}
    with turn.span(hostile.MARKUP, about=about) as root:
        turn.guardrail(text, text, text, text)
        with turn.span(text, about={"assay.span.kind": "MEMORY", "assay.memory.pieces": [text]}):
            pass
        recalled = json.dumps({"horizon": text, "text": text, "score": 1e308, "age_days": -1e308})
        about = {"assay.span.kind": "MEMORY", "assay.memory.recalled": [recalled, "[]"], "assay.memory.summary": text}
        with turn.span(text, about=about):
            pass
        with turn.span(hostile.MARKUP, about=_agent(hostile.MARKUP)):
            told = _step(1, text, 0.5, [text, text], strategy=text, documents=[text], precondition=text)
            with turn.span(hostile.MARKUP, about=told):
                plan = {"steps": [{"tool": text, "purpose": text, "precondition": text}]}
                turn.chat(10, [{"name": text, "arguments": plan}])
                turn.tool(hostile.MARKUP, {text: text}, text)
                turn.tool(hostile.MARKUP, {}, {text: text, "deep": [{text: text}]})
                turn.search({text: (0.5, text)})
    recorder.send(stack)
    return ids(root)[0]


def register(stack: Stack) -> None:
    """v1 and v2 as they are; what is seen of v3 nobody registered."""
    about = {"app": APP, "provider": "openai", "prompt_version": "6", "model": "gpt-4.1-mini"}
    bodies: list[dict[str, Any]] = [
        {**about, "name": "v1", "variant": "control", "parameters": PARAMETERS},
        {
            **about,
            "name": "v2",
            "variant": "treatment",
            "prompt_version": "7",
            "model": "gpt-4.1",
            "parameters": {**PARAMETERS, "temperature": 0.4},
        },
        {"app": hostile.MARKUP[:200].replace("\x1b", ""), "name": hostile.FORMULA, "model": hostile.MARKUP[:200]},
    ]
    with stack.client() as client:
        for body in bodies:
            client.post("/api/v1/releases", json=body).raise_for_status()


def score(stack: Stack, traces: dict[str, list[str]]) -> None:
    """Outcomes of the turns of each release: of v1 the last failed, of the others all went well."""
    items: list[dict[str, Any]] = []
    for release, found in traces.items():
        for place, trace_id in enumerate(found):
            about = {"evaluator_kind": "outcome", "target": "turn", "trace_id": trace_id}
            lost = release == "v1" and place == len(found) - 1
            items.append({**about, "evaluator": "task_success", "value": 0 if lost else 1})
            if lost:
                items.append({**about, "evaluator": "fault", "label": "wrong_order"})
    for place, trace_id in enumerate(traces["v1"]):  # eight labels, more than a card shows
        about = {"evaluator": "topic", "evaluator_kind": "rule"}
        items.append({**about, "target": "turn", "trace_id": trace_id, "label": f"a{place}"})
        session = f"s-v1-{900 - 120 * place:g}"
        items.append({**about, "target": "session", "session_id": session, "label": f"b{place}"})
    with stack.client() as client:
        client.post("/api/v1/scores", json={"items": items}).raise_for_status()
