"""A model server on loopback that always plays the same turn: a route, one look at an order, an answer in words.

    python -m benchmarks.agent.constant_model      # prints its address

It speaks OpenAI chat completions, answers from what is offered and said last, and takes spans at /v1/traces and drops
them. Nothing of it depends on who asks, so that frameworks can be measured against each other.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import uvicorn

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ORDER: Final = "LK-1023145"
ANSWER: Final = f"Order {ORDER} (Cairn boots) is shipped and should arrive on Friday. Is there anything else?"
_ROUTE: Final = {"agent": "order", "intent": "order", "risk": "low", "ambiguous": False, "confidence": 0.9}
_THOUGHT: Final = "Thought: look the order up (confidence 0.9; alternatives: find_orders)"


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """A chat completion for a request's JSON."""
    offered = [tool["function"]["name"] for tool in asked.get("tools", ())]
    said: dict[str, Any] = {"role": "assistant", "content": ANSWER}
    if offered == ["route"]:
        said = _call("route", _ROUTE, None, len(asked["messages"]))
    elif asked["messages"][-1]["role"] != "tool":
        said = _call("get_order", {"order_id": ORDER}, _THOUGHT, len(asked["messages"]))
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if "tool_calls" in said else "stop"}
    usage = {"prompt_tokens": 800, "completion_tokens": 30, "total_tokens": 830}
    named = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
    return {**named, "choices": [choice], "usage": usage}


def _call(name: str, args: dict[str, Any], text: str | None, number: int) -> dict[str, Any]:
    call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
    return {"role": "assistant", "content": text, "tool_calls": [call]}


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    content = b"" if scope["path"] == "/v1/traces" else json.dumps(answer(json.loads(body))).encode()
    kind = b"application/json" if content else b"application/x-protobuf"
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def main() -> None:
    """Serves on a free port until it is told to end."""
    bound = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
