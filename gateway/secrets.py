"""Secrets of the file come from elsewhere: `${env:NAME}` and `${file:PATH}` inside any text. `$${` stands for `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.yaml_tree import Path as TreePath
from gateway.yaml_tree import Problem, Tree

MAX_SECRET_BYTES: Final = 64 << 10
_SHORTEST_HIDDEN: Final = 4  # replacing shorter values would only garble messages
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_KEYS: Final = ((("upstreams",), ("keys",)), (("sessions",), ("key",)))  # first and third part of their paths


@dataclass(kw_only=True)
class Secrets:
    """Looks references up. `folder` is where relative paths begin; `files` are those that were read."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    files: list[Path] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict, repr=False)  # reference -> value

    def fill(self, tree: Tree) -> Any:
        """The tree's value with every reference replaced. What is wrong is added to the tree's problems."""
        return self._filled(tree.value, (), tree)

    def hidden(self, text: str) -> str:
        """`text` with every value that was looked up replaced by its reference."""
        for reference, value in sorted(self._known.items(), key=lambda each: -len(each[1])):
            if len(value) >= _SHORTEST_HIDDEN:
                text = text.replace(value, reference)
        return text

    def _filled(self, value: Any, path: TreePath, tree: Tree) -> Any:
        match value:
            case dict():
                return {name: self._filled(each, (*path, name), tree) for name, each in value.items()}
            case list():
                return [self._filled(each, (*path, number), tree) for number, each in enumerate(value)]
            case str():
                return self._text(value, path, tree)
            case _:
                return value

    def _text(self, text: str, path: TreePath, tree: Tree) -> str:
        def replaced(found: re.Match[str]) -> str:
            if found[0] == "$${":
                return "${"
            try:
                return self._looked_up(found[1])
            except _Unknown as error:
                tree.problems.append(Problem(line=tree.lines.get(path, 1), path=path, message=str(error)))
                return found[0]

        if (path[:1], path[2:3]) in _KEYS and "${" not in text.replace("$${", ""):
            said = (
                "is a key in plain text; write ${env:NAME} or ${file:PATH}, and change the key if others saw the file"
            )
            tree.problems.append(Problem(line=tree.lines.get(path, 1), path=path, message=said))
        return _REFERENCE.sub(replaced, text)

    def _looked_up(self, inside: str | None) -> str:
        kind, _, name = (inside or "").partition(":")
        if kind not in ("env", "file") or not name.strip():
            raise _Unknown(
                "has a ${ that is no reference; write ${env:NAME} or ${file:PATH}, and $${ for the characters"
            )
        reference = f"${{{inside}}}"
        if reference not in self._known:
            self._known[reference] = self._variable(name.strip()) if kind == "env" else self._file(name.strip())
        return self._known[reference]

    def _variable(self, name: str) -> str:
        if name not in self.environ:
            raise _Unknown(f"names the environment variable {name}, which is not set")
        if not self.environ[name].strip():
            raise _Unknown(f"names the environment variable {name}, which is empty")
        return self.environ[name].strip()

    def _file(self, name: str) -> str:
        path = self.folder / name
        if path not in self.files:
            self.files.append(path)
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_SECRET_BYTES + 1)
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or "no path"
            raise _Unknown(f"names the file {path}, which cannot be read: {said}") from None
        try:
            value = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise _Unknown(f"names the file {path}, which is not UTF-8 text") from None
        if len(raw) > MAX_SECRET_BYTES or not value or not value.isprintable():
            raise _Unknown(f"names the file {path}, which has to hold one line of text")
        return value


class _Unknown(Exception):
    pass
