"""Real parts for tests of the runtime: a shop in SQLite, a model that follows a script, plain memory and retriever."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agent_runtime import Parts, Runtime
from agent_runtime.errors import BackendRefused
from agent_runtime.records import Document, Parameters, Release, TurnInput
from agent_runtime.retrieval.grounding import ground
from agent_runtime.runtime import SCHEMAS
from agent_runtime.seams import Fitted, Grounding, Guardrail, MessageText, Recalled, TurnRecord
from agent_runtime.settings import Settings
from agent_runtime.state import StateFile
from agent_runtime.telemetry import Telemetry

SHOP = """
CREATE TABLE IF NOT EXISTS effects (key TEXT UNIQUE, tool TEXT, user_id TEXT, args TEXT, result TEXT);
CREATE TABLE IF NOT EXISTS calls (tool TEXT, key TEXT);
"""


class Shop:
    """Writes happen once per key; `before`/`after` run around the effect and may hang, fail or change the answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as db:
            db.executescript(SHOP)
        self.before: Callable[[str], Any] = lambda tool: None
        self.after: Callable[[str, dict[str, Any]], Any] = lambda tool, result: result

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA synchronous = OFF")  # processes are killed here, machines are not
        return db

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Reads the shop's file."""
        with self._open() as db:
            return db.execute(sql).fetchall()

    def effects(self, tool: str) -> list[dict[str, Any]]:
        """What was done, as arguments."""
        return [json.loads(args) for name, args in self.rows("SELECT tool, args FROM effects") if name == tool]

    def n_calls(self, tool: str) -> int:
        """How often the shop was called."""
        return sum(name == tool for (name,) in self.rows("SELECT tool FROM calls"))

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        """The backend protocol."""
        with self._open() as db:
            db.execute("INSERT INTO calls VALUES (?, ?)", (tool, key))
        waits = self.before(tool)
        if asyncio.iscoroutine(waits):
            await waits
        result = self._effect(tool, user_id, args, key)
        changed = self.after(tool, result)
        return await changed if asyncio.iscoroutine(changed) else changed  # type: ignore[no-any-return]

    def _effect(self, tool: str, user_id: str, args: Mapping[str, Any], key: str | None) -> dict[str, Any]:
        if tool == "get_order":
            return {"order_id": args["order_id"], "status": "delivered", "items": [{"id": "i1", "price_usd": "45.00"}]}
        if tool == "change_address":
            raise BackendRefused("the order has shipped")
        if key is None:
            return {"ok": True, "user_id": user_id}
        result = {"ok": True, "return_id": "RT-1"} if tool == "create_return" else {"ok": True}
        with self._open() as db:
            seen = db.execute("SELECT result FROM effects WHERE key = ?", (key,)).fetchone()
            if seen:
                return json.loads(seen[0])  # type: ignore[no-any-return]
            db.execute(
                "INSERT INTO effects VALUES (?, ?, ?, ?, ?)", (key, tool, user_id, json.dumps(args), json.dumps(result))
            )
        return result


class PlainMemory:
    """Remembers texts per user."""

    def __init__(self) -> None:
        self.kept: dict[str, list[str]] = {}

    async def recall(self, given: TurnInput, parameters: Parameters, now: datetime) -> Recalled:
        return Recalled()

    async def fit(self, messages: Sequence[MessageText], given: TurnInput, parameters: Parameters) -> Fitted:
        return Fitted()

    async def remember(self, turn: TurnRecord, parameters: Parameters) -> int:
        self.kept.setdefault(turn.given.user_id, []).append(turn.given.text)
        return 1

    async def forget(self, tenant: str, user_id: str) -> Mapping[str, int]:
        return {"memory": len(self.kept.pop(user_id, []))}

    async def forget_topic(self, tenant: str, user_id: str, topic: str) -> Mapping[str, int]:
        return {}

    async def expire(self, now: datetime) -> Mapping[str, int]:
        return {}


