"""Takes one user out of the spans that a gateway of the data folder has not sent yet, or that were refused for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.dialects import TEXT
from core.errors import StorageFailed
from gateway import spool_erasing
from gateway.spool_erasing import Lying
from server.settings import Settings
from store.control.secret_file import read_or_create_secret
from store.erasure import Belongings, Subject, mentions_user

WITHIN_S: Final = 180.0
_SESSION: Final = frozenset(name.removeprefix("resource:") for name in TEXT["session_id"])


@dataclass(frozen=True, kw_only=True)
class _Ids:
    """What a record says of itself; sessions as the lake may spell them."""

    traces: frozenset[str]
    sessions: frozenset[str]
    users: frozenset[str]


class Spooled:
    """The records of one tenant. `spellings` gives every form that an id can have in the lake."""

    def __init__(self, settings: Settings, subject: Subject, spellings: Callable[[str], frozenset[str]]) -> None:
        self._folder = settings.gateway_dir / "spool"
        self._secret: Path = settings.gateway_spool_secret
        self._subject, self._spellings = subject, spellings

    @contextmanager
    def held(self) -> Iterator[None]:
        """Until the end a gateway sends nothing of the tenant; what was on its way is in the journal. Raises
        StorageFailed."""
        with spool_erasing.held(self._folder, self._subject.tenant, WITHIN_S):
            yield

    def known(self, what: Belongings) -> Belongings:
        """`what` with the traces and sessions that records say are the user's. Raises StorageFailed."""
        told = [ids for _, ids in self._each() if ids is not None]
        traces, sessions = set(what.traces), set(what.sessions)
        n_before, n_known = -1, 0
        while n_before < n_known:
            for ids in told:
                if self._is_users(ids, traces, sessions):
                    traces |= ids.traces
                    sessions |= ids.sessions if ids.users & self._subject.forms else frozenset()
            n_before, n_known = n_known, len(traces) + len(sessions)
        return replace(what, traces=frozenset(traces), sessions=frozenset(sessions))

    def of_user(self, what: Belongings) -> list[Lying]:
        """The records that belong to the user, and those that nobody can read, without what is in them. Raises
        StorageFailed."""
        found = []
        for one, ids in self._each():
            if one.content is None or (
                mentions_user(one.content, self._subject, what)
                if ids is None
                else self._is_users(ids, what.traces, what.sessions)
            ):
                found.append(replace(one, content=None))
        return found

    def erase(self, found: list[Lying]) -> None:
        """Writes over records. Raises StorageFailed."""
        try:
            spool_erasing.erase(self._folder, found)
        except OSError as error:
            raise StorageFailed(f"spans in {self._folder} cannot be written over: {error}") from error

    def _each(self) -> Iterator[tuple[Lying, _Ids | None]]:
        tenant = self._subject.tenant
        if not (self._folder / tenant).is_dir():
            return
        key = read_or_create_secret(self._secret)
        try:
            for one in spool_erasing.records(self._folder, key, tenant):
                yield one, None if one.content is None else self._ids_of(one.content)
        except OSError as error:
            raise StorageFailed(f"spans in {self._folder} cannot be read: {error}") from error

    def _is_users(self, ids: _Ids, traces: set[str] | frozenset[str], sessions: set[str] | frozenset[str]) -> bool:
        """As in the lake: it names the user, or is of such a trace, or of such a session and names nobody else."""
        forms = self._subject.forms
        in_session = bool(ids.sessions & sessions) and ids.users <= forms
        return bool(ids.users & forms) or bool(ids.traces & traces) or in_session

    def _ids_of(self, content: bytes) -> _Ids | None:
        """None where it is no request of spans; a refused one may be none."""
        try:
            request = ExportTraceServiceRequest.FromString(content)
        except DecodeError:
            return None
        traces: set[str] = set()
        sessions: set[str] = set()
        users: set[str] = set()
        for resource in request.resource_spans:
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            traces |= {span.trace_id.hex() for span in spans}
            for one in chain(resource.resource.attributes, *(span.attributes for span in spans)):
                if one.key in _SESSION:
                    sessions |= self._spellings(_text(one.value))
                elif one.key in self._subject.keys:
                    users.add(_text(one.value))
        return _Ids(traces=frozenset(traces - {""}), sessions=frozenset(sessions), users=frozenset(users - {""}))


def _text(value: Any) -> str:
    """An id as the lake would write it."""
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)) if kind in ("string_value", "int_value") else ""
