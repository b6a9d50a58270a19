"""What cannot be read as a request is answered in our shape too, by the server as it is served."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from server.http_protocol import MAX_HEAD_BYTES, MAX_URL_BYTES
from tests.server.shell import running_shell, served


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with running_shell(tmp_path) as shell, served(shell.services) as url:
        yield int(url.rpartition(":")[2])


def exchange(port: int, raw: bytes) -> tuple[HTTPResponse, dict[str, Any]]:
    """Sends bytes and reads one answer to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(raw)
        response = HTTPResponse(connection)
        response.begin()
        return response, json.loads(response.read())


def request(target: str, headers: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (request("/api/v1/spans?q=" + "a" * MAX_URL_BYTES), 414, "url_too_long"),
        (request("/api/v1/spans?q=" + "a" * 70_000), 414, "url_too_long"),
        (request("/" + "a" * 4_000_000), 414, "url_too_long"),
        (request("/healthz", f"X-Long: {'a' * 300_000}\r\n"), 431, "headers_too_large"),
        (request("/healthz", "X-Many: a\r\n" * 20_000), 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\nX-Endless: " + b"a" * (MAX_HEAD_BYTES + 1), 431, "headers_too_large"),
        (b"\x16\x03\x01\x02\x00\x01\x00 this is no HTTP\r\n\r\n", 400, "undecodable"),
        (b"GET /a b c HTTP/1.1\r\n\r\n", 400, "undecodable"),
        (request("/healthz", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "undecodable"),
    ],
    ids=[
        "url",
        "url past the parser",
        "url of 4 MB",
        "header",
        "headers",
        "endless",
        "tls",
        "request line",
        "smuggling",
    ],
)
def test_what_cannot_be_read_is_a_problem(port: int, raw: bytes, status: int, code: str) -> None:
    response, said = exchange(port, raw)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["connection"] == "close"
    assert said.keys() == {"type", "title", "status", "detail", "code", "instance"}
    assert (said["status"], said["code"]) == (status, code)
    assert len(said["instance"]) <= 300
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()


def test_long_but_allowed_requests_are_answered_one_after_the_other(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(5):
        connection.request("GET", "/healthz?" + "a" * (MAX_URL_BYTES - 100), headers={"X-Long": "b" * 60_000})
        answer = connection.getresponse()
        assert answer.status in (200, 422)
        answer.read()
        connection.request("POST", "/api/v1/scores", body=b"x" * 300_000)
        answer = connection.getresponse()
        assert answer.status == 401
        answer.read()
    connection.close()
