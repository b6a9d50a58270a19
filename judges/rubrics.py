"""Rubric files: markdown with YAML front matter, read into a Rubric and written back. docs/judges.md has the format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeVar

import yaml

from core.errors import InvalidInput, TooLarge
from core.records import TargetKind
from judges.records import Rubric, ScaleKind

MOST_BYTES: Final = 65_536
MOST_LABELS: Final = 20
MOST_ALIASES: Final = 200
_MOST_ANCHOR: Final = 1_000  # characters
_KEYS: Final = ("name", "version", "kind", "target", "labels", "passing", "anchors", "aliases")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _.+-]{0,58}[A-Za-z0-9_.+])?")
_PARTS: Final = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*$\n?(.*)\Z", re.DOTALL | re.MULTILINE)
_TARGETS: Final = (TargetKind.SESSION, TargetKind.TURN, TargetKind.EXAMPLE)
_FEWEST: Final = {ScaleKind.PASS_FAIL: 2, ScaleKind.ORDINAL: 3, ScaleKind.PAIRWISE: 2, ScaleKind.MULTI_LABEL: 2}
_MOST: Final = {ScaleKind.PASS_FAIL: 2, ScaleKind.PAIRWISE: 3}

Chosen = TypeVar("Chosen", ScaleKind, TargetKind)


class _Plain(yaml.SafeLoader):
    """A safe loader to which every scalar is text (`no` is a label, not False) and no key may stand twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0][:60]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_rubric(text: str) -> Rubric:
    """Reads a rubric file. Raises TooLarge over MOST_BYTES, else InvalidInput that names the part and what to write."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        raise TooLarge(f"the rubric has {size:,} bytes; a rubric may have {MOST_BYTES:,}", field="rubric")
    parts = _PARTS.match(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    if parts is None:
        _refuse("rubric", "the rubric does not begin with front matter; begin it with a line ---, its fields, and ---")
    given = _front_matter(parts[1])
    body = parts[2].strip()
    if not body:
        _refuse("text", "the rubric has no text below its front matter; say there what the judge has to decide")
    if any(0xD800 <= ord(char) <= 0xDFFF or char == "\0" for char in text):
        _refuse("rubric", "the rubric holds characters that are no text; save it as UTF-8")
    kind = _one_of(given, "kind", tuple(ScaleKind))
    labels = _labels(given, kind)
    return Rubric(
        name=_name(given),
        version=_version(given),
        kind=kind,
        target=_one_of(given, "target", _TARGETS) if "target" in given else TargetKind.SESSION,
        labels=labels,
        passing=_passing(given, kind, labels),
        anchors=_anchors(given, labels),
        aliases=_aliases(given, labels),
        text=body,
    )


def rubric_text(rubric: Rubric) -> str:
    """Writes it as a file from which read_rubric gives an equal one."""
    fields: dict[str, Any] = {
        "name": rubric.name,
        "version": str(rubric.version),
        "kind": rubric.kind.value,
        "target": rubric.target.value,
        "labels": list(rubric.labels),
        "passing": [label for label in rubric.labels if label in rubric.passing],
    }
    fields |= {"anchors": dict(rubric.anchors)} if rubric.anchors else {}
    fields |= {"aliases": dict(rubric.aliases)} if rubric.aliases else {}
    head = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{head}---\n{rubric.text}\n"


def _refuse(field: str, message: str) -> NoReturn:
    raise InvalidInput(message, field=field)


def _front_matter(text: str) -> Mapping[str, Any]:
    try:
        given = _Plain(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise InvalidInput(f"the rubric's front matter is no YAML that can be read: {said}", field="rubric") from None
    if not isinstance(given, dict):
        _refuse("rubric", "the rubric's front matter is no mapping; write lines such as `name: helpfulness`")
    unknown = sorted(str(key)[:60] for key in given if key not in _KEYS)
    if unknown:
        _refuse("rubric", f"the rubric has no field {unknown[0]!r}; its fields are {', '.join(_KEYS)}")
    return given


def _text(given: Mapping[str, Any], key: str) -> str:
    if not isinstance(given.get(key), str) or not given[key].strip():
        _refuse(key, f"the rubric needs `{key}`, a word")
    return str(given[key]).strip()


def _name(given: Mapping[str, Any]) -> str:
    name = _text(given, "name")
    if not _NAME.fullmatch(name):
        _refuse("name", f"{name[:80]!r} is no name of a rubric; use a-z, 0-9, _ and -, a letter first, 64 at most")
    return name


def _version(given: Mapping[str, Any]) -> int:
    text = _text(given, "version").removeprefix("v")
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) >= 1):
        _refuse("version", f"{text[:40]!r} is no version of a rubric; use 1, 2, 3 ...")
    return int(text)


def _one_of(given: Mapping[str, Any], key: str, offered: tuple[Chosen, ...]) -> Chosen:
    text = _text(given, key)
    found = next((one for one in offered if one.value == text), None)
    if found is None:
        _refuse(key, f"{text[:40]!r} is no {key} of a rubric; use one of {', '.join(one.value for one in offered)}")
    return found


def _words(given: Mapping[str, Any], key: str) -> list[str]:
    listed = given[key] if isinstance(given[key], list) else [given[key]]
    words = [one.strip() if isinstance(one, str) else "" for one in listed]
    if not words or not all(words):
        _refuse(key, f"`{key}` of the rubric is no list of words; write them as [one, other]")
    return words


def _labels(given: Mapping[str, Any], kind: ScaleKind) -> tuple[str, ...]:
    if "labels" not in given and kind is ScaleKind.PASS_FAIL:
        return ("fail", "pass")
    if "labels" not in given:
        _refuse("labels", f"a rubric of kind {kind.value} needs `labels`, the words that the judge chooses from")
    labels = _words(given, "labels")
    fewest, most = _FEWEST[kind], _MOST.get(kind, MOST_LABELS)
    if not fewest <= len(labels) <= most:
        _refuse("labels", f"a rubric of kind {kind.value} has {fewest} to {most} labels, not {len(labels)}")
    for label in labels:
        if not _LABEL.fullmatch(label):
            _refuse("labels", f"{label[:80]!r} is no label; use letters, digits, space, _ . + and -, 60 at most")
    if len({label.lower() for label in labels}) < len(labels):
        _refuse("labels", "two labels of the rubric differ in nothing but capitals; name each differently")
    return tuple(labels)


def _passing(given: Mapping[str, Any], kind: ScaleKind, labels: tuple[str, ...]) -> frozenset[str]:
    if "passing" not in given:
        match kind:
            case ScaleKind.PASS_FAIL if "pass" in labels:
                return frozenset({"pass"})
            case ScaleKind.PAIRWISE:
                return frozenset(labels[:1])
            case _:
                _refuse("passing", "the rubric needs `passing`, the labels that count as 1")
    passing = _words(given, "passing")
    strange = [one for one in passing if one not in labels]
    if strange:
        _refuse("passing", f"`passing` names {strange[0][:60]!r}, which is none of the labels {', '.join(labels)}")
    if kind is ScaleKind.ORDINAL:
        lowest = min(labels.index(one) for one in passing)
        if len(passing) > 1 and set(passing) != set(labels[lowest:]):
            _refuse("passing", "on an ordinal scale all labels from one on pass; write the lowest of them alone")
        passing = list(labels[lowest:])
    if len(set(passing)) == len(labels):
        _refuse("passing", "every label of the rubric passes; one at least has to fail")
    return frozenset(passing)


def _pairs(given: Mapping[str, Any], key: str) -> dict[str, str]:
    found = given.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(one, str) for pair in found.items() for one in pair):
        _refuse(key, f"`{key}` of the rubric is no mapping from words to texts")
    return {name.strip(): " ".join(text.split()) for name, text in found.items()}


def _anchors(given: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, str]:
    anchors = _pairs(given, "anchors")
    for label, text in anchors.items():
        if label not in labels:
            _refuse("anchors", f"`anchors` names {label[:60]!r}, which is none of the labels {', '.join(labels)}")
        if not text or len(text) > _MOST_ANCHOR:
            _refuse("anchors", f"the anchor of {label!r} has to have 1 to {_MOST_ANCHOR:,} characters")
    return {label: anchors[label] for label in labels if label in anchors}


def _aliases(given: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, str]:
    listed = _pairs(given, "aliases")
    aliases = {" ".join(word.lower().split()): label for word, label in listed.items()}
    if len(aliases) < len(listed):
        _refuse("aliases", "two aliases of the rubric differ in nothing but capitals or spaces; keep one")
    if len(aliases) > MOST_ALIASES:
        _refuse("aliases", f"the rubric has {len(aliases)} aliases; it may have {MOST_ALIASES}")
    known = {label.lower(): label for label in labels}
    for word, label in aliases.items():
        if label not in labels:
            _refuse("aliases", f"the alias {word[:60]!r} stands for {label[:60]!r}, which is none of the labels")
        if not word or known.get(word, label) != label:
            _refuse("aliases", f"the alias {word[:60]!r} is a label itself; a label cannot stand for another")
    return dict(sorted(aliases.items()))
