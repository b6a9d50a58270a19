"""Each of the demo world's faults planted in 5% of sessions: does it become a cluster, how pure, how much of it is in
there, and which clusters say that something fails where nothing was planted?

    python -m benchmarks.clustering.demo_world --kept FOLDER                  # both embedders; the table and the JSON
    python -m benchmarks.clustering.demo_world --kept FOLDER --embedder tfidf --faults tool_loop,stale_policy --dry

A world is --sound sessions without a fault and --planted ones with one fault, a week of them, each played in full by
the reference agent (benchmarks/clustering/demo_sessions.py), through the collector's code into a lake. What is measured
is the product's own way from there: facets, embedder, weights and clustering with the defaults; nothing that only the
world knows is read but each session's outcome, as apps send it. Then the same without any fault, and with all faults in
one world.

A cluster is of a fault when at least 80% of its sessions have it. `recall`: the share of the fault's sessions in its
largest such cluster, `recall_all` in all of them. A false cluster has a failure rate whose lower bound (Wilson, 95%)
lies above the rest's while less than half of its sessions have any fault. `harder_users` is no fault, and not played.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.clustering.demo_sessions import APP, END_NS, Made, Sessions, planted_faults, sessions, stored
from clustering.density import cluster
from clustering.embedders import table
from clustering.embedders.embedding import embed_facets, weighted
from clustering.embedders.protocol import Embedder, Place
from clustering.facets import facets_and_facts, told_beside
from clustering.naming import name
from clustering.records import NOISE, Labels, Params, Progress, Vectors
from clustering.usual import Facts, usual_of
from core.clock import NS_PER_S
from core.windows import Window
from evaluators.statistics.rates import wilson

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "clustering_demo_world.json"
PURE: Final = 0.8
WEEK: Final = Window(start_ns=END_NS - 8 * 86_400 * NS_PER_S, end_ns=END_NS + 86_400 * NS_PER_S)
TOGETHER: Final = "all together"
NOTHING: Final = "no fault"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of a fault in a world: its largest pure cluster (else the one with most of it), and all of them."""

    fault: str
    purity: float
    recall: float
    recall_all: float
    n_pure: int
    size: int
    title: str


@dataclass(frozen=True, kw_only=True)
class World:
    """What a world's clusters are."""

    name: str
    n: int
    n_clusters: int
    noise_share: float
    n_false: int
    seconds: float
    found: tuple[Found, ...]


class Remembering:
    """An embedder that asks another one for a text once in all worlds. TF-IDF is fitted per world, so not for it."""

    def __init__(self, of: Embedder, known: dict[str, Vectors]) -> None:
        self.name, self.version, self.dims = of.name, of.version, of.dims
        self._of, self._known = of, known

    def embed(self, texts: Sequence[str], progress: Progress) -> Vectors:
        """See Embedder."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known.update(zip(new, self._of.embed(new, progress), strict=True))
        return np.stack([self._known[text] for text in texts])


@dataclass(frozen=True, kw_only=True)
class Everything:
    """All sessions as the product reads them: facets but for outcomes, and the facts by which these are told."""

    frame: pl.DataFrame
    facts: Mapping[str, Facts]


def read(chosen: Sessions) -> Everything:
    """Every session, from a lake."""
    with tempfile.TemporaryDirectory() as folder:
        frame, facts = facets_and_facts(stored(Path(folder), chosen, chosen.made), APP, WEEK)
    return Everything(frame=frame, facts=facts)


def world(named: str, whole: Everything, made: Sequence[Made], embedder: str, known: dict[str, Vectors]) -> World:
    """One world, from its sessions' facets, told beside what is usual in it, to its clusters."""
    began = time.process_time()
    ids = [one.session_id for one in made]
    usual = usual_of([whole.facts[one] for one in ids])
    frame = told_beside(whole.frame.filter(pl.col("session_id").is_in(ids)), whole.facts, usual)
    with tempfile.TemporaryDirectory() as folder:
        prepared = table.prepared(embedder, Place(folder=Path(folder), app=APP), frame, quiet)
    params = Params()
    of = Remembering(prepared, known) if embedder != "tfidf" else prepared
    vectors = weighted(embed_facets(of, frame, quiet), params.weights)
    found = cluster(vectors, params, quiet)
    rng = np.random.default_rng(params.seed)
    names = name(frame, vectors, found.given, found.confidence, rng=rng, progress=quiet)
    titles = {one.label: one.title for one in names.clusters}
    faults = {one.session_id: one.fault for one in made}
    planted = np.array([faults[session] for session in frame["session_id"]])
    return World(
        name=named,
        n=frame.height,
        n_clusters=found.n_clusters,
        noise_share=round(found.noise_share, 4),
        n_false=n_false(found.given, planted, frame["failed"].to_list()),
        seconds=round(time.process_time() - began, 1),
        found=tuple(found_of(fault, found.given, planted, titles) for fault in sorted(set(faults.values()) - {""})),
    )


