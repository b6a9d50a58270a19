"""A collector's door for tests of the sender: a real HTTP server on loopback with a script of answers."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import listening


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One scripted answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-protobuf"})


@dataclass(kw_only=True)
class Door:
    """What arrived, decompressed, and the answers still to give; without any left, an empty 200."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    content_types: list[str | None] = field(default_factory=list)


@contextmanager
def open_door(*answers: Answer) -> Iterator[Door]:
    """Listens on a free loopback port until the block ends."""
    door = Door(answers=list(answers))

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Encoding"] == "gzip"
            door.bodies.append(gzip.decompress(body))
            door.paths.append(self.path)
            door.keys.append(self.headers["Authorization"])
            door.content_types.append(self.headers["Content-Type"])
            answer = door.answers.pop(0) if door.answers else Answer()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with listening(Requests) as door.url:
        yield door
