"""Reads the points of monitors' series: of each source one query for all monitors with the same buckets and split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from core.windows import Window
from evaluators.catalogue import BY_NAME
from evaluators.records import Direction as Better
from monitors.correction import Correction, corrected
from monitors.definition import BandKind
from monitors.grids import Row
from monitors.mixing import MixWindows, mix_rows
from monitors.series import ATTRIBUTE, Series, Source, key_of
from monitors.service_samples import distributed
from store import monitor_series as read
from store.monitor_series import BucketsAsked
from store.tenant import TenantStore

# Of one evaluator's scores the first of these kinds that there are: who saw how it ended, before who worked it out.
KINDS: Final = ("outcome", "event", "rule", "judge", "human")
MOST_GROUPS: Final = 200  # series of one monitor; of more those with the most observations
MOST_OF_ATTRIBUTE: Final = 50
FAILED_SESSIONS: Final = "failed_sessions"  # of those that called a tool, the share in which a call of it failed


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One monitor's series: what is read of which app, in what buckets, split by what. `band` is its definition's: of a
    distribution it says what is held against what, and `level` which chance counts as none."""

    name: str
    app: str
    spec: Series
    step_s: int
    by: str | None = None
    window: Window
    band: Mapping[str, Any] = field(default_factory=dict)
    level: float = 0.001


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What is known of judges: by name, how the rate of each is corrected, and the rubric of each."""

    corrections: Mapping[str, Correction] = field(default_factory=dict)
    rubrics: Mapping[str, str] = field(default_factory=dict)


Frames = Callable[[TenantStore, BucketsAsked], pl.DataFrame]
_FRAMES: Final[Mapping[Source, Frames]] = {
    Source.TURNS: read.turn_buckets,
    Source.MODEL_CALLS: read.model_buckets,
    Source.SESSIONS: read.session_buckets,
    Source.TOOLS: read.tool_buckets,
    Source.RETRIEVALS: read.retrieval_buckets,
    Source.CLUSTERS: read.cluster_buckets,
}


_MIXES: Final[Mapping[str, tuple[Frames, str | None]]] = {
    "release": (read.turn_buckets, "release"),
    "variant": (read.turn_buckets, "variant"),
    "environment": (read.session_buckets, "environment"),
    "response_model": (read.model_buckets, "model"),
    "cluster": (read.cluster_buckets, None),
}


def rows_of(store: TenantStore, wanted: Sequence[Wanted], judges: Judges | None = None) -> dict[str, list[Row]]:
    """The points of each by its name, in no order."""
    judges = judges or Judges()
    groups: dict[tuple[Any, ...], list[Wanted]] = {}
    found: dict[str, list[Row]] = {one.name: [] for one in wanted}
    for one in wanted:
        if one.spec.source is Source.MIX:
            found[one.name] = _mixed(store, one)
            continue
        if one.band.get("kind") == BandKind.DISTRIBUTION.value:
            found[one.name] = distributed(store, one, KINDS)
            continue
        groups.setdefault((one.spec.source, one.step_s, one.by, _length(one.window)), []).append(one)
    for some in groups.values():
        frame = _frame(store, some, judges)
        for one in some:
            window = one.window
            mine = frame.filter(
                (pl.col("app") == one.app) & (pl.col("at_ns") >= window.start_ns) & (pl.col("at_ns") < window.end_ns)
            )
            found[one.name] = list(_rows(one, _largest(one, mine), judges.corrections))
    return found


def _largest(wanted: Wanted, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of the groups with the most observations: what an attribute says is anybody's word, of which there may
    be one for each session."""
    most = MOST_OF_ATTRIBUTE if (wanted.by or "").startswith(ATTRIBUTE) else MOST_GROUPS
    if wanted.by is None or frame["split"].n_unique() <= most:
        return frame
    sizes = frame.group_by("split").agg(pl.col("n").sum()).sort("n", "split", descending=[True, False])
    return frame.join(sizes.head(most).select("split"), on="split", how="semi", nulls_equal=True)


def _length(window: Window) -> int:
    """Windows of about one length are read together: one of a month is not read for all that ask for two hours."""
    return (window.end_ns - window.start_ns).bit_length()


