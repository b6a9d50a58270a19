"""What is embedded of a session: its intent, its actions and its outcome, as three short texts made from its spans.

No model is asked. Personal information is gone before: the collector masks it before anything is stored. Long runs of
base64, hexadecimal and digits say nothing of what a session is about, and are cut out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from core.windows import Window
from store.tenant import TenantStore

MOST_CHARS: Final = 2_000  # of a facet
FAILS_BELOW: Final = 0.5  # a score below says that the session failed
FACETS: Final = ("intent", "actions", "outcome")
FACET_COLUMNS: Final[dict[str, type[pl.DataType]]] = {
    "session_id": pl.String,
    "app": pl.String,
    "release": pl.String,
    "user_id": pl.String,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "intent": pl.String,  # what the user asked, message by message
    "actions": pl.String,  # the tools in order, what failed and how
    "outcome": pl.String,  # the last words of the agent, errors, how it ended
    "failed": pl.Boolean,  # null: not known
    "n_turns": pl.Int64,
    "cost_usd": pl.Float64,  # null: not known
    "duration_ms": pl.Float64,
    "n_tool_errors": pl.Int64,
    "text_hash": pl.Int64,  # XXH64 of the three texts
    "first_user_text": pl.String,
}


def facets(
    store: TenantStore,
    app: str,
    window: Window | None,
    *,
    session_ids: Sequence[str] | None = None,
    failure: str | None = None,
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """One row of FACET_COLUMNS per session of the app that begins in `window`, or per one of `session_ids` that is
    known (whose spans begin in `window`, where both are given), ordered by start_ns and session_id.

    `failed` is told by the session's newest score of the evaluator `failure` (below FAILS_BELOW), where one is named;
    else by its latest outcome score; where there is none, a turn whose root failed says that it did, and nothing says
    that it did not. What is held in memory at a time is bounded (evaluators.sessions.AT_ONCE sessions). Raises
    InvalidInput when neither a window nor ids are given.
    """
    ...


def display_text(row: dict[str, object]) -> str:
    """One line by which a person knows a session again: what the user said first, else what the agent did."""
    ...
