"""How far a run is: noted when a stage begins and every second, in the order of the stages; and how it hears an end."""

from __future__ import annotations

import pytest

from clustering.records import Cancelled
from clustering.stages import Stages
from store.control.cluster_records import StageRecord


class Noted:
    """What was noted, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.goes_on = True
        self.told: list[tuple[StageRecord, ...]] = []

    def note(self, stages: tuple[StageRecord, ...]) -> bool:
        self.told.append(stages)
        return self.goes_on


def test_a_new_stage_is_noted_at_once_and_its_steps_every_second() -> None:
    noted = Noted()
    stages = Stages(noted.note, lambda: noted.now)
    stages("read", 0, 0)
    for step in range(8):
        noted.now += 0.25
        stages("embed", step, 8)
    assert [told[-1].name for told in noted.told] == ["read", "embed", "embed"]
    assert [told[-1].done for told in noted.told] == [0, 0, 4]
    assert stages.records[-1] == StageRecord(name="embed", done=7, total=8, seconds=1.75)


def test_stages_that_are_over_are_whole_and_one_that_comes_back_goes_on() -> None:
    noted = Noted()
    stages = Stages(noted.note, lambda: noted.now)
    for name, done, total, seconds in (("reduce", 0, 1, 2.0), ("cluster", 0, 1, 1.0), ("reduce", 0, 1, 3.0)):
        stages(name, done, total)
        noted.now += seconds
    stages("map", 0, 1)
    assert [(one.name, one.done, one.total, one.seconds) for one in stages.records] == [
        ("cluster", 1, 1, 1.0),
        ("reduce", 1, 1, 5.0),
        ("map", 0, 1, 0.0),
    ]


def test_a_run_that_was_ended_hears_it_at_the_next_note() -> None:
    noted = Noted()
    stages = Stages(noted.note, lambda: noted.now)
    stages("embed", 0, 9)
    noted.goes_on = False
    stages("embed", 1, 9)  # within the second nobody is asked
    noted.now = 1.0
    with pytest.raises(Cancelled):
        stages("embed", 2, 9)


def test_a_process_that_ends_hears_it_at_once() -> None:
    noted, stopping = Noted(), [False]
    stages = Stages(noted.note, lambda: noted.now, lambda: stopping[0])
    stages("embed", 0, 9)
    stopping[0] = True
    with pytest.raises(Cancelled):
        stages("embed", 1, 9)
