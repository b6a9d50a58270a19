"""What a disk may hold after a power loss: built from the record of calls, for any moment of it.

The rules are those of POSIX, without what a friendly file system adds. What was written to a file may be lost, kept, or
kept by the sector, until `fsync` of that file has returned; a name that was made, moved or removed may be as before
until `fsync` of its folder has returned, and then all that was done to the folder before it is. A rename is one step.
After a `fsync` that failed, what was not yet synced is gone for good, and a later success says nothing about it.
"""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.reliability.faults_layer import Call, Kind

SECTOR: Final = 512
_FORGETTABLE: Final = ("-shm",)  # SQLite's index of its log: memory that happens to have a name


@dataclass(kw_only=True, eq=False)
class _File:
    seen: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, bytes), or (size, None): truncated


@dataclass(kw_only=True, eq=False)
class _Folder:
    seen: dict[str, _Node] = field(default_factory=dict)
    safe: dict[str, _Node] = field(default_factory=dict)
    pending: list[list[tuple[str, _Node | None]]] = field(default_factory=list)  # steps of (name, node or None)


_Node = _File | _Folder


class Disk:
    """The folder `root` as the calls leave it; `after` says what a power loss now could leave of it."""

    def __init__(self, root: Path, *, empty: bool = False) -> None:
        """Begins with what is in `root` now (or `empty`), all of it safe."""
        self._root = str(root.absolute())
        self._top = _Folder() if empty else _loaded(root)
        self._open: dict[int, _Node] = {}

    def apply(self, call: Call) -> None:
        """One call of the record."""
        match call.kind:
            case Kind.OPEN:
                self._opened(call)
            case Kind.WRITE:
                self._written(call)
            case Kind.TRUNCATE:
                self._truncated(call.open_id, call.offset, call.error)
            case Kind.SYNC:
                self._synced(call)
            case Kind.MARK:
                return
            case _:
                if call.error == 0:
                    self._named(call)

    # -- calls -----------------------------------------------------------------------------------------------------

    def _opened(self, call: Call) -> None:
        if call.error:
            return
        node = self._find(call.path)
        if node is None:
            folder, name = self._place(call.path)
            node = _File()
            self._step(folder, (name, node))
        self._open[call.open_id] = node
        if isinstance(node, _File) and call.flags & os.O_TRUNC and node.seen:
            self._truncated(call.open_id, 0, 0)

    def _written(self, call: Call) -> None:
        file = self._open[call.open_id]
        if call.error or not call.content:
            return
        assert isinstance(file, _File)
        end = call.offset + len(call.content)
        if len(file.seen) < end:
            file.seen.extend(bytes(end - len(file.seen)))
        file.seen[call.offset : end] = call.content
        file.pending.append((call.offset, call.content))

    def _truncated(self, open_id: int, size: int, error: int) -> None:
        file = self._open[open_id]
        assert isinstance(file, _File)
        if error:
            return
        file.seen = _cut(file.seen, size)
        file.pending.append((size, None))

    def _synced(self, call: Call) -> None:
        node = self._open[call.open_id]
        if isinstance(node, _File):
            if call.error == 0:
                made = bytearray(node.safe)
                for at, content in node.pending:
                    made = _changed(made, at, content)
                node.safe = bytes(made)
            node.pending = []
        elif call.error == 0:
            node.safe, node.pending = dict(node.seen), []

    def _named(self, call: Call) -> None:
        folder, name = self._place(call.path)
        match call.kind:
            case Kind.MKDIR:
                self._step(folder, (name, _Folder()))
            case Kind.UNLINK:
                self._step(folder, (name, None))
            case Kind.LINK:
                other, new = self._place(call.content.decode())
                self._step(other, (new, folder.seen[name]))
            case Kind.RENAME:
                other, new = self._place(call.content.decode())
                node = folder.seen[name]
                if other is folder:
                    self._step(folder, (name, None), (new, node))
                else:
                    self._step(other, (new, node))
                    self._step(folder, (name, None))
            case _:
                raise AssertionError(call)

    @staticmethod
    def _step(folder: _Folder, *changes: tuple[str, _Node | None]) -> None:
        for name, node in changes:
            _enter(folder.seen, name, node)
        folder.pending.append(list(changes))

    def _place(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rstrip("/").rpartition("/")
        folder = self._find(parent)
        assert isinstance(folder, _Folder), f"{parent} is not a folder of the record"
        return folder, name

    def _find(self, path: str) -> _Node | None:
        node: _Node = self._top
        for part in path.removeprefix(self._root).split("/"):
            if not part or part == ".":
                continue
            if not isinstance(node, _Folder) or part not in node.seen:
                return None
            node = node.seen[part]
        return node

    # -- states ----------------------------------------------------------------------------------------------------

    def after(self, target: Path, rng: random.Random, *, kept: float) -> None:
        """Builds under `target` one state that a power loss now may leave. `kept` is the share of what was not synced
        that got to the disk all the same: 0 drops all of it, 1 keeps all, between them names and sectors are drawn."""
        _Built(rng=rng, kept=kept).folder(self._top, target)


@dataclass(kw_only=True)
class _Built:
    rng: random.Random
    kept: float

    def folder(self, folder: _Folder, target: Path) -> None:
        """Writes a folder with everything in it."""
        target.mkdir(parents=True, exist_ok=True)
        names = dict(folder.safe)
        for step in folder.pending[: self._how_many(len(folder.pending))]:  # a folder's own changes come in order
            for name, node in step:
                _enter(names, name, node)
        for name, node in names.items():
            if name.endswith(_FORGETTABLE):
                continue
            if isinstance(node, _Folder):
                self.folder(node, target / name)
            else:
                (target / name).write_bytes(self._content(node))

    def _how_many(self, n: int) -> int:
        return {0.0: 0, 1.0: n}.get(self.kept, self.rng.randint(0, n))

    def _content(self, file: _File) -> bytes:
        if not file.pending or self.kept == 0.0:
            return file.safe
        made = bytearray(file.safe)
        for at, content in file.pending:
            if content is None or self.kept == 1.0:
                if self._lucky():
                    made = _changed(made, at, content)
                continue
            edges = [at, *range((at // SECTOR + 1) * SECTOR, at + len(content), SECTOR), at + len(content)]
            for start, end in itertools.pairwise(edges):
                if self._lucky():
                    made = _changed(made, start, content[start - at : end - at])
        return bytes(made)

    def _lucky(self) -> bool:
        return self.rng.random() < self.kept


def _changed(made: bytearray, at: int, content: bytes | None) -> bytearray:
    if content is None:
        return _cut(made, at)
    if len(made) < at:
        made.extend(bytes(at - len(made)))
    made[at : at + len(content)] = content
    return made


def _cut(content: bytearray, size: int) -> bytearray:
    return content[:size] + bytes(max(0, size - len(content)))


def _enter(names: dict[str, _Node], name: str, node: _Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _loaded(path: Path) -> _Folder:
    made = _Folder()
    for each in path.iterdir() if path.is_dir() else ():
        node: _Node
        if each.is_dir():
            node = _loaded(each)
        else:
            content = each.read_bytes()
            node = _File(seen=bytearray(content), safe=content)
        made.seen[each.name] = made.safe[each.name] = node
    return made
