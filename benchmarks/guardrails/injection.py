"""How many attacks the injection guardrail sees, and how many honest texts it takes for one.

    python -m benchmarks.guardrails.injection           # the table, and benchmarks/results/guardrails.json
    python -m benchmarks.guardrails.injection --show    # also every text it got wrong

Two labelled sets: the 57 airline-support scenarios of ../shared/data/injection (label 1: adversarial; they are briefs
for a simulated user, most of them social engineering without a word of command), and what the users of our own world
may say first, where attack = "plain" or "subtle" is an attack. `block` counts commands alone, `flag` also claims.
The patterns were written with both sets at hand, so recall is an upper bound. Precision with nothing flagged is null.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_runtime.guardrails.injection import claims, signs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LABELLED = ROOT.parent / "shared" / "data" / "injection" / "labelled_scenarios.csv"
SCENARIOS = ROOT / "agent_runtime" / "simulation" / "scenarios"
LEVELS: dict[str, Callable[[str], bool]] = {
    "block": lambda text: bool(signs(text)),
    "flag": lambda text: bool(signs(text) or claims(text)),
}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A text and whether it is an attack; `kind` groups attacks."""

    name: str
    text: str
    attack: bool
    kind: str


def airline() -> list[Labelled]:
    """The labelled scenarios."""
    with LABELLED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Labelled(name=r["id"], text=r["text"], attack=r["label"] == "1", kind=r["strategy"]) for r in rows]


def world() -> list[Labelled]:
    """What users of the simulated world may say first."""
    found = []
    for path in sorted(SCENARIOS.glob("*.toml")):
        scenario = tomllib.loads(path.read_text(encoding="utf-8"))
        kind = scenario.get("attack", "none")
        for request in scenario["requests"]:
            found += [Labelled(name=path.stem, text=o, attack=kind != "none", kind=kind) for o in request["openings"]]
    return found


def measured(texts: Sequence[Labelled], level: str, *, show: bool) -> dict[str, Any]:
    """Precision, recall and both per kind of attack, of one level."""
    seen = [(each, LEVELS[level](each.text)) for each in texts]
    caught = sum(each.attack and hit for each, hit in seen)
    n_hits = sum(hit for _, hit in seen)
    n_attacks = sum(each.attack for each in texts)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for each, hit in seen:
        if each.attack:
            by_kind[each.kind].append(hit)
        if show and each.attack != hit:
            print(f"{level}: {'missed' if each.attack else 'false '} {each.name}: {each.text[:100]!r}")
    return {
        "n": len(texts),
        "attacks": n_attacks,
        "caught": caught,
        "false": n_hits - caught,
        "recall": round(caught / n_attacks, 3),
        "precision": round(caught / n_hits, 3) if n_hits else None,
        "by_kind": {kind: f"{sum(hits)} of {len(hits)}" for kind, hits in sorted(by_kind.items())},
    }


def microseconds(texts: Sequence[Labelled]) -> float:
    """CPU time per text of both levels together, the best of five passes."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for each in texts:
            signs(each.text), claims(each.text)
        best = min(best, time.process_time() - started)
    return round(best / len(texts) * 1e6, 1)


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print every text that was judged wrongly")
    asked = parser.parse_args()
    sets = {"airline_scenarios": airline(), "world_openings": world()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    result = {
        "what": "the injection guardrail: precision and recall",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "sets": {
            name: {level: measured(texts, level, show=asked.show) for level in LEVELS} for name, texts in sets.items()
        },
        "us_per_text": {name: microseconds(texts) for name, texts in sets.items()},
    }
    text = json.dumps(result, indent=2)
    (ROOT / "benchmarks" / "results" / "guardrails.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
