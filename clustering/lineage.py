"""Who a cluster is from run to run: the clusters just found against the registry, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence

from clustering.lineage_records import Found, Known, Lineage, Look, Matching


def match(
    known: Sequence[Known], found: Sequence[Found], *, look: Look, next_number: int, params: Matching | None = None
) -> Lineage:
    """Gives each found cluster its id: a known one's, or the next free; and says what became of every known one.

    Ids are `id_of(next_number)` and up, larger clusters first; `Lineage.next_number` is kept for the next run and never
    goes back. The order of `known` and `found` and the numbers of labels change nothing. Raises InvalidInput for an id,
    a label or a session given twice, and for centroids of one space with different dimensions.
    """
    raise NotImplementedError
