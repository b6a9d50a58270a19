"""The data folder of the corruption campaign, made by the collector's own parts, and the questions asked of it.

Three tenants, three days, several requests each: spans, quarantine, events, scores, turns, sessions, rollups,
embeddings, memberships; one table is packed, one log has a checkpoint; the journal keeps all its segments; the control
database has rows in every table, and is kept as a crash leaves it, all in its log, and as a stop leaves it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from sqlalchemy import Table

from auth.authenticator import Authenticator
from collector.batch import Item, seq_of
from collector.kinds import EntryKind
from core.clock import NS_PER_S, system_clock
from core.errors import Unauthenticated
from core.ids import TenantId
from core.records import PiiMode, PiiPolicy, Principal, Role
from core.windows import Window
from store.asked import Asked
from store.compaction import pack
from store.control import seals
from store.control.control import Control
from store.control.tables import METADATA
from store.delta_log import LakeFile
from store.embeddings import packed, write_embeddings
from store.engine import DuckDBEngine
from store.facets import FacetField, facets
from store.filters import Filters
from store.lake import Lake
from store.memberships import write_memberships
from store.rollups import RollupsAsked, rollups
from store.scores import ScoresAsked, list_scores, scores_of
from store.search import search
from store.sessions import list_sessions
from store.spans import count_spans, list_spans, spans_of_trace
from store.tenant import Store, TenantStore
from store.traces import list_traces
from tests.collector.inside import PEPPER, Inside
from tests.collector.otlp import START_NS, log_record, logs, span, traces
from tests.store.test_control_dump import fill_rooms

TENANTS: Final = tuple(map(TenantId, ("acme", "globex", "initech")))
DAY_NS: Final = 86_400 * NS_PER_S
DAYS: Final = 3
WINDOW: Final = Window(start_ns=START_NS - DAY_NS, end_ns=START_NS + 10 * DAY_NS)
ANN: Final = Principal(tenant=TENANTS[0], role=Role.ADMIN, name="ann", key_id="0123456789ab")
SEAL: Final = "seal"
JOURNAL: Final = 7  # of the ledger's settlements, in the control database

Answers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A filled data folder, the control database's files after a crash and after a stop, the texts of its keys."""

    data: Path
    crashed: Path
    stopped: Path
    keys: dict[str, str]


def filled(data: Path, chance: random.Random) -> Folder:
    """Fills an empty folder."""
    life = Inside(data)
    life.journal._segment_bytes = 4_000
    for tenant in TENANTS:
        life.control.ensure_tenant(tenant)
    life.recover()
    for day in range(DAYS):
        for number in range(6):
            tenant = TENANTS[number % len(TENANTS)]
            _stored(life, [_kept(life, tenant, *request) for request in _requests(chance, day, number)])
    for tenant in TENANTS:
        _kept(life, tenant, *_requests(chance, 0, 90)[0])  # acknowledged and not stored
    _clustered(data)
    sessions = life.lake.snapshot("sessions")
    pack(life.lake, "sessions", [file for file in sessions.select(TENANTS[0]) if file.date == sessions.files[0].date])
    life.lake.checkpoint("turns")
    keys = _controlled(life.control)
    crashed = _control_files(data, data.parent / "crashed")
    life.release()
    stopped = _control_files(data, data.parent / "stopped")
    return Folder(data=data, crashed=crashed, stopped=stopped, keys=keys)


def _control_files(data: Path, target: Path) -> Path:
    target.mkdir()
    for path in data.glob("control.db*"):
        if not path.name.endswith("-shm"):  # made anew by whoever opens the database first
            shutil.copy(path, target)
    return target


