"""Sessions that fitted nowhere, clustered again: the only way in which clusters are born between runs over a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from clustering import naming
from clustering.buffer import Settled, settle
from clustering.density import cluster
from clustering.lineage_records import Lineage
from clustering.params import params_of
from clustering.records import NOISE, Labels
from clustering.registry import event_of, known_of, record_of
from clustering.service_profile import Profiles
from clustering.service_run import Means, Read, failures_known, look_of, numbered, read_sessions
from clustering.sizes import min_cluster_size
from clustering.stages import Stages, quiet
from clustering.written import said_in_words
from core.memory import peak_bytes
from store.control.cluster_records import ClusterRecord, ClusterRunRecord, Concluded
from store.memberships import COLUMNS, newest_memberships, user_hash, write_memberships
from store.session_failures import ToldBy


def over_waiting(run: ClusterRunRecord, means: Means, stages: Stages) -> ClusterRunRecord:
    """Clusters what waits in the run's window; births, and sessions that join at a cluster's rim, are written."""
    params = params_of(run.params)
    rows = newest_memberships(means.store, run.app, run.window, told_by=ToldBy(evaluator=run.failure))
    waits = rows.filter(pl.col("waiting"))
    read = read_sessions(run, params, means, stages, session_ids=waits["session_id"].to_list())
    registry = means.control.clusters(run.tenant, run.app)
    settled = _settled(run, read, registry, rows, means, stages)
    born = dict(enumerate(id_ for _, id_ in sorted(settled.lineage.given.items())))
    labels = _labels(settled, born)
    names = naming.name(
        read.frame, read.vectors, labels, np.where(labels == NOISE, 0.0, 1.0).astype(np.float32),
        rng=np.random.default_rng(params.seed), progress=stages,
        embed=lambda texts: read.embedder.embed(texts, quiet), model=means.model,
    )  # fmt: skip
    stages("write", 1, 1)
    now = means.clock()
    joined = _memberships(run, read, settled, names, labels)
    if joined.height:
        write_memberships(means.store, joined, now_ns=now)
    made = _records(run, read, settled, born, labels, names, {one.cluster_id: one for one in registry}, now)
    ended = replace(
        run, embedder=read.embedder.version, n_sessions=read.frame.height, n_noise=settled.n_waiting,
        n_clusters=len(settled.lineage.given), stages=stages.records, peak_bytes=peak_bytes(),
        used={"joined": settled.joined} | failures_known(read.frame),
    )  # fmt: skip
    done = Concluded(
        run=ended,
        clusters=tuple(made),
        events=tuple(event_of(one) for one in settled.lineage.events),
        told={"waiting_at_ns": now, "n_waiting": settled.n_waiting},
    )
    return means.control.conclude_cluster_run(done, n_tries=run.n_tries)


def _settled(
    run: ClusterRunRecord,
    read: Read,
    registry: list[ClusterRecord],
    rows: pl.DataFrame,
    means: Means,
    stages: Stages,
) -> Settled:
    params = params_of(run.params)
    failed = read.frame["failed"].to_list()
    look = look_of(run, read.space, rows["at_ns"], rows["failed"].to_list(), means)
    known = known_of(registry, rows)
    size = min_cluster_size(read.frame.height, params)
    found: list[Settled] = []

    def matched(first: int) -> Lineage:
        one = settle(
            read.vectors,
            read.frame["session_id"].to_list(),
            failed=failed,
            known=known,
            cluster=lambda vectors: cluster(vectors, params, stages).given,
            look=look,
            next_number=first,
            least=2 * size,
        )
        found[:] = [one]
        return one.lineage

    numbered(means.control, run, matched)
    return found[0]


def _labels(settled: Settled, born: Mapping[int, str]) -> Labels:
    """(n,): the number in `born` of each session's cluster, NOISE where it waits on or joined a living one."""
    label_of = {cluster_id: label for label, cluster_id in born.items()}
    return np.array([NOISE if one is None else label_of.get(one, NOISE) for one in settled.given], np.int32)


def _memberships(
    run: ClusterRunRecord, read: Read, settled: Settled, names: naming.Names, labels: Labels
) -> pl.DataFrame:
    """Rows of those that wait no more."""
    rank = {row: number for one in names.clusters for number, row in enumerate(one.exemplars)}
    frame, n = read.frame, read.frame.height
    rows = pl.DataFrame(
        {
            "session_id": frame["session_id"],
            "at_ns": frame["start_ns"],
            "app": frame["app"],
            "run_id": [run.run_id] * n,
            "embedder": [read.embedder.version] * n,
            "cluster_id": list(settled.given),
            "confidence": [0.5 if label == NOISE else 1.0 for label in labels.tolist()],
            "waiting": [False] * n,
            "exemplar": [rank.get(row) for row in range(n)],
            "x": [None] * n,
            "y": [None] * n,
            "failed": frame["failed"],
            "user_hash": [user_hash(one) for one in frame["user_id"].to_list()],
        },
        schema=COLUMNS,
        strict=False,
    )
    return rows.filter(pl.col("cluster_id").is_not_null())


def _records(
    run: ClusterRunRecord,
    read: Read,
    settled: Settled,
    born: Mapping[int, str],
    labels: Labels,
    names: naming.Names,
    known: dict[str, ClusterRecord],
    now_ns: int,
) -> list[ClusterRecord]:
    """Those that were born or came back; others stay as the last run over a window left them."""
    starts, made = read.frame["start_ns"].to_numpy(), []
    number_of = {cluster_id: number for number, cluster_id in born.items()}
    for one in settled.lineage.standings:
        if one.cluster_id not in number_of:
            continue
        number = number_of[one.cluster_id]
        mine = labels == number
        said = said_in_words(number, names, born, None, Profiles(), read.frame, mine)
        seen = (int(starts[mine].min()), int(starts[mine].max()))
        made.append(record_of(one, known.get(one.cluster_id), run=run, said=said, seen=seen, now_ns=now_ns))
    return made
