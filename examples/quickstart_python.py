"""One agent turn with one model call, sent to wherever the OTEL_ variables point. See quickstart_python.md."""

from __future__ import annotations

import json

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def message(role: str, text: str) -> dict[str, object]:
    """One message in the shape of the GenAI conventions."""
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def main() -> None:
    """Sends two spans and waits for the exporter; it says on standard error when they were refused."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("quickstart")

    question = json.dumps([message("user", "Where is my order?")])
    answer = json.dumps([message("assistant", "It arrives tomorrow.") | {"finish_reason": "stop"}])
    session = {"gen_ai.conversation.id": "session-1", "user.id": "user-1"}
    with tracer.start_as_current_span("invoke_agent my-agent") as turn:
        turn.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "my-agent", **session})
        turn.set_attributes({"gen_ai.input.messages": question, "gen_ai.output.messages": answer})
        with tracer.start_as_current_span("chat gpt-4.1-mini") as call:
            call.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-4.1-mini",
                    "gen_ai.usage.input_tokens": 42,
                    "gen_ai.usage.output_tokens": 7,
                    "gen_ai.input.messages": question,
                    "gen_ai.output.messages": answer,
                    **session,
                }
            )
    provider.shutdown()
    print(f"made trace {turn.get_span_context().trace_id:032x}")


if __name__ == "__main__":
    main()
