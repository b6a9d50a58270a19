"""Erasure of one user from the lake: what belongs to the user is found, counted, and leaves with its bytes.

A trace belongs to a user when one of its spans says so, and with it every other trace of its sessions that names no
other user. What hangs on those traces goes too: scores, events, quarantined payloads. Turns, sessions and rollups of
the days concerned are made anew from the spans that stay, so that no total still counts the user.

Everything here may be done again after a kill: a file is replaced in one commit, and whoever repeats it finds less.
What has to be known before the first file changes (`Belongings`) is the caller's to keep.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import Conflict, Corrupt
from store import aside, leftover, repair, schema
from store.delta_log import LakeFile
from store.derive import DERIVED
from store.lake import Lake
from store.memberships import user_hash

TABLES: Final = ("spans", "scores", "events", "quarantine", "turns", "sessions", "embeddings", "memberships")
REWRITTEN: Final = ("scores", "events", "quarantine", "embeddings", "memberships", "spans")
WRITTEN_LATE: Final = ("embeddings", "memberships", "scores")  # of sessions that were read before (store/erased.py)
TRIES: Final = 5
SHORT_ID: Final = 6  # ids below this length are looked for as whole values only, or they would be found everywhere
_NEEDED: Final = {
    "spans": ["trace_id"],
    "scores": ["trace_id", "session_id", "metadata"],
    "events": ["trace_id", "attributes", "body", "resource"],
    "quarantine": ["payload", "detail"],
    "turns": ["trace_id", "session_id", "user_id"],
    "sessions": ["session_id", "user_id"],
    "embeddings": ["session_id"],
    "memberships": ["session_id", "user_hash"],
}
# Field 1 of Span and Span.Link, field 9 of LogRecord; a lookahead, because such bytes may overlap.
_ID_ON_WIRE: Final = re.compile(rb"(?=[\x0a\x4a]\x10(.{16}))", re.DOTALL)
_ID_AS_TEXT: Final = re.compile(rb"(?<![0-9A-Fa-f])([0-9A-Fa-f]{32})(?![0-9A-Fa-f])")
_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")  # an id that may have been sent as an integer
Progress = Callable[[str, int, int], None]
_QUIET: Final[Progress] = lambda *_: None  # noqa: E731


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The user to erase: every spelling of the id in the lake, and the attribute keys that hold one.

    `given` is the id as it was sent; `opened` gives the bytes of a quarantined payload back.
    """

    tenant: str
    given: str = field(repr=False)
    forms: frozenset[str] = field(repr=False)
    keys: frozenset[str]
    opened: Callable[[bytes], bytes] = field(repr=False)

    def pieces(self) -> list[bytes]:
        """The byte strings by which raw bytes give away that they are about the user."""
        found: list[bytes] = []
        for form in {self.given, *self.forms}:
            raw = form.encode("utf-8", "surrogatepass")
            found += [json.dumps(form).encode(), json.dumps(form, ensure_ascii=False).encode("utf-8", "surrogatepass")]
            found.append(raw if len(raw) >= SHORT_ID else b"\x0a" + bytes([len(raw)]) + raw)
        return found + _as_number(self.given)


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """What belongs to a user: trace ids, session ids, the days they touch, and rows and files by table."""

    traces: frozenset[str] = field(default=frozenset(), repr=False)
    sessions: frozenset[str] = field(default=frozenset(), repr=False)
    dates: frozenset[str] = frozenset()
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)

    def __or__(self, other: Belongings) -> Belongings:
        """Both; counts add."""
        return Belongings(
            traces=self.traces | other.traces,
            sessions=self.sessions | other.sessions,
            dates=self.dates | other.dates,
            rows={t: self.rows.get(t, 0) + other.rows.get(t, 0) for t in {*self.rows, *other.rows}},
            files={t: self.files.get(t, 0) + other.files.get(t, 0) for t in {*self.files, *other.files}},
        )


def find(lake: Lake, subject: Subject, known: Belongings, progress: Progress = _QUIET) -> Belongings:
    """What of the user is in the lake now, given the traces and sessions that are known to be the user's.

    Damaged files cannot be looked into and are passed over; see `unreadable`.
    """
    traces, sessions = set(known.traces), set(known.sessions)
    names = ["trace_id", "session_id", "user_id", "attributes", "resource"]
    for rows, _ in _each(lake, "spans", subject.tenant, names, progress):
        own = rows.filter(_says_so(rows, subject))
        traces |= _values(own, "trace_id")
        sessions |= _values(own, "session_id")
    for table in ("turns", "sessions"):
        for rows, _ in _each(lake, table, subject.tenant, _NEEDED[table], progress):
            own = rows.filter(_among(rows, "user_id", subject.forms))
            traces, sessions = traces | _values(own, "trace_id"), sessions | _values(own, "session_id")
    traces |= _of_the_sessions(lake, subject, traces, sessions, progress)
    return _counted(lake, subject, frozenset(traces), frozenset(sessions), progress)


