"""Every kind of question about the data of tests/store/golden, as plain values: recorded by the release that wrote it,
asked again by this one. Written with what both releases have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from core.windows import Window
from store import apps, facets, releases, rollups, scores, search, sessions, traces
from store.asked import Asked
from store.engine import DuckDBEngine
from store.filters import Filters
from store.lake import Lake
from store.tenant import Store, TenantStore

START_NS = 1_790_000_000_000_000_000
DAY_NS = 86_400 * 10**9
WHOLE = Window(start_ns=START_NS - DAY_NS, end_ns=START_NS + 3 * DAY_NS)
PARTS = (WHOLE, Window(start_ns=START_NS + 1234 * 10**9, end_ns=START_NS + DAY_NS + 4321 * 10**9))
OFTEN = 1000


def answers(
    data: Path, tenant: str = "default", session: str = "session-3", trace: str = f"{7:032x}"
) -> dict[str, list[Any]]:
    """Rows by question. Times and amounts are text, lists within rows are sorted."""
    store = Store(Lake(data / "lake"), DuckDBEngine(data / "lake")).tenant(tenant)
    found = {"traces": traces.list_traces(store, Asked(window=WHOLE, limit=OFTEN))}
    found["sessions"] = sessions.list_sessions(store, Asked(window=WHOLE, limit=OFTEN))
    found["session"] = sessions.session(store, session)
    found["turns of a session"] = sessions.turns_of_session(store, session, limit=OFTEN)
    found["trace"] = traces.trace(store, trace)
    found["apps"] = apps.apps(store, WHOLE)
    found["scores"] = scores.list_scores(store, scores.ScoresAsked(window=WHOLE, limit=OFTEN))
    found["search"] = search.search(store, Asked(window=WHOLE, filters=Filters(q="question 12"), limit=OFTEN))
    for field in facets.FacetField:
        found[f"facet {field.value}"] = facets.facets(store, Asked(window=WHOLE, limit=OFTEN), field)
    found |= _rollups(store)
    plain = {name: [_plain(row) for row in frame.to_dicts()] for name, frame in found.items()}
    plain["releases"] = [_plain(row) for row in releases.release_traffic(store, WHOLE)]
    return {name: json.loads(json.dumps(rows, default=str)) for name, rows in plain.items()}


def _rollups(store: TenantStore) -> dict[str, pl.DataFrame]:
    found = {}
    for n, window in enumerate(PARTS):
        for bucket in ("5m", "1h", "6h", "1d", "all"):
            for level, groups in (("turn", ("app", "release")), ("LLM", ("model",)), ("TOOL", ("variant",))):
                asked = rollups.RollupsAsked(window=window, bucket=bucket, level=level, group_by=groups)
                found[f"rollups {n} {bucket} {level}"] = rollups.rollups(store, asked)
    return found


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: sorted(value, key=str) if isinstance(value, list) else value for name, value in row.items()}
