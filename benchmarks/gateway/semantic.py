"""How often the semantic cache answers, and how often rightly, by threshold; what a look-up takes; and beside meaning.

    python -m benchmarks.gateway.semantic                       # the cache's own comparison, by words
    python -m benchmarks.gateway.semantic --vectors VECTORS     # and others; writes benchmarks/results too

Questions: banking77 (6,407 of bank customers, 50 intents, CC BY 4.0, PolyAI) and clinc150 (11,450 requests, 75 intents
and 200 rows out of scope, CC BY 3.0) in ../shared/data, in random order (seed 7). Each is looked up among the 2,000
before it, as one bucket of the cache holds; a hit is right if both have the same intent, and never for rows out of
scope. Times are of one thread, by its own CPU clock.

What was fitted: the cache's own comparison (guards, lists of words, weights, default threshold) was written by somebody
who could see both data sets, so that its figures are not held out, on neither half. The guards are the same for all.
The others have the settings that their methods publish, and one threshold for both data sets, read off one half of the
look-ups of each (the lowest at which 99%, 98%, 95% of the hits are right); `held_out` says what it gives on the other
halves. First halves are the first 3,203 and 5,725 look-ups. Nothing that is served was set by them.

Same intent is not same answer (a timer of five minutes, of seven): `--read 40` prints hits to be read by a person; what
was read is in docs/gateway-policies.md. VECTORS are made by minilm_vectors.py.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gateway.comparisons import NONE, Found, compared, held_out, share
from benchmarks.gateway.static_vectors import N_DIMENSIONS, StaticVectors
from gateway.config import SemanticConfig
from gateway.policies.meaning import meaning_of
from gateway.policies.semantic import Question, SimilarQuestions

HERE = Path(__file__).parent
DATA = HERE.parent.parent.parent / "shared" / "data"
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)
PRECISIONS = (0.99, 0.98, 0.95)
READ = {"lexical": (0.9, 1.0), "words_or_static": (0.95, 0.999), "words_or_model": (0.92, 0.999)}  # 1: by words


def banking77() -> list[tuple[str, str]]:
    """(question, intent)."""
    with (DATA / "banking77" / "train.csv").open(encoding="utf-8") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc150() -> list[tuple[str, str]]:
    """(question, intent); each row out of scope is an intent of its own."""
    with gzip.open(DATA / "clinc150" / "clinc150.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["text"], f"oos {n}" if row["intent"] == "oos" else row["intent"]) for n, row in enumerate(rows)]


def looked_up(rows: list[tuple[str, str]]) -> tuple[Found, dict[str, float]]:
    """Of each row's best hit its similarity (0: none), whether it is right, if the text is the same, its row; times."""
    similar = SimilarQuestions(SemanticConfig(threshold=0.5), 64 << 20)
    found: Found = []
    meaning_s = find_s = 0.0
    for n, (text, intent) in enumerate(rows):
        began = time.thread_time()
        meaning = meaning_of(text)
        meaning_s += time.thread_time() - began
        if meaning is None:
            found.append(NONE)
            continue
        question = Question(tenant="a", bucket=b"", meaning=meaning)
        began = time.thread_time()
        hits = similar.find(question)
        find_s += time.thread_time() - began
        similar.add(question, b"%d" % n)
        if hits:
            at = int(hits[0][0])
            found.append((hits[0][1], rows[at][1] == intent, rows[at][0] == text, at))
        else:
            found.append(NONE)
    return found, {"meaning_us": meaning_s / len(rows) * 1e6, "find_us": find_s / len(rows) * 1e6}


def curve(found: Found) -> list[dict[str, Any]]:
    """By threshold: the share of questions that hit, of hits that are right, and of hits that any cache would have."""
    return [
        {"threshold": threshold}
        | {name: value for name, value in share(found, threshold).items() if name != "precision_95"}
        | {"n_same_text": sum(same for similarity, _, same, _ in found if similarity >= threshold)}
        for threshold in THRESHOLDS
    ]


