"""The same turns as a LangGraph graph: a routing node, an agent node, a tool node, the history in a checkpointer.

Runs in a virtual environment of its own. `sqlite FILE` as further arguments keeps the checkpoints on disk, written
before the next node begins (durability="sync"); else they are in memory.
"""

# mypy: ignore-errors
from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import AsyncExitStack
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition

from benchmarks.agent import worker


class State(TypedDict):
    """The conversation, and who answers."""

    messages: Annotated[list, add_messages]
    agent: str


def graph_of(given: dict, checkpointer: object) -> object:
    """route -> agent -> tools -> agent, until there is an answer."""
    model = ChatOpenAI(model="sim-1", base_url=f"{given['url']}/v1", api_key="none", temperature=0, max_retries=0)
    tools = [
        StructuredTool.from_function(
            coroutine=worker.tool, name=t["name"], description=t["description"], args_schema=t["parameters"]
        )
        for t in given["tools"]
    ]
    router = model.bind_tools([{"type": "function", "function": given["route"]}], tool_choice="route")
    agent = model.bind_tools(tools)

    async def route(state: State) -> dict:
        said: AIMessage = await router.ainvoke([SystemMessage(given["router"]), *state["messages"]])
        return {"agent": said.tool_calls[0]["args"]["agent"]}

    async def ask(state: State) -> dict:
        return {"messages": [await agent.ainvoke([SystemMessage(given["agent"]), *state["messages"]])]}

    graph = StateGraph(State)
    graph.add_node("route", route)
    graph.add_node("order", ask)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "route")
    graph.add_conditional_edges("route", lambda state: state["agent"], {"order": "order"})
    graph.add_conditional_edges("order", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "order")
    return graph.compile(checkpointer=checkpointer)


async def main() -> None:
    """Plays until the parent is done."""
    given = worker.job()
    async with AsyncExitStack() as opened:
        checkpointer, how = InMemorySaver(), {}
        if "sqlite" in sys.argv[2:]:
            from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

            checkpointer = await opened.enter_async_context(AsyncSqliteSaver.from_conn_string(sys.argv[3]))
            how = {"durability": "sync"}
        graph = graph_of(given, checkpointer)

        async def turn(session: str, number: int) -> str:
            config = {"configurable": {"thread_id": session}}
            said = {"messages": [{"role": "user", "content": given["text"]}]}
            return (await graph.ainvoke(said, config, **how))["messages"][-1].content

        await worker.serve(turn, given["answer"])


if __name__ == "__main__":
    for name in ("httpx", "httpx2"):
        try:
            worker.measure_requests(importlib.import_module(name))
        except ImportError:
            continue
    asyncio.run(main())
