"""The scrubber: reads every file of the lake in turn and compares it with the hash in its name, a little at a time."""

from __future__ import annotations

from core.errors import Corrupt
from store.lake import Lake


class Scrubber:
    """Goes round the lake for ever. Not thread-safe: one caller owns it."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._left: list[tuple[str, str]] = []
        self.rounds = 0
        self._damaged: dict[str, str] = {}

    @property
    def damaged(self) -> list[str]:
        """What is wrong with the files found altered or missing that are still part of a table."""
        return sorted(self._damaged.values())

    def some(self, n_bytes: int) -> list[str]:
        """Verifies files until `n_bytes` were read, and returns the new findings."""
        new = []
        read = 0
        while read < n_bytes:
            if not self._left and not self._begin():
                break
            table, path = self._left.pop()
            file = next((f for f in self._lake.snapshot(table).files if f.path == path), None)
            self._damaged.pop(path, None)
            if file is None:
                continue
            read += file.size
            try:
                self._lake.verify(file)
            except Corrupt as error:
                self._damaged[path] = f"{table}: {error}"
                new.append(self._damaged[path])
            if not self._left:
                break
        return new

    def _begin(self) -> bool:
        self._left = [(name, f.path) for name in self._lake.tables() for f in self._lake.snapshot(name).files]
        live = {path for _, path in self._left}
        self._damaged = {path: text for path, text in self._damaged.items() if path in live}
        self.rounds += 1
        return bool(self._left)
