"""`make test`: the whole suite, three processes side by side, for tests mostly wait for servers, disks and browsers.

    python -m tests.side_by_side [pytest options]

A process runs one folder of tests at a time, the longest first. What a folder says is shown when it is done. The exit
code is the worst of all.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
AT_ONCE: Final = 3
# Every folder of tests (tests/architecture sees to it), the longest first.
FOLDERS: Final = (
    "store",
    "dashboard",
    "server",
    "reliability",
    "agent_runtime",
    "collector",
    "judges",
    "evaluators",
    "bad_inputs",
    "live",
    "gateway",
    "experiments",
    "clustering",
    "monitors",
    "fuzz",
    "pytest_assay",
    "importers",
    "examples",
    "auth",
    "docs",
    "architecture",
)
NO_TESTS: Final = 5  # pytest's code when the options select none in a folder


def main(options: list[str]) -> int:
    """Runs every folder and returns pytest's worst exit code."""
    with ThreadPoolExecutor(AT_ONCE) as at_once:
        codes = list(at_once.map(lambda name: _run(name, options), FOLDERS))
    return max((code for code in codes if code != NO_TESTS), key=abs, default=NO_TESTS)


def _run(name: str, options: list[str]) -> int:
    cache = f"cache_dir=.pytest_cache/{name}"
    command = [sys.executable, "-m", "pytest", "-o", cache, *options, str(TESTS / name)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(f"tests/{name}:\n{done.stdout}", flush=True)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
