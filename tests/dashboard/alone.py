"""The dashboard alone, for a server that a test has of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.stack import REPOSITORY, free_port_base
from tests.waiting import wait_until


@contextmanager
def running_dashboard(api: str, key: str, log: Path) -> Iterator[str]:
    """`streamlit run` with this key; yields its address."""
    port = free_port_base(1)
    options = {"server.port": port, "server.address": "127.0.0.1", "server.headless": "true"}
    words = [f"--{name}={value}" for name, value in options.items()]
    page = str(REPOSITORY / "dashboard" / "Home.py")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", page, *words],
            cwd=REPOSITORY,
            env={**os.environ, "ASSAY_URL": api, "ASSAY_API_KEY": key, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), 120, "the dashboard to answer")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_stcore/health", timeout=2).is_success
    except httpx.HTTPError:
        return False
