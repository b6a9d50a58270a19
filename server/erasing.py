"""Erases one user from a whole data folder: the reference agent's files, journal, lake, damaged files, logs and control
database, in that order.

The intent stands in the control database before anything changes, so an erasure that was killed goes on when the
server starts, or when the same command is given again. See docs/erasure.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from clustering.embedders.service_fits import forget_fits_of_few
from collector.drain import request_drain
from collector.seal import MasterKey, sealed, unsealed
from core.errors import AssayError, Conflict, InvalidInput, StorageFailed
from core.ids import TenantId
from core.records import PiiMode, PiiPolicy, Principal
from experiments.gates.forgetting import forget_in_gates
from judges.choosing import SESSION as JUDGED
from server.agent_folder import AgentNotReached, rows_in_agent
from server.control_access import open_control, pepper_of, require_lake
from server.erasing_files import of_others, overwrite_in_logs
from server.erasing_spool import Spooled
from server.exclusive import alone
from server.settings import Settings
from store import erasure
from store.backup import remove_staging
from store.control.control import Control
from store.control.erasures import Erasure
from store.erased import last_look
from store.erasure import Belongings, Progress, Subject
from store.lake import Lake

DRAIN_WITHIN_S: Final = 180.0
PASSES: Final = 5
MOST_ID_CHARS: Final = 4096
_QUIET: Final[Progress] = lambda *_: None  # noqa: E731


class Incomplete(StorageFailed):
    """Something of the user may be left: damaged files cannot be looked into. The erasure stays under way."""

    code = "erasure_incomplete"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What went, in counts. `rows` and `files` by table; `journal_damaged` are segments that no one can read;
    `agent_rows` went from the reference agent's folder, by its tables; `other_files` name what lies in the data folder,
    is not written by Assay, and still names the user."""

    erasure_id: str
    traces: int
    sessions: int
    days: int
    rows: dict[str, int]
    files: dict[str, int]
    old_files: int
    damaged_files: int
    journal_segments: int
    journal_damaged: int
    gateway_spans: int  # records of calls that waited in a gateway, or were refused by the collector
    log_places: int
    control_rows: int
    examples: int  # of datasets, different ones
    agent_rows: dict[str, int]
    other_files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """What an erasure under way has to know; kept sealed."""

    user_id: str = field(repr=False)
    what: Belongings = field(default_factory=Belongings)
    planned: bool = False
    n_segments: int = 0
    n_spooled: int = 0
    examples: int = 0
    agent_rows: dict[str, int] = field(default_factory=dict)


