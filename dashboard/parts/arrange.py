"""Spans of one trace in the order of a tree. Pure; hostile input (cycles, orphans, one id twice) is ordered too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.api import Row


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One span in its place: `depth` below its root, `n_below` descendants, which follow it directly in the order."""

    span: Row
    depth: int
    n_below: int
    orphan: bool  # names a parent that is not among the spans


def arrange(spans: Sequence[Row]) -> list[Placed]:
    """Every span exactly once, parents before children, siblings by start time.

    A span whose parent is missing is a root marked `orphan`. Of spans in a parent cycle the earliest becomes the root.
    Of two spans with one id the first is the parent of that id's children. Traces of any depth: no recursion.
    """
    ordered = sorted(range(len(spans)), key=lambda index: (spans[index].get("start_ns") or 0, index))
    first_of: dict[str, int] = {}
    for index in ordered:
        first_of.setdefault(str(spans[index].get("span_id")), index)
    children: dict[int, list[int]] = defaultdict(list)
    roots: list[int] = []
    for index in ordered:
        parent = first_of.get(str(spans[index].get("parent_span_id") or ""))
        if parent is None or parent == index:
            roots.append(index)
        else:
            children[parent].append(index)
    order, depths = _walk(roots, children)
    if len(order) < len(spans):  # what no root reaches hangs in a cycle
        seen = set(order)
        for index in ordered:
            if index not in seen:
                more, more_depths = _walk([index], children, seen)
                order += more
                depths += more_depths
    below = _descendants(depths)
    return [
        Placed(
            span=spans[index],
            depth=depth,
            n_below=n_below,
            orphan=depth == 0 and bool(spans[index].get("parent_span_id")),
        )
        for index, depth, n_below in zip(order, depths, below, strict=True)
    ]


def _walk(
    roots: Sequence[int], children: dict[int, list[int]], seen: set[int] | None = None
) -> tuple[list[int], list[int]]:
    seen = set() if seen is None else seen
    order: list[int] = []
    depths: list[int] = []
    stack = [(root, 0) for root in reversed(roots)]
    while stack:
        index, depth = stack.pop()
        if index in seen:
            continue
        seen.add(index)
        order.append(index)
        depths.append(depth)
        stack.extend((child, depth + 1) for child in reversed(children.get(index, ())))
    return order, depths


def _descendants(depths: Sequence[int]) -> list[int]:
    """For each place in a preorder, how many places after it are deeper before the next that is not."""
    below = [0] * len(depths)
    open_places: list[int] = []
    for place, depth in enumerate(depths):
        while open_places and depths[open_places[-1]] >= depth:
            done = open_places.pop()
            below[done] = place - done - 1
        open_places.append(place)
    while open_places:
        done = open_places.pop()
        below[done] = len(depths) - done - 1
    return below
