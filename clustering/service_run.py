"""One run: sessions read, embedded, clustered, named, matched to the registry, and written down.

Embeddings are kept as they are made, so that a run that was killed goes on behind them; the later stages give the same
again. Who is where is written to the lake first, then all else in one transaction of the control database: a process
killed between the two does both again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from clustering import naming
from clustering.density import cluster
from clustering.embedders import table
from clustering.embedders.embedding import weighted
from clustering.embedders.protocol import Embedder, Place
from clustering.facets import facets_and_usual
from clustering.holding import held_apart, sure_of_held
from clustering.incremental import shapes
from clustering.lineage import match
from clustering.lineage_records import Failure, Known, Lineage, Look, space_of
from clustering.model import ModelAccess
from clustering.params import params_of
from clustering.records import Clustered, Params, Vectors
from clustering.reduction import map_of
from clustering.registry import event_of, known_of, record_of
from clustering.retelling import words_used
from clustering.service_embeddings import embedded
from clustering.service_marks import Begun, begun
from clustering.service_profile import JudgesOf, Profiles, nobody, profiles_of
from clustering.stability import stability
from clustering.stages import Stages, quiet
from clustering.titles import Title, TitleBy
from clustering.traffic import runs_of
from clustering.usual import Usual, usual_from
from clustering.written import memberships, said_in_words
from core.clock import Clock
from core.errors import Conflict
from core.memory import peak_bytes
from store.control.cluster_records import ClusterRecord, ClusterRunRecord, Concluded, Scope
from store.control.control import Control
from store.memberships import newest_memberships, write_memberships
from store.tenant import TenantStore

_TRIES: Final = 5  # at giving numbers, where another run gives some, too


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a run works with. `place` says where embedders keep what they learned; `model` None: terms name clusters;
    `judges` gives the certified judges' errors in a window."""

    control: Control
    store: TenantStore
    place: Place
    model: ModelAccess | None
    clock: Clock
    monotonic: Callable[[], float]
    judges: JudgesOf = nobody
    stopping: Callable[[], bool] = lambda: False


