"""By what a series of sessions is split: a column of its rows, or an attribute of the spans of a session's first turn,
as strata of experiments are (store/experiment_levels.py): country, channel, the caller's plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import ibis
import ibis.expr.types as ir

from core.windows import LAST_NS, Window
from store.engine import table_of
from store.experiment_levels import levels_of, moved_by_key, wanted_keys
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around

ATTRIBUTE: Final = "attribute:"
LEVELS_S: Final = 86_400  # how far before a window spans are read for what they say of their session
Moved = tuple[tuple[tuple[str, ...], ...], ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """What an expression depends on: the column, or where the attribute may stand. Neither: there is no split."""

    column: str | None = None
    moved: Moved | None = None

    def of(self, rows: ir.Table) -> ir.Table:
        """The rows, which have a session_id, with `split` (null: unknown)."""
        if self.moved is None:
            return rows.mutate(split=ibis.null("string") if self.column is None else rows[self.column])
        levels = _levels(self.moved)
        return rows.left_join(levels, rows.session_id == levels.of_session)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A split with the values and windows of its tables; of tables that it does not read there is none."""

    split: Split
    values: dict[str, object]
    windows: dict[str, Window]


def bound(store: TenantStore, by: str | None, window: Window) -> Bound:
    """How `by` is told in a window: null, a column, or `attribute:NAME`."""
    if by is None or not by.startswith(ATTRIBUTE):
        return Bound(split=Split(column=by), values={}, windows={})
    keys = wanted_keys(by.removeprefix(ATTRIBUTE))
    near = Window(start_ns=around(window, LEVELS_S).start_ns, end_ns=LAST_NS)
    moved = moved_by_key([keys], store.moved_columns(keys, near))
    values: dict[str, object] = {}
    for place, key in enumerate(keys):
        values |= {f"key_0_{place}": key, f"moved_0_{place}": f"\n{key}="}
    turns = Window(start_ns=around(window, MARGIN_S).start_ns, end_ns=LAST_NS)
    return Bound(split=Split(moved=moved), values=values, windows={"spans": near, "turns": turns})


def _levels(moved: Moved) -> ir.Table:
    """of_session and split: what the spans of its first turn say."""
    turns = table_of("turns")
    named = turns.filter(turns.session_id.notnull())
    first = ibis.struct({"at": named.start_ns, "id": named.trace_id})
    firsts = named.group_by(of_session=named.session_id).agg(first_trace=named.trace_id.argmin(first))
    levels = levels_of(moved, firsts)
    joined = firsts.inner_join(levels, firsts.first_trace == levels.of_trace)
    return joined.select("of_session", split=joined.level_0)