def erase(
    lake: Lake, subject: Subject, what: Belongings, progress: Progress = _QUIET, *, tables: Sequence[str] = REWRITTEN
) -> None:
    """Takes everything of `what` out of the lake's tables, or of some, without deriving anything anew then; the old
    bytes stay until `sweep`.

    Raises Corrupt when a file turns out damaged, Conflict when other processes rewrite the same files all the while,
    StorageFailed.
    """
    for table in tables:
        for _ in range(TRIES):
            if _rewrite(lake, table, subject, what, progress):
                break
        else:
            raise Conflict(f"{table}: other processes rewrite the same files all the while; try again")
    days = sorted(what.dates) if tables is REWRITTEN else []
    for done, date in enumerate(days, 1):
        _derive_anew(lake, subject.tenant, date, what)
        progress("days made anew", done, len(days))


def sweep(lake: Lake, tenant: str, *, within_s: float = 180.0) -> int:
    """Deletes the bytes of every file of the tenant that is not part of its table; returns how many.

    Queries that read one of them finish on the open file, or run again. In an object store a file that was just
    written may be on its way into the table: it is waited for. Raises StorageFailed.
    """
    deleted = 0
    deadline = time.monotonic() + within_s
    for table in sorted(set(lake.tables()) - set(lake.unreadable())):
        n, young = leftover.sweep(lake, table, tenant)
        while young and time.monotonic() < deadline:
            time.sleep(1.0)
            more, young = leftover.sweep(lake, table, tenant)
            n += more
        deleted += n
    return deleted


def destroy_taken_aside(lake: Lake, subject: Subject, what: Belongings) -> int:
    """Deletes the bytes of damaged files taken aside that hold something of the user, or cannot tell. Notes stay."""
    n = 0
    for damage in repair.taken_out(lake):
        if damage.tenant != subject.tenant or damage.table == "rollups":
            continue
        content = aside.bytes_of(lake, damage)
        if content is not None and _may_hold(content, damage.table, subject, what):
            aside.destroy(lake, damage)
            n += 1
    return n


def unreadable(lake: Lake, tenant: str) -> list[str]:
    """What cannot be looked into: the tenant's damaged files that are still part of a table, and damaged logs."""
    damaged = [str(d) for d in lake.damaged() if d.tenant == tenant and d.table != "rollups"]
    return damaged + [str(error) for error in lake.unreadable().values()]


def mentions_user(raw: bytes, subject: Subject, what: Belongings) -> bool:
    """Whether a payload that nobody could read as spans mentions the user or one of the traces."""
    return any(piece in raw for piece in subject.pieces()) or not what.traces.isdisjoint(_traces_in(raw))


# -- finding -------------------------------------------------------------------------------------------------------


def _each(
    lake: Lake, table: str, tenant: str, names: list[str], progress: Progress
) -> Iterator[tuple[pa.Table, LakeFile]]:
    """Columns of every sound file of the tenant; a file that leaves the table meanwhile is made up for by `erase`."""
    if table in lake.unreadable():
        return
    files = lake.snapshot(table).select(tenant)
    for done, file in enumerate(files, 1):
        with suppress(Corrupt, Conflict):
            yield lake.read(file, names), file
        progress(f"reading {table}", done, len(files))


def _says_so(rows: pa.Table, subject: Subject) -> pa.Array:
    """Whether a span names the user, in its column or under one of the keys that can hold a user's id, its resource's
    too: what is nearer to the span fills the column."""
    own = pc.or_(_among(rows, "user_id", subject.forms), _under_a_key(rows.column("resource"), subject))
    attributes = rows.column("attributes").combine_chunks()
    if isinstance(attributes, pa.ChunkedArray):
        attributes = pa.concat_arrays(attributes.chunks)
    keys, values = attributes.keys, attributes.items
    hits = pc.and_(
        pc.is_in(keys, value_set=pa.array(sorted(subject.keys), pa.string())),
        pc.is_in(values, value_set=pa.array(sorted(subject.forms), pa.string())),
    )
    at = pc.indices_nonzero(hits).to_numpy()
    if not len(at):
        return own
    offsets = attributes.offsets.to_numpy()
    named = set((offsets.searchsorted(at, side="right") - 1).tolist())
    return pc.or_(own, pa.array([n in named for n in range(rows.num_rows)]))


