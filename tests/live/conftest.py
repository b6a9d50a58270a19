"""Fixtures of the live programs: their own virtual environment and node_modules, the providers, and a runner."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.providers import Providers
from tests.live.running import Program, Runtime
from tests.stack import REPOSITORY, Stack

VENV = REPOSITORY / ".venv-live"
LOCK = REPOSITORY / "requirements-live.lock"
NODE = Path(__file__).parent / "node"
NODE_AT_LEAST = 20
INSTALL_TIMEOUT_S = 280


@pytest.fixture(scope="session")
def live_python() -> Runtime:
    """The interpreter of .venv-live, which holds requirements-live.lock; installed on first use."""

    def install() -> None:
        shutil.rmtree(VENV, ignore_errors=True)
        _install([sys.executable, "-m", "venv", str(VENV)])
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        python = str(VENV / "bin" / "python")
        pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        _install([*pip, "--quiet", "--require-hashes", "-r", str(LOCK)])

    _once(VENV, LOCK.read_bytes(), install)
    return Runtime(command=(str(VENV / "bin" / "python"),), folder=Path(__file__).parent / "programs")


@pytest.fixture(scope="session")
def live_node() -> Runtime:
    """Node with the packages of tests/live/node/package-lock.json; installed on first use."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < NODE_AT_LEAST:
        pytest.skip(f"the Vercel AI SDK needs node {NODE_AT_LEAST}, this is {version}")
    pinned = (NODE / "package-lock.json").read_bytes() + version.encode()
    ci = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _once(NODE / "node_modules", pinned, lambda: _install(ci, NODE))
    return Runtime(command=(node,), folder=NODE)


def _once(target: Path, pinned: bytes, install: Callable[[], None]) -> None:
    """Installs into `target` unless it already holds what `pinned` says; safe when two test runs start at once."""
    digest = hashlib.sha256(pinned).hexdigest()
    stamp = target / ".installed"
    of_target = hashlib.sha256(str(target).encode()).hexdigest()[:16]
    with _locked(Path(tempfile.gettempdir()) / f"assay-live-{of_target}.lock"):
        if not stamp.exists() or stamp.read_text() != digest:
            install()
            stamp.write_text(digest)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(command: Sequence[str], folder: Path = REPOSITORY) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode == 0:
        return
    said = f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr[-2_000:]}"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(f"the live programs cannot be installed here: {said}")


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """The model providers on loopback, one ledger per program."""
    with Providers() as running:
        yield running


@pytest.fixture
def program(stack: Stack, providers: Providers) -> Program:
    """Starts a live program against the running stack and the providers."""
    return Program(stack=stack, providers=providers)
