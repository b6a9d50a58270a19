"""Verdicts, labels and people's answers as codes: what a frame says, checked, with what is missing counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidInput
from judges.agreement.tables import MISSING, FloatArray, IntArray, Table, table
from judges.records import Missing

UNSAID: Final = "not_said"  # no verdict, and the frame does not say why


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """Rows with a known label, all arrays of shape (n,): codes of label and verdict (MISSING: none), weight 1/p, and
    where the frame has them, segment and time. `n_unknown_label` rows had a label that the rubric does not offer."""

    k: int
    label: IntArray
    verdict: IntArray
    weight: FloatArray
    why: tuple[str | None, ...]
    segment: tuple[str | None, ...] | None
    at_ns: IntArray | None
    n_unknown_label: int = 0

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.label)

    @property
    def n_missing(self) -> int:
        """Rows without a verdict."""
        return int((self.verdict == MISSING).sum())

    def table(self) -> Table:
        """The confusion matrix."""
        return table(self.label, self.verdict, self.k, self.weight)

    def missing_by_reason(self) -> dict[str, int]:
        """How many rows have no verdict, by reason, the most frequent first."""
        found = Counter(reason for reason in self.why if reason is not None)
        return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))

    def patterns(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Rows with both, those that are the same put together: codes (patterns, 2) of label and verdict, how often
        each is there, and its weight, scaled so that rows have mean 1."""
        both = self.verdict != MISSING
        weight = self.weight[both] / self.weight[both].mean() if both.any() else self.weight[both]
        rows = np.column_stack([self.label[both].astype(np.float64), self.verdict[both], weight])
        found, counts = np.unique(rows, axis=0, return_counts=True)
        return found[:, :2].astype(np.int64), counts.astype(np.int64), np.asarray(found[:, 2])

    def by_segment(self) -> list[tuple[str, Coded]]:
        """The rows of each segment; rows without one are in none."""
        if self.segment is None:
            return []
        names = sorted({name for name in self.segment if name is not None})
        own = np.array([name if name is not None else "" for name in self.segment], dtype=np.object_)
        known = np.array([name is not None for name in self.segment])
        return [(name, self._part(known & (own == name))) for name in names]

    def by_window(self, window_ns: int) -> list[tuple[int, Coded]]:
        """The rows of each window, by its number since the epoch; windows without a row are not there, nor rows without
        a time in any."""
        if self.at_ns is None:
            return []
        number, known = self.at_ns // window_ns, self.at_ns >= 0
        return [(int(one), self._part(known & (number == one))) for one in np.unique(number[known])]

    def _part(self, of: NDArray[np.bool_]) -> Coded:
        rows = np.flatnonzero(of)
        return Coded(
            k=self.k,
            label=self.label[rows],
            verdict=self.verdict[rows],
            weight=self.weight[rows],
            why=tuple(self.why[row] for row in rows),
            segment=None,
            at_ns=None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """Answers of single people: codes `ratings` of shape (items, annotators) and `judge` of shape (items,)."""

    ratings: IntArray
    judge: IntArray
    annotators: tuple[str, ...]


def coded(frame: pl.DataFrame, labels: Sequence[str]) -> Coded:
    """The rows of a frame as codes, places in `labels`. Raises InvalidInput as agreement_report says."""
    _check(frame, labels, ("verdict", "label"))
    weight = _weights(frame)
    label = _codes(frame["label"], labels)
    known = label != MISSING
    rows = frame.filter(pl.Series(known))
    verdict = _codes(rows["verdict"], labels)
    return Coded(
        k=len(labels),
        label=label[known],
        verdict=verdict,
        weight=weight[known],
        why=_reasons(rows, verdict),
        segment=tuple(rows["segment"].to_list()) if "segment" in rows.columns else None,
        at_ns=rows["at_ns"].cast(pl.Int64).fill_null(-1).to_numpy() if "at_ns" in rows.columns else None,
        n_unknown_label=int((~known).sum()),
    )


def ratings_of(frame: pl.DataFrame, annotations: pl.DataFrame, labels: Sequence[str]) -> People:
    """People's answers to the targets of the frame; of several answers of one person to one target the last row holds.

    Answers that the rubric does not offer, and targets that the frame lacks, are left out. Raises InvalidInput where a
    column is missing or a target of the frame stands there twice.
    """
    _check(frame, labels, ("verdict", "label", "target"))
    _check(annotations, labels, ("target", "annotator", "label"))
    targets = frame["target"].to_list()
    row_of = {target: row for row, target in enumerate(targets)}
    if len(row_of) != len(targets):
        raise InvalidInput("a target stands in the frame twice", field="target")
    names = sorted(set(annotations["annotator"].to_list()))
    column_of = {name: column for column, name in enumerate(names)}
    ratings = np.full((len(targets), len(names)), MISSING, dtype=np.int64)
    answers = zip(annotations["target"], annotations["annotator"], _codes(annotations["label"], labels), strict=True)
    for target, annotator, code in answers:
        if target in row_of:
            ratings[row_of[target], column_of[annotator]] = code
    return People(ratings=ratings, judge=_codes(frame["verdict"], labels), annotators=tuple(names))


def _codes(said: pl.Series, labels: Sequence[str]) -> IntArray:
    place = {label: at for at, label in enumerate(labels)}
    return np.array([place.get(one, MISSING) for one in said.to_list()], dtype=np.int64)


def _reasons(rows: pl.DataFrame, verdict: IntArray) -> tuple[str | None, ...]:
    said = rows["missing"].to_list() if "missing" in rows.columns else [None] * len(rows)
    words = rows["verdict"].to_list()
    return tuple(
        None if code != MISSING else (why or (UNSAID if word is None else Missing.NOT_OFFERED.value))
        for code, why, word in zip(verdict, said, words, strict=True)
    )


def _weights(frame: pl.DataFrame) -> FloatArray:
    if "p" in frame.columns:
        p = frame["p"]
    elif {"p_judge", "p_human"} <= set(frame.columns):
        p = frame["p_judge"] * frame["p_human"]
    else:
        return np.ones(len(frame))
    chance = p.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if not ((chance > 0) & (chance <= 1)).all():  # NaN neither
        raise InvalidInput("a chance of being labelled does not lie between 0 and 1", field="p")
    return np.asarray(1 / chance)


def _check(frame: pl.DataFrame, labels: Sequence[str], columns: tuple[str, ...]) -> None:
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise InvalidInput(f"the frame has no column {', '.join(lacking)}", field=lacking[0])
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise InvalidInput("agreement needs two labels at least, each once", field="labels")
