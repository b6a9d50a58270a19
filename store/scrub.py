"""The scrubber: reads every file of the lake in turn and compares it with the hash in its name, a little at a time."""

from __future__ import annotations

from core.errors import Conflict
from store.delta_log import LakeFile
from store.lake import Lake


class Scrubber:
    """Goes round the lake for ever. Not thread-safe: one caller owns it."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._left: dict[str, list[str]] = {}  # by table; none is empty
        self.rounds = 0

    @property
    def damaged(self) -> list[str]:
        """What is wrong with the files known to be damaged, whoever found it, that are still part of a table."""
        return [str(damage) for damage in self._lake.damaged()]

    def some(self, n_bytes: int) -> list[str]:
        """Compares files until `n_bytes` were read, and returns what is damaged among them.

        Damage is noted, and notes are forgotten where a file is sound again or has left its table. Raises
        StorageFailed when a file cannot be read for a reason that is not the file's.
        """
        new = []
        read = 0
        while read < n_bytes:
            if not self._left and not self._begin():
                break
            table, file = self._next()
            if file is None:
                continue
            read += file.size
            try:
                damage = self._lake.compare(table, file)
            except Conflict:  # it left the table meanwhile
                continue
            if damage is not None:
                new.append(str(damage))
            if not self._left:
                break
        return new

    def _begin(self) -> bool:
        readable = [name for name in self._lake.tables() if name not in self._lake.unreadable()]
        names = {name: [file.relative for file in self._lake.snapshot(name).files] for name in readable}
        self._left = {table: files for table, files in names.items() if files}
        self._lake.forget_the_gone()
        self.rounds += 1
        return bool(self._left)

    def _next(self) -> tuple[str, LakeFile | None]:
        """A table and the next of its files; None for one that has left it since the round began."""
        table, left = next(iter(self._left.items()))
        relative = left.pop()
        if not left:
            del self._left[table]
        return table, self._lake.file(table, relative)
