"""Servers on loopback that webhooks and deployments are sent to: one that keeps what it gets, one that speaks GitHub's
protocol of deployments."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STATES = frozenset({"error", "failure", "inactive", "in_progress", "queued", "pending", "success"})
DROP = 0  # a status by which a receiver closes the connection without an answer


@dataclass(kw_only=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class Receiver:
    """What came, and what is answered to it: `answers` one after the other, then 204."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    came: list[Received] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Keeps a request."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.came.append(Received(path=handler.path, headers=headers, body=body))
        status = self.answers.pop(0) if self.answers else 204
        if status == DROP:
            handler.close_connection = True
            return
        handler.send_response(status)
        if 300 <= status < 400:
            handler.send_header("location", f"{self.url}/elsewhere")
        handler.send_header("content-length", "0")
        handler.end_headers()


@dataclass(kw_only=True)
class GitHubSpoken:
    """Deployments and their statuses of one repository, in which only some refs exist. `drops`: how many of the next
    statuses are kept without an answer."""

    repository: str
    refs: frozenset[str]
    token: str
    url: str = ""
    drops: int = 0
    deployments: list[dict[str, Any]] = field(default_factory=list)
    statuses: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """https://docs.github.com/en/rest/deployments, as much of it as is asked for."""
        status, said = self._said(handler, json.loads(body or b"null"))
        if status == DROP:
            handler.close_connection = True
            return
        content = json.dumps(said).encode()
        handler.send_response(status)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _said(self, handler: BaseHTTPRequestHandler, body: Any) -> tuple[int, Any]:
        if handler.headers["authorization"] != f"Bearer {self.token}":
            return 401, {"message": "Bad credentials"}
        parts = urlsplit(handler.path)
        start = f"/repos/{self.repository}/deployments"
        if not parts.path.startswith(start):
            return 404, {"message": "Not Found"}
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        rest = parts.path.removeprefix(start).strip("/").split("/")
        if rest == [""]:
            return self._deployment(asked, body, posts=handler.command == "POST")
        return self._status(int(rest[0]), body, posts=handler.command == "POST")

    def _deployment(self, asked: dict[str, str], body: Any, *, posts: bool) -> tuple[int, Any]:
        if not posts:
            names = ("ref", "environment")
            found = [one for one in reversed(self.deployments) if all(one[name] == asked[name] for name in names)]
            return 200, found[: int(asked["per_page"])]
        if body["ref"] not in self.refs:
            return 422, {"message": f"No ref found for: {body['ref']}"}
        made = {"id": len(self.deployments) + 1, **body}
        self.deployments.append(made)
        return 201, made

    def _status(self, number: int, body: Any, *, posts: bool) -> tuple[int, Any]:
        kept = self.statuses.setdefault(number, [])
        if not posts:
            return 200, kept[::-1][:1]
        if body["state"] not in STATES or len(body["description"]) > 140:
            return 422, {"message": "Validation Failed"}
        kept.append(body)
        if self.drops:
            self.drops -= 1
            return DROP, None
        return 201, {"id": len(kept), **body}


@contextmanager
def listening(one: Receiver | GitHubSpoken) -> Iterator[None]:
    """Serves it on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            one.answer(self, b"")

        def do_POST(self) -> None:
            one.answer(self, self.rfile.read(int(self.headers["content-length"])))

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join(10)
