"""Points of many series on one grid of time: what was read, laid out as bands take it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.clock import NS_PER_S
from monitors.records import Floats, Kind, Points

Ints = NDArray[np.int64]
MOST_SERIES: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One value that was read: of which series, in the bucket that begins when, of how many observations."""

    key: str
    at_ns: int
    x: float
    n: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every bucket of `step_s` from `start_ns` on, (T,), of each series, (S,). `x` and `n` are (T, S); NaN: missing."""

    start_ns: int
    step_s: int
    kind: Kind
    keys: tuple[str, ...]
    x: Floats = field(repr=False)
    n: Floats = field(repr=False)

    @property
    def at_ns(self) -> Ints:
        """When each bucket begins."""
        return self.start_ns + np.arange(len(self.x), dtype=np.int64) * (self.step_s * NS_PER_S)

    @property
    def end_ns(self) -> int:
        """The end of the last bucket."""
        return self.start_ns + len(self.x) * self.step_s * NS_PER_S

    def points(self, t: int) -> Points:
        """The points of one bucket."""
        at = self.start_ns + t * self.step_s * NS_PER_S
        return Points.of(at, self.x[t], n=self.n[t], kinds=self.kind)


def grid_of(
    rows: Iterable[Row], *, start_ns: int, end_ns: int, step_s: int, kind: Kind, keys: Sequence[str] = ()
) -> Grid:
    """The rows of [start, end) on a grid: first the series of `keys`, in their order, then those that are new. Rows of
    one bucket and series: the last holds. Rows beyond the grid are left out, and series beyond the first 10,000."""
    step_ns = step_s * NS_PER_S
    n_buckets = max(0, (end_ns - start_ns) // step_ns)
    some = [one for one in rows if 0 <= one.at_ns - start_ns < n_buckets * step_ns]
    order = {key: at for at, key in enumerate(keys)}
    for key in sorted({one.key for one in some} - set(order)):
        if len(order) < MOST_SERIES:
            order[key] = len(order)
    x, n = (np.full((n_buckets, len(order)), np.nan) for _ in range(2))
    for one in some:
        column = order.get(one.key)
        if column is not None:
            t = (one.at_ns - start_ns) // step_ns
            x[t, column], n[t, column] = one.x, one.n
    return Grid(start_ns=start_ns, step_s=step_s, kind=kind, keys=tuple(order), x=x, n=n)
