"""Reads the gateway's YAML file. Every problem is one line: file, line, what is wrong and what to write instead.

A file with a problem is not used at all. What secrets stand for is in none of the messages.
"""

from __future__ import annotations

import hashlib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from core.errors import InvalidInput
from gateway.config import GatewayConfig
from gateway.secrets import Secrets
from gateway.yaml_tree import Path as TreePath
from gateway.yaml_tree import Problem, Tree, read_tree

MAX_FILE_BYTES: Final = 1 << 20
MAX_PROBLEMS: Final = 50
_NAME: Final = (
    "has to be a name: letters, digits, '.', '_', ':', '@', '-', beginning with a letter or digit, at most 100"
)
_SAID: Final = {
    "missing": "is missing",
    "string_pattern_mismatch": _NAME,
    "string_type": "has to be text; put it in quotes",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "model_type": "has to be a map: lines of 'key: value'",
    "model_attributes_type": "has to be a map: lines of 'key: value'",
    "dict_type": "has to be a map: lines of 'key: value'",
    "tuple_type": "has to be a list: [a, b], or lines that begin with '-'",
}


class BadConfig(InvalidInput):
    """A file that cannot be used. `problems` has one line each, `where` first."""

    code = "bad_gateway_config"

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        shown = (
            problems if len(problems) <= 3 else [*problems[:2], f"and {len(problems) - 2} more: assay gateway check"]
        )
        super().__init__("\n".join(shown))


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """What a file says now. `digest` changes with the file and with the files of secrets that it names."""

    config: GatewayConfig = field(repr=False)
    path: Path | None = None  # None: built in
    digest: str = ""
    secret_files: tuple[Path, ...] = ()


def load_config(path: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Reads the file and what it refers to. Raises BadConfig."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadConfig([f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'no path'}"]) from None
    secrets = Secrets(folder=path.absolute().parent, environ=environ)
    config = _config(_text(path, raw), path, secrets)
    digest = hashlib.sha256(raw)
    for secret in secrets.files:
        digest.update(secret.read_bytes() if secret.exists() else b"")
    return LoadedConfig(config=config, path=path, digest=digest.hexdigest()[:16], secret_files=tuple(secrets.files))


def _text(path: Path, raw: bytes) -> str:
    if len(raw) > MAX_FILE_BYTES:
        raise BadConfig([f"{path}: is over {MAX_FILE_BYTES:,} bytes; that is no gateway configuration"])
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadConfig([f"{path}:1: is UTF-16 text; save it as UTF-8"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadConfig([f"{path}:{line}: is not UTF-8 text"]) from None
    if "\0" in text:
        raise BadConfig(
            [f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: has a NUL character; it is no text"]
        )
    return text


def _config(text: str, path: Path, secrets: Secrets) -> GatewayConfig:
    tree = read_tree(text)
    problems = tree.problems
    if not problems and not isinstance(tree.value, dict):
        said = "is empty; it needs upstreams and models" if tree.value is None else "has to begin with 'key: value'"
        problems.append(Problem(line=1, message=said))
    config = None
    if isinstance(tree.value, dict):
        value = secrets.fill(tree)
        known = {problem.path for problem in problems}
        try:
            config = GatewayConfig.model_validate(value)
        except ValidationError as error:
            for found in error.errors(include_url=False)[: 10 * MAX_PROBLEMS]:
                problems += [each for each in _problems(tree, found) if not _blamed(each.path, known)]
    if config is None or problems:
        raise BadConfig([secrets.hidden(_line(path, each)) for each in sorted(problems, key=_place)][:MAX_PROBLEMS])
    return config


def _place(problem: Problem) -> tuple[int, str]:
    return problem.line, _dotted(problem.path)


def _blamed(path: TreePath, known: set[TreePath]) -> bool:
    """Whether something else was said of this value already."""
    return any(path[:length] in known for length in range(1, len(path) + 1))


def _line(path: Path, problem: Problem) -> str:
    named = f"{_dotted(problem.path)}: " if problem.path else ""
    return f"{path}:{problem.line}: {named}{problem.message}"


def _dotted(path: TreePath) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= 120 else shown[:119] + "…"


def _problems(tree: Tree, found: Any) -> list[Problem]:
    """pydantic's finding as ours: one, or several that a validator of the whole file found at once."""
    path = tuple(part for part in found["loc"] if part != "[key]")
    message = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "value_error" and not path:
        return _of_the_whole(tree, message)
    return [Problem(line=_line_of(tree, path), path=path, message=_said(found, path, message))]


def _of_the_whole(tree: Tree, message: str) -> list[Problem]:
    """The validator says in each line the path before what is wrong there; names have no blanks."""
    paths = {_flat(path): path for path in tree.lines}
    found = []
    for line in message.splitlines()[:MAX_PROBLEMS]:
        named, _, said = line.partition(": ")
        path = paths.get(named, ())
        found.append(Problem(line=_line_of(tree, path), path=path, message=said if path else line))
    return found


def _flat(path: TreePath) -> str:
    return ".".join(map(str, path))


def _line_of(tree: Tree, path: TreePath) -> int:
    for length in range(len(path), 0, -1):
        if path[:length] in tree.lines:
            return tree.lines[path[:length]]
    return 1


def _said(found: Any, path: TreePath, message: str) -> str:
    match found["type"]:
        case "extra_forbidden":
            return _unknown_key(path)
        case "enum" | "literal_error":
            allowed = re.findall(r"'([^']*)'", str(found["ctx"].get("expected", "")))
            near = get_close_matches(str(found["input"]), allowed, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"has to be {found['ctx'].get('expected', 'another value')}{hint}"
        case kind if kind in _SAID:
            return _SAID[kind]
        case _:
            return re.sub(r"^Input should", "should", message)


def _unknown_key(path: TreePath) -> str:
    known = _keys_at(path[:-1])
    near = get_close_matches(str(path[-1]).lower().replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f"is not known; did you mean {near[0]!r}?"
    return f"is not known; there are {', '.join(known)}" if known else "is not known; remove it"


def _keys_at(path: TreePath) -> list[str]:
    """The keys that a section may have."""
    kind: Any = GatewayConfig
    for part in path:
        kind = _unwrapped(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            named = kind.model_fields.get(str(part))
            kind = named.annotation if named else None
        else:
            kind = ([each for each in typing.get_args(kind) if each is not Ellipsis] or [None])[-1]
    kind = _unwrapped(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _unwrapped(kind: Any) -> Any:
    """The type without Annotated and without `| None`."""
    while (origin := typing.get_origin(kind)) in (typing.Annotated, typing.Union, types.UnionType):
        inside = typing.get_args(kind)
        kind = inside[0] if origin is typing.Annotated else next(one for one in inside if one is not type(None))
    return kind