class Erasing:
    """Erasures of one data folder. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        """Opens what it needs. Raises StorageFailed, Corrupt, InvalidInput (AnotherInstance, NewerData)."""
        self._settings = settings
        self.control: Control = open_control(settings)
        self._lake = Lake(settings.lake_root, cache=settings.lake_cache)
        require_lake(settings, self._lake)
        self._master = MasterKey.open(settings.secrets_dir / "master.key")

    def close(self) -> None:
        """Gives the database back."""
        self.control.close()

    def foreseen(self, tenant: TenantId, user_id: str, progress: Progress = _QUIET) -> Belongings:
        """What would go from the lake. What still waits in the journal, or in a gateway, is not looked at.
        Changes nothing."""
        return erasure.find(self._lake, self._subject(tenant, user_id), Belongings(), progress)

    def foreseen_in_agent(self, tenant: TenantId, user_id: str) -> dict[str, int]:
        """Rows that would go from the reference agent's folder, by its tables. Raises AgentNotReached."""
        return rows_in_agent(self._settings, tenant, _checked(user_id))

    def foreseen_examples(self, tenant: TenantId, user_id: str, what: Belongings) -> int:
        """How many different examples of datasets would go, given what `foreseen` found."""
        return self.control.count_examples(tenant, _belongs_to(self._subject(tenant, user_id), what))

    def begin(self, tenant: TenantId, user_id: str, *, by: Principal | None = None) -> Erasure:
        """Puts the intent on record, or finds the one under way. Raises NotFound for an unknown tenant."""
        _checked(user_id)
        return self.control.begin_erasure(
            tenant, user_id, lambda number: self._seal(number, _Memory(user_id=user_id)), by=by
        )

    def carry_out(self, which: Erasure, progress: Progress = _QUIET, *, by: Principal | None = None) -> Receipt:
        """Does it, or goes on with it. Raises Incomplete, AgentNotReached; Conflict when another erasure runs."""
        with alone(self._settings):
            return self._carry_out(which, progress, by)

    def resume(self, progress: Progress = _QUIET) -> list[Receipt]:
        """Carries out all that is under way, also what is begun meanwhile; waits while a backup or an erasure runs.

        Raises the first problem after the others are done; Conflict when another process waits to do the same.
        """
        receipts: list[Receipt] = []
        failed: dict[str, AssayError] = {}
        progress("waiting until no other erasure or backup runs", 0, 1)
        with alone(self._settings, wait=True):
            while left := [each for each in self.under_way() if each.erasure_id not in failed]:
                try:
                    receipts.append(self._carry_out(left[0], progress, None))
                except AssayError as error:
                    failed[left[0].erasure_id] = error
        for first in failed.values():
            raise first
        return receipts

    def _carry_out(self, which: Erasure, progress: Progress, by: Principal | None) -> Receipt:
        memory = self._opened(self.control.erasure(which.tenant, which.erasure_id))
        memory, unreached = self._erase_in_agent(which, memory, progress)
        subject = self._subject(which.tenant, memory.user_id)
        spooled = Spooled(self._settings, subject, self._spellings(which.tenant))
        with spooled.held():  # nothing comes out of it while the lake is looked at
            n_segments, n_damaged = self._drain(progress)
            memory = replace(memory, n_segments=memory.n_segments + n_segments)
            memory = self._with_trials(which, memory, subject)
            memory = self._erase_rows(which, memory, subject, spooled, progress)
            memory = self._erase_spooled(which, memory, spooled)
        with last_look(self._lake.root):  # at what was written of sessions that had been read before
            erasure.erase(self._lake, subject, memory.what, tables=erasure.WRITTEN_LATE)
        forget_fits_of_few(self._settings.clusters_dir / which.tenant)
        memory = self._erase_examples(which, memory, subject)
        progress("deleting old bytes", 0, 1)
        remove_staging(self._lake)
        old_files = erasure.sweep(self._lake, which.tenant)
        aside = erasure.destroy_taken_aside(self._lake, subject, memory.what)
        places = overwrite_in_logs(self._settings.data, subject, memory.what.traces)
        claims = self.control.forget_claims(which.tenant, memory.user_id)
        claims += self.control.forget_trials(which.tenant, sorted(subject.forms), sorted(memory.what.sessions))
        claims += self.control.forget_verdicts(which.tenant, sorted(memory.what.sessions | memory.what.traces))
        claims += self.control.forget_targets(which.tenant, memory.what.sessions | memory.what.traces)
        claims += forget_in_gates(self.control, which.tenant, memory.what.sessions | memory.what.traces)
        claims += self.control.forget_label_tasks(
            which.tenant, sorted(subject.forms), sorted(memory.what.sessions), sorted(memory.what.traces)
        )
        testers = {memory.user_id, *subject.forms, *memory.what.sessions}
        claims += self.control.forget_overrides(which.tenant, sorted(testers))
        if left := erasure.unreadable(self._lake, which.tenant):
            raise Incomplete(
                f"{len(left)} damaged files may hold something of the user, first {left[0]}\n"
                "put them back from a backup, or assay doctor --repair --yes; then give the same command again"
            )
        if unreached is not None:
            raise unreached
        receipt = Receipt(
            erasure_id=which.erasure_id,
            traces=len(memory.what.traces),
            sessions=sum(not one.startswith(JUDGED) for one in memory.what.sessions),
            days=len(memory.what.dates),
            rows=memory.what.rows,
            files=memory.what.files,
            old_files=old_files,
            damaged_files=aside,
            journal_segments=memory.n_segments,
            journal_damaged=n_damaged,
            gateway_spans=memory.n_spooled,
            log_places=places,
            control_rows=claims,
            examples=memory.examples,
            agent_rows=memory.agent_rows,
            other_files=tuple(sorted(set(of_others(self._settings.data, subject)))),
        )
        self.control.finish_erasure(which, asdict(receipt), by=by)
        return receipt

    def under_way(self) -> list[Erasure]:
        """The erasures that were begun and are not done, of every tenant, oldest first."""
        return self.control.erasures(None, unfinished=True)[::-1]

    def _erase_in_agent(
        self, which: Erasure, memory: _Memory, progress: Progress
    ) -> tuple[_Memory, AgentNotReached | None]:
        """First of all, as a running agent sends the user's last spans then; what fails is told at the end."""
        progress("asking the agent", 0, 1)
        try:
            found = rows_in_agent(self._settings, which.tenant, memory.user_id, yes=True)
        except AgentNotReached as error:
            return memory, error
        total = {table: memory.agent_rows.get(table, 0) + found.get(table, 0) for table in memory.agent_rows | found}
        return replace(memory, agent_rows=total), None

    def _with_trials(self, which: Erasure, memory: _Memory, subject: Subject) -> _Memory:
        """Sessions in which an evaluation run sent what the user had said are the user's, too."""
        sessions = self.control.sessions_of_trials(which.tenant, sorted(subject.forms))
        return replace(memory, what=replace(memory.what, sessions=memory.what.sessions | set(sessions)))

    def _with_judges(self, tenant: TenantId, what: Belongings) -> Belongings:
        """The judges' own calls over the user's sessions and turns go with them: they name them."""
        if not self.control.judges(tenant):
            return what
        judged = {JUDGED + one for one in what.sessions | what.traces if not one.startswith(JUDGED)}
        return replace(what, sessions=what.sessions | judged)

    def _erase_rows(
        self, which: Erasure, memory: _Memory, subject: Subject, spooled: Spooled, progress: Progress
    ) -> _Memory:
        for n in range(PASSES):
            known = self._with_judges(which.tenant, spooled.known(memory.what))
            found = erasure.find(self._lake, subject, known, progress)
            left = {table: n_rows for table, n_rows in found.rows.items() if table != "sessions"}
            if memory.planned and n and not left:
                return memory
            # Found again after a kill is not counted again; what came in between two rounds is.
            new = found if not memory.planned or n else replace(found, rows={}, files={})
            memory = replace(memory, what=memory.what | new, planned=True)
            self.control.seal_erasure(which, self._seal(which.erasure_id, memory))
            erasure.erase(self._lake, subject, memory.what, progress)
        raise Conflict("more of the user keeps coming in; stop what sends it, then give the same command again")

    def _erase_spooled(self, which: Erasure, memory: _Memory, spooled: Spooled) -> _Memory:
        """Takes what the gateway has not sent; counted before, so that no kill loses count."""
        found = spooled.of_user(memory.what)
        memory = replace(memory, n_spooled=max(memory.n_spooled, len(found)))
        self.control.seal_erasure(which, self._seal(which.erasure_id, memory))
        spooled.erase(found)
        return memory

    def _erase_examples(self, which: Erasure, memory: _Memory, subject: Subject) -> _Memory:
        """Takes the user's examples out of every version of a dataset; counted before, so that no kill loses count."""
        belongs = _belongs_to(subject, memory.what)
        n_examples = self.control.count_examples(which.tenant, belongs)
        memory = replace(memory, examples=max(memory.examples, n_examples))
        self.control.seal_erasure(which, self._seal(which.erasure_id, memory))
        self.control.erase_examples(which.tenant, belongs)
        return memory

    def _drain(self, progress: Progress) -> tuple[int, int]:
        """(segments destroyed, damaged ones left): everything acknowledged until now is in the lake afterwards."""
        progress("emptying the journal", 0, 1)
        folder = self._settings.data / "journal"
        if not folder.is_dir():
            return 0, 0
        found = request_drain(folder, DRAIN_WITHIN_S)
        if found is None:
            from collector.service import drain
            from collector.settings import CollectorSettings

            settings = CollectorSettings(data_dir=self._settings.data, lake_root=self._settings.lake_root)
            found = drain(settings, self.control, pepper_of(self._settings))
        progress("emptying the journal", 1, 1)
        return found

    def _subject(self, tenant: TenantId, user_id: str) -> Subject:
        """The user with every spelling that a choice of the tenant's can have left in the lake."""
        from collector.dialects import TEXT

        quarantine = self._master.derived(f"quarantine/{tenant}")
        return Subject(
            tenant=tenant,
            given=user_id,
            forms=self._spellings(tenant)(_checked(user_id)),
            keys=frozenset(name.removeprefix("resource:") for name in TEXT["user_id"]),
            opened=lambda payload: unsealed(quarantine, payload),
        )

    def _spellings(self, tenant: TenantId) -> Callable[[str], frozenset[str]]:
        """Gives an id of a user or a session as it was sent, and as the tenant's choices can have left it."""
        from collector.redact import Redactor

        key = self._master.derived(f"pii/{tenant}")
        policies = [self.control.tenant(tenant).pii, PiiPolicy(), PiiPolicy(default=PiiMode.HASH)]
        redactors = [Redactor(policy, key) for policy in policies]
        return cache(lambda text: frozenset({text, *(redactor.identifier(text) for redactor in redactors)}))

    def _seal(self, erasure_id: str, memory: _Memory) -> bytes:
        what = memory.what
        plain = {
            "user_id": memory.user_id,
            "traces": sorted(what.traces),
            "sessions": sorted(what.sessions),
            "dates": sorted(what.dates),
            "rows": what.rows,
            "files": what.files,
            "planned": memory.planned,
            "n_segments": memory.n_segments,
            "n_spooled": memory.n_spooled,
            "examples": memory.examples,
            "agent_rows": memory.agent_rows,
        }
        return sealed(self._master.derived(f"erasure/{erasure_id}"), zlib.compress(json.dumps(plain).encode()))

    def _opened(self, which: Erasure) -> _Memory:
        if which.sealed is None:
            raise Conflict(f"erasure {which.erasure_id} is done")
        plain: dict[str, Any] = json.loads(
            zlib.decompress(unsealed(self._master.derived(f"erasure/{which.erasure_id}"), which.sealed))
        )
        what = Belongings(
            traces=frozenset(plain["traces"]),
            sessions=frozenset(plain["sessions"]),
            dates=frozenset(plain["dates"]),
            rows=plain["rows"],
            files=plain["files"],
        )
        return _Memory(
            user_id=plain["user_id"],
            what=what,
            planned=plain["planned"],
            n_segments=plain["n_segments"],
            n_spooled=plain.get("n_spooled", 0),
            examples=plain.get("examples", 0),
            agent_rows=plain.get("agent_rows", {}),
        )


