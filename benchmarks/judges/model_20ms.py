"""A model that answers every question with the same verdict after 20 ms, over OpenAI's wire; and a collector's door.

    python -m benchmarks.judges.model_20ms PORT

It honours Idempotency-Key: a question that comes again under its key is answered, and charged once. GET /stats tells
how many requests came, how many were charged, and how many were in flight at most.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any, Final

from aiohttp import web

WAIT_S: Final = 0.020
SAID: Final = json.dumps({"explanation": "the matter was resolved", "label": "pass", "confidence": 0.9})
ANSWER: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 800, "completion_tokens": 30, "total_tokens": 830},
}


class Model:
    """What was asked."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.n_now = self.n_most = self.n_spans = 0

    async def answer(self, request: web.Request) -> web.Response:
        """POST /v1/chat/completions."""
        self.n_now += 1
        self.n_most = max(self.n_most, self.n_now)
        try:
            body = await request.json()
            self.requests[request.headers.get("idempotency-key", "none")] += 1
            await asyncio.sleep(WAIT_S)
            return web.json_response({**ANSWER, "model": body["model"]})
        finally:
            self.n_now -= 1

    async def traces(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        await request.read()
        self.n_spans += 1
        return web.Response()

    async def stats(self, request: web.Request) -> web.Response:
        """GET /stats, which begins the maximum anew; with ?keep=1 it does not."""
        n_most = self.n_most
        self.n_most = n_most if "keep" in request.query else 0
        told = {"n_requests": self.requests.total(), "n_charged": len(self.requests), "n_most_in_flight": n_most}
        return web.json_response(told)


def main() -> None:
    """Serves until it is told to end."""
    model = Model()
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/chat/completions", model.answer)
    app.router.add_post("/v1/traces", model.traces)
    app.router.add_get("/stats", model.stats)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
