# mypy: ignore-errors
"""A LangGraph agent with one tool, as a team would write it; two programs here differ only in who observes it."""

import os
from typing import Annotated, TypedDict

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition


@tool
def seat_price(flight: str) -> str:
    """The price of a seat on a flight, in dollars."""
    return f"{flight}: 129"


class State(TypedDict):
    """The conversation so far."""

    messages: Annotated[list, add_messages]


def build():
    """model -> tools -> model until there is an answer; one memory per thread id."""
    model = ChatOpenAI(model=os.environ["LIVE_MODEL"], max_retries=0, temperature=0.2).bind_tools([seat_price])

    def call_model(state: State) -> State:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(State)
    graph.add_node("model", call_model)
    graph.add_node("tools", ToolNode([seat_price]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=MemorySaver(), name="seat-agent")


def ask(graph, text: str, session: str) -> str:
    """One turn of the session."""
    config = {"configurable": {"thread_id": session}, "metadata": {"session_id": session, "user_id": "user-7"}}
    return graph.invoke({"messages": [{"role": "user", "content": text}]}, config)["messages"][-1].content
