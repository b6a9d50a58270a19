"""What is written of sessions long after they were read must not bring back a user who was erased meanwhile.

Clustering, evaluators and judges read sessions, work for up to minutes, and then write what they made of them. An
erasure therefore takes a last look at what such work writes while no process of this machine may write it
(`last_look`), and leaves a mark; whoever writes afterwards and finds the mark (`still_there`) asks first which of the
sessions are there still. Processes share a lock file beside the tables.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from core.errors import StorageFailed
from store.engine import table_of
from store.tenant import TenantStore

LOCK: Final = "_erased.lock"


@contextmanager
def last_look(root: Path) -> Iterator[None]:
    """While it lasts, nobody is between `still_there` and the end of what it writes; from now on it asks. Raises
    StorageFailed."""
    descriptor = _opened(root)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def still_there(
    store: TenantStore, session_ids: Sequence[str], trace_ids: Sequence[str] = ()
) -> Iterator[frozenset[str]]:
    """Those of the sessions and traces that may be written about until it ends: all, where no user was ever erased from
    this lake; else those of which rows are left. Raises StorageFailed."""
    descriptor = _opened(store.root)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_size == 0:
            yield frozenset((*session_ids, *trace_ids))
        else:
            yield _left(store, "sessions", "session_id", session_ids) | _left(store, "turns", "trace_id", trace_ids)
    finally:
        os.close(descriptor)


def _left(store: TenantStore, table: str, key: str, wanted: Sequence[str]) -> frozenset[str]:
    if not wanted:
        return frozenset()
    given = {"wanted_ids": pa.table({key: pa.array(list(wanted), pa.string())})}
    return frozenset(store.frame(_of_ids(table, key), given=given)[key])


@lru_cache(maxsize=2)
def _of_ids(table: str, key: str) -> ir.Table:
    wanted = ibis.table({key: "string"}, name="wanted_ids")
    return table_of(table).semi_join(wanted, key).select(key, "tenant").distinct()


def _opened(root: Path) -> int:
    try:
        return os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageFailed(f"{root / LOCK} cannot be opened: {error.strerror}") from error
