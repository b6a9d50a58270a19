"""Flips bits of a data folder and compares every answer with the truth: `python -m tests.reliability.corruption`.

Each flip ends in one of three ways. served around: it was noticed (rows left out and named, a refusal, a finding of the
doctor) and every answer that was given is right. harmless: every answer is right and nothing was noticed, because no
answer depends on the bit. wrong: an answer that is not the truth and does not say so, an error that is not one of ours,
or something refused that the bit has nothing to do with.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from collector.journal import Entry, Journal
from collector.seal import MasterKey
from core.errors import AssayError, Corrupt
from store.control.control import Control
from store.control.integrity import look_over
from store.delta_log import LakeFile
from store.engine import DuckDBEngine
from store.lake import Lake
from store.repair import find_damage
from tests.collector.inside import PEPPER
from tests.reliability import corruption_data as data_of
from tests.reliability.corruption_data import OF_LAKE, READS, TENANTS, Folder, comparable, filled, store_of

AREAS: Final = ("lake", "log", "journal", "control")
REFUSED: Final = "refused"


@dataclass(kw_only=True)
class Outcome:
    """What one flip led to: what was noticed, and what was wrong. Both empty: harmless."""

    place: str
    noticed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """wrong, served_around or harmless."""
        return "wrong" if self.wrong else "served_around" if self.noticed else "harmless"


@dataclass(kw_only=True)
class Campaign:
    """A folder, the truth about it, and the flips."""

    folder: Folder
    chance: random.Random

    def __post_init__(self) -> None:
        self._engine = DuckDBEngine(self.folder.data / "lake", n_threads=1)
        lake, store = store_of(self.folder.data, self._engine)
        self._live = (lake, store)
        for tenant in TENANTS:
            own = store.tenant(tenant)
            data_of.SOME_TRACE[str(tenant)] = str(own.frame(own.table("spans"))["trace_id"].min())
        self.truth: dict[tuple[str, str], Any] = {(t, q): self._ask(store, t, q)[0] for t in TENANTS for q in OF_LAKE}
        self.files = {table: data_of.files_of(lake, table) for table in READS}
        self.without: dict[str, dict[str, Any]] = {}
        self.entries = self._journal()[0]
        self.questions = data_of.control_questions(self.folder.keys)
        self._scratch = self.folder.data.parent / "scratch"
        outcome = Outcome(place="none")
        self.controlled = self._control(outcome, self.folder.crashed)
        assert self._control(outcome, self.folder.stopped) == self.controlled
        assert not outcome.wrong
        assert not outcome.noticed
        assert REFUSED not in self.controlled.values()

    def flip(self) -> Outcome:
        """One flip in a place drawn by chance."""
        area = self.chance.choice(AREAS)
        return {"lake": self._of_lake, "log": self._of_log, "journal": self._of_journal, "control": self._of_control}[
            area
        ]()

    def flip_of_control(self, path: Path, at: int, *, bit: int) -> Outcome:
        """One flip of a bit that is chosen, in a file of the control database."""
        with self._flipped(path, (at, bit)) as outcome:
            self._judge_control(outcome, self._control(outcome, path.parent))
        return outcome

    @contextmanager
    def _flipped(self, path: Path, place: tuple[int, int] | None = None) -> Iterator[Outcome]:
        """`place` is byte and bit; None draws them by chance."""
        sound = path.read_bytes()
        at, bit = place or (self.chance.randrange(len(sound)), self.chance.randrange(8))
        altered = bytearray(sound)
        altered[at] ^= 1 << bit
        path.write_bytes(altered)
        outcome = Outcome(place=f"{path.name} byte {at} of {len(sound)} bit {bit}")
        try:
            yield outcome
        except Exception as error:
            outcome.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            path.write_bytes(sound)

    # -- a file of the lake --------------------------------------------------------------------------------------------

    def _of_lake(self) -> Outcome:
        table = self.chance.choice(list(READS))
        file = self.chance.choice(self.files[table])
        other = self.chance.choice([t for t in TENANTS if t != file.tenant])
        fresh = self.chance.random() < 0.1
        with self._flipped(Path(file.path)) as outcome:
            _, store = store_of(self.folder.data, self._engine) if fresh else self._live
            outcome.place = f"lake {table}: {outcome.place}"
            for question in OF_LAKE if fresh else READS[table]:
                answer, left_out = self._ask(store, file.tenant, question)
                self._judge(outcome, file, table, question, answer, left_out)
                outcome.noticed += left_out
            question = self.chance.choice(list(OF_LAKE))
            if self._ask(store, other, question) != (self.truth[other, question], []):
                outcome.wrong.append(f"{question} of {other}, which has nothing to do with it")
            if fresh or not outcome.noticed:  # what no answer depends on, the doctor tells
                found = [damage.file for damage in find_damage(Lake(self.folder.data / "lake"))]
                outcome.noticed += [f"the doctor names {name}" for name in found]
                if found != [f"{table}/{file.relative}"]:
                    outcome.wrong.append("the doctor does not name exactly this file")
        return outcome

    def _judge(
        self, outcome: Outcome, file: LakeFile, table: str, question: str, answer: Any, left_out: list[str]
    ) -> None:
        """An answer that leaves the file out is what the other files say; one that does not is the truth."""
        whole = self.truth[file.tenant, question]
        if not left_out:
            if answer != whole:
                outcome.wrong.append(f"{question} of {file.tenant}")
            return
        if left_out != [f"{table}/{file.relative}"]:
            outcome.wrong.append(f"{question} leaves out {left_out}")
        rest = self.without.setdefault(file.path, {})
        if question not in rest:
            rest[question] = answer
            if question == "count" and answer != whole - file.n_rows:
                outcome.wrong.append(f"{answer} spans are counted, not {whole} - {file.n_rows}")
            if question in ("spans", "scores", "events", "quarantine"):
                lost = len(whole) - len(answer)
                if lost != file.n_rows or not set(answer) <= set(whole):
                    outcome.wrong.append(f"{question}: {lost} rows are missing, not {file.n_rows}")
        if rest[question] != answer:
            outcome.wrong.append(f"{question} of {file.tenant} without the file")

    def _ask(self, store: Any, tenant: str, question: str) -> tuple[Any, list[str]]:
        own = store.tenant(tenant)
        answer = comparable(OF_LAKE[question](own))
        return answer, [damage.file for damage in own.left_out]

    # -- the log of a table --------------------------------------------------------------------------------------------

    def _of_log(self) -> Outcome:
        table = self.chance.choice(list(READS))
        folder = self.folder.data / "lake" / table / "_delta_log"
        path = self.chance.choice(sorted(p for p in folder.iterdir() if p.is_file() and p.stat().st_size))
        with self._flipped(path) as outcome:
            outcome.place = f"log {table}: {outcome.place}"
            lake, store = store_of(self.folder.data, self._engine)
            unreadable = lake.unreadable()
            outcome.noticed += map(str, unreadable.values())
            if set(unreadable) - {table}:
                outcome.wrong.append(f"{set(unreadable)} cannot be read")
            if not unreadable and data_of.files_of(lake, table) != self.files[table]:
                outcome.wrong.append("the table has other files")
            tenant = self.chance.choice(TENANTS)
            for question in [*READS[table], self.chance.choice(list(OF_LAKE))]:
                try:
                    answer = self._ask(store, tenant, question)
                except AssayError as error:
                    if not unreadable or (f"{table}:" not in str(error) and f"/{table}/" not in str(error)):
                        outcome.wrong.append(f"{question} is refused: {error}")
                    continue
                if answer != (self.truth[tenant, question], []):
                    outcome.wrong.append(f"{question} of {tenant}")
        return outcome

    # -- the journal ---------------------------------------------------------------------------------------------------

    def _of_journal(self) -> Outcome:
        folder = self.folder.data / "journal"
        path = self.chance.choice(sorted(p for p in folder.iterdir() if p.is_file() and p.stat().st_size))
        with self._flipped(path) as outcome:
            outcome.place = f"journal: {outcome.place}"
            try:
                entries, damage = self._journal()
            except AssayError as error:
                outcome.noticed.append(str(error))
                return outcome
            outcome.noticed += damage
            altered = [key for key, entry in entries.items() if self.entries.get(key) != entry]
            if altered:
                outcome.wrong.append(f"entries {altered} are other than they were")
            if len(entries) < len(self.entries) and not damage:
                outcome.wrong.append("entries are gone and nothing is said")
            if damage and not entries:
                outcome.wrong.append("no entry is left")
        return outcome

    def _journal(self) -> tuple[dict[tuple[int, int], Entry], list[str]]:
        """Entries by number of the journal and position, and what is said of damage."""
        master = MasterKey.open(self.folder.data / "secrets" / "master.key")
        journal = Journal(self.folder.data / "journal", master)
        try:
            found = list(journal.replay())
        finally:
            journal.release()
        entries = {(journal.number, e.position): e for e in found if isinstance(e, Entry)}
        return entries, [str(e) for e in found if isinstance(e, Corrupt)]

    # -- the control database ------------------------------------------------------------------------------------------

    def _of_control(self) -> Outcome:
        """A flip in the database as it is after a stop, as a crash leaves it, or in the log of one that runs."""
        state = self.chance.choice(("stopped", "stopped", "crashed", "running"))
        folder = self.folder.stopped if state == "stopped" else self.folder.crashed
        path = folder / "control.db-wal" if state == "running" else self._some(folder)
        if state == "running":
            return self._of_running(path)
        with self._flipped(path) as outcome:
            outcome.place = f"control {state}: {outcome.place}"
            self._judge_control(outcome, self._control(outcome, folder))
        return outcome

    def _some(self, folder: Path) -> Path:
        """A file of the control database; the note of changes, which is small, seldom."""
        paths = sorted(folder.iterdir())
        return self.chance.choices(paths, [1 if path.name.endswith("-changes") else 9 for path in paths])[0]

    def _of_running(self, path: Path) -> Outcome:
        """SQLite does not look at the checksums of its log while a process has it open."""
        self._copy(path.parent)
        first = Control.open(f"sqlite:///{self._scratch / 'control.db'}", pepper=PEPPER)
        first.all_tenants()
        try:
            with self._flipped(self._scratch / path.name) as outcome:
                outcome.place = f"control running: {outcome.place}"
                self._judge_control(outcome, self._control(outcome, None))
        finally:
            first.close()
        return outcome

    def _judge_control(self, outcome: Outcome, answers: dict[str, Any]) -> None:
        for question, answer in answers.items():
            if answer == REFUSED:
                continue
            if question.startswith("verify") and not answer.ok:
                outcome.noticed.append(str(answer.reason))
            elif answer != self.controlled[question]:
                outcome.wrong.append(f"{question}: {answer} and not {self.controlled[question]}")

    def _copy(self, folder: Path) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        shutil.copytree(folder, self._scratch)

    def _control(self, outcome: Outcome, folder: Path | None) -> dict[str, Any]:
        """What the control database, as it is now, answers; a copy is asked, because opening it changes it."""
        if folder is not None:
            self._copy(folder)
        database = self._scratch / "control.db"
        try:
            outcome.noticed += [finding.what for finding in look_over(database)]
            control = Control.open(f"sqlite:///{database}", pepper=PEPPER, clock=lambda: 0)  # no claim runs out
        except AssayError as error:
            outcome.noticed.append(str(error))
            return {}
        try:
            return {name: _answered(ask, control, outcome) for name, ask in self.questions.items()}
        finally:
            control.close()


def _answered(ask: Callable[[Control], Any], control: Control, outcome: Outcome) -> Any:
    try:
        return ask(control)
    except AssayError as error:
        outcome.noticed.append(str(error))
        return REFUSED


def run(folder: Path, *, n: int, seed: int, within_s: float = 1e9, tell: bool = False) -> list[Outcome]:
    """Up to `n` flips in a folder that it fills first, as many as fit into `within_s` seconds."""
    logging.getLogger("assay").setLevel(logging.CRITICAL)
    chance = random.Random(seed)
    campaign = Campaign(folder=filled(folder / "data", chance), chance=chance)
    outcomes: list[Outcome] = []
    started = time.monotonic()
    while len(outcomes) < n and time.monotonic() - started < within_s:
        outcomes.append(campaign.flip())
        if tell and outcomes[-1].wrong:
            print(f"{len(outcomes)}: {outcomes[-1]}", file=sys.stderr, flush=True)
        if tell and len(outcomes) % 500 == 0:
            print(len(outcomes), summary(outcomes), f"{time.monotonic() - started:.0f} s", flush=True)
    return outcomes


def summary(outcomes: list[Outcome]) -> dict[str, int]:
    """Flips by how they ended; `detected` of them were noticed."""
    found = Counter(outcome.verdict for outcome in outcomes)
    verdicts = {name: found[name] for name in ("served_around", "harmless", "wrong")}
    return {"n": len(outcomes), "detected": sum(bool(outcome.noticed) for outcome in outcomes), **verdicts}


def main() -> int:
    """Runs the campaign, records its figures, and ends with 1 when an answer was wrong."""
    from tests.reliability.crash_results import record

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--within-s", type=float, default=1e9)
    parser.add_argument("--dry", action="store_true", help="do not record")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(Path(folder), n=args.flips, seed=args.seed, within_s=args.within_s, tell=True)
    found = summary(outcomes)
    areas = Counter(f"{o.verdict} {o.place.split(':')[0].split(' ')[0]}" for o in outcomes)
    print(dict(sorted(areas.items())))
    if not args.dry:
        record("corruption", **found, seed=args.seed, seconds=round(time.monotonic() - started))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
