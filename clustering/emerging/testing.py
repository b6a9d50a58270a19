"""Which clusters are new or growing: test, minimum effect, users, false-discovery rate."""

from __future__ import annotations

from collections.abc import Mapping

from clustering.emerging.records import Counts, Design, Found


def find(counts: Counts, design: Design, *, share: float = 1.0, before: Mapping[str, float] | None = None) -> Found:
    """The clusters whose rate of failure is higher now than in the periods before.

    `share` of the week's error this look may spend and `before`, the week's least p of each cluster, are those of
    `looks.look`; left out, it is a look by itself. Findings are ordered by q, then by the ratio's lower bound.
    """
    raise NotImplementedError
