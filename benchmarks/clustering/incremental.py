"""500,000 sessions by the incremental path: one run over the first, then chunks of 10,000 assigned by radius.

python -m benchmarks.clustering.incremental [--rows 500000] [--spread 1.0]

150 groups around random directions of 384 dimensions with sizes by Zipf, and 15% noise around the middles of two
centres. A member's cosine with its centre is about .7 at spread 1 (what MiniLM gives requests of one intent). Ten more
groups, half a percent each, come up half-way. The first 30,000 are clustered as the product does it; whoever waits is
clustered again at every 5,000 (at most the newest 20,000). A cluster's group is the one of most of its first sessions.
right: of sessions whose group has a cluster, those assigned to it; wrong: to another; waits: to none, when they came
and (`in_the_end`) once the buffer was clustered. `s_per_million` are seconds of `assign` alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import ROOT, commit, machine
from clustering.buffer import Settled, settle
from clustering.density import cluster
from clustering.incremental import assign, shapes, waiting
from clustering.lineage import match
from clustering.lineage_records import Known, Look, Standing
from clustering.records import NOISE, Labels, Method, Params, Vectors

RESULT: Final = ROOT / "benchmarks" / "results" / "clustering_incremental.json"
DIMS: Final = 384
GROUPS: Final = 150
NEW: Final = 10
NEW_SHARE: Final = 0.005
NOISY: Final = 0.15
FIRST: Final = 30_000
CHUNK: Final = 10_000
WAITS: Final = 5_000
MOST: Final = 20_000
SPACE: Final = "synthetic/1"
Told = dict[str, Any]


@dataclass(kw_only=True)
class Registry:
    """Clusters living so far with the group each stands for, who waits, and what happened."""

    standings: list[Standing] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)
    next_number: int = 1
    rows: list[Vectors] = field(default_factory=list)
    truth: list[Labels] = field(default_factory=list)
    fresh: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    born: list[Told] = field(default_factory=list)
    assign_s: float = 0.0
    settle_s: list[float] = field(default_factory=list)


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--spread", type=float, default=1.0, help="of members around their centre")
    args = parser.parse_args()
    began = time.perf_counter()
    world = World(args.spread)
    kept = Registry()
    vectors, truth = world.drawn(FIRST, new=False)
    first_s = first_run(kept, vectors, truth)
    del vectors
    print(json.dumps({"first_s": first_s, "clusters": len(kept.standings)}), flush=True)
    for at, (rows, groups) in enumerate(world.chunks(args.rows - FIRST)):
        arrive(kept, rows, groups)
        if kept.fresh >= WAITS:
            again(kept, at)
    told = {
        "what": f"{args.rows} vectors of {DIMS} numbers: {FIRST} clustered, the others assigned in chunks of {CHUNK}",
        "command": f"python -m benchmarks.clustering.incremental --rows {args.rows} --spread {args.spread:g}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "first_run_s": first_s,
        **figures(kept, args.rows - FIRST),
        "whole_s": round(time.perf_counter() - began, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    place = RESULT if args.spread == 1.0 else RESULT.with_stem(f"{RESULT.stem}_spread_{args.spread:g}")
    place.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))


class World:
    """Sessions as they come."""

    def __init__(self, spread: float) -> None:
        self.chance = np.random.default_rng(21)
        self.spread = spread / np.sqrt(DIMS)
        self.centres = _unit(self.chance.normal(size=(GROUPS + NEW, DIMS)).astype(np.float32))
        sizes = 1.0 / np.arange(1, GROUPS + 1)
        self.sizes = (1 - NOISY) * sizes / sizes.sum()

    def chunks(self, n: int) -> Iterator[tuple[Vectors, Labels]]:
        """Chunks of all `n`, the new groups among them from the middle on."""
        for start in range(0, n, CHUNK):
            yield self.drawn(min(CHUNK, n - start), new=start >= n // 2)

    def drawn(self, n: int, *, new: bool) -> tuple[Vectors, Labels]:
        """Rows (n, DIMS) of length 1 and their groups, NOISE for none."""
        fresh = np.full(NEW, NEW_SHARE if new else 0.0)
        shares = np.concatenate([self.sizes * (1 - fresh.sum() / (1 - NOISY)), fresh, [NOISY]])
        drawn = self.chance.choice(len(shares), n, p=shares / shares.sum())
        truth = np.where(drawn == GROUPS + NEW, NOISE, drawn).astype(np.int32)
        pairs = self.chance.choice(GROUPS, (n, 2))
        between = _unit(self.centres[pairs[:, 0]] + self.centres[pairs[:, 1]])
        middles = np.where((truth == NOISE)[:, None], between, self.centres[np.maximum(truth, 0)])
        off = self.chance.standard_normal((n, DIMS), dtype=np.float32) * np.float32(self.spread)
        return _unit(middles + off), truth


def first_run(kept: Registry, vectors: Vectors, truth: Labels) -> float:
    """A run over the first sessions; its seconds."""
    began = time.perf_counter()
    labels = cluster(vectors, Params(), silent).given
    names = [str(row) for row in range(len(vectors))]
    found = shapes(vectors, labels, names, failed=[None] * len(vectors))
    lineage = match([], found, look=Look(at_ns=1, start_ns=0, embedder=SPACE, n=len(vectors)), next_number=1)
    kept.standings, kept.next_number = list(lineage.standings), lineage.next_number
    for label, cluster_id in lineage.given.items():
        kept.groups[cluster_id] = _most(truth[labels == label])
    kept.counts["first_run_noise"] = int((labels == NOISE).sum())
    kept.counts["first_run_clusters"] = len(found)
    kept.counts["first_run_groups"] = len(set(kept.groups.values()) - {NOISE})
    return round(time.perf_counter() - began, 1)


def arrive(kept: Registry, vectors: Vectors, truth: Labels) -> None:
    """A chunk assigned; who fits nowhere waits."""
    began = time.perf_counter()
    centroids = np.stack([one.centroid for one in kept.standings])
    radii = np.array([one.radius for one in kept.standings], np.float32)
    index = assign(vectors, centroids, radii).index
    waits = waiting(vectors, index)
    kept.assign_s += time.perf_counter() - began
    groups = np.array([kept.groups[one.cluster_id] for one in kept.standings] + [NOISE - 1], np.int32)[index]
    known = np.isin(truth, groups_of(kept)) & (truth != NOISE)
    kept.counts.update(tally("came", known, truth, groups))
    kept.counts["noise"] += int((truth == NOISE).sum())
    kept.counts["noise_assigned"] += int(((truth == NOISE) & (index != NOISE)).sum())
    kept.counts["of_new_groups"] += int((truth >= GROUPS).sum())
    kept.rows.append(vectors[waits])
    kept.truth.append(truth[waits])
    kept.fresh += int(waits.sum())


def again(kept: Registry, at: int) -> None:
    """Who waits is clustered again."""
    vectors, truth = np.concatenate(kept.rows)[-MOST:], np.concatenate(kept.truth)[-MOST:]
    known = [as_known(one) for one in kept.standings]
    look = Look(at_ns=at + 2, start_ns=0, embedder=SPACE, n=FIRST + (at + 1) * CHUNK)
    params = Params(method=Method.EVOC)
    began = time.perf_counter()
    done = settle(
        vectors, [f"{at}-{row}" for row in range(len(vectors))], failed=[None] * len(vectors), known=known,
        cluster=lambda rows: cluster(rows, params, silent).given, look=look, next_number=kept.next_number, least=20,
    )  # fmt: skip
    kept.settle_s.append(round(time.perf_counter() - began, 1))
    note(kept, done, truth, at)
    left = np.array([one is None for one in done.given])
    kept.rows, kept.truth, kept.fresh = [vectors[left]], [truth[left]], 0
    kept.standings += done.lineage.standings
    kept.next_number = done.lineage.next_number


def note(kept: Registry, done: Settled, truth: Labels, at: int) -> None:
    """What the buffer gave: births with their purity, and who joined."""
    given = np.array([one or "" for one in done.given])
    before = groups_of(kept)
    for standing in done.lineage.standings:
        own = truth[given == standing.cluster_id]
        group = _most(own)
        kept.groups[standing.cluster_id] = group
        purity = round(float((own == group).mean()), 3)
        kind = "noise" if group == NOISE else "again" if group in before else "new"
        kept.born.append({"chunk": at, "kind": kind, "group": group, "n": len(own), "purity": purity})
    given_group = np.array([kept.groups.get(one, NOISE - 1) for one in given], np.int32)
    members = truth != NOISE
    kept.counts["settled_right"] += int((members & (given != "") & (given_group == truth)).sum())
    kept.counts["settled_wrong"] += int((members & (given != "") & (given_group != truth)).sum())
    kept.counts["settled_noise"] += int((~members & (given != "")).sum())


def figures(kept: Registry, n: int) -> Told:
    """Counts as shares, and births by kind."""
    counts = kept.counts
    came = counts["came_right"] + counts["came_wrong"] + counts["came_waits"]
    new = [one for one in kept.born if one["kind"] == "new" and one["group"] >= GROUPS]
    middle = n // 2 // CHUNK
    return {
        "first_run": {name: counts[f"first_run_{name}"] for name in ("clusters", "groups", "noise")},
        "s_per_million": round(kept.assign_s / n * 1e6, 2),
        "assigned": {name: round(counts[f"came_{name}"] / came, 4) for name in ("right", "wrong", "waits")},
        "noise_assigned": round(counts["noise_assigned"] / counts["noise"], 4),
        "in_the_end": {name: counts[f"settled_{name}"] for name in ("right", "wrong", "noise")},
        "buffer": {"times": len(kept.settle_s), "s": kept.settle_s, "waits_at_the_end": sum(map(len, kept.rows))},
        "new_groups": {
            "planted": NEW, "found": len({one["group"] for one in new}),
            "chunks_until": sorted(one["chunk"] - middle + 1 for one in new),
            "least_purity": min((one["purity"] for one in new), default=None),
        },
        "born": dict(Counter(one["kind"] for one in kept.born)),
        "sessions_born_of_noise": sum(one["n"] for one in kept.born if one["kind"] == "noise"),
    }  # fmt: skip


def tally(name: str, known: NDArray[np.bool_], truth: Labels, groups: Labels) -> dict[str, int]:
    """Of sessions whose group has a cluster: to it, to another, to none."""
    right, none = known & (groups == truth), known & (groups == NOISE - 1)
    return {
        f"{name}_right": int(right.sum()),
        f"{name}_wrong": int((known & ~right & ~none).sum()),
        f"{name}_waits": int(none.sum()),
    }


def groups_of(kept: Registry) -> list[int]:
    """Groups that have a cluster."""
    return sorted(set(kept.groups.values()) - {NOISE})


def as_known(one: Standing) -> Known:
    """The registry's record, without sessions: the buffer holds none of them."""
    return Known(
        cluster_id=one.cluster_id, embedder=one.embedder, centroid=one.centroid, radius=one.radius,
        members=frozenset(), state=one.state, n=one.n, of=one.of, last_run_ns=one.last_run_ns,
    )  # fmt: skip


def silent(stage: str, done: int, total: int) -> None:
    """Nothing to tell."""


def _most(truth: Labels) -> int:
    names, counts = np.unique(truth, return_counts=True)
    return int(names[counts.argmax()])


def _unit(rows: NDArray[np.float32]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