@dataclass(frozen=True, kw_only=True)
class Read:
    """The sessions of a run: facets, vectors (n, 3d) by which they are compared, the space that these are of,
    and what is usual among them."""

    frame: pl.DataFrame
    vectors: Vectors
    embedder: Embedder
    space: str
    usual: Usual


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What clustering found: labels, their stability (k,), places on the map (n, 2), and labels held `apart`."""

    clustered: Clustered
    stability: Sequence[float | None]
    places: Vectors
    apart: frozenset[int] = frozenset()


def carry_out(run: ClusterRunRecord, means: Means) -> ClusterRunRecord:
    """Works on a run that its caller has taken, to its end; as it ended.

    Raises Cancelled where it was ended from outside, Conflict where another process has it by now, and what embedders
    raise (InvalidInput, EmbedderFailed, DimensionChanged), StorageFailed, Corrupt.
    """
    stages = Stages(_noting(run, means), means.monotonic, means.stopping)
    began = begun(means.control, means.store, run)  # sessions that come from now on are not in this run
    match run.scope:
        case Scope.WINDOW:
            return over_window(run, means, stages, began)
        case Scope.WAITING:
            from clustering.service_waiting import over_waiting

            return over_waiting(run, means, stages)


def over_window(run: ClusterRunRecord, means: Means, stages: Stages, began: Begun) -> ClusterRunRecord:
    """Every session of the window."""
    params = params_of(run.params)
    read = read_sessions(run, params, means, stages)
    placed = _placed(read, params, stages)
    registry = means.control.clusters(run.tenant, run.app)
    placed_before = newest_memberships(means.store, run.app, run.window, told_by=None) if registry else None
    before = [] if placed_before is None else known_of(registry, placed_before)
    placed = _held(placed, read, before)
    lineage = _lineage(run, read, placed, before, means, stages)
    known = {one.cluster_id: one for one in registry}
    names = naming.name(
        read.frame,
        read.vectors,
        placed.clustered.given,
        placed.clustered.confidence,
        rng=np.random.default_rng(params.seed),
        progress=stages,
        embed=lambda texts: read.embedder.embed(texts, quiet),
        model=means.model,
        known=_titles(lineage, known),
    )
    profiles = profiles_of(means.store, run, read.frame, placed.clustered.given, means.judges, stages)
    stages("write", 0, 1)
    now = means.clock()
    made = _records(run, read, placed, lineage, names, profiles, known, now)
    # Behind this nobody asks whether it is to end: sessions would stay in clusters that never were.
    stages("write", 1, 1)
    write_memberships(means.store, memberships(run, read, placed, lineage.given, names), now_ns=now)
    return means.control.conclude_cluster_run(
        _concluded(run, read, placed, lineage, made, began, stages, now), n_tries=run.n_tries
    )


def read_sessions(
    run: ClusterRunRecord, params: Params, means: Means, stages: Stages, session_ids: Sequence[str] | None = None
) -> Read:
    """The sessions of a run with their vectors; embeddings that were not there are, when this returns."""
    stages("read", 0, 0)
    whole = run.scope is Scope.WINDOW
    line = None if whole else means.control.cluster_app(run.tenant, run.app)
    frame, usual = facets_and_usual(
        means.store, run.app, run.window, session_ids=session_ids, failure=run.failure,
        usual=None if line is None else usual_from(line.told.get("usual")),
        runs=runs_of(means.control, run.tenant, run.app),
    )  # fmt: skip
    stages("read", frame.height, frame.height)
    found = table.prepared(params.embedder, means.place, frame, stages) if whole else None
    embedder = found or table.current(params.embedder, means.place)
    if embedder is None:
        raise Conflict(f"nothing was fitted to the sessions of {run.app[:80]} yet; run over a window first")
    vectors = embedded(means.store, run.app, run.window, frame, embedder, now_ns=means.clock, progress=stages)
    return Read(
        frame=frame,
        vectors=weighted(vectors, params.weights),
        embedder=embedder,
        space=space_of(embedder.version, params.weights),
        usual=usual,
    )


def numbered(control: Control, run: ClusterRunRecord, matched: Callable[[int], Lineage]) -> Lineage:
    """The lineage that `matched` gives from the next free number on, which is taken then. Raises Conflict where others
    took numbers each time."""
    for _ in range(_TRIES - 1):
        first = control.next_cluster_number(run.tenant)
        lineage = matched(first)
        try:
            if lineage.next_number > first:
                control.claim_cluster_numbers(run.tenant, first, lineage.next_number)
        except Conflict:
            continue
        return lineage
    raise Conflict("other runs gave numbers to clusters at the same time; it is tried again")


def _noting(run: ClusterRunRecord, means: Means) -> Callable[[tuple[Any, ...]], bool]:
    def note(stages: tuple[Any, ...]) -> bool:
        noted = means.control.note_cluster_run(run.tenant, run.run_id, stages, run.n_tries, peak_bytes=peak_bytes())
        return not noted.status.ended

    return note


def _placed(read: Read, params: Params, stages: Stages) -> Placed:
    found = cluster(read.vectors, params, stages)
    rng = np.random.default_rng(params.seed)
    asked = bool(found.n_clusters and params.n_resamples)
    sure = stability(read.vectors, found, params, rng, stages) if asked else np.full(found.n_clusters, np.nan)
    kept = [None if np.isnan(one) else round(float(one), 4) for one in sure]
    return Placed(clustered=found, stability=kept, places=map_of(read.vectors, params.seed, stages))


def _held(placed: Placed, read: Read, known: Sequence[Known]) -> Placed:
    """With known clusters that were found inside another, or in noise, held; how stable those are nobody asked."""
    names = read.frame["session_id"].to_list()
    found = placed.clustered
    done = held_apart(read.vectors, found.given, names, known, space=read.space)
    confidence = sure_of_held(read.vectors, found.given, done.labels, names, found.confidence)
    stable = [*placed.stability, *[None] * len(done.apart)]
    held = replace(found, given=done.labels, confidence=confidence)
    return replace(placed, clustered=held, stability=stable, apart=done.apart)


def _lineage(
    run: ClusterRunRecord, read: Read, placed: Placed, known: Sequence[Known], means: Means, stages: Stages
) -> Lineage:
    stages("lineage", 0, 1)
    frame = read.frame
    failed, starts = frame["failed"].to_list(), frame["start_ns"]
    look = look_of(run, read.space, starts, failed, means)
    new = (starts >= look.since_ns).to_list() if look.since_ns else None
    names, labels = frame["session_id"].to_list(), placed.clustered.given
    found = shapes(read.vectors, labels, names, failed=failed, new=new, held=placed.apart)
    made = numbered(means.control, run, lambda first: match(known, found, look=look, next_number=first))
    stages("lineage", 1, 1)
    return made


def look_of(run: ClusterRunRecord, space: str, starts: pl.Series, failed: Sequence[bool | None], means: Means) -> Look:
    """The figures of a run's whole window, of sessions that began at `starts`; new are those that began since the end
    of the last run over a window."""
    line = means.control.cluster_app(run.tenant, run.app)
    since_ns = 0 if line is None else int(line.told.get("run_until_ns", 0))
    told = [one for one in failed if one is not None]
    return Look(
        at_ns=run.end_ns,
        start_ns=run.start_ns,
        embedder=space,
        n=len(starts),
        since_ns=since_ns,
        n_new=int((starts >= since_ns).sum()) if since_ns else 0,
        failure=Failure(sum(told), len(told)),
    )


def _titles(lineage: Lineage, known: Mapping[str, ClusterRecord]) -> dict[int, Title]:
    """Titles of a model that clusters of this run bore before."""
    found = {}
    for label, cluster_id in lineage.given.items():
        said = known[cluster_id].said if cluster_id in known else {}
        if said.get("title_by") == TitleBy.MODEL.value:
            found[label] = Title(
                text=said["title"], by=TitleBy.MODEL, sentence=said.get("sentence"), auc=said.get("auc")
            )
    return found


def _concluded(
    run: ClusterRunRecord,
    read: Read,
    placed: Placed,
    lineage: Lineage,
    made: Sequence[ClusterRecord],
    began: Begun,
    stages: Stages,
    now_ns: int,
) -> Concluded:
    """The end of a run over a window, from which new sessions are placed by its clusters."""
    ended = replace(
        run,
        embedder=read.embedder.version,
        used=_plain(placed.clustered.used) | words_used(read.embedder) | failures_known(read.frame),
        n_sessions=read.frame.height,
        n_clusters=len(lineage.given),
        n_noise=placed.clustered.n_noise,
        stages=stages.records,
        peak_bytes=peak_bytes(),
    )
    marks, beyond = began.after(read.frame["session_id"].to_list())
    told = {"run_at_ns": now_ns, "run_until_ns": began.until_ns(run), "space": read.space, "params": dict(run.params)}
    told |= {"failure": run.failure, "placed": beyond, "stale_at_ns": 0, "usual": read.usual.as_json()}
    events = tuple(event_of(one) for one in lineage.events)
    return Concluded(run=ended, clusters=tuple(made), events=events, marks=marks, told=told)


def _records(
    run: ClusterRunRecord,
    read: Read,
    placed: Placed,
    lineage: Lineage,
    names: naming.Names,
    profiles: Profiles,
    known: Mapping[str, ClusterRecord],
    now_ns: int,
) -> list[ClusterRecord]:
    starts = read.frame["start_ns"].to_numpy()
    made = []
    for one in lineage.standings:
        said, seen = None, None
        if one.label is not None:
            mine = placed.clustered.given == one.label
            seen = (int(starts[mine].min()), int(starts[mine].max()))
            sure = placed.stability[one.label]
            said = said_in_words(one.label, names, lineage.given, sure, profiles, read.frame, mine)
        made.append(record_of(one, known.get(one.cluster_id), run=run, said=said, seen=seen, now_ns=now_ns))
    return made


def failures_known(frame: pl.DataFrame) -> dict[str, int]:
    """Of how many of a run's sessions it is known whether they failed, and how many did."""
    return {"n_known": int(frame["failed"].count()), "n_failed": int(frame["failed"].sum())}


def _plain(used: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as those of JSON."""
    return {name: value.item() if isinstance(value, np.generic) else _listed(value) for name, value in used.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [one.item() if isinstance(one, np.generic) else one for one in value]
    return value
