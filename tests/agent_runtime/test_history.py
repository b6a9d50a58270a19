"""Traces that fill the time before now: once, and at the next run only what has passed since."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_runtime.__main__ import main
from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.full import open_stage
from agent_runtime.simulation.goals import Outcome
from agent_runtime.simulation.history import known_span
from agent_runtime.simulation.plans import cast, plan_of
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.traffic import Traffic
from agent_runtime.simulation.truth import Ended, record_many
from agent_runtime.simulation.users import PERSONAS
from agent_runtime.simulation.world import World

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOTH = (Release(name="v1"), Release(name="v2"))
TRAFFIC = Traffic(releases=BOTH, sessions=480, seed=7, mark="h")


def _know(world: World, release: str, began: datetime) -> None:
    plan = plan_of(Release(name=release), 7)
    chosen = cast(plan, f"{release}-7-live-000001")
    ended = began + timedelta(seconds=30)
    outcome = Outcome(passed=True, reasons=())
    record_many(
        world,
        [Ended(chosen=chosen, release=release, seed=7, outcome=outcome, began=began, ended=ended, due=ended)],
    )


def test_the_known_span_is_that_of_these_releases(tmp_path: Path) -> None:
    world = open_world(tmp_path / "world.db")
    assert known_span(world, BOTH) is None
    _know(world, "other", NOW)
    _know(world, "v1", NOW - timedelta(hours=30))
    assert known_span(world, BOTH) == (NOW - timedelta(hours=30), NOW - timedelta(hours=30))
    _know(world, "v2", NOW - timedelta(hours=6))
    assert known_span(world, BOTH) == (NOW - timedelta(hours=30), NOW - timedelta(hours=6))
    world.close()


async def _filled(folder: Path, known: tuple[datetime, datetime] | None) -> list[datetime]:
    """When the sessions of a run that fills begin, in the order in which it makes them."""
    settings = Settings().model_copy(update={"data": folder, "otlp_endpoint": ""})
    async with open_stage(settings, folder / "world.db", 7, None) as stage:
        run = FastRun(stage=stage, world=stage.world, traffic=TRAFFIC, weeks=2 / 7, end=NOW, filling=True, known=known)
        return [at for _, _, at in run._unplayed(run.traffic.plans())]


def test_the_newest_is_made_first_and_what_is_there_is_left_alone(tmp_path: Path) -> None:
    every = asyncio.run(_filled(tmp_path / "a", None))
    assert every == sorted(every, reverse=True)
    assert len(every) == TRAFFIC.sessions
    known = NOW - timedelta(hours=30), NOW - timedelta(hours=6)
    rest = asyncio.run(_filled(tmp_path / "b", known))
    assert rest == [at for at in every if not known[0] <= at <= known[1]]
    assert 0 < sum(at > known[1] for at in rest) < len(rest)


def _sessions(folder: Path) -> dict[str, datetime]:
    world = World.open(folder / "world.db")
    found = {
        str(row["session_id"]): datetime.fromisoformat(row["planted_at"])
        for row in world.rows("SELECT session_id, planted_at FROM truth")
    }
    world.close()
    return found


def test_a_second_run_adds_next_to_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASSAY_URL", "AGENT_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path))
    options = {"fidelity": "trace", "hours": 24, "sessions": 24, "personas": 1, "baseline": "v1", "release": "v2"}
    words = ["simulate", "--fill", *(f"--{name}={value}" for name, value in options.items())]
    assert main(words) == 0
    assert "24 sessions of the last 24 hours where there were none" in capsys.readouterr().out.splitlines()[-1]
    first = _sessions(tmp_path)
    assert len(first) == 24
    assert max(first.values()) - min(first.values()) > timedelta(hours=12)
    assert main(words) == 0
    second = _sessions(tmp_path)
    assert first.items() <= second.items()
    assert len(second) <= 27  # the ends: before the first one and after the last
    assert all(at < datetime.now(UTC) for at in second.values())


def test_fewer_manners_of_users_are_less_to_record_and_every_task_is_there() -> None:
    one, all_of_them = (plan_of(Release(name="v1"), 7, n) for n in (1, len(PERSONAS)))
    cast_one = [cast(one, f"v1-7-{n:06d}") for n in range(800)]
    cast_all = [cast(all_of_them, f"v1-7-{n:06d}") for n in range(800)]
    assert [each.scenario for each in cast_one] == [each.scenario for each in cast_all]
    manners = {(each.scenario.scenario_id, each.persona.name) for each in cast_one}
    assert len(manners) == len({each.scenario.scenario_id for each in cast_one})
    assert {name for _, name in manners} == {each.name for each in PERSONAS}


@pytest.mark.parametrize("words", ["--fill", "--hours 3", "--fidelity trace --hours 3 --weeks 1", "--personas 0"])
def test_words_that_make_no_sense_together_are_refused(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENT_DATA", str(tmp_path))
    assert main(["simulate", "--sessions", "1", *words.split()]) == 2
    assert capsys.readouterr().err
    asyncio.set_event_loop(None)
