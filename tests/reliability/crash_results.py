"""Where the figures of the campaigns go: benchmarks/results/reliability.json, the newest of each campaign."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.stack import REPOSITORY

RESULTS: Final = REPOSITORY / "benchmarks" / "results" / "reliability.json"


def record(campaign: str, **figures: int | float | str) -> None:
    """Puts the figures of a campaign in the place of its earlier ones and prints them as one line."""
    line = {"campaign": campaign, **figures, "machine": machine(), "commit": commit()}
    line |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "command": command()}
    print(json.dumps(line), flush=True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = [each for each in found if each["campaign"] != campaign]
    draft = RESULTS.with_suffix(".tmp")
    draft.write_text(json.dumps(sorted([*kept, line], key=lambda each: str(each["campaign"])), indent=1) + "\n")
    draft.replace(RESULTS)


def machine() -> str:
    """Cores, architecture and the release of Linux."""
    release = platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {release}"


def commit() -> str:
    """The commit that was run."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def command() -> str:
    """How to run it again."""
    module = ".".join(Path(sys.argv[0]).resolve().relative_to(REPOSITORY).with_suffix("").parts)
    return " ".join(["python -m", module, *sys.argv[1:]])
