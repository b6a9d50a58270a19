"""Do clusters keep their ids? Weeks of one population, each with a fifth of its sessions replaced by others.

python -m benchmarks.clustering.identity [--embedder tfidf|minilm] [--weeks 4] [--corpora banking77,clinc150]

resampled: four fifths of a corpus are a week's sessions, of which a fifth leaves and comes from the rest every week;
`kept` is the share of a week's clusters whose id the next week has too, `right` the share of those whose most frequent
intent is the same. nothing_shared: two halves without a common session, matched by centroids alone. other_version: the
same sessions clustered by vectors of another fit of the embedder, matched by sessions alone. assigned: the second half
by radius to the clusters of the first, against their most frequent intents. The bars of matching are the product's, and
so is that a merge is believed when three runs say it (without_holding: at once); by_tau repeats the matching of the
same clusters at other bars. planted: groups on the sphere, of which some are two ends with a bridge of sessions between
them in the one week, and without the bridge in the other: forward they split, backward they merge.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.clustering import corpora
from benchmarks.evaluators.throughput import ROOT, commit, machine
from clustering.density import cluster
from clustering.embedders import tfidf
from clustering.holding import held_apart
from clustering.incremental import assign, shapes
from clustering.lineage import match
from clustering.lineage_records import DAY_NS, Found, Known, Lineage, Look, Matching, Standing
from clustering.records import Labels, Params, State, Vectors

RESULT: Final = ROOT / "benchmarks" / "results" / "clustering_identity.json"
IN_USE: Final = 0.8
REPLACED: Final = 0.2
TAUS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
GROUPS: Final = 40
PAIRS: Final = 12
WEEK_NS: Final = 7 * DAY_NS
Told = dict[str, Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Week:
    """One run: its sessions (rows of the corpus), their vectors and labels, the clusters, the space; the groups of all
    rows of the corpus."""

    rows: Rows
    vectors: Vectors
    labels: Labels
    truth: Labels
    found: list[Found]
    space: str = "one"

    @property
    def group(self) -> dict[int, int]:
        """The most frequent group of each cluster."""
        return {one.label: most(self.truth, one) for one in self.found}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="tfidf", choices=corpora.EMBEDDERS)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--corpora", default="banking77,clinc150")
    args = parser.parse_args()
    began = time.process_time()
    told = {name: of_corpus(name, args.embedder, args.weeks) for name in args.corpora.split(",")}
    result: Told = {
        "what": "share of clusters that keep their id from week to week; splits and merges reported",
        "command": f"python -m benchmarks.clustering.identity --embedder {args.embedder} --weeks {args.weeks} "
        f"--corpora {args.corpora}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "corpora": told,
        "planted": planted(),
        "cpu_s": round(time.process_time() - began),
    }
    place = RESULT if args.embedder == "tfidf" else RESULT.with_stem(f"{RESULT.stem}_{args.embedder}")
    place.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def of_corpus(name: str, embedder: str, n_weeks: int) -> Told:
    """All three questions of one corpus."""
    corpus = {"banking77": corpora.banking77, "clinc150": corpora.clinc150}[name]()
    vectors, _ = corpora.vectors_of(corpus, embedder)
    weeks = [week(vectors, corpus.truth, rows) for rows in resampled(len(vectors), n_weeks)]
    told: Told = {"resampled": followed(weeks, Matching())}
    print(json.dumps({name: told}), flush=True)
    order = np.random.default_rng(3).permutation(len(vectors))
    halves = [week(vectors, corpus.truth, np.sort(half)) for half in np.array_split(order, 2)]
    told["nothing_shared"] = followed(halves, Matching())
    told["assigned"] = by_radius(halves[0], vectors[halves[1].rows], corpus.truth[halves[1].rows])
    if embedder == "tfidf":
        texts = [corpus.texts[at] for at in halves[0].rows]
        other = tfidf.TfidfSvd(tfidf.fitted(texts, silent)).embed(corpus.texts, silent)
        after = replace(week(other, corpus.truth, weeks[0].rows), space="other")
        told["other_version"] = followed([weeks[0], after], Matching())
    told["resampled_without_holding"] = followed(weeks, Matching(), holding=False)
    told["by_tau"] = {str(tau): followed(weeks, Matching(tau=tau)) for tau in TAUS}
    told["by_tau_nothing_shared"] = {str(tau): followed(halves, Matching(tau=tau)) for tau in TAUS}
    return told


def resampled(n: int, n_weeks: int) -> list[Rows]:
    """The rows of each week."""
    chance = np.random.default_rng(7)
    inside = np.zeros(n, dtype=np.bool_)
    inside[chance.permutation(n)[: round(IN_USE * n)]] = True
    weeks = [np.flatnonzero(inside)]
    for _ in range(n_weeks - 1):
        gone = chance.choice(np.flatnonzero(inside), round(REPLACED * inside.sum()), replace=False)
        come = chance.choice(np.flatnonzero(~inside), len(gone), replace=False)
        inside[gone], inside[come] = False, True
        weeks.append(np.flatnonzero(inside))
    return weeks


def week(vectors: Vectors, truth: Labels, rows: Rows) -> Week:
    """A run over some rows, as the product does it."""
    labels = cluster(vectors[rows], Params(), silent).given
    return with_labels(
        Week(rows=rows, vectors=vectors[rows], labels=labels, truth=truth, found=[]), labels, frozenset()
    )


def with_labels(one: Week, labels: Labels, apart: frozenset[int]) -> Week:
    """The week with these clusters."""
    names = [str(row) for row in one.rows]
    found = shapes(one.vectors, labels, names, failed=[None] * len(names), held=apart)
    return replace(one, labels=labels, found=found)


def followed(weeks: Sequence[Week], params: Matching, *, holding: bool = True) -> Told:
    """What became of the clusters of each week."""
    return counted(*chain(weeks, params, holding=holding))


def chain(weeks: Sequence[Week], params: Matching, *, holding: bool = True) -> tuple[list[Week], list[Lineage]]:
    """The weeks matched one after the other, each against all clusters known until then, as the product does it.
    Without `holding` two that are found as one are one at once."""
    registry: list[Known] = []
    lineages: list[Lineage] = []
    kept: list[Week] = []
    seen: dict[str, str] = {}  # by session its newest cluster
    for number, one in enumerate(weeks):
        registry = [replace(each, members=still(seen, each.cluster_id, one)) for each in registry]
        kept.append(parted(one, registry, params) if holding else one)
        lineages.append(matched(registry, kept, number, lineages[-1].next_number if lineages else 1, params))
        ids = lineages[-1].given
        for row in one.rows:
            seen.pop(str(row), None)
        seen |= {session: ids[each.label] for each in kept[-1].found for session in each.members}
        registry = [as_known(standing) for standing in lineages[-1].standings]
    return kept, lineages


def parted(one: Week, known: Sequence[Known], params: Matching) -> Week:
    """With clusters that were found inside another held apart."""
    names = [str(row) for row in one.rows]
    done = held_apart(one.vectors, one.labels, names, known, space=one.space, params=params)
    return with_labels(one, done.labels, done.apart)


def matched(known: list[Known], weeks: Sequence[Week], number: int, next_number: int, params: Matching) -> Lineage:
    """One week against the registry."""
    one = weeks[number]
    before = set(weeks[number - 1].rows.tolist()) if number else set()
    fresh = {str(row) for row in one.rows.tolist() if row not in before} if number else set()
    found = [replace(each, n_new=len(each.members & fresh)) for each in one.found]
    look = Look(
        at_ns=(number + 1) * WEEK_NS, start_ns=number * WEEK_NS, since_ns=number * WEEK_NS, embedder=one.space,
        n=len(one.rows), n_new=len(fresh),
    )  # fmt: skip
    return match(known, found, look=look, next_number=next_number, params=params)


def counted(weeks: Sequence[Week], lineages: Sequence[Lineage]) -> Told:
    """What became of the clusters of each week but the last."""
    n_kept = n_right = n_clusters = 0
    for (one, lineage), (after, later) in pairwise(zip(weeks, lineages, strict=True)):
        then = {cluster_id: after.group[label] for label, cluster_id in later.given.items()}
        n_clusters += len(lineage.given)
        kept = [label for label, cluster_id in lineage.given.items() if cluster_id in then]
        n_kept += len(kept)
        n_right += sum(one.group[label] == then[lineage.given[label]] for label in kept)
    kinds = Counter(event.kind.value for lineage in lineages[1:] for event in lineage.events)
    return {
        "weeks": len(weeks), "clusters": [len(one.found) for one in weeks],
        "noise": [round(1 - sum(each.n for each in one.found) / len(one.rows), 3) for one in weeks],
        "kept": round(n_kept / n_clusters, 4), "right": round(n_right / max(1, n_kept), 4), "events": dict(kinds),
    }  # fmt: skip


def by_radius(one: Week, vectors: Vectors, truth: Labels) -> Told:
    """The other half assigned to the clusters of the first: to one of their intent, to another, to none."""
    centroids = np.stack([each.centroid for each in one.found])
    radii = np.array([each.radius for each in one.found], np.float32)
    given = assign(vectors, centroids, radii)
    index, confidence = given.index, given.confidence
    groups = np.array([one.group[each.label] for each in one.found] + [-1])[index]
    right, none = groups == truth, index < 0
    return {
        "n": len(truth), "right": round(float(right.mean()), 4), "wrong": round(float((~right & ~none).mean()), 4),
        "waits": round(float(none.mean()), 4), "median_radius": round(float(np.median(radii)), 3),
        "confidence_right": round(float(confidence[right].mean()), 3),
        "confidence_wrong": round(float(confidence[~right & ~none].mean()), 3),
    }  # fmt: skip


def still(seen: dict[str, str], cluster_id: str, one: Week) -> frozenset[str]:
    """Sessions of a week whose newest membership is in the cluster."""
    return frozenset(name for name in map(str, one.rows) if seen.get(name) == cluster_id)


def as_known(standing: Standing) -> Known:
    """The registry's record; its members are looked up later."""
    return Known(
        cluster_id=standing.cluster_id, embedder=standing.embedder, centroid=standing.centroid, radius=standing.radius,
        members=frozenset(), state=standing.state, n=standing.n, of=standing.of, failure=standing.failure,
        last_run_ns=standing.last_run_ns, alive=standing.alive, excess=standing.excess, held=standing.held,
    )  # fmt: skip


