"""How far a run is: every part tells its stage and steps, and hears when the run is to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clustering.records import Cancelled
from store.control.cluster_records import StageRecord

EVERY_S: Final = 1.0  # between two notes of one stage

Note = Callable[[tuple[StageRecord, ...]], bool]  # keeps how far the run is; False: it is to end


class Stages:
    """A `Progress` that notes each new stage at once and its steps every second. `stopping` ends the run, too."""

    def __init__(
        self, note: Note, monotonic: Callable[[], float], stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._note, self._monotonic, self._stopping = note, monotonic, stopping
        self._over: list[StageRecord] = []
        self._now: StageRecord | None = None
        self._began = self._noted = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of a stage. One that comes back goes on under its name. Raises Cancelled."""
        if self._stopping():
            raise Cancelled("the process ends")
        now = self._monotonic()
        is_new = self._now is None or self._now.name != stage
        if is_new:
            self._leave()
            earlier = next((one.seconds for one in self._over if one.name == stage), 0.0)
            self._over = [one for one in self._over if one.name != stage]
            self._began = now - earlier
        self._now = StageRecord(name=stage, done=done, total=total, seconds=round(now - self._began, 3))
        if is_new or now - self._noted >= EVERY_S:
            self.tell()

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """The stages until now, the one under way last."""
        return (*self._over, *([] if self._now is None else [self._now]))

    def tell(self) -> None:
        """Notes how far it is, now. Raises Cancelled."""
        self._noted = self._monotonic()
        if not self._note(self.records):
            raise Cancelled("the run was ended")

    def _leave(self) -> None:
        if self._now is None:
            return
        seconds = round(self._monotonic() - self._began, 3)
        total = max(self._now.total, self._now.done)
        self._over.append(StageRecord(name=self._now.name, done=total, total=total, seconds=seconds))


def quiet(stage: str, done: int, total: int) -> None:
    """A `Progress` that tells nobody and never ends."""
