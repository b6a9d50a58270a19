"""100,000 vectors of 384 numbers to named clusters: time and memory, ours beside UMAP + HDBSCAN as published.

python -m benchmarks.clustering.hundred_thousand [--rows 100000] [--limit 360]

Two sets. planted: 150 groups with sizes by Zipf and 15% noise on the sphere, so the truth is known. texts: requests of
banking77 and clinc150 embedded by MiniLM, filled up with points between two of one intent, so that groups overlap as
real ones do; ours names the clusters by their terms there as well. Each method runs in a process of its own that reads
the vectors from disk; `s` are seconds from the call to its end, `whole_s` those of the process with its imports,
`cpu_s` those of all threads together, `peak_mib` the greatest resident memory. The published pipeline is BERTopic's:
UMAP(15 neighbours, 5 dimensions, cosine, no seed), HDBSCAN(smallest cluster 10); on the same places fast-hdbscan first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clustering.records import Clustered, Labels, Params, Vectors

RESULT: Final = Path(__file__).resolve().parents[1] / "results" / "clustering_hundred_thousand.json"
DIMS: Final = 384
GROUPS: Final = 150
NOISY: Final = 0.15
METHODS: Final = ("ours", "ours_again", "evoc", "umap_hdbscan")
Told = dict[str, Any]


def main() -> None:
    """Measures and writes the result; with --child one method of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--limit", type=float, default=360.0, help="seconds for one method")
    parser.add_argument("--sets", default="planted,texts")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one_method(args.child, args.folder)
        return
    from benchmarks.evaluators.throughput import commit, machine

    result: Told = {
        "what": f"{args.rows} vectors of {DIMS} numbers to labels",
        "command": f"python -m benchmarks.clustering.hundred_thousand --rows {args.rows} --limit {args.limit:.0f}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "sets": {name: measured(name, args) for name in args.sets.split(",")},
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(name: str, args: argparse.Namespace) -> Told:
    """Every method on one set."""
    from benchmarks.clustering import scoring

    vectors, truth, texts = planted(args.rows) if name == "planted" else between_texts(args.rows)
    told: Told = {"n": len(vectors), "groups": int(truth.max()) + 1, "outside": scoring.share(truth < 0)}
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        np.save(folder / "vectors.npy", vectors)
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        del vectors, texts
        for method in args.methods.split(","):
            told[method] = child(method, folder, truth, args.limit)
            print(json.dumps({name: {method: told[method]}}), flush=True)
        both = [folder / f"{one}.npy" for one in ("ours", "ours_again")]
        if all(one.exists() for one in both):
            told["same_each_time"] = bool(np.array_equal(np.load(both[0]), np.load(both[1])))
    return told


def child(method: str, folder: Path, truth: Labels, limit: float) -> Told:
    """One method in its own process; what it had to say, or that the time was up."""
    from benchmarks.clustering import scoring

    words = [sys.executable, "-m", "benchmarks.clustering.hundred_thousand", "--child", method, "--folder", str(folder)]
    began = time.perf_counter()
    try:
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as late:
        told = (late.stdout or b"").decode().splitlines()
        return {"not_done_in_s": limit} | (json.loads(told[-1]) if told else {})
    whole = time.perf_counter() - began
    labels = np.load(folder / f"{method}.npy")
    inside = truth >= 0
    return {
        **json.loads(done.stdout.splitlines()[-1]),
        "whole_s": round(whole, 1),
        **scoring.scores(np.where(inside, truth, truth.max() + 1), labels),
        "ari_inside": scoring.scores(truth[inside], labels[inside])["ari"],
        "noise_inside": scoring.share(labels[inside] < 0),
    }


def one_method(method: str, folder: Path) -> None:
    """Labels to the folder, time and memory to standard output."""
    vectors = np.load(folder / "vectors.npy")
    stages: dict[str, float] = {}
    used: dict[str, Any] = {}
    began = time.perf_counter()
    if method == "umap_hdbscan":
        labels = published(vectors, stages, began)
    elif method == "evoc":
        from clustering.fast import evoc

        labels = np.asarray(evoc(vectors, Params(), 5).labels_, np.int32)
    else:
        from clustering.density import cluster

        found = cluster(vectors, Params(), silent)
        labels, used = found.labels, dict(found.used)
        stages["labels_s"] = round(time.perf_counter() - began, 1)
        named(found, vectors, folder)
        stages["names_s"] = round(time.perf_counter() - began - stages["labels_s"], 1)
    seconds, cpu = time.perf_counter() - began, time.process_time()
    np.save(folder / f"{method}.npy", labels)
    # Of this program alone: ru_maxrss begins at what the process that started it held.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    print(
        json.dumps(
            {"s": round(seconds, 1), "cpu_s": round(cpu, 1), "peak_mib": round(peak), "stages": stages, "used": used}
        )
    )