def resume_in_child(settings: Settings) -> None:
    """Starts a process that carries out what is under way; its words go where this process's go."""
    environment = {**os.environ, "ASSAY_DATA": str(settings.data), "ASSAY_LAKE": settings.lake_root}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])  # the folder it starts in stays this one's
    if settings.control_url:
        environment["ASSAY_CONTROL_URL"] = settings.control_url
    child = subprocess.Popen(
        [sys.executable, "-m", "server.cli.main", "erase", "--resume", "--json"],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    threading.Thread(target=child.wait, name="erasure", daemon=True).start()


def _belongs_to(subject: Subject, what: Belongings) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an example of a dataset is the user's: taken from a trace or session of theirs, or naming them."""
    keys = {*subject.keys, "user_id"}

    def belongs(said: Mapping[str, Any]) -> bool:
        source, metadata = said.get("source") or {}, said.get("metadata") or {}
        named = {str(metadata[key]) for key in keys & metadata.keys()} | {str(source.get("user_id"))}
        taken = source.get("session_id") in what.sessions or source.get("trace_id") in what.traces
        return taken or not named.isdisjoint(subject.forms)

    return belongs


def _checked(user_id: str) -> str:
    if not user_id.strip() or len(user_id) > MOST_ID_CHARS:
        raise InvalidInput(f"a user's id has 1 to {MOST_ID_CHARS} characters", "user_id")
    return user_id