class PlainRetriever:
    """Finds documents that share a word."""

    documents = (Document(doc_id="returns-2", title="Returns", text="Returns are free within 30 days.", score=0.9),)

    async def search(self, index: str, query: str, tenant: str, k: int = 4) -> Sequence[Document]:
        return [d for d in self.documents if set(query.lower().split()) & set(d.text.lower().split())][:k]

    def ground(self, answer: str, documents: Sequence[Document], threshold: float) -> Grounding:
        return ground(answer, documents, threshold)


def calls(name: str, call_id: str | None = None, thought: str = "", **args: Any) -> ModelResponse:
    """A model's answer that calls a tool."""
    call = ToolCallPart(name, args, call_id) if call_id else ToolCallPart(name, args)
    return ModelResponse(parts=[*([TextPart(thought)] if thought else []), call])


def says(text: str) -> ModelResponse:
    """A model's answer in text."""
    return ModelResponse(parts=[TextPart(text)])


def routes(agent: str = "order", intent: str = "order", risk: str = "low", ambiguous: bool = False) -> ModelResponse:
    """A supervisor's answer."""
    return calls("route", agent=agent, intent=intent, risk=risk, ambiguous=ambiguous, confidence=0.9)


Brain = Callable[[str, list[ModelMessage], AgentInfo], ModelResponse]


def scripted(replies: Iterable[ModelResponse], route: ModelResponse | None = None) -> FunctionModel:
    """A model whose specialists give `replies` in order; the supervisor always gives `route`."""
    left = iter(replies)
    return thinking(lambda who, messages, info: next(left), route)


def thinking(brain: Brain, route: ModelResponse | None = None) -> FunctionModel:
    """A model that decides from the messages; it is told who is asked by the first line of the instructions."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        who = (info.instructions or "").splitlines()[0].removeprefix("Agent: ")
        if who == "supervisor":
            return route or routes()
        return brain(who, messages, info)

    return FunctionModel(answer, model_name="sim-1")


def last_user(messages: Sequence[ModelMessage]) -> str:
    """The last thing the user said."""
    found = [p.content for m in messages for p in m.parts if isinstance(p, UserPromptPart)]
    return str(found[-1])


def results(messages: Sequence[ModelMessage]) -> list[tuple[str, Any]]:
    """Tool results so far, oldest first."""
    return [(p.tool_name, p.content) for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]


def message(text: str, message_id: str = "m1", session: str = "s1", user: str = "u1") -> TurnInput:
    """A user's message."""
    return TurnInput(session_id=session, user_id=user, text=text, message_id=message_id)


@dataclass
class Stand:
    """A runtime on a folder, with what a test looks at."""

    runtime: Runtime
    shop: Shop
    spans: InMemorySpanExporter
    state: StateFile
    memory: PlainMemory = field(default_factory=PlainMemory)

    def span(self, name: str) -> ReadableSpan:
        """The last span of that name."""
        return [s for s in self.spans.get_finished_spans() if s.name == name][-1]

    async def say(self, text: str, message_id: str = "m1", release: Release | None = None, **who: str) -> Any:
        """One turn."""
        return await self.runtime.turn(message(text, message_id, **who), release)


def stand(
    folder: Path,
    model: FunctionModel | None,
    guardrails: Sequence[Guardrail] = (),
    settings: Settings | None = None,
    schemas: Sequence[str] = (),
) -> Stand:
    """Opens a runtime."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    telemetry = Telemetry(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings = settings or Settings(data=folder, tool_timeout_s=0.2, tool_backoff_s=0.0)
    shop, memory = Shop(folder / "shop.db"), PlainMemory()
    parts = Parts(
        state=StateFile(folder, (*SCHEMAS, *schemas)),
        backend=shop,
        memory=memory,
        retriever=PlainRetriever(),
        guardrails=guardrails,
        telemetry=telemetry,
        model=model,
    )
    return Stand(runtime=Runtime(settings, parts), shop=shop, spans=exporter, state=parts.state, memory=memory)