def planted() -> Told:
    """Pairs that split and pairs that merge, among groups that stay."""
    vectors, truth, bridge = bridged()
    rows = np.arange(len(vectors))
    stays = np.random.default_rng(9).random(len(rows)) >= REPLACED
    one = week(vectors, truth, rows[stays | bridge])
    other = week(vectors, truth, rows[~bridge])
    return {"groups": GROUPS, "pairs": PAIRS} | {
        "split": reported([one, other], State.SPLIT), "merged": reported([other, one, one, one], State.MERGED)
    }  # fmt: skip


def reported(weeks: Sequence[Week], kind: State) -> Told:
    """Of pairs that were one cluster in the one week and two in the other, those reported as `kind`, in which week; and
    others so reported."""
    joined, apart = (weeks[0], weeks[1]) if kind is State.SPLIT else (weeks[1], weeks[0])
    expected = {pair for pair in range(PAIRS) if is_one(joined, pair) and not is_one(apart, pair)}
    kept, lineages = chain(weeks, Matching())
    groups: dict[str, int] = {}
    for one, lineage in zip(kept, lineages, strict=True):
        groups = {cluster_id: one.group[label] for label, cluster_id in lineage.given.items()} | groups
    told = [
        {groups[event.cluster_id] // 2 for event in lineage.events if event.kind is kind} for lineage in lineages[1:]
    ]
    every = set().union(*told)
    return {
        "found_by_the_density": len(expected), "reported": len(every & expected),
        "reported_by_week": [len(one & expected) for one in told], "others_reported": len(every - expected),
        "figures": counted(kept, lineages),
    }  # fmt: skip


def is_one(one: Week, pair: int) -> bool:
    """Whether the two ends of a pair are mostly in the same cluster of a week."""
    homes = []
    for end in (2 * pair, 2 * pair + 1):
        labels = one.labels[one.truth[one.rows] == end]
        homes.append(int(np.bincount(labels + 1).argmax()) - 1)
    return homes[0] == homes[1] >= 0


def bridged() -> tuple[Vectors, Labels, NDArray[np.bool_]]:
    """Rows (n, 384) of length 1, the group of each (0 and 1 are the first pair's ends), and which are of a bridge."""
    chance = np.random.default_rng(12)
    dims, spread = 384, 0.6 / np.sqrt(384)
    rows, truth, bridge = [], [], []
    for group in range(PAIRS + GROUPS):
        one, other = (made / np.linalg.norm(made) for made in chance.normal(size=(2, dims)))
        paired = group < PAIRS
        at = chance.uniform(0, 1, 120) if paired else np.zeros(50)
        middles = np.outer(1 - at, one) + np.outer(at, (one + other) / np.sqrt(2))
        rows.append(middles + chance.normal(scale=spread, size=middles.shape))
        truth += [2 * group + int(each > 0.5) if paired else 2 * (PAIRS + group) for each in at]
        bridge += [paired and 0.3 < each < 0.7 for each in at]
    vectors = np.concatenate(rows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.array(truth, np.int32), np.array(bridge)


def most(truth: Labels, one: Found) -> int:
    """The most frequent group of a cluster's sessions; of equals the first."""
    counts = Counter(int(truth[int(name)]) for name in one.members)
    return min(counts, key=lambda group: (-counts[group], group))


def silent(stage: str, done: int, total: int) -> None:
    """Nothing to tell."""


if __name__ == "__main__":
    main()
