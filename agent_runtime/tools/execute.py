"""One tool call, from proposal to result: scope, schema, caps, guardrails, person, ledger, shop.

Whoever proposes it (the model, a plan, a compensation), a call passes here. A refusal is a result, {"refused": why},
that the model reads; only limits and the wish for a person's approval leave as exceptions.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import Status, StatusCode
from pydantic_ai.exceptions import ApprovalRequired

from agent_runtime.context import TurnContext
from agent_runtime.errors import BackendRefused, BackendTimeout, BackendUnavailable
from agent_runtime.ledger import Call, Ledger, args_hash
from agent_runtime.records import AgentName, Decision, Risk
from agent_runtime.seams import Check, Guardrail, Retriever, Stage
from agent_runtime.settings import Settings
from agent_runtime.stages import guarded
from agent_runtime.telemetry import Telemetry
from agent_runtime.tools.backend import Backend
from agent_runtime.tools.caps import needs_person, over_cap
from agent_runtime.tools.table import TOOLS, Tool

_log = logging.getLogger(__name__)
_NO_ANSWER: Final = {"error": "no answer in time", "effect": "unknown"}
_NOT_REACHED: Final = {"error": "not available", "effect": "none"}
_BROKEN: Final = {"error": "the tool failed"}
_GARBAGE: Final = {"error": "the tool's answer could not be read"}


@dataclass(frozen=True, kw_only=True)
class ToolRunner:
    """Shared by all turns. `scopes` is what each agent may do."""

    settings: Settings
    backend: Backend
    retriever: Retriever
    ledger: Ledger
    telemetry: Telemetry
    guardrails: Sequence[Guardrail]
    scopes: Mapping[AgentName, frozenset[str]]

    async def run(
        self, turn: TurnContext, name: str, args: Mapping[str, Any], call_id: str, *, approved: bool = False
    ) -> dict[str, Any]:
        """Gives the call's result for the model. Raises LimitReached, ApprovalRequired."""
        tool = TOOLS.get(name)
        if tool is None or tool.scope not in self.scopes.get(turn.agent, ()) or turn.agent not in tool.agents:
            return self._refuse(turn, name, args, {"refused": f"{turn.agent} has no tool {name!r}"})
        if not approved:  # it was counted when it was proposed
            turn.spending.called(name, args_hash(args))
        valid = tool.validated(args)
        if isinstance(valid, list):
            return self._refuse(turn, name, args, {"refused": "invalid arguments", "errors": valid})
        refusal = over_cap(name, valid, turn.parameters) or self._guard(turn, tool, valid)
        if refusal is not None:
            return self._refuse(turn, name, valid, refusal)
        why = needs_person(valid, turn.parameters)
        if why and not approved:
            raise ApprovalRequired(metadata={"why": why})
        if tool.index:
            return await self._search(turn, tool, valid)
        if tool.risk is Risk.READ:
            result = self._bounded(await self._call(tool, turn, valid, None))
            turn.did(name, valid, result)
            return result
        return await self._write(turn, tool, valid, call_id)

    async def compensate(self, turn: TurnContext) -> list[str]:
        """Undoes the turn's writes that can be undone, newest first; gives the tools undone by now.

        A write whose effect is unknown is repeated with its key first: what it answers says what to undo.
        """
        for done in await self.ledger.undoable(turn.turn_id):
            tool = TOOLS[done.tool]
            if tool.undo is None:
                continue
            with self.telemetry.span(f"compensate {done.tool}", {"gen_ai.tool.name": tool.undo.tool}):
                result = done.result or await self._answer(turn, tool, done.args, done.key)
                args = TOOLS[tool.undo.tool].validated({name: result.get(of) for name, of in tool.undo.args.items()})
                if isinstance(args, list):  # nothing happened, or nobody knows what
                    continue
                result = await self._write(turn, TOOLS[tool.undo.tool], args, f"undo-{done.key}")
            if not _failed(result):
                await self.ledger.mark_undone(done.key)
        return await self.ledger.undone(turn.turn_id)

    def _guard(self, turn: TurnContext, tool: Tool, args: Mapping[str, Any]) -> dict[str, Any] | None:
        for guardrail in self.guardrails:
            if guardrail.stage is not Stage.ACTION:
                continue
            asked = Check(
                given=turn.given,
                text=turn.text,
                parameters=turn.parameters,
                transcript=turn.transcript,
                agent=turn.agent,
                tool=tool.name,
                args=args,
                documents=turn.documents,
                outcomes=turn.outcomes,
            )
            verdict = guarded(self.telemetry, guardrail, asked)
            if verdict.decision is Decision.BLOCK:
                return {"refused": verdict.reason or "not allowed"}
        return None

    def _refuse(self, turn: TurnContext, name: str, args: Mapping[str, Any], refusal: dict[str, Any]) -> dict[str, Any]:
        turn.did(name, dict(args), refusal)
        return refusal

    async def _search(self, turn: TurnContext, tool: Tool, args: Mapping[str, Any]) -> dict[str, Any]:
        found = await self.retriever.search(str(tool.index), args["query"], turn.given.tenant)
        turn.documents.extend(document for document in found if document not in turn.documents)
        shown = [{"id": d.doc_id, "title": d.title, "text": d.text, "score": round(d.score, 4)} for d in found]
        result = self._bounded({"documents": shown})
        turn.did(tool.name, args, result)
        return result

    async def _write(self, turn: TurnContext, tool: Tool, args: Mapping[str, Any], call_id: str) -> dict[str, Any]:
        given = turn.given
        entry = await self.ledger.begin(
            Call(
                turn_id=turn.turn_id,
                tenant=given.tenant,
                session_id=given.session_id,
                user_id=given.user_id,
                call_id=call_id,
                tool=tool.name,
                args=args,
            )
        )
        if entry.result is not None:
            result = self._bounded(entry.result)
            turn.did(tool.name, args, result, entry.key, True)
            return result
        result = self._bounded(await self._answer(turn, tool, args, entry.key))
        turn.did(tool.name, args, result, entry.key, False)
        return result

    async def _answer(self, turn: TurnContext, tool: Tool, args: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Calls the shop for a row of the ledger, which keeps the whole answer."""
        result = await self._call(tool, turn, args, key)
        if result.get("effect") != "unknown":  # else the row stays open and its key is used again
            await self.ledger.finish(key, result)
        return result

    async def _call(self, tool: Tool, turn: TurnContext, args: Mapping[str, Any], key: str | None) -> dict[str, Any]:
        """Calls the shop, again where that is safe: nothing happened, a read, or a write with its first key."""
        result: dict[str, Any] = _NOT_REACHED
        unsure = False
        for attempt in range(self.settings.tool_attempts):
            if attempt:
                await asyncio.sleep(self.settings.tool_backoff_s * 2 ** (attempt - 1))
            sent = key if key is None or turn.parameters.idempotent_writes else uuid.uuid4().hex
            began_ns = time.time_ns()
            try:
                async with asyncio.timeout(self.settings.tool_timeout_s):
                    answer = await self.backend.call(tool.name, turn.given.user_id, args, key=sent)
            except BackendRefused as refused:
                return {"refused": str(refused)}
            except BackendUnavailable as error:
                self._missed(tool, attempt, began_ns, error)
                result = _NO_ANSWER if unsure else _NOT_REACHED
            except (BackendTimeout, TimeoutError) as error:
                self._missed(tool, attempt, began_ns, error)
                unsure = key is not None
                result = _NO_ANSWER if unsure else {"error": "no answer in time", "effect": "none"}
            except Exception as error:  # a client of the shop that breaks: nobody knows what happened
                _log.warning("%s failed: %r", tool.name, error)
                return dict(_BROKEN) if key is None else {**_BROKEN, "effect": "unknown"}
            else:
                if _readable(answer):
                    return answer
                return dict(_GARBAGE) if key is None else {**_GARBAGE, "effect": "unknown"}
        return dict(result)

    def _missed(self, tool: Tool, attempt: int, began_ns: int, error: Exception) -> None:
        """A failed span for an attempt without an answer: the tool's own span may end well, with the next one."""
        attributes = {"assay.span.kind": "CHAIN", "gen_ai.tool.name": tool.name}
        name = f"attempt {attempt + 1} of {tool.name}"
        span = self.telemetry.tracer.start_span(name, start_time=began_ns, attributes=attributes)
        span.set_status(Status(StatusCode.ERROR, str(error) or "no answer in time"))
        span.end()

    def _bounded(self, result: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(result, ensure_ascii=False)
        most = self.settings.tool_result_bytes
        size = len(text.encode())
        if size <= most:
            return result
        return {
            "cut": f"the answer had {size} bytes; the first {most} are shown",
            "text": text.encode()[:most].decode(errors="ignore"),
        }


def _readable(answer: object) -> bool:
    if not isinstance(answer, dict):
        return False
    try:
        json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()  # halves of a character are none
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _failed(result: Mapping[str, Any]) -> bool:
    return "error" in result or "refused" in result
