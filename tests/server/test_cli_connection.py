"""Addresses at which no API answers: silent, another server, the collector's own door."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from server.cli.connection import ApiClient
from server.cli.main import main
from server.cli.outcome import CommandFailed, ExitCode


@contextmanager
def answering(status: int, content_type: str, body: bytes) -> Iterator[str]:
    """A server that says the same to everything."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object, **named: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Same)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html", b"<!doctype html><title>Streamlit</title>"),
        (404, "text/html", b"<h1>nothing</h1>"),
        (404, "application/json", b'{"code": 12, "message": "there is nothing at \'/api/v1/traces\'"}'),
        (404, "application/x-protobuf", b"\x08\x0c"),
        (400, "text/plain", b"no"),
    ],
)
def test_another_server_is_told_from_the_api(
    capsys: pytest.CaptureFixture[str], status: int, content_type: str, body: bytes
) -> None:
    with answering(status, content_type, body) as url:
        assert main(["traces", "list", "--url", url, "--key", "k"]) == ExitCode.UNREACHABLE
    said = capsys.readouterr().err
    assert f"there is no Assay API at {url}" in said
    assert "port 8080 (--port-base N: N+2)" in said


@pytest.mark.parametrize(
    ("status", "content_type", "code"),
    [
        (404, "application/problem+json", ExitCode.NOT_FOUND),
        (502, "text/html", ExitCode.FAILED),
        (403, "text/html", ExitCode.NOT_ALLOWED),
    ],
)
def test_the_apis_own_errors_and_a_proxys_keep_their_codes(status: int, content_type: str, code: ExitCode) -> None:
    with answering(status, content_type, b'{"detail": "so it is"}') as url, pytest.raises(CommandFailed) as failed:
        ApiClient(url=url, key=None).get("/api/v1/traces/x")
    assert failed.value.code == code


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CommandFailed) as failed:
            ApiClient(url=url, key=None, timeout_s=0.2).get("/api/v1/traces")
    assert failed.value.code == ExitCode.UNREACHABLE
    assert f"{url} takes connections but gave no answer for 0.2 s" in str(failed.value)


def test_nobody_at_the_port_is_another_thing_than_silence() -> None:
    with pytest.raises(CommandFailed, match="no Assay server answers at") as failed:
        ApiClient(url="http://127.0.0.1:9", key=None).get("/api/v1/traces")
    assert failed.value.code == ExitCode.UNREACHABLE