def _of_the_sessions(
    lake: Lake, subject: Subject, traces: set[str], sessions: set[str], progress: Progress
) -> set[str]:
    """The further traces of the user's sessions: those that name no other user."""
    members: set[str] = set()
    users: dict[str, set[str]] = {}
    for rows, _ in _each(lake, "spans", subject.tenant, ["trace_id", "session_id", "user_id"], progress):
        members |= _values(rows.filter(_among(rows, "session_id", frozenset(sessions))), "trace_id")
        named = rows.filter(pc.is_valid(rows.column("user_id")))
        for trace, user in zip(named.column("trace_id").to_pylist(), named.column("user_id").to_pylist(), strict=True):
            if trace not in traces:
                users.setdefault(trace, set()).add(user)
    return {trace for trace in members if not users.get(trace, set()) - subject.forms}


def _counted(
    lake: Lake, subject: Subject, traces: frozenset[str], sessions: frozenset[str], progress: Progress
) -> Belongings:
    found = Belongings(traces=traces, sessions=sessions)
    dates: set[str] = set()
    for table in TABLES:
        for rows, file in _each(lake, table, subject.tenant, _NEEDED[table], progress):
            n = int(pc.sum(_mask(table, rows, subject, found)).as_py() or 0)
            if n:
                found.rows[table] = found.rows.get(table, 0) + n
                found.files[table] = found.files.get(table, 0) + 1
                dates |= {file.date} if table in ("spans", "turns", "sessions") else set()
    return Belongings(traces=traces, sessions=sessions, dates=frozenset(dates), rows=found.rows, files=found.files)


def _mask(table: str, rows: pa.Table, subject: Subject, what: Belongings) -> pa.Array:
    """Which rows of a table go."""
    match table:
        case "spans":
            return _among(rows, "trace_id", what.traces)
        case "turns":
            return pc.or_(_among(rows, "trace_id", what.traces), _among(rows, "user_id", subject.forms))
        case "sessions":
            return pc.or_(_among(rows, "session_id", what.sessions), _among(rows, "user_id", subject.forms))
        case "scores":
            in_session = pc.and_(_among(rows, "session_id", what.sessions), pc.is_null(rows.column("trace_id")))
            named = _json_names(rows, ("metadata",), subject)
            return pc.or_(pc.or_(_among(rows, "trace_id", what.traces), in_session), named)
        case "embeddings":
            return _among(rows, "session_id", what.sessions)
        case "memberships":
            hashes = {found for form in subject.forms if (found := user_hash(form)) is not None}
            of_user = pc.is_in(rows.column("user_hash"), value_set=pa.array(sorted(hashes), pa.int64()))
            return pc.or_(_among(rows, "session_id", what.sessions), of_user)
        case "events":
            named = _json_names(rows, ("attributes", "body", "resource"), subject)
            return pc.or_(_among(rows, "trace_id", what.traces), named)
        case _:
            return _payloads(rows, subject, what)


def _under_a_key(column: pa.ChunkedArray, subject: Subject) -> pa.ChunkedArray:
    """JSON objects in which one of the user keys holds the id, as text or as a number."""
    ids = [json.dumps(form, ensure_ascii=False) for form in sorted(subject.forms)]
    ids += [subject.given] if _NUMBER.fullmatch(subject.given) else []
    keys = "|".join(map(re.escape, sorted({*subject.keys, "user_id"})))
    pattern = f'"(?:{keys})": ?(?:{"|".join(map(re.escape, ids))})[,}}]'
    return pc.fill_null(pc.match_substring_regex(column, pattern), False)


def _json_names(rows: pa.Table, columns: tuple[str, ...], subject: Subject) -> pa.Array:
    """Rows with one of the user keys beside the id in a column of JSON."""
    found = pa.array([False] * rows.num_rows)
    for name in columns:
        column = rows.column(name)
        found = pc.or_(found, _under_a_key(column, subject))
        for form in subject.forms:
            hits = pc.fill_null(pc.match_substring(column, json.dumps(form, ensure_ascii=False)), False)
            if not pc.any(hits).as_py():
                continue
            keyed = pa.array(
                [
                    bool(hit) and any(f'"{key}"' in text for key in (*subject.keys, "user_id"))
                    for hit, text in zip(hits.to_pylist(), column.to_pylist(), strict=True)
                ]
            )
            found = pc.or_(found, keyed)
    return found