def _requests(chance: random.Random, day: int, number: int) -> list[tuple[bytes, EntryKind]]:
    at = START_NS + day * DAY_NS + number * 60 * NS_PER_S
    trace, root = chance.randbytes(16), chance.randbytes(8)
    times = {"start_time_unix_nano": at, "end_time_unix_nano": at + NS_PER_S, "trace_id": trace}
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": number}
    first = traces(
        span({"session.id": f"s{number}", "input.value": f"question {number}"}, span_id=root, **times),
        *(span(call, span_id=chance.randbytes(8), parent_span_id=root, **times) for _ in range(3)),
        span({}, **(times | {"span_id": b"bad"})),
    )
    result = {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 0.5}
    place = {"trace_id": trace, "span_id": root, "time_unix_nano": at}
    second = logs(
        log_record("gen_ai.evaluation.result", result, **place), log_record("gen_ai.choice", {"x": "y"}, **place)
    )
    return [(first.SerializeToString(), EntryKind.SPANS_PROTOBUF), (second, EntryKind.LOGS_PROTOBUF)]


def _kept(life: Inside, tenant: TenantId, body: bytes, kind: EntryKind) -> Item:
    at_us = system_clock() // 1000
    position, _ = life.journal.append(kind=kind, tenant=tenant, received_at_us=at_us, body=body).result(10)
    seq = seq_of(life.journal.number, position)
    return Item(seq=seq, kind=kind, tenant=tenant, received_at_us=at_us, body=body)


def _stored(life: Inside, items: list[Item]) -> None:
    life.committer.commit(life.committer.prepared(items), items[-1].seq - seq_of(life.journal.number, 0))


def _clustered(data: Path) -> None:
    """An embedding and a membership of every session of each day."""
    _, store = store_of(data, DuckDBEngine(data / "lake", n_threads=1))
    for number, tenant in enumerate(TENANTS):
        for day in range(DAYS):
            rows = pl.DataFrame({"session_id": [f"s{number}", f"s{number + 3}"], "app": "shop", "embedder": "m/1"})
            rows = rows.with_columns(at_ns=pl.lit(START_NS + day * DAY_NS))
            vectors = np.full((2, 12), number / 4, np.float32)
            embedded = rows.with_columns(packed(vectors), text_hash=pl.lit(number))
            assert write_embeddings(store.tenant(tenant), embedded, now_ns=START_NS + day) == 2
            placed = rows.with_columns(run_id=pl.lit("r1"), cluster_id=pl.lit(f"C-{number}"), x=pl.lit(0.5))
            assert write_memberships(store.tenant(tenant), placed, now_ns=START_NS + day) == 2


def _controlled(control: Control) -> dict[str, str]:
    """Keys of every kind, choices, audit records, claims, and what every room keeps; returns the keys' texts."""
    texts = {}
    fill_rooms(control)
    for tenant in TENANTS:
        for role in Role:
            _, texts[f"{tenant}/{role.value}"] = control.create_key(tenant, role, f"{role.value} of {tenant}", by=ANN)
        record, texts[f"{tenant}/revoked"] = control.create_key(tenant, Role.ADMIN, "lost", by=ANN)
        control.revoke_key(tenant, record.key_id, by=ANN)
        for number in range(20):
            control.record(ANN, "rubric.change", f"rubric/{number}", before={"v": number}, after={"v": number + 1})
        control.claim(tenant, "first", b"a" * 32, '["score_1"]')
        control.finish_claim(tenant, "first")
        control.claim(tenant, "second", b"b" * 32, '["score_2"]')
    control.set_settings(TENANTS[0], pii=PiiPolicy(default=PiiMode.HASH), retention_days=30)
    control.set_settings(TENANTS[1], pii=PiiPolicy(), retention_days=365)
    return texts


# -- questions ---------------------------------------------------------------------------------------------------------

