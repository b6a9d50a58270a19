# mypy: ignore-errors
"""The LangGraph agent under OpenLLMetry: two turns of one session, then one the provider refuses."""

import os

import questions
import seat_graph
import tracing
from opentelemetry.instrumentation.langchain import LangchainInstrumentor
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

provider, counter = tracing.start()
LangchainInstrumentor().instrument(tracer_provider=provider)
# Both at once, as traceloop-sdk does: the langchain instrumentation silences the openai one beneath it.
OpenAIInstrumentor().instrument(tracer_provider=provider)
graph = seat_graph.build()
session = os.environ["LIVE_SESSION"]
print(seat_graph.ask(graph, questions.FIRST, session))
print(seat_graph.ask(graph, questions.SECOND, session))
try:
    seat_graph.ask(graph, questions.REFUSED, session)
except Exception as error:
    print(type(error).__name__)
tracing.finish(provider, counter)
