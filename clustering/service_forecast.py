"""What a run would take, without doing it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from clustering.embedders import table
from clustering.embedders.protocol import Place
from clustering.known_share import warnings
from clustering.params import params_of
from clustering.sizes import method_for, min_cluster_size
from store.cluster_counts import n_embedded, n_sessions_of, n_told
from store.control.cluster_records import ClusterRunRecord
from store.session_failures import ToldBy
from store.tenant import TenantStore

_BEGINS: Final = {"minilm": "all-MiniLM", "tfidf": "tfidf-svd/", "endpoint": "endpoint/"}  # the versions of each


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`n_to_embed` of `n_sessions` have no embedding of this embedder yet; of `n_known` a score says whether they
    failed. `method` None: there are too few."""

    n_sessions: int
    n_known: int
    n_to_embed: int
    embedder: str
    method: str | None
    min_cluster_size: int
    says: tuple[str, ...]


def foreseen(store: TenantStore, run: ClusterRunRecord, place: Place, runs: Collection[str] = ()) -> Forecast:
    """What `run` would take; trials of evaluation `runs` are left out. Raises InvalidInput, EmbedderMissing."""
    params = params_of(run.params)
    embedder = table.resolved(params.embedder, place)
    n = n_sessions_of(store, run.app, run.window, runs)
    begins = _BEGINS.get(embedder, embedder)
    known = [count for version, count in n_embedded(store, run.app, run.window).items() if version.startswith(begins)]
    size = min_cluster_size(n, params)
    enough = n >= 2 * size
    n_known = n_told(store, run.app, run.window, runs, told_by=ToldBy(evaluator=run.failure))
    says = warnings(n_known, n, run.failure)
    if not n:
        says.append(
            f"no session of {run.app[:80]} began in this window; assay sessions list --app shows those there are"
        )
    elif not enough:
        says.append(f"{n} sessions are too few: {size} alike are the smallest cluster; take a longer window")
    if embedder == "tfidf" and known:
        says.append("a fit that these sessions have outgrown is made anew, and all of them are embedded again then")
    return Forecast(
        n_sessions=n,
        n_known=n_known,
        n_to_embed=max(0, n - max(known, default=0)),
        embedder=embedder,
        method=method_for(n, params).value if enough else None,
        min_cluster_size=size,
        says=tuple(says),
    )
