"""YAML as far as a settings file needs it: maps, lists and plain values, each with the line where it stands.

The parser's events are read, so nothing is constructed that a file names: tags, anchors and aliases are problems, not
objects. Plain values follow YAML 1.2 (`on`, `off` and `2024-10-21` are text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

Path = tuple[str | int, ...]
MAX_DEPTH: Final = 24
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH: Final = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT: Final = re.compile(r"[-+]?[0-9]{1,30}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong in a line. `path` may be empty."""

    line: int
    path: Path = ()
    message: str


@dataclass(kw_only=True)
class Tree:
    """What a file says: plain Python values, the line of every path, and what is wrong."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_tree(text: str) -> Tree:
    """Reads one document; never raises."""
    tree = Tree()
    try:
        _Reading(yaml.parse(text, Loader=_LOADER), tree).document()
    except yaml.YAMLError as error:
        tree.problems.append(_unreadable(text, error))
    except _TooDeep as error:
        tree.problems.append(Problem(line=error.line, message=f"is nested over {MAX_DEPTH} levels deep"))
    return tree


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Reading:
    def __init__(self, events: Iterator[Any], tree: Tree) -> None:
        self._events = events
        self._tree = tree
        self._aliases: set[str | None] = set()

    def document(self) -> None:
        n_documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents > 1:
                    self._problem(event, (), "begins a second document (---); write one")
                    return
                self._tree.value = self._node(next(self._events), ())

    def _node(self, event: Any, path: Path) -> Any:
        self._tree.lines.setdefault(path, _line_of(event))
        if len(path) > MAX_DEPTH:
            raise _TooDeep(_line_of(event))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._aliases:  # once is enough, in a bomb of them
                self._problem(event, path, f"is an alias (*{str(event.anchor)[:40]}); write the value itself")
            self._aliases.add(event.anchor)
            return None
        if event.anchor is not None:
            self._problem(event, path, f"has an anchor (&{event.anchor[:40]}); anchors are not read, remove it")
        if event.tag is not None:
            self._problem(event, path, f"has a tag ({_short(event.tag)}); tags are not read, write a plain value")
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(path)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case _:
                return _plain(event.value) if event.implicit[0] else event.value

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._problem(event, path, "has a key that is no text")
                self._node(event, (*path, "?"))
                self._node(next(self._events), (*path, "?"))
                continue
            key = event.value
            first = self._tree.lines.get((*path, key))
            if key in found and first is not None:
                self._problem(event, (*path, key), f"is there twice, first in line {first}; keep one")
                self._node(next(self._events), (*path, key, "?"))
                continue
            self._tree.lines[(*path, key)] = _line_of(event)
            found[key] = self._node(next(self._events), (*path, key))
        return found

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, (*path, len(found))))
        return found

    def _problem(self, event: Any, path: Path, message: str) -> None:
        self._tree.problems.append(Problem(line=_line_of(event), path=path, message=message))


def _line_of(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _plain(text: str) -> Any:
    if text in _NOTHING:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:60]


def _unreadable(text: str, error: yaml.YAMLError) -> Problem:
    """One line in place of PyYAML's five. It quotes nothing of the file, which may be a key."""
    for number, words in enumerate(text.split("\n"), 1):
        if "\t" in words[: len(words) - len(words.lstrip())]:
            return Problem(line=number, message="is indented with a tab; YAML takes spaces")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read")
    at = getattr(error, "position", None)
    line = mark.line + 1 if mark is not None else text.count("\n", 0, at) + 1 if isinstance(at, int) else 1
    return Problem(line=line, message=f"is not YAML: {re.sub(chr(39) + '.*' + chr(39), '...', said)[:120]}")
