# mypy: ignore-errors
"""The LangGraph agent under OpenInference: two turns of one session, then one the provider refuses."""

import os

import questions
import seat_graph
import tracing
from openinference.instrumentation import using_attributes
from openinference.instrumentation.langchain import LangChainInstrumentor

provider, counter = tracing.start()
LangChainInstrumentor().instrument(tracer_provider=provider)
graph = seat_graph.build()
session = os.environ["LIVE_SESSION"]
with using_attributes(session_id=session, user_id="user-7", metadata={"tier": "gold"}, tags=["live"]):
    print(seat_graph.ask(graph, questions.FIRST, session))
    print(seat_graph.ask(graph, questions.SECOND, session))
    try:
        seat_graph.ask(graph, questions.REFUSED, session)
    except Exception as error:
        print(type(error).__name__)
tracing.finish(provider, counter)
