"""Erasure in the lake itself, on a disk and in a bucket: rows, objects, and what stays."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import Corrupt
from store import erasure
from store.erasure import Belongings, Subject
from store.lake import Lake
from store.memberships import user_hash
from store.objects import Objects
from store.schema import TABLES
from tests.bytes_left import mentions
from tests.collector import otlp
from tests.store.build import agent_trace, fill

MARK = b"subject-4d1c"


def not_sealed(payload: bytes) -> bytes:
    raise Corrupt("nothing is sealed here")


SUBJECT = Subject(
    tenant="acme",
    given="u-1",
    forms=frozenset({"u-1", "[EMAIL:4d1c4d1c4d1c]"}),
    keys=frozenset({"user.id", "enduser.id"}),
    opened=not_sealed,
)


def filled(lake: Lake) -> None:
    text = {"output": "answer of subject-4d1c"}
    of_subject, of_other = {"user_id": "u-1", "session_id": "s-1"}, {"user_id": "u-2", "session_id": "s-1"}
    fill(lake, _trace(1, text, **of_subject))
    fill(lake, _trace(2, {}, **of_other))
    fill(lake, _trace(3, text, session_id="s-1"))  # of the same session, and of nobody else
    fill(lake, _trace(4, text, session_id="s-4", attributes={"enduser.id": "u-1"}))
    fill(lake, _trace(5, text, session_id="s-5", user_id="[EMAIL:4d1c4d1c4d1c]"))
    fill(
        lake, _trace(6, {}, session_id="s-6", attributes={"order": "u-1"})
    )  # the id under another key is another thing
    fill(lake, _trace(7, {}, tenant="shop", user_id="u-1"))
    for tenant, sessions in (("acme", ("s-1", "s-4", "s-6", "s-8")), ("shop", ("s-4",))):
        _clustered(lake, tenant, sessions)


def _clustered(lake: Lake, tenant: str, sessions: tuple[str, ...]) -> None:
    """Vectors that say whose they are; of s-8 no span is left, and its membership names the user."""
    both = [{"tenant": tenant, "date": "2026-09-21", "seq": 1, "session_id": one} for one in sessions]
    mark = b"nobody's" if tenant == "shop" else MARK
    vectors = [{**one, "vector": b"nobody's" if one["session_id"] in ("s-6", "s-8") else mark} for one in both]
    users = [{**one, "user_hash": user_hash("u-1" if one["session_id"] == "s-8" else "u-2")} for one in both]
    lake.append("embeddings", pa.Table.from_pylist(vectors, schema=TABLES["embeddings"]))
    lake.append("memberships", pa.Table.from_pylist(users, schema=TABLES["memberships"]))


def sessions_in(lake: Lake, table: str, tenant: str) -> set[str]:
    files = lake.snapshot(table).select(tenant)
    return {one for file in files for one in lake.read(file, ["session_id"]).column("session_id").to_pylist()}


def _trace(n: int, text: dict[str, str], **given: object) -> list[dict[str, object]]:
    rows = agent_trace(n, at_s=n, **given)
    return [{**row, **text} for row in rows]


def traces(lake: Lake, table: str, tenant: str = "acme") -> set[int]:
    files = lake.snapshot(table).select(tenant)
    return {int(trace, 16) for file in files for trace in lake.read(file, ["trace_id"]).column("trace_id").to_pylist()}


def erased(lake: Lake) -> None:
    found = erasure.find(lake, SUBJECT, Belongings())
    assert {int(trace, 16) for trace in found.traces} == {1, 3, 4, 5}
    assert found.rows["spans"] == 16
    assert (found.rows["embeddings"], found.rows["memberships"]) == (2, 3)
    erasure.erase(lake, SUBJECT, found)
    assert erasure.sweep(lake, "acme") > 0
    again = erasure.find(lake, SUBJECT, found)
    assert {table for table, n in again.rows.items() if n} <= {"sessions"}  # the session is another user's too
    for table in ("spans", "turns"):
        assert traces(lake, table) == {2, 6}
        assert traces(lake, table, "shop") == {7}
    assert sessions_in(lake, "embeddings", "acme") == {"s-6", "s-8"}
    assert sessions_in(lake, "memberships", "acme") == {"s-6"}
    assert sessions_in(lake, "embeddings", "shop") == sessions_in(lake, "memberships", "shop") == {"s-4"}
    assert {f.date for f in lake.snapshot("rollups").select("acme")}


def test_the_users_traces_and_nobody_elses_leave_a_lake_on_disk(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    filled(lake)
    assert mentions(tmp_path, [MARK])
    erased(lake)
    assert mentions(tmp_path, [MARK, b"4d1c4d1c4d1c"]) == []


def test_the_users_objects_leave_a_bucket(bucket: str, tmp_path: Path) -> None:
    lake = Lake(bucket, cache=tmp_path)
    filled(lake)
    erased(lake)
    objects = Objects(bucket)
    copy = tmp_path / "copy"
    for table in lake.tables():
        for found in objects.list(table):
            path = copy / found.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(objects.get(found.path) or b"")
    assert mentions(tmp_path, [MARK, b"4d1c4d1c4d1c"]) == []
    assert traces(Lake(bucket, cache=tmp_path / "elsewhere"), "spans") == {2, 6}


def test_days_that_lost_spans_keep_what_is_left_of_their_turns(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    filled(lake)
    (file,) = [f for f in lake.snapshot("spans").select("acme") if traces_of(lake, f) == {2}]
    Path(file.path).write_bytes(b"gone")
    lake.sound("spans", [file])
    found = erasure.find(lake, SUBJECT, Belongings())
    erasure.erase(lake, SUBJECT, found)
    erasure.sweep(lake, "acme")
    assert traces(lake, "turns") == {2, 6}
    (left,) = erasure.unreadable(lake, "acme")
    assert "was altered" in left


def traces_of(lake: Lake, file: object) -> set[int]:
    rows = lake.read(file, ["trace_id"])  # type: ignore[arg-type]
    return {int(trace, 16) for trace in rows.column("trace_id").to_pylist()}


@pytest.mark.parametrize("given", ["u", "u-1"])
def test_a_short_id_is_looked_for_as_a_whole_value_only(given: str) -> None:
    subject = Subject(tenant="acme", given=given, forms=frozenset({given}), keys=frozenset(), opened=not_sealed)
    assert not any(piece in b"you are u-11 and u-12" for piece in subject.pieces())
    assert any(piece in b'{"user.id": "' + given.encode() + b'"}' for piece in subject.pieces())
    on_wire = b"\x0a\x07user.id\x12" + bytes([len(given) + 2]) + b"\x0a" + bytes([len(given)]) + given.encode()
    assert any(piece in on_wire for piece in subject.pieces())


@pytest.mark.parametrize("user", ["u-77", "4711"])
def test_a_resource_that_names_the_user_counts_though_the_span_names_another(tmp_path: Path, user: str) -> None:
    lake = Lake(tmp_path)
    named = '{"user.id":4711}' if user == "4711" else '{"user.id":"u-77"}'
    fill(lake, _trace(1, {"output": "answer of subject-4d1c"}, user_id="u-2", resource=named))
    fill(lake, _trace(2, {}, user_id="u-2", resource='{"user.id":47110,"port":4711,"of":"u-77"}'))
    subject = Subject(
        tenant="acme", given=user, forms=frozenset({user}), keys=frozenset({"user.id"}), opened=not_sealed
    )
    found = erasure.find(lake, subject, Belongings())
    assert {int(trace, 16) for trace in found.traces} == {1}


@pytest.mark.parametrize("number", [0, 4, 300, -5, 2**63 - 1])
def test_an_id_that_was_sent_as_a_number_is_found_on_the_wire(number: int) -> None:
    given = str(number)
    subject = Subject(tenant="acme", given=given, forms=frozenset({given}), keys=frozenset(), opened=not_sealed)
    others = Subject(tenant="acme", given="1", forms=frozenset({"1"}), keys=frozenset(), opened=not_sealed)
    payload = otlp.span({"user.id": number}).SerializeToString()
    assert any(piece in payload for piece in subject.pieces())
    assert not any(piece in payload for piece in others.pieces())
