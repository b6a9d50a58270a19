"""The guardrails of a turn, each check a span that says its decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opentelemetry.trace import Status, StatusCode

from agent_runtime.records import Decision
from agent_runtime.seams import Check, Guardrail, Stage, Verdict
from agent_runtime.telemetry import Telemetry


def guarded(telemetry: Telemetry, guardrail: Guardrail, asked: Check) -> Verdict:
    """Asks one guardrail. One that fails blocks: what nobody checked does not pass."""
    name = f"{guardrail.stage}.{guardrail.name}"
    attributes = {
        "assay.span.kind": "GUARDRAIL",
        "openinference.span.kind": "GUARDRAIL",
        "assay.guardrail.name": guardrail.name,
        "assay.guardrail.stage": guardrail.stage.value,
    }
    if asked.tool:
        attributes["gen_ai.tool.name"] = asked.tool
    with telemetry.span(f"guardrail {name}", attributes) as span:
        try:
            verdict = guardrail.check(asked)
        except Exception as error:
            span.record_exception(error)
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, "the guardrail failed"))
            verdict = Verdict(decision=Decision.BLOCK, reason=f"guardrail {name} failed")
        span.set_attribute("assay.guardrail.decision", verdict.decision.value)
        span.set_attribute("assay.guardrail.reason", verdict.reason)
    return verdict


def pass_stage(telemetry: Telemetry, guardrails: Sequence[Guardrail], stage: Stage, asked: Check) -> Verdict:
    """Asks a stage's guardrails in order; rewrites carry on into the next, a block ends it.

    Gives a block, or an allow whose `text` is the text as rewritten.
    """
    for guardrail in guardrails:
        if guardrail.stage is not stage:
            continue
        verdict = guarded(telemetry, guardrail, asked)
        if verdict.decision is Decision.BLOCK:
            return verdict
        if verdict.decision is Decision.REWRITE and verdict.text is not None:
            asked = replace(asked, text=verdict.text)
    return Verdict(text=asked.text)


def rewritten(guardrails: Sequence[Guardrail], asked: Check) -> str:
    """A message as the input guardrails rewrite it, whatever they block; "" when one fails: it may hold anything."""
    for guardrail in guardrails:
        if guardrail.stage is not Stage.INPUT:
            continue
        try:
            verdict = guardrail.check(asked)
        except Exception:  # the turn asks it again and tells its span
            return ""
        if verdict.decision is Decision.REWRITE and verdict.text is not None:
            asked = replace(asked, text=verdict.text)
    return asked.text