def _frame(store: TenantStore, some: Sequence[Wanted], judges: Judges) -> pl.DataFrame:
    first, source = some[0], some[0].spec.source
    window = Window(
        start_ns=min(one.window.start_ns for one in some), end_ns=max(one.window.end_ns for one in some)
    )  # fmt: skip
    asked = BucketsAsked(window=window, step_s=first.step_s, by=first.by)
    if source is Source.SCORES:
        names = {name for one in some for name in one.spec.evaluators}
        return read.score_buckets(store, asked, [(name, _is_lower_better(name)) for name in sorted(names)])
    if source is Source.AGREEMENT:
        rubrics = {name: judges.rubrics[name] for one in some if (name := one.spec.of or "") in judges.rubrics}
        return read.agreement_buckets(store, asked, rubrics)
    frame = _FRAMES[source](store, asked)
    if source is Source.TOOLS and any(one.spec.figure == "per_session" for one in some):
        active = read.session_buckets(store, asked).select("at_ns", "app", "split", n_active="n")
        frame = frame.join(active, on=["at_ns", "app", "split"], how="left", nulls_equal=True)
    return frame


def _mixed(store: TenantStore, wanted: Wanted) -> list[Row]:
    windows, dimension = MixWindows.of(wanted.band), wanted.spec.of or ""
    window = Window(start_ns=wanted.window.start_ns - windows.back_ns, end_ns=wanted.window.end_ns)
    frames, by = _MIXES[dimension]
    frame = frames(store, BucketsAsked(window=window, step_s=wanted.step_s, by=by))
    mine = frame.filter((pl.col("app") == wanted.app) & pl.col("split").is_not_null())
    counts = mine.select("at_ns", "split", "n").iter_rows()
    return mix_rows(wanted.spec.name, counts, wanted.window, wanted.step_s, windows)


def _is_lower_better(evaluator: str) -> bool:
    known = BY_NAME.get(evaluator)
    return known is not None and known.spec.direction is Better.LOWER


def _rows(wanted: Wanted, frame: pl.DataFrame, corrections: Mapping[str, Correction]) -> Iterable[Row]:
    spec = wanted.spec
    match spec.source:
        case Source.SCORES:
            told = _of_scores(spec, frame, corrections)
        case Source.TOOLS:
            told = _of_tools(spec, frame)
        case Source.RETRIEVALS:
            told = frame.with_columns(x=pl.col("n_empty") / pl.col("n"))
        case Source.AGREEMENT:
            told = frame.filter(pl.col("evaluator") == spec.of).with_columns(x=pl.col("n_same") / pl.col("n"))
        case Source.CLUSTERS:
            told = _of_clusters(spec, frame)
        case _:
            told = frame.with_columns(x=pl.col(spec.figure).cast(pl.Float64))
    for at_ns, split, x, n in told.select("at_ns", "split", "x", "n").iter_rows():
        if x is not None and n:
            yield Row(key=key_of(spec.name, wanted.by, split), at_ns=at_ns, x=float(x), n=float(n))


def _of_scores(spec: Series, frame: pl.DataFrame, corrections: Mapping[str, Correction]) -> pl.DataFrame:
    frame = frame.filter(pl.col("n") > 0)
    if spec.whole:
        mine = frame.filter(pl.col("evaluator").is_in(spec.evaluators) & (pl.col("kind") != "human"))
        sums = mine.group_by("at_ns", "split").agg(pl.col("n").sum(), pl.col("n_breach").sum())
        return sums.with_columns(x=1 - pl.col("n_breach") / pl.col("n"))
    for name in spec.evaluators:
        mine = frame.filter(pl.col("evaluator") == name)
        kind = next((one for one in KINDS if mine.filter(pl.col("kind") == one).height), None)
        if kind is None:
            continue
        told = mine.filter(pl.col("kind") == kind).with_columns(x=pl.col("total") / pl.col("n"))
        return corrected(told, corrections[name]) if kind == "judge" and name in corrections else told
    return frame.clear().with_columns(x=pl.lit(None, pl.Float64))


def _of_tools(spec: Series, frame: pl.DataFrame) -> pl.DataFrame:
    if spec.of is not None:
        frame = frame.filter(pl.col("tool") == spec.of)
    keys = ["at_ns", "split"]
    if spec.figure == "per_session":
        calls = frame.group_by(keys).agg(pl.col("n").sum(), pl.col("n_active").max())
        return calls.with_columns(x=pl.col("n") / pl.col("n_active"), n=pl.col("n_active"))
    if spec.figure == FAILED_SESSIONS:
        frame = frame.with_columns(n=pl.col("n_sessions"), n_errors=pl.col("n_failed"))
    sums = frame.group_by(keys).agg(pl.col("n").sum(), pl.col("n_errors").sum())
    return sums.with_columns(x=pl.col("n_errors") / pl.col("n"))


def _of_clusters(spec: Series, frame: pl.DataFrame) -> pl.DataFrame:
    """The share of sessions that are in the cluster, of those that clustering has seen."""
    in_it = pl.col("n").filter(pl.col("split") == spec.of).sum()
    shares = frame.group_by("at_ns").agg(x=in_it / pl.col("n").sum(), n=pl.col("n").sum())
    return shares.with_columns(split=pl.lit(None, pl.String))
