"""Reads the YAML of a gate's policy. Every problem is one line: line, what is wrong and what to write instead."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from core.errors import InvalidInput
from experiments.gates.policy import GatePolicy
from gateway.yaml_tree import Path, Problem, Tree, read_tree

MOST_BYTES: Final = 64 << 10
_MOST_PROBLEMS: Final = 30
_NAME: Final = "has to be a name: letters, digits, '.', '_', ':', '@', '/', '-', at most 100"
_SAID: Final = {
    "missing": "is missing",
    "string_pattern_mismatch": _NAME,
    "string_type": "has to be text; put it in quotes",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "bool_type": "has to be true or false",
    "model_type": "has to be a map: lines of 'key: value'",
    "too_short": "is empty; a gate needs one metric at least",
    "tuple_type": "has to be a list: [a, b], or lines that begin with '-'",
}


class BadPolicy(InvalidInput):
    """A policy that cannot be used. `problems` has one line each, where it stands first."""

    code = "bad_gate_policy"

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        more = [f"and {len(problems) - 2} more: assay gate check"] if len(problems) > 3 else problems[2:]
        super().__init__("\n".join([*problems[:2], *more]), "policy")


def read_policy(text: str, *, known: Collection[str] | None = None, where: str = "policy") -> GatePolicy:
    """The policy that `text` says. `known`: the metrics there are (None: any name will do). Raises BadPolicy."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise BadPolicy([f"{where}: is over {MOST_BYTES:,} bytes; that is no policy of a gate"])
    if "\0" in text:
        raise BadPolicy([f"{where}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: has a NUL character"])
    tree = read_tree(text)
    problems = list(tree.problems)
    policy = None
    if not problems and not isinstance(tree.value, dict):
        said = "is empty; it needs version and metrics" if tree.value is None else "has to begin with 'version: 1'"
        problems.append(Problem(line=1, message=said))
    if isinstance(tree.value, dict):
        try:
            policy = GatePolicy.model_validate(tree.value)
        except ValidationError as error:
            if not problems:
                problems += _all_of(tree, error)
    if policy is not None and known is not None:
        problems += _unknown_metrics(tree, policy, known)
    if policy is None or problems:
        lines = [_line(where, each) for each in sorted(problems, key=lambda one: one.line)]
        raise BadPolicy(list(dict.fromkeys(lines))[:_MOST_PROBLEMS])
    return policy


def nearest(name: str, known: Collection[str]) -> str:
    """'; did you mean ...?', or nothing where no name is near."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown_metrics(tree: Tree, policy: GatePolicy, known: Collection[str]) -> list[Problem]:
    named: list[tuple[Path, str]] = [(("metrics", n, "metric"), rule.metric) for n, rule in enumerate(policy.metrics)]
    named += [(("required_evaluators", n), name) for n, name in enumerate(policy.required_evaluators)]
    return [
        Problem(line=_line_of(tree, path), path=path, message=f"{name!r} is no metric{nearest(name, known)}")
        for path, name in named
        if name not in known
    ]


def _all_of(tree: Tree, error: ValidationError) -> list[Problem]:
    found = []
    every = error.errors(include_url=False)[:100]
    for each in every:
        path = tuple(each["loc"])
        inside = any(len(one["loc"]) > len(path) and tuple(one["loc"][: len(path)]) == path for one in every)
        if each["type"] == "too_short" and inside:  # it is not empty: none of its members can be used
            continue
        message = str(each["msg"]).removeprefix("Value error, ")
        if each["type"] == "value_error" and not path:
            named, _, message = message.partition(": ")
            path = (named,)
        found.append(Problem(line=_line_of(tree, path), path=path, message=_said(each, path, message)))
    return found


def _said(found: Any, path: Path, message: str) -> str:
    match found["type"]:
        case "extra_forbidden":
            known = _keys_at(path[:-1])
            near = nearest(str(path[-1]).lower().replace("-", "_"), known)
            return f"is not known{near or ('; there are ' + ', '.join(known) if known else '; remove it')}"
        case "enum" | "literal_error":
            expected = str(found["ctx"].get("expected", "another value"))
            allowed = re.findall("'([^']*)'", expected)
            return f"has to be {expected}{nearest(str(found['input']), allowed)}"
        case kind if kind in _SAID:
            return _SAID[kind]
        case _:
            return re.sub(r"^Input should", "should", message)


def _keys_at(path: Path) -> list[str]:
    """The keys that a section may have."""
    kind: Any = GatePolicy
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = _unwrapped(field.annotation) if field else None
        else:
            kind = ([each for each in typing.get_args(kind) if each is not Ellipsis] or [None])[0]
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _unwrapped(kind: Any) -> Any:
    while typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    return kind


def _line_of(tree: Tree, path: Path) -> int:
    return next((tree.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in tree.lines), 1)


def _line(where: str, problem: Problem) -> str:
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem.path).lstrip(".")
    named = "".join(character if character.isprintable() else "?" for character in dotted)[:120]
    return f"{where}:{problem.line}: {named + ': ' if named else ''}{problem.message}"
