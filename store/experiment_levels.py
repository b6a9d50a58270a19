"""Strata of sessions: the level that an attribute of their first turn gives them, or the calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import ibis
import ibis.expr.types as ir

from store.engine import slot, table_of

OF_SCORES: Final = "score:"  # begins the name of a stratum that an evaluator tells
PREFIX: Final = "assay."


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """A part of the calendar: so many `hours` make one, `modulo` of them a cycle; 1970 began `ahead` of its first."""

    hours: int
    modulo: int
    ahead: int
    digits: int


CALENDAR: Final[Mapping[str, Cycle]] = {
    "hour": Cycle(hours=1, modulo=24, ahead=0, digits=2),
    "weekday": Cycle(hours=24, modulo=7, ahead=3, digits=1),  # 0 is Monday; 1970 began on a Thursday
}
NOT_OF_SPANS: Final = frozenset({*CALENDAR, "environment"})


def wanted_keys(attribute: str) -> tuple[str, ...]:
    """The keys of span attributes that tell the stratum, the first first; none where something else tells it."""
    if attribute in NOT_OF_SPANS or attribute.startswith(OF_SCORES):
        return ()
    return (attribute,) if attribute.startswith(PREFIX) else (attribute, PREFIX + attribute)


def moved_by_key(
    keys: Sequence[tuple[str, ...]], moved: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """For every stratum and key the columns into which the key may have been moved."""
    return tuple(tuple(moved.get(key, ()) for key in each) for each in keys)


def levels_of(moved: tuple[tuple[tuple[str, ...], ...], ...], firsts: ir.Table) -> ir.Table:
    """One row per trace of `firsts` (column first_trace) that says any: of_trace, and level_N for each stratum N that
    spans tell: what the earliest span with the attribute says."""
    spans = table_of("spans")
    rows = spans.semi_join(firsts, spans.trace_id == firsts.first_trace)
    said = {
        f"level_{i}": ibis.coalesce(*[_value(rows, i, j, columns) for j, columns in enumerate(keys)])
        for i, keys in enumerate(moved)
        if keys
    }
    rows = rows.select("trace_id", "start_ns", "span_id", **said)
    rows = rows.filter(ibis.or_(*[rows[name].notnull() for name in said]))
    key = ibis.struct({"at": rows.start_ns, "id": rows.span_id})
    levels = {name: ibis.struct({"level": rows[name]}).argmin(key, where=rows[name].notnull()) for name in said}
    found = rows.group_by(of_trace=rows.trace_id).agg(**levels)
    return found.select("of_trace", **{name: found[name]["level"] for name in said})


def _value(spans: ir.Table, i: int, j: int, columns: tuple[str, ...]) -> ir.StringValue:
    """What the span says under key j of stratum i: in its map, or in the column to which its row says it was moved."""
    key = slot(f"key_{i}_{j}", "string")
    lines = ibis.literal("\n") + spans.moved_attributes.fill_null("") + ibis.literal("\n")
    moved = [
        ibis.ifelse(lines.contains(slot(f"moved_{i}_{j}", "string") + ibis.literal(f"{column}\n")),
                    spans[column].cast("string"), ibis.null("string"))
        for column in columns
    ]  # fmt: skip
    held = ibis.ifelse(spans.attributes.contains(key), spans.attributes.get(key), ibis.null("string"))
    return ibis.coalesce(held, *moved).nullif("")