def found_of(fault: str, labels: Labels, planted: np.ndarray[Any, Any], titles: dict[int, str]) -> Found:
    """Where the sessions of a fault are."""
    has = planted == fault
    within = Counter(labels[has & (labels != NOISE)].tolist())
    sizes = Counter(labels.tolist())
    pure = [label for label, n in within.items() if n >= PURE * sizes[label]]
    best = max(pure or within, key=lambda label: within[label], default=NOISE)
    n, n_all = within.get(best, 0), sum(within[label] for label in pure)
    size = sizes[best] if best != NOISE else 0
    return Found(
        fault=fault,
        purity=round(n / size, 3) if size else 0.0,
        recall=round(n / int(has.sum()), 3),
        recall_all=round(n_all / int(has.sum()), 3),
        n_pure=len(pure),
        size=size,
        title=titles.get(best, ""),
    )


def n_false(labels: Labels, planted: np.ndarray[Any, Any], failed: Sequence[bool | None]) -> int:
    """Clusters that seem to fail more than the rest, in which less than half have a fault."""
    told = np.array([one is not None for one in failed])
    bad = np.array([bool(one) for one in failed])
    n = 0
    for label in range(int(labels.max(initial=NOISE)) + 1):
        mine, rest = (labels == label) & told, (labels != label) & told
        if not mine.any() or not rest.any():
            continue
        is_worse = wilson(int(bad[mine].sum()), int(mine.sum())).low > bad[rest].mean()
        n += bool(is_worse and (planted[labels == label] != "").mean() < 0.5)
    return n


def measured(chosen: Sessions, whole: Everything, faults: Sequence[str], embedder: str) -> list[World]:
    """Every world with one embedder, told as they come."""
    known: dict[str, Vectors] = {}
    sound = chosen.of("")
    worlds = [(NOTHING, sound), *((fault, (*sound, *chosen.of(fault))) for fault in faults), (TOGETHER, chosen.made)]
    told = []
    for named, made in worlds:
        told.append(world(named, whole, made, embedder, known))
        print(text_of(told[-1]), flush=True)
    return told


def text_of(one: World) -> str:
    """A world in a line for each fault."""
    head = f"{one.name:22} {one.n_clusters:4} clusters, noise {one.noise_share:.3f}, false {one.n_false}"
    rows = [
        f"    {each.fault:22} purity {each.purity:.2f}  recall {each.recall:.2f} (all {each.recall_all:.2f} in"
        f" {each.n_pure})  {each.title}"
        for each in one.found
    ]
    return "\n".join([head, *rows])


def summary(worlds: Sequence[World]) -> dict[str, Any]:
    """The figures of the issue: how many faults became a cluster of at least 80%, alone and together."""
    alone = [one.found[0] for one in worlds if one.name not in (NOTHING, TOGETHER)]
    together = [each for one in worlds if one.name == TOGETHER for each in one.found]
    return {
        side: {
            "faults": len(found),
            "with_a_pure_cluster": sum(one.n_pure > 0 for one in found),
            "mean_recall_all": round(float(np.mean([one.recall_all for one in found])), 3) if found else None,
        }
        for side, found in (("alone", alone), ("together", together))
    } | {"false_clusters": {one.name: one.n_false for one in worlds if one.n_false}}


def quiet(stage: str, done: int, total: int) -> None:
    """A progress that nobody watches."""


def main() -> int:
    """Measures, prints and keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sound", type=int, default=1_900)
    parser.add_argument("--planted", type=int, default=100)
    parser.add_argument("--faults", default="", help="of which; all of them")
    parser.add_argument("--embedder", default="minilm,tfidf")
    parser.add_argument("--kept", type=Path, required=True, help="folder where played sessions are kept")
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    chosen = sessions(asked.kept, asked.sound, asked.planted, planted_faults())
    whole = read(chosen)
    faults = [one for one in asked.faults.split(",") if one] or planted_faults()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    result: dict[str, Any] = {
        "what": "faults of the demo world in 5% of sessions: clusters of at least 80% purity, recall, false clusters",
        "command": f"python -m benchmarks.clustering.demo_world --sound {asked.sound} --planted {asked.planted}",
        "machine": f"{platform.machine()}, {cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "params": Params().as_json(),
    }
    for embedder in asked.embedder.split(","):
        worlds = measured(chosen, whole, faults, embedder)
        result[embedder] = {"summary": summary(worlds), "worlds": [asdict(one) for one in worlds]}
        print(embedder, json.dumps(result[embedder]["summary"], indent=1), flush=True)
    if not asked.dry:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
