"""An agent on loopback that answers turns, counts what it was paid for, and misbehaves on request.

It keeps what it answered by message id, as an agent has to: the same message again gets the same answer and is not
paid again. Run as a program it serves on the port that it is given and writes a line per paid call to a file, so that
it outlives whoever asks it.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.loopback import listening

_PATH = re.compile(r"(?:/apps/[^/]+)?/v1/sessions/([^/]+)/turns")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request for a turn."""

    session: str
    message_id: str
    text: str
    user_id: str
    headers: dict[str, str]


@dataclass(kw_only=True)
class Agent:
    """A running agent. `answer` gives (status, headers, body) or None for the usual one."""

    url: str = ""
    name: str = "agent"  # of its release
    requests: list[Call] = field(default_factory=list)
    paid: Counter[tuple[str, str]] = field(default_factory=Counter)
    answer: Callable[[Call], tuple[int, dict[str, str], Any] | None] = lambda _: None
    held: threading.Event = field(default_factory=threading.Event)  # cleared: paid calls wait before they answer
    n_at_once: int = 0
    most_at_once: int = 0
    log: Path | None = None
    _answers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, call: Call) -> tuple[int, dict[str, str], Any]:
        """The answer to a request, kept by message id."""
        with self._lock:
            self.requests.append(call)
            self.n_at_once += 1
            self.most_at_once = max(self.most_at_once, self.n_at_once)
        try:
            special = self.answer(call)
            if special is not None:
                return special
            key = (call.session, call.message_id)
            with self._lock:
                if key not in self._answers:
                    self.paid[key] += 1
                    self._answers[key] = _usual(call)
                    if self.log is not None:
                        with self.log.open("a") as file:
                            file.write(json.dumps([*key, call.text]) + "\n")
            self.held.wait(30)
            return 200, {}, self._answers[key]
        finally:
            with self._lock:
                self.n_at_once -= 1


def _usual(call: Call) -> dict[str, Any]:
    return {
        "reply": f"you said {call.text}",
        "status": "answered",
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_usd": "0.001",
        "tools": [{"tool": "look_up", "args": {"what": call.text}, "result": {"found": True}}],
    }


@contextmanager
def running(port: int = 0, log: Path | None = None) -> Iterator[Agent]:
    """Serves until the end of the block, in threads of this process."""
    agent = Agent(log=log)
    agent.held.set()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found = _PATH.fullmatch(self.path)
            assert found is not None, self.path
            call = Call(
                session=found[1],
                message_id=body["message_id"],
                text=body["text"],
                user_id=body["user_id"],
                headers={name.lower(): value for name, value in self.headers.items()},
            )
            status, headers, said = agent.serve(call)
            content = json.dumps(said).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "content-type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Door, port) as agent.url:
        yield agent


if __name__ == "__main__":
    with running(int(sys.argv[1]), Path(sys.argv[2])):
        threading.Event().wait()
