"""How often the semantic cache answers, and how often rightly, by threshold; and what a look-up takes.

    python -m benchmarks.gateway.semantic                 # the table, and benchmarks/results/gateway_semantic.json

Questions: banking77 (6,407 of bank customers, 50 intents, CC BY 4.0, PolyAI) and clinc150 (11,450 requests, 75 intents
and 200 rows out of scope, CC BY 3.0) in ../shared/data, in random order (seed 7). Each is looked up among the 2,000
before it, as one bucket of the cache holds; a hit is right if both have the same intent, and never for rows out of
scope. Nothing was fitted to these rows but the default threshold. Times are of one thread, by its own CPU clock.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import random
import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.config import SemanticConfig
from gateway.policies.meaning import meaning_of
from gateway.policies.semantic import Question, SimilarQuestions

HERE = Path(__file__).parent
DATA = HERE.parent.parent.parent / "shared" / "data"
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.95)


def banking77() -> list[tuple[str, str]]:
    """(question, intent)."""
    with (DATA / "banking77" / "train.csv").open(encoding="utf-8") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc150() -> list[tuple[str, str]]:
    """(question, intent); each row out of scope is an intent of its own."""
    with gzip.open(DATA / "clinc150" / "clinc150.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["text"], f"oos {n}" if row["intent"] == "oos" else row["intent"]) for n, row in enumerate(rows)]


def looked_up(rows: list[tuple[str, str]]) -> tuple[list[tuple[float, bool, bool]], dict[str, float]]:
    """Of each row's best hit its similarity (0: none), whether the intent is right and the text the same; times."""
    similar = SimilarQuestions(SemanticConfig(threshold=0.5), 64 << 20)
    found, meaning_s, find_s = [], 0.0, 0.0
    for n, (text, intent) in enumerate(rows):
        began = time.thread_time()
        meaning = meaning_of(text)
        meaning_s += time.thread_time() - began
        if meaning is None:
            found.append((0.0, False, False))
            continue
        question = Question(tenant="a", bucket=b"", meaning=meaning)
        began = time.thread_time()
        hits = similar.find(question)
        find_s += time.thread_time() - began
        similar.add(question, b"%d" % n)
        if hits:
            hit = rows[int(hits[0][0])]
            found.append((hits[0][1], hit[1] == intent, hit[0] == text))
        else:
            found.append((0.0, False, False))
    return found, {"meaning_us": meaning_s / len(rows) * 1e6, "find_us": find_s / len(rows) * 1e6}


def curve(found: Iterable[tuple[float, bool, bool]]) -> list[dict[str, float]]:
    """By threshold: the share of questions that hit, of hits that are right, and of hits that any cache would have."""
    found = list(found)
    points = []
    for threshold in THRESHOLDS:
        hits = [(right, same) for similarity, right, same in found if similarity >= threshold]
        points.append(
            {
                "threshold": threshold,
                "hit_rate": round(len(hits) / len(found), 4),
                "precision": round(sum(right for right, _ in hits) / max(len(hits), 1), 4),
                "n_hits": len(hits),
                "n_wrong": sum(not right for right, _ in hits),
                "n_same_text": sum(same for _, same in hits),
            }
        )
    return points


def _git() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Measures, prints and writes."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=HERE.parent / "results" / "gateway_semantic.json")
    to = options.parse_args().out
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": _git(),
        "date": datetime.now(UTC).date().isoformat(),
        "default_threshold": SemanticConfig().threshold,
    }
    for name, rows in (("banking77", banking77()), ("clinc150", clinc150())):
        random.Random(7).shuffle(rows)
        found, times = looked_up(rows)
        result[name] = {"n_questions": len(rows), "curve": curve(found), **{k: round(v, 1) for k, v in times.items()}}
        print(
            f"{name}: {len(rows)} questions; {times['meaning_us']:.0f} us to read, {times['find_us']:.0f} us to look up"
        )
        for point in result[name]["curve"]:
            print("  {threshold:.2f}  hits {hit_rate:6.1%}  right {precision:7.2%}  ({n_wrong} wrong)".format(**point))
    to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