def named(found: Clustered, vectors: Vectors, folder: Path) -> None:
    """Terms, exemplars and topics of the clusters, where the rows have texts."""
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    if not texts:
        return
    import polars as pl

    from clustering.naming import name

    empty = [""] * len(texts)
    users = [f"user-{at}" for at in range(len(texts))]
    frame = pl.DataFrame({"user_id": users, "intent": texts, "actions": empty, "outcome": empty})
    name(frame, vectors, found.labels, found.confidence, rng=np.random.default_rng(0), progress=silent)


def published(vectors: Vectors, stages: dict[str, float], began: float) -> Labels:
    """UMAP and HDBSCAN with the arguments BERTopic gives them where its user gives none."""
    import fast_hdbscan
    import hdbscan
    import umap

    places = umap.UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine").fit_transform(vectors)
    stages["umap_s"] = round(time.perf_counter() - began, 1)
    fast_hdbscan.HDBSCAN(min_cluster_size=10).fit(places)
    stages["fast_hdbscan_s"] = round(time.perf_counter() - began - stages["umap_s"], 1)
    print(json.dumps({"stages": stages}), flush=True)  # what is known if the time is up before the end
    second = time.perf_counter()
    model = hdbscan.HDBSCAN(min_cluster_size=10, prediction_data=True).fit(places)
    stages["hdbscan_s"] = round(time.perf_counter() - second, 1)
    return np.asarray(model.labels_, np.int32)


def planted(n: int) -> tuple[Vectors, Labels, list[str]]:
    """Groups around random directions, sizes by Zipf, and noise: rows (n, 384) of length 1 and their groups, -1 none.

    A member's cosine with its group's centre is about .7, with another member .5: what MiniLM gives requests of one
    intent. Noise lies around the middle of two centres, at the same distance.
    """
    rng = np.random.default_rng(5)
    centres = unit(rng.normal(size=(GROUPS, DIMS)))
    outside = round(NOISY * n)
    sizes = 1.0 / np.arange(1, GROUPS + 1)
    truth = np.sort(rng.choice(GROUPS, n - outside, p=sizes / sizes.sum()))
    truth = np.concatenate([truth, np.full(outside, -1)]).astype(np.int32)
    pairs = rng.choice(GROUPS, (outside, 2))
    middles = np.concatenate([centres[truth[truth >= 0]], unit(centres[pairs[:, 0]] + centres[pairs[:, 1]])])
    rows = unit(middles + rng.normal(scale=1.0 / np.sqrt(DIMS), size=(n, DIMS)))
    order = rng.permutation(n)
    return rows[order].astype(np.float32), truth[order].astype(np.int32), []


def between_texts(n: int) -> tuple[Vectors, Labels, list[str]]:
    """Requests, then points between two of one intent: rows (n, 384) of length 1 and their intents."""
    from benchmarks.clustering import corpora

    rng = np.random.default_rng(6)
    sets = [corpora.banking77(), corpora.clinc150()]
    vectors = np.concatenate([corpora.vectors_of(one, "minilm")[0] for one in sets])
    truth = np.concatenate([sets[0].truth, sets[1].truth + sets[0].truth.max() + 1])
    order = np.argsort(truth, kind="stable")
    starts, counts = np.searchsorted(truth[order], truth), np.bincount(truth)[truth]
    one = rng.choice(len(truth), max(0, n - len(truth)))
    other = order[starts[one] + (rng.random(len(one)) * counts[one]).astype(np.int64)]
    share = rng.uniform(0.5, 1.0, size=(len(one), 1))
    made = unit(share * vectors[one] + (1 - share) * vectors[other])
    made = unit(made + rng.normal(scale=0.25 / np.sqrt(DIMS), size=made.shape))  # no two are the same
    rows = np.concatenate([vectors, made])[:n].astype(np.float32)
    said = [text for corpus in sets for text in corpus.texts]
    texts = [*said, *(said[at] for at in one)][:n]
    return rows, np.concatenate([truth, truth[one]])[:n].astype(np.int32), texts


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each of length 1."""
    scaled: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def silent(stage: str, done: int, total: int) -> None:
    """Nothing to tell."""


if __name__ == "__main__":
    main()
