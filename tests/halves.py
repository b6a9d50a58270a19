"""`make test`: the whole suite in two processes side by side, for tests mostly wait for servers, disks and browsers.

    python -m tests.halves [pytest options]

Each half is a list of folders; every folder of tests belongs to exactly one (tests/architecture sees to it). What the
first says is shown as it comes, what the second says when both are done. The exit code is the worse of the two.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HALVES: Final = (
    ("architecture", "docs", "collector", "store"),
    (
        "auth",
        "server",
        "importers",
        "examples",
        "agent_runtime",
        "dashboard",
        "live",
        "bad_inputs",
        "fuzz",
        "reliability",
    ),
)
TESTS: Final = Path(__file__).parent


def main(options: list[str]) -> int:
    """Runs both halves and returns pytest's worse exit code."""
    with tempfile.TemporaryFile("w+") as said:
        second = subprocess.Popen(_command(1, options), stdout=said, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run(_command(0, options), check=False).returncode
            rest = second.wait()
        finally:
            second.kill()
        said.seek(0)
        sys.stdout.write(said.read())
    return max(first, rest, key=abs)


def _command(half: int, options: list[str]) -> list[str]:
    cache = f"cache_dir=.pytest_cache/{half}"
    return [sys.executable, "-m", "pytest", "-o", cache, *options, *[str(TESTS / name) for name in HALVES[half]]]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
