"""Figures of scores: which evaluators scored, one score over time, and two of the same targets beside each other."""

from __future__ import annotations

from typing import Annotated, Any, Final

import polars as pl
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from core.clock import NS_PER_S, to_datetime
from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from judges.agreement.plain import plain
from judges.score_analytics import figures, together
from server.policy import known_parameters_only, names_once
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf, Text, Times
from server.routes.scores import Name
from store.rollups import BUCKETS_S, MOST_BUCKETS, WHOLE
from store.score_samples import MOST_READ, sampled, score_names

router = APIRouter(
    prefix="/api/v1/scores", tags=["scores"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)
MOST_NAMES: Final = 500


class AskedNames(Times):
    """Scores decided in the window."""


class AskedFigures(Times):
    """The score of `evaluator` of one kind and kind of target, decided in the window, of one app or of all. With
    `against`, that score of the same targets beside it. `bucket`: 1m, 5m, 15m, 1h, 6h or 1d."""

    evaluator: Name
    kind: EvaluatorKind
    target: TargetKind = TargetKind.SESSION
    against: Name | None = None
    against_kind: EvaluatorKind | None = None
    app: Text = None
    bucket: str = "1d"


class ScoreName(BaseModel):
    """An evaluator by kind and kind of target: its scores in the window, how many say why there is none, how many have
    a label, and when the last was decided."""

    evaluator: str
    kind: str
    target: str
    n: int
    n_unscored: int
    n_labels: int
    last_at: str


class ScoreNames(BaseModel):
    """Evaluators, most scores first; at most 500."""

    items: list[ScoreName]
    next_cursor: None = None


class ScoreSample(BaseModel):
    """Of `n_scores` in the window those of one target in `one_in` were read, chosen by a hash of the target."""

    n_scores: int
    one_in: int
    most: int


class ScoreFigures(BaseModel):
    """`scores`: one or two, in the order asked for; `together`: both on the targets that have both, null of one."""

    scores: list[dict[str, Any]]
    together: dict[str, Any] | None
    sample: ScoreSample
    bucket_s: int


@router.get("/names", response_model=ScoreNames)
def read_names(reading: ReadingOf, asked: Annotated[AskedNames, Query()]) -> Response:
    """The evaluators that scored in the window."""
    found = score_names(reading.store, reading.window(asked), reading.as_of_ns(asked))
    items = [_name(row) for row in found.head(MOST_NAMES).to_dicts()]
    return answer({"items": items, "next_cursor": None})


@router.get("/figures", response_model=ScoreFigures)
def read_figures(reading: ReadingOf, asked: Annotated[AskedFigures, Query()]) -> Response:
    """Mean, distribution, labels and series of a score, of the newest of each target; of two, how they agree. Raises
    InvalidInput for a bucket that is none, or too small for the window."""
    window, as_of_ns = reading.window(asked), reading.as_of_ns(asked)
    bucket_ns = _bucket_ns(asked, window)
    wanted = [(asked.evaluator, asked.kind)]
    if asked.against is not None:
        wanted.append((asked.against, asked.against_kind or asked.kind))
    most = _most(reading, asked, window, wanted)
    one_in = max(1, -(-most // MOST_READ))
    read = [
        sampled(reading.store, name, kind, asked.target, window, one_in=one_in, app=asked.app, as_of_ns=as_of_ns).rows
        for name, kind in wanted
    ]
    scores = [
        {"evaluator": name, "kind": kind.value, **plain(figures(rows, bucket_ns))}
        for (name, kind), rows in zip(wanted, read, strict=True)
    ]
    return answer(
        {
            "scores": scores,
            "together": _together(read),
            "sample": {"n_scores": most, "one_in": one_in, "most": MOST_READ},
            "bucket_s": bucket_ns // NS_PER_S,
        }
    )


def _together(read: list[pl.DataFrame]) -> dict[str, Any] | None:
    if len(read) < 2:
        return None
    told = plain(together(read[0], read[1]))
    assert isinstance(told, dict)
    return told


def _most(reading: Reading, asked: AskedFigures, window: Window, wanted: list[tuple[str, EvaluatorKind]]) -> int:
    """How many scores the one of them has that has most."""
    names = score_names(reading.store, window, reading.as_of_ns(asked))
    pairs = {(name, kind.value) for name, kind in wanted}
    found = [
        int(row["n"])
        for row in names.iter_rows(named=True)
        if (row["evaluator"], row["evaluator_kind"]) in pairs and row["target"] == asked.target.value
    ]
    return max(found, default=0)


def _bucket_ns(asked: AskedFigures, window: Window) -> int:
    sizes = {name: size for name, size in BUCKETS_S.items() if name != WHOLE}
    if asked.bucket not in sizes:
        raise InvalidInput(f"bucket={asked.bucket[:20]!r} is none of {', '.join(sizes)}", field="bucket")
    size = sizes[asked.bucket] * NS_PER_S
    if (window.end_ns - window.start_ns) // size > MOST_BUCKETS:
        raise InvalidInput(f"bucket={asked.bucket} cuts this window into over {MOST_BUCKETS:,} parts", field="bucket")
    return size


def _name(row: dict[str, Any]) -> dict[str, Any]:
    last = f"{to_datetime(row['last_ns']):%Y-%m-%dT%H:%M:%SZ}"
    same = {name: row[name] for name in ("evaluator", "target", "n", "n_unscored", "n_labels")}
    return {**same, "kind": row["evaluator_kind"], "last_at": last}