OF_LAKE: Final[dict[str, Callable[[TenantStore], Any]]] = {
    "count": lambda store: count_spans(store, Asked(window=WINDOW)),
    "spans": lambda store: list_spans(store, Asked(window=WINDOW, limit=500)),
    "chats": lambda store: list_spans(store, Asked(window=WINDOW, filters=Filters(kind="LLM"), limit=500)),
    "trace": lambda store: spans_of_trace(store, _some_trace(store), within=None, limit=100, full=True),
    "traces": lambda store: list_traces(store, Asked(window=WINDOW, limit=500)),
    "sessions": lambda store: list_sessions(store, Asked(window=WINDOW, limit=500)),
    "rollups": lambda store: rollups(store, RollupsAsked(window=WINDOW, level="LLM", group_by=("model",))),
    "facets": lambda store: facets(store, Asked(window=WINDOW), FacetField.MODEL).sort("value"),
    "search": lambda store: search(store, Asked(window=WINDOW, filters=Filters(q="question"), limit=500)),
    "scores": lambda store: list_scores(store, ScoresAsked(window=WINDOW, limit=500)),
    "scores of": lambda store: scores_of(store, trace_ids=[_some_trace(store)]),
    "events": lambda store: store.frame(store.table("events")),
    "quarantine": lambda store: store.frame(store.table("quarantine")),
    "embeddings": lambda store: store.frame(store.table("embeddings")),
    "memberships": lambda store: store.frame(store.table("memberships")),
}
READS: Final = {
    "spans": ("count", "spans", "chats", "trace", "facets", "search"),
    "turns": ("traces",),
    "sessions": ("sessions",),
    "rollups": ("rollups",),
    "scores": ("scores", "scores of"),
    "events": ("events",),
    "quarantine": ("quarantine",),
    "embeddings": ("embeddings",),
    "memberships": ("memberships",),
}


def _some_trace(store: TenantStore) -> str:
    """A trace id that does not depend on what is damaged now."""
    return SOME_TRACE[str(store.tenant)]


SOME_TRACE: Final[dict[str, str]] = {}


def store_of(data: Path, engine: DuckDBEngine) -> tuple[Lake, Store]:
    """A lake and a store as a process that starts has them, but for what the engine has compiled."""
    lake = Lake(data / "lake")
    return lake, Store(lake, engine, lambda: START_NS)


def comparable(value: Any) -> Any:
    """A value that equals another exactly when the answers are the same; the order of rows that have none is not."""
    if not isinstance(value, pl.DataFrame):
        return value
    return sorted(map(repr, value.rows()))


def files_of(lake: Lake, table: str) -> list[LakeFile]:
    """The files of a table, as its log says."""
    return sorted(lake.snapshot(table).files, key=lambda file: file.relative)


def control_questions(keys: dict[str, str]) -> dict[str, Callable[[Control], Any]]:
    """What is asked of the control database, by name; claims last, because they write."""
    asked: dict[str, Callable[[Control], Any]] = {
        "tenants": lambda c: c.all_tenants(),
        "ledger": lambda c: c.ledger(None),
    }
    for name, text in keys.items():
        asked[f"key {name}"] = partial(_caller, text=text)
    unknown = next(iter(keys.values()))[:4] + "ffffffffffff" + "_" + "x" * 49
    asked["unknown key"] = partial(_caller, text=unknown)
    for tenant in TENANTS:
        asked[f"tenant {tenant}"] = partial(Control.tenant, tenant=tenant)
        asked[f"keys {tenant}"] = partial(Control.list_keys, tenant=tenant)
        asked[f"ledger {tenant}"] = partial(Control.ledger, tenant=tenant)
        asked[f"audit {tenant}"] = partial(Control.list_audit, tenant=tenant, limit=100)
        asked[f"verify {tenant}"] = partial(Control.verify, tenant=tenant)
        for key, body in (("first", b"a"), ("second", b"b"), ("third", b"c")):
            if key != "third" or tenant == TENANTS[0]:
                asked[f"claim {key} {tenant}"] = partial(
                    Control.claim, tenant=tenant, key=key, body_hash=body * 32, answer="new"
                )
    rows = {
        f"rows of {table.name}": partial(_rows, table=table) for table in METADATA.tables.values() if SEAL in table.c
    }
    return rows | asked


def _rows(control: Control, table: Table) -> list[str]:
    with control._database.read() as connection:
        return sorted(map(repr, seals.rows(connection, table)))


def _caller(control: Control, text: str) -> object:
    try:
        return Authenticator(control.find_key, PEPPER).principal(text)
    except Unauthenticated as error:
        return str(error)
