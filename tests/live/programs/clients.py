# mypy: ignore-errors
"""The plain OpenAI client under OpenLLMetry or OpenInference, and the Anthropic client with its own telemetry."""

import os

import questions
import tracing
from opentelemetry import trace

provider, counter = tracing.start()
model = os.environ["LIVE_MODEL"]
asked = [{"role": "user", "content": questions.FIRST}]


def ask_openai() -> None:
    """Chat, streamed chat, responses, embeddings."""
    from openai import OpenAI

    client = OpenAI(max_retries=0)
    print(client.chat.completions.create(model=model, messages=asked).choices[0].message.content)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = client.chat.completions.create(model=model, messages=asked, **options)
    print("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    print(client.responses.create(model=model, input=questions.FIRST).output_text)
    print(len(client.embeddings.create(model="text-embedding-3-small", input="a seat").data[0].embedding))


def ask_anthropic() -> None:
    """Messages and streamed messages. The SDK writes spans as soon as there is a tracer provider."""
    from anthropic import Anthropic

    claude = Anthropic(max_retries=0)
    print(claude.messages.create(model=model, max_tokens=100, messages=asked).content[0].text)
    with claude.messages.stream(model=model, max_tokens=100, messages=asked) as stream:
        print(stream.get_final_text())


match os.environ["LIVE_DIALECT"]:
    case "openinference":
        from openinference.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=provider)
    case "openllmetry":
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=provider)

with trace.get_tracer("live").start_as_current_span("ask", attributes={"session.id": os.environ["LIVE_SESSION"]}):
    ask_anthropic() if os.environ["LIVE_DIALECT"] == "anthropic" else ask_openai()
tracing.finish(provider, counter)
