"""A real S3 door on loopback for tests: moto's server, and a bucket of one's own in it."""

from __future__ import annotations

import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 that holds its objects in memory; skips where the packages are not installed."""
    moto = pytest.importorskip("moto.server", reason="S3 for tests comes with moto and flask (make setup)")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def environment(endpoint: str) -> dict[str, str]:
    """What a process is told of the S3 at `endpoint`."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "assay-tests",
        "AWS_SECRET_ACCESS_KEY": "assay-tests",
        "AWS_REGION": "us-east-1",
    }


def new_bucket(endpoint: str) -> str:
    """The URL of a lake in a bucket that nobody else uses."""
    name = f"lake-{secrets.token_hex(6)}"
    made = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    with urllib.request.urlopen(made, timeout=30) as answer:
        assert answer.status == 200
    return f"s3://{name}/assay"