def _git() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def _rows(name: str) -> tuple[list[tuple[str, str]], list[int]]:
    """The questions in random order, and where each is in its file."""
    rows = {"banking77": banking77, "clinc150": clinc150}[name]()
    order = list(range(len(rows)))
    random.Random(7).shuffle(order)
    return [rows[n] for n in order], order


def _all_held_out(found: dict[str, dict[str, Found]]) -> dict[str, Any]:
    """By what is asked of one half of the look-ups, and by comparison, what the other half has."""

    def half(comparison: str, second: bool) -> dict[str, Found]:
        rows = {name: by[comparison] for name, by in found.items()}
        return {n: each[len(each) // 2 :] if second else each[: len(each) // 2] for n, each in rows.items()}

    result: dict[str, Any] = {}
    for second, title in ((True, "second"), (False, "first")):
        served = {name: share(each, SemanticConfig().threshold) for name, each in half("lexical", second).items()}
        result[f"{title} halves: lexical as served"] = served
        for least in PRECISIONS:
            result[f"{title} halves, thresholds for {least:.0%} on the others"] = {
                comparison: held_out(half(comparison, not second), half(comparison, second), least)
                for comparison in next(iter(found.values()))
            }
    return result


def _read(rows: list[tuple[str, str]], found: Found, least: float, most: float, n: int) -> None:
    """Prints pairs drawn among the hits, for somebody to read: is the answer the same, not only the intent?"""
    hits = [at for at, hit in enumerate(found) if least <= hit[0] <= most]
    for number, at in enumerate(random.Random(7).sample(hits, min(n, len(hits))), 1):
        print(f"  {number:3d}  {found[at][0]:.3f}  {rows[at][0].strip()}  <-  {rows[found[at][3]][0].strip()}")


def _printed(title: str, points: list[dict[str, Any]]) -> None:
    print(title)
    for point in points:
        print("  {threshold:.2f}  hits {hit_rate:6.1%}  right {precision:7.2%}  ({n_wrong} wrong)".format(**point))


def _printed_held_out(result: dict[str, Any]) -> None:
    for title, comparisons in result.items():
        print(title)
        for comparison, found in ({"": comparisons} if "banking77" in comparisons else comparisons).items():
            shares = [found[name] for name in ("banking77", "clinc150") if name in found]
            said = ", ".join("{hit_rate:6.1%} right {precision:7.2%}".format(**each) for each in shares)
            print(f"  {comparison:22s} {found.get('threshold', '')!s:6s} {said}")


def main() -> None:
    """Measures and prints; writes if there are vectors to compare with."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--vectors", type=Path)
    options.add_argument("--out", type=Path, default=HERE.parent / "results" / "gateway_semantic.json")
    options.add_argument("--read", type=int, default=0, help="print so many hits of each of three comparisons")
    given = options.parse_args()
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": _git(),
        "date": datetime.now(UTC).date().isoformat(),
        "default_threshold": SemanticConfig().threshold,
    }
    found: dict[str, dict[str, Found]] = {}
    for name in ("banking77", "clinc150"):
        rows, order = _rows(name)
        lexical, times = looked_up(rows)
        found[name] = {"lexical": lexical}
        if given.vectors:
            found[name], times["static_us"] = compared(name, rows, order, lexical, given.vectors)
        curves = {comparison: curve(each) for comparison, each in found[name].items()}
        result[name] = {"n_questions": len(rows), **{k: round(v, 1) for k, v in times.items()}, "curves": curves}
        _printed(f"{name}: {len(rows)} questions; {times}", curves["lexical"])
        for comparison, (least, most) in READ.items() if given.read and given.vectors else ():
            print(f" {comparison}, similarity {least} to {most}:")
            _read(rows, found[name][comparison], least, most, given.read)
    if given.vectors:
        about = json.loads((given.vectors / "about.json").read_text(encoding="utf-8"))
        result["vectors"] = about | {"static": f"{N_DIMENSIONS} x int8, {StaticVectors(given.vectors).n_bytes} bytes"}
        result["held_out"] = _all_held_out(found)
        _printed_held_out(result["held_out"])
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
