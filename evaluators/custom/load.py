"""Custom evaluators from the operator's folder: what is in its files, and what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from core.errors import InvalidInput
from evaluators.custom.process import Child, Limits
from evaluators.custom.wire import read_answer, spec_of, target_json
from evaluators.protocol import Evaluator
from evaluators.records import EvaluatorSpec, Reason, Scored, Target, Unscored

_LARGEST_FILE: Final = 1 << 20
_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_LONGEST_WAIT_S: Final = 120.0
_ANYBODY: Final = stat.S_IWOTH


@dataclass(frozen=True, kw_only=True)
class CustomEvaluator:
    """An Evaluator whose score a child process finds. Those of one file share their process."""

    spec: EvaluatorSpec
    child: Child = field(repr=False, compare=False)
    wall_s: float | None = None

    def evaluate(self, target: Target) -> Scored:
        """Scores one target; never raises for what the file does."""
        answer = self.child.ask(self.spec.name, target_json(target), self.wall_s)
        if isinstance(answer, Unscored):
            return answer
        try:
            return read_answer(answer, self.spec)
        except (InvalidInput, OverflowError) as error:
            return Unscored(reason=Reason.FAILED, detail=str(error)[:300])


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file that gives no evaluators, or one of its evaluators, and what to do about it."""

    file: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a folder or file gave. `close` ends the processes."""

    evaluators: tuple[CustomEvaluator, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def by_name(self) -> dict[str, Evaluator]:
        """The evaluators by name."""
        return {one.spec.name: one for one in self.evaluators}

    def close(self) -> None:
        """Ends the processes of all files."""
        for one in self.evaluators:
            one.child.close()


def load_folder(folder: Path, taken: Sequence[str] = (), limits: Limits | None = None) -> Loaded:
    """The evaluators of the *.py and *.json files of a folder, by name of file; a folder that is not there has none.

    A file that cannot be used is a problem, never an error: the others still score. `taken` are names that they may
    not have.
    """
    if not folder.is_dir():
        return Loaded()
    if folder.stat().st_mode & _ANYBODY:
        return Loaded(problems=(Problem(file=folder.name, what="anybody may write into this folder; chmod o-w it"),))
    found: list[CustomEvaluator] = []
    problems: list[Problem] = []
    names = set(taken)
    for path in sorted(one for one in folder.iterdir() if one.suffix in (".py", ".json") and one.name[0] not in "._"):
        loaded = load_file(path, limits)
        problems += loaded.problems
        for one in loaded.evaluators:
            if one.spec.name in names:
                problems.append(Problem(file=path.name, what=f"there is another evaluator called {one.spec.name}"))
                continue
            names.add(one.spec.name)
            found.append(one)
    return Loaded(evaluators=tuple(found), problems=tuple(problems))


def load_file(path: Path, limits: Limits | None = None) -> Loaded:
    """The evaluators of one file: Python with EVALUATORS, or JSON with endpoints."""
    limits = limits or Limits()
    try:
        source = _read(path)
        found = list(_python(path, limits) if path.suffix == ".py" else _endpoints(source, limits))
    except InvalidInput as error:
        return Loaded(problems=(Problem(file=path.name, what=str(error)),))
    names = [one.spec.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return Loaded(problems=(Problem(file=path.name, what=f"{twice[0]} is declared twice"),))
    return Loaded(evaluators=tuple(found))


def _read(path: Path) -> bytes:
    if path.suffix not in (".py", ".json"):
        raise InvalidInput("it is no .py and no .json file")
    try:
        if not path.is_file():
            raise InvalidInput("it is no file")
        mode, size = path.stat().st_mode, path.stat().st_size
        if mode & _ANYBODY:
            raise InvalidInput("anybody may change this file; chmod o-w it")
        if size > _LARGEST_FILE:
            raise InvalidInput(f"it has {size:,} bytes; {_LARGEST_FILE:,} are the most")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"it cannot be read: {error.strerror}") from None


def _python(path: Path, limits: Limits) -> Iterator[CustomEvaluator]:
    child = Child({"path": str(path.absolute())}, limits)
    hello = child.hello()
    digest = str(hello["sha256"])
    child.expect(digest)
    try:
        specs = [spec_of(one, digest) for one in hello["evaluators"]]
    except InvalidInput:
        child.close()
        raise
    if not specs:
        child.close()
        raise InvalidInput("EVALUATORS is empty")
    for spec in specs:
        yield CustomEvaluator(spec=spec, child=child)


def _endpoints(source: bytes, limits: Limits) -> Iterator[CustomEvaluator]:
    try:
        table = json.loads(source)["evaluators"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidInput('it is JSON as {"evaluators": [{"name": ..., "url": ...}]}') from None
    if not isinstance(table, list) or not table or not all(isinstance(one, dict) for one in table):
        raise InvalidInput('"evaluators" is a list of objects, one at least')
    digest = hashlib.sha256(source).hexdigest()
    found = [_endpoint(one, digest, limits) for one in table]
    child = Child({"endpoints": [config for _, config in found]}, limits)
    for spec, config in found:
        yield CustomEvaluator(spec=spec, child=child, wall_s=config["timeout_s"] + 1)


def _endpoint(declared: Mapping[str, Any], digest: str, limits: Limits) -> tuple[EvaluatorSpec, dict[str, Any]]:
    own = ("url", "timeout_s", "headers_env")
    spec = spec_of({key: value for key, value in declared.items() if key not in own}, digest)
    url = declared.get("url")
    if not isinstance(url, str) or not _is_endpoint(url):
        raise InvalidInput(
            f"{spec.name}: 'url' is http:// or https:// with a host, and without a password", field="url"
        )
    wait = declared.get("timeout_s", limits.wall_s)
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 < wait <= _LONGEST_WAIT_S:
        raise InvalidInput(f"{spec.name}: 'timeout_s' is above 0, {_LONGEST_WAIT_S:g} at most", field="timeout_s")
    headers = dict(_headers(spec.name, declared.get("headers_env", {})))
    told = {"name": spec.name, "version": spec.version, "url": url, "timeout_s": float(wait), "headers": headers}
    return spec, {**told, "most_bytes": limits.most_bytes}


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and not re.search(r"[\s\x00-\x1f]", url) and parts.username is None
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _headers(name: str, wanted: Any) -> Iterator[tuple[str, str]]:
    """Headers whose values are in the environment of the server: secrets stay out of the file."""
    if not isinstance(wanted, dict):
        raise InvalidInput(f"{name}: 'headers_env' is an object of header and variable", field="headers_env")
    for header, variable in wanted.items():
        value = os.environ.get(str(variable))
        if not _HEADER.fullmatch(header) or value is None or not value.isprintable() or not value.isascii():
            told = f"{name}: 'headers_env' names {header[:64]!r}: {str(variable)[:64]!r}, which is no header or not set"
            raise InvalidInput(told, field="headers_env")
        yield header, value
