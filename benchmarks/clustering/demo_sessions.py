"""The demo world's sessions as the lake would hold them, each played in full by the reference agent: sound ones, and of
every fault those in which it is planted. Decoded, masked and derived by the collector's own code.

No session is a copy of another: each has its own task, manner of user and words, as chance gives them.
"""

from __future__ import annotations

import asyncio
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import Recorder, starts
from agent_runtime.simulation.faults.fault import Fault, Seam
from agent_runtime.simulation.faults.table import FAULTS, chosen_scenario
from agent_runtime.simulation.full import Stage, open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast, Plan
from agent_runtime.simulation.scenario import Scenario
from agent_runtime.simulation.templates import template_of
from agent_runtime.simulation.users import PERSONAS
from collector.decode import decode
from collector.leaves import Leaves
from collector.mask import masked
from collector.redact import Redactor
from core.clock import NS_PER_S
from core.records import EvaluatorKind, PiiPolicy, TargetKind
from store import derive
from store.engine import DuckDBEngine
from store.lake import Lake
from store.scores import NewScore, append_scores
from store.tenant import Store, TenantStore

TENANT: Final = "bench"
APP: Final = "larkspur-support"
SEED: Final = 7
END: Final = datetime(2026, 11, 16, tzinfo=UTC)
END_NS: Final = int(END.timestamp()) * NS_PER_S
NOT_A_FAULT: Final = "harder_users"  # a shift of traffic: nothing in such a session went wrong
_AT_ONCE: Final = 8
_DECODED_AT_ONCE: Final = 100


def planted_faults() -> list[str]:
    """The faults of an agent that the world has, by name."""
    return [name for name in sorted(FAULTS) if name != NOT_A_FAULT]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A session: what was planted in it ("" for nothing), its task, and whether the task was done."""

    session_id: str
    fault: str
    scenario: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """All sessions of a campaign with their spans as the lake holds them."""

    made: tuple[Made, ...]
    spans: pa.Table = field(repr=False)

    def of(self, fault: str) -> tuple[Made, ...]:
        """Those in which this fault is planted ("" for the sound ones)."""
        return tuple(one for one in self.made if one.fault == fault)


def sessions(kept: Path, n_sound: int, n_planted: int, faults: Sequence[str]) -> Sessions:
    """The sessions that are kept in a file of this number, or played now and kept."""
    file = kept / f"sessions-{n_sound}-{n_planted}-{len(faults)}.pickle"
    if file.exists():
        found: Sessions = pickle.loads(file.read_bytes())  # what this script wrote
        return found
    with tempfile.TemporaryDirectory() as folder:
        made, bodies = asyncio.run(_played(Path(folder), list(_casts(n_sound, n_planted, faults))))
    found = Sessions(made=tuple(made), spans=_decoded(bodies))
    kept.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(found))
    return found


def stored(folder: Path, chosen: Sessions, made: Sequence[Made]) -> TenantStore:
    """A store in `folder` that holds these of the sessions, with their outcomes as the world tells them."""
    lake = Lake(folder / "lake")
    wanted = pa.array([one.session_id for one in made])
    spans = chosen.spans.filter(pc.is_in(chosen.spans.column("session_id"), value_set=wanted))
    lake.append("spans", spans)
    for name in derive.DERIVED:
        lake.append(name, derive.derived(name, spans))
    store = Store(lake, DuckDBEngine(lake.root), lambda: END_NS).tenant(TENANT)
    ids = [f"outcome-{number}" for number in range(len(made))]
    append_scores(store, [_outcome(one) for one in made], ids=ids, author="world", now_ns=END_NS)
    return store


def _outcome(one: Made) -> NewScore:
    return NewScore(
        evaluator="task_success",
        evaluator_kind=EvaluatorKind.OUTCOME,
        target=TargetKind.SESSION,
        session_id=one.session_id,
        value=float(one.passed),
        at_ns=END_NS,
    )


def _casts(n_sound: int, n_planted: int, faults: Sequence[str]) -> Iterator[Cast]:
    """Sound sessions play any task; planted ones any in which the fault can show."""
    chance = Random(SEED)
    every = all_scenarios()
    for number in range(n_sound):
        yield _cast(f"w{SEED}-{number:07d}", every[chance.randrange(len(every))], chance, ())
    for place, name in enumerate(faults):
        for number in range(n_planted):
            yield _planted(FAULTS[name], f"w{SEED}-{n_sound + place * n_planted + number:07d}", every, chance)


def _planted(fault: Fault, session_id: str, every: Sequence[Scenario], chance: Random) -> Cast:
    if fault.seam is Seam.USERS:
        return _cast(session_id, chosen_scenario((fault.name,), every, chance), chance, (fault.name,))
    shows = [one for one in every if fault.applies(one)]
    return _cast(session_id, shows[chance.randrange(len(shows))], chance, (fault.name,))


def _cast(session_id: str, scenario: Scenario, chance: Random, faults: tuple[str, ...]) -> Cast:
    persona = PERSONAS[chance.randrange(len(PERSONAS))]
    return Cast(session_id=session_id, scenario=scenario, persona=persona, faults=faults)


async def _played(folder: Path, casts: Sequence[Cast]) -> tuple[list[Made], list[bytes]]:
    """Every session, in full; its times are those that the simulated model and the user would have taken."""
    settings = Settings().model_copy(update={"data": folder / "agent", "otlp_endpoint": ""})
    begins = list(starts(len(casts), END, 1.0))
    Random(SEED).shuffle(begins)
    async with open_stage(settings, folder / "world.db", SEED, None) as stage:
        recorder = Recorder()
        stage.telemetry.provider.add_span_processor(recorder)
        room = asyncio.Semaphore(_AT_ONCE)
        found = await asyncio.gather(*(_one(stage, recorder, room, *each) for each in zip(casts, begins, strict=True)))
    return [made for made, _ in found], [body for _, body in found]


async def _one(
    stage: Stage, recorder: Recorder, room: asyncio.Semaphore, chosen: Cast, at: datetime
) -> tuple[Made, bytes]:
    async with room:
        played = await stage.play(Release(name="v1"), Plan(release="v1", seed=SEED), chosen)
    template = template_of(played, recorder.take(played), SEED)
    body = template.instance(chosen.session_id, int(at.timestamp() * 1_000_000) * 1000)
    fault = "".join(chosen.faults)
    made = Made(
        session_id=chosen.session_id,
        fault=fault,
        scenario=chosen.scenario.scenario_id,
        passed=played.outcome.passed,
    )
    return made, body


def _decoded(bodies: Sequence[bytes]) -> pa.Table:
    """Spans through the collector's decoder and its masking."""
    redactor = Redactor(PiiPolicy(), b"key of the campaign")
    parts = []
    numbered = list(enumerate(bodies, start=1))
    for first in range(0, len(numbered), _DECODED_AT_ONCE):
        decoded = decode(numbered[first : first + _DECODED_AT_ONCE], tenant=TENANT, ingested_at_us=END_NS // 1000)
        parts.append(Leaves().count(masked(decoded.rows, redactor)[0]))
    return pa.concat_tables(parts)
