"""Which calls in a gateway's spool are a user's: by name, trace and session, never those that name somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.dialects import TEXT
from gateway.spool import Spool
from server.erasing_spool import Spooled
from server.settings import Settings
from store.control.secret_file import read_or_create_secret
from store.erasure import Belongings, Subject
from tests.collector import otlp

MAIL = "ann@example.org"
HASHED = "[EMAIL:0123456789ab]"


def call(n: int, resource: dict[str, Any] | None = None, **said: Any) -> bytes:
    """A call's span of trace `n`; `user` and `session` are of it."""
    attributes = {{"user": "user.id", "session": "session.id"}.get(name, name): value for name, value in said.items()}
    request = otlp.traces(otlp.span(attributes, trace_id=bytes([n]) * 16), resource=resource)
    found: ExportTraceServiceRequest = request
    return found.SerializeToString()


def trace(n: int) -> str:
    return (bytes([n]) * 16).hex()


def spooled(data: Path, *waiting: bytes, given: str = MAIL) -> Spooled:
    """A spool of a tenant with these calls."""
    settings = Settings(data=data)
    spool = Spool(settings.gateway_dir / "spool", read_or_create_secret(settings.gateway_spool_secret))
    for one in waiting:
        spool.append("acme", one)
    spool.close()
    subject = Subject(
        tenant="acme",
        given=given,
        forms=frozenset({given, HASHED}),
        keys=frozenset(name.removeprefix("resource:") for name in TEXT["user_id"]),
        opened=bytes,
    )
    return Spooled(settings, subject, lambda one: frozenset({one, HASHED if one == MAIL else one}))


def taken(of: Spooled, what: Belongings) -> int:
    with of.held():
        found = of.of_user(of.known(what))
        of.erase(found)
        assert of.of_user(of.known(what)) == []
    return len(found)


@pytest.mark.parametrize("said", [{"user": MAIL}, {"enduser.id": MAIL}, {"resource": {"user.id": MAIL}}])
def test_it_names_the_user(tmp_path: Path, said: dict[str, Any]) -> None:
    of = spooled(tmp_path, call(1, **said, session="s1"), call(2, user="bob", note=MAIL))
    known = of.known(Belongings())
    assert (set(known.traces), set(known.sessions)) == ({trace(1)}, {"s1"})
    assert taken(of, Belongings()) == 1, "what another's call says is another's"


def test_an_id_that_was_sent_as_a_number(tmp_path: Path) -> None:
    assert taken(spooled(tmp_path, call(1, user=4711), call(2, user=4712), given="4711"), Belongings()) == 1


def test_traces_and_sessions_lead_on_to_each_other_but_not_to_somebody_else(tmp_path: Path) -> None:
    of = spooled(
        tmp_path,
        call(3),  # of the trace of the next
        call(3, session="s1"),
        call(1, user=MAIL, session="s1"),
        call(4, user="bob", session="s1"),
        call(5, session="s5"),
        call(6, session="s6"),
    )
    known = of.known(Belongings(sessions=frozenset({"s6"})))
    assert known.traces == {trace(n) for n in (1, 3, 6)}
    assert known.sessions == {"s1", "s6"}
    assert taken(of, Belongings(sessions=frozenset({"s6"}))) == 4


def test_a_session_is_known_as_the_lake_spells_it(tmp_path: Path) -> None:
    of = spooled(tmp_path, call(1, session=MAIL), call(2, session="s2"))
    assert taken(of, Belongings(sessions=frozenset({HASHED}))) == 1


def test_what_is_no_request_goes_where_it_mentions_the_user(tmp_path: Path) -> None:
    broken = b"\x0a\xff\xff\xff\xff\x0f"
    of = spooled(tmp_path, broken + MAIL.encode(), broken + b"\x0a\x10" + bytes([7]) * 16, broken + b"bob")
    assert taken(of, Belongings(traces=frozenset({trace(7)}))) == 2


def test_without_a_spool_there_is_nothing(tmp_path: Path) -> None:
    of = Spooled(Settings(data=tmp_path), spooled(tmp_path / "other")._subject, lambda one: frozenset({one}))
    assert taken(of, Belongings()) == 0
    assert list(tmp_path.rglob("gateway-spool")) == [tmp_path / "other" / "secrets" / "gateway-spool"]
