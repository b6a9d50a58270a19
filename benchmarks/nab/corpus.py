"""The labelled series of the Numenta Anomaly Benchmark that are in a folder, one after another in flat arrays.

The folder holds `series.csv.gz` (file, timestamp, value), `combined_windows.json`, `profiles.json`,
`final_results.json`, `thresholds.json` and the stored scores of two detectors. It is other people's data and is not
part of the repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The detectors whose scores are stored point by point beside the series.
STORED: Final = ("numenta", "windowedGaussian")
PROBATION: Final = 0.15
PROBATION_OF_AT_MOST: Final = 5000


@dataclass(frozen=True, kw_only=True)
class Series:
    """One file: its points in their own order, and its windows as (first, last) position, both inside."""

    name: str
    at_ns: Ints
    x: Floats
    windows: tuple[tuple[int, int], ...]

    @property
    def folder(self) -> str:
        """The kind of series it is: the folder that it lies in."""
        return self.name.split("/")[0]

    @property
    def probation(self) -> int:
        """How many of the first points earn and cost nothing."""
        return int(min(np.floor(PROBATION * len(self.x)), PROBATION * PROBATION_OF_AT_MOST))


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a profile pays for a window that was found, a false alarm and a window that was missed."""

    found: float
    false: float
    missed: float


def read_series(folder: Path) -> list[Series]:
    """Every series of the folder, by name."""
    windows = json.loads((folder / "combined_windows.json").read_text())
    table = pl.read_csv(folder / "series.csv.gz")
    parts = table.partition_by("file", maintain_order=True, as_dict=True)
    return [_series(str(name), part, windows[str(name)]) for (name,), part in sorted(parts.items())]


def read_scores(folder: Path, detector: str, series: list[Series]) -> list[Floats]:
    """The stored scores of a detector, in the order of `series`."""
    table = pl.read_csv(folder / f"{detector}_anomaly_scores.csv.gz")
    parts = table.partition_by("file", maintain_order=True, as_dict=True)
    return [parts[(one.name,)]["anomaly_score"].to_numpy().astype(np.float64) for one in series]


def read_profiles(folder: Path) -> dict[str, Costs]:
    """The three profiles by name."""
    profiles = json.loads((folder / "profiles.json").read_text())
    return {name: _costs(one["CostMatrix"]) for name, one in profiles.items()}


def read_published(folder: Path) -> dict[str, dict[str, float]]:
    """Final scores of the whole benchmark, by detector and profile, as its makers publish them."""
    found: dict[str, dict[str, float]] = json.loads((folder / "final_results.json").read_text())
    return found


def read_thresholds(folder: Path) -> dict[str, Any]:
    """Threshold and raw score of the whole benchmark, by detector and profile."""
    found: dict[str, Any] = json.loads((folder / "thresholds.json").read_text())
    return found


def halves(series: list[Series]) -> tuple[list[int], list[int]]:
    """Positions to tune on and positions kept for the end: in each folder by turns, in the order of the names."""
    tuned: list[int] = []
    kept: list[int] = []
    seen: dict[str, int] = {}
    for position, one in sorted(enumerate(series), key=lambda pair: pair[1].name):
        turn = seen.get(one.folder, 0)
        seen[one.folder] = turn + 1
        (kept if turn % 2 else tuned).append(position)
    return tuned, kept


def _costs(matrix: dict[str, float]) -> Costs:
    return Costs(found=matrix["tpWeight"], false=matrix["fpWeight"], missed=matrix["fnWeight"])


def _series(name: str, part: pl.DataFrame, windows: list[list[str]]) -> Series:
    times = part["timestamp"].to_list()
    first = {time: position for position, time in reversed(list(enumerate(times)))}
    return Series(
        name=name,
        at_ns=np.array([_ns(time) for time in times], dtype=np.int64),
        x=part["value"].to_numpy().astype(np.float64),
        windows=tuple((first[left.split(".")[0]], first[right.split(".")[0]]) for left, right in windows),
    )


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