def _payloads(rows: pa.Table, subject: Subject, what: Belongings) -> pa.Array:
    """Quarantined payloads that mention the user or one of the traces; those that cannot be opened may, and go."""
    answers = []
    for payload, detail in zip(rows.column("payload").to_pylist(), rows.column("detail").to_pylist(), strict=True):
        try:
            raw = subject.opened(payload or b"") + (detail or "").encode("utf-8", "surrogatepass")
        except Corrupt:
            answers.append(True)
            continue
        answers.append(mentions_user(raw, subject, what))
    return pa.array(answers, pa.bool_())


def _traces_in(raw: bytes) -> set[str]:
    """Whatever looks like a trace id in a payload: of a span, a link or a log record on the wire, or in JSON."""
    found = {piece.hex() for piece in _ID_ON_WIRE.findall(raw)}
    return found | {piece.decode().lower() for piece in _ID_AS_TEXT.findall(raw)}


def _as_number(user_id: str) -> list[bytes]:
    """An id that was sent as an integer, as it is on the wire: field 2 of KeyValue, in it field 3 of AnyValue."""
    if not _NUMBER.fullmatch(user_id):
        return []
    number, varint = int(user_id) & (1 << 64) - 1, bytearray()
    while number > 0x7F:
        varint.append(number & 0x7F | 0x80)
        number >>= 7
    varint.append(number)
    return [b"\x12" + bytes([len(varint) + 1]) + b"\x18" + bytes(varint)]


def _among(rows: pa.Table, column: str, values: frozenset[str]) -> pa.ChunkedArray:
    return pc.is_in(rows.column(column), value_set=pa.array(sorted(values), pa.string()))


def _values(rows: pa.Table, column: str) -> set[str]:
    if column not in rows.column_names:
        return set()
    return {value for value in rows.column(column).unique().to_pylist() if value}


# -- erasing -------------------------------------------------------------------------------------------------------


def _rewrite(lake: Lake, table: str, subject: Subject, what: Belongings, progress: Progress) -> bool:
    """One round over a table's files; False when one was rewritten by another process meanwhile."""
    whole = True
    files = lake.snapshot(table).select(subject.tenant)
    for done, file in enumerate(files, 1):
        try:
            _rewrite_file(lake, table, file, subject, what)
        except Conflict:
            whole = False
        except Corrupt:
            if lake.trust.damage_of(table, file) is None:
                raise
        progress(f"erasing {table}", done, len(files))
    return whole


def _rewrite_file(lake: Lake, table: str, file: LakeFile, subject: Subject, what: Belongings) -> None:
    gone = _mask(table, lake.read(file, _NEEDED[table]), subject, what)
    if not pc.any(gone).as_py():
        return
    rows = lake.read(file, verify=True).select(schema.TABLES[table].names)
    kept = rows.filter(pc.invert(gone))
    if kept.num_rows:
        lake.replace(table, [file], kept, operation="DELETE", same_rows=False)
    else:
        lake.remove(table, [file])
    Path(file.path).unlink(missing_ok=True)


def _derive_anew(lake: Lake, tenant: str, date: str, what: Belongings) -> None:
    """The day's turns, sessions and rollups from the spans that are left; where spans were lost to damage, only the
    rows of these traces and sessions go."""
    damages = [*lake.damaged(), *repair.taken_out(lake)]
    if not any(d.table == "spans" and (d.tenant, d.date) == (tenant, date) for d in damages):
        for table in DERIVED:
            repair.rebuild(lake, table, tenant, date)
        return
    for table, column, values in (("turns", "trace_id", what.traces), ("sessions", "session_id", what.sessions)):
        for file in lake.snapshot(table).select(tenant):
            rows = lake.read(file, verify=True).select(schema.TABLES[table].names) if file.date == date else None
            if rows is None or not pc.any(_among(rows, column, values)).as_py():
                continue
            kept = rows.filter(pc.invert(_among(rows, column, values)))
            lake.replace(table, [file], kept, operation="DELETE", same_rows=False)


def _may_hold(content: bytes, table: str, subject: Subject, what: Belongings) -> bool:
    try:
        rows = pq.read_table(pa.BufferReader(content), columns=_NEEDED[table])
        return bool(pc.any(_mask(table, rows, subject, what)).as_py())
    except (OSError, pa.ArrowException, ValueError, KeyError):
        return True
