"""What changed in a cluster's failures when they grew: release, model, document, prompt, tenant attribute."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from clustering.emerging.records import Change


def changed(
    levels: pl.DataFrame, totals: Mapping[str, tuple[int, int, int]], *, level: float = 0.95, most: int = 5
) -> tuple[Change, ...]:
    """The levels that became more frequent, by the largest lower bound of their log odds.

    `levels` has kind, name, before, after, rest (sessions with this level: the cluster's failing ones before and now,
    the app's others now) and at_ns (when the app first saw it, or null); `totals` of each kind the numbers of sessions
    of the three in which the kind is known. A session may have several levels of a kind (documents, tools).
    """
    raise NotImplementedError
