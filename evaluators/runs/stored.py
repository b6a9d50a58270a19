"""Sessions that are stored already, matched to the examples that they try; and what sessions of a release cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.errors import InvalidInput
from core.windows import Window
from evaluators.datasets.records import Example
from evaluators.runs.planning import MOST_TRIALS, check_size, stratum_of
from store.asked import Asked
from store.control.run_records import TrialRecord, TrialStatus
from store.engine import slot, table_of
from store.filters import Filters
from store.sessions import list_sessions
from store.tenant import TenantStore

NAMES: Final = ("assay.example_id", "assay.task_id")  # attributes by which a session names its example
MOST_ID: Final = 200
_SAMPLE: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What turns of stored sessions cost in US dollars and tokens: mean, median and 95th percentile; None: unknown."""

    n_sessions: int
    usd_mean: float | None = None
    usd_p50: float | None = None
    usd_p95: float | None = None
    tokens_mean: float | None = None


def matched(
    store: TenantStore, run_id: str, examples: Sequence[Example], app: str, release: str, k: int | None, within: Window
) -> list[TrialRecord]:
    """The trials that stored sessions of a release are: each example's sessions in order of time, the first `k`, all
    for None. A session belongs to the example that it names in an attribute of NAMES, by id or by the `task_id` of its
    metadata, or that was taken from it. An example without any has one failed trial.

    Raises InvalidInput when no session matches at all, and when no example has `k`.
    """
    named = _named_sessions(store, app, release, within)
    sessions = _by_example(named, examples)
    most = max((len(found) for found in sessions.values()), default=0)
    if not most:
        raise InvalidInput(
            f"no stored session of {app[:60]} {release[:60]} is of an example of this dataset; sessions name theirs in "
            f"an attribute {' or '.join(NAMES)}, or are those the examples were taken from",
            field="release",
        )
    if k is not None and k > most:
        raise InvalidInput(f"{k} trials are asked for, but no example has more than {most} stored sessions", "trials")
    rows: list[tuple[Example, int, str | None]] = []
    for example in examples:
        found = sessions.get(example.example_id, [])[: k or None]
        rows += [(example, n, session) for n, session in enumerate(found)]
        rows += [(example, n, None) for n in range(len(found), k or (1 if not found else 0))]
    check_size(len(rows), 1)
    return [_trial(run_id, position, *row) for position, row in enumerate(rows)]


def every_session(store: TenantStore, run_id: str, app: str, release: str, within: Window) -> list[TrialRecord]:
    """Each session of the release as an example of its own, in order of time. Raises InvalidInput without any."""
    found = store.frame(_sessions(), within, values={"app": app, "release": release}).sort("start_ns", "session_id")
    found = found.filter(pl.col("session_id").str.len_chars() <= MOST_ID)
    if not found.height:
        raise InvalidInput(f"no session of {app[:60]} {release[:60]} is stored in this time", field="release")
    if found.height > MOST_TRIALS:
        raise InvalidInput(f"{found.height:,} sessions; at most {MOST_TRIALS:,}: name a shorter time", field="since")
    return [
        TrialRecord(
            run_id=run_id, example_id=row["session_id"], trial=0, position=n, session_id=row["session_id"],
            user_id=row["user_id"],
        )
        for n, row in enumerate(found.iter_rows(named=True))
    ]  # fmt: skip


def cost_of(store: TenantStore, app: str, release: str | None, within: Window) -> Cost:
    """What a turn of the newest stored sessions of a release, or of any of the app, cost."""
    filters = Filters(app=app, release=release)
    found = list_sessions(store, Asked(window=within, filters=filters, limit=_SAMPLE))
    found = found.filter(pl.col("n_turns") > 0)
    usd = (found["cost_usd"] / found["n_turns"]).drop_nulls()
    tokens = ((found["input_tokens"] + found["output_tokens"]) / found["n_turns"]).drop_nulls()
    if not found.height:
        return Cost(n_sessions=0)
    return Cost(
        n_sessions=found.height,
        usd_mean=_figure(usd.mean()),
        usd_p50=_figure(usd.quantile(0.5)),
        usd_p95=_figure(usd.quantile(0.95)),
        tokens_mean=_figure(tokens.mean()),
    )


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _named_sessions(store: TenantStore, app: str, release: str, within: Window) -> pl.DataFrame:
    values = {"app": app, "release": release}
    names = store.frame(_names(), within, values=values)
    sessions = store.frame(_sessions(), within, values=values)
    named = names.group_by("session_id").agg(pl.col(*_COLUMNS).drop_nulls().first())
    return sessions.join(named, on="session_id", how="left").sort("start_ns", "session_id")


def _by_example(named: pl.DataFrame, examples: Sequence[Example]) -> dict[str, list[str]]:
    by_name: dict[str, str] = {}
    for one in examples:
        task = one.metadata.get("task_id")
        if isinstance(task, str | int):
            by_name.setdefault(str(task), one.example_id)
    by_name |= {one.example_id: one.example_id for one in examples}
    sources = {one.source.session_id: one.example_id for one in examples if one.source.session_id}
    found: dict[str, list[str]] = defaultdict(list)
    for row in named.iter_rows(named=True):
        said = [by_name.get(str(row[column])) for column in _COLUMNS if row[column] is not None]
        example = next((one for one in said if one), None) or sources.get(row["session_id"])
        if example is not None:
            found[example].append(row["session_id"])
    return found


def _trial(run_id: str, position: int, example: Example, number: int, session: str | None) -> TrialRecord:
    missing = "no stored session of this release is of this trial"
    return TrialRecord(
        run_id=run_id,
        example_id=example.example_id,
        trial=number,
        position=position,
        session_id=session or f"{run_id}.none.{position}",
        status=TrialStatus.FAILED if session is None else TrialStatus.WAITING,
        error=missing if session is None else None,
        stratum=stratum_of(example),
        user_id=example.source.user_id,
    )


_COLUMNS: Final = tuple(name.replace(".", "_") for name in NAMES)


@lru_cache(maxsize=1)
def _names() -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(spans.session_id.notnull(), spans.app == slot("app", "string"))
    rows = rows.filter(rows.release == slot("release", "string"))
    rows = rows.mutate(**{column: rows.attributes.get(name) for column, name in zip(_COLUMNS, NAMES, strict=True)})
    rows = rows.filter(ibis.or_(*(rows[column].notnull() for column in _COLUMNS)))
    return rows.select("session_id", "tenant", *_COLUMNS).distinct()


@lru_cache(maxsize=1)
def _sessions() -> ir.Table:
    sessions = table_of("sessions")
    rows = sessions.filter(sessions.app == slot("app", "string"), sessions.release == slot("release", "string"))
    return rows.group_by("session_id").agg(
        tenant=rows.tenant.max(), start_ns=rows.start_ns.min(), user_id=rows.user_id.min()
    )
