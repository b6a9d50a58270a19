"""An example, a version of a dataset, and how both stand in JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from core.errors import InvalidInput, TooLarge
from core.ids import TenantId
from evaluators.datasets.expected import Json, expected_json, expected_of
from evaluators.records import Expected
from store.control.control import Control

MOST_LINE: Final = 1 << 20  # bytes of one example
MOST_TURNS: Final = 200
MOST_ID: Final = 120
DEFAULT_SPLIT: Final = "test"
_FIELDS: Final = ("example_id", "input", "expected", "split", "metadata", "source")
_SOURCE: Final = ("trace_id", "session_id", "user_id")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an example was taken from; all None for one that was written."""

    trace_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Example:
    """What a user says, turn by turn, and what is expected of the agent."""

    example_id: str
    turns: tuple[str, ...]
    expected: Expected = field(default_factory=Expected)
    split: str = DEFAULT_SPLIT
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: Source = field(default_factory=Source)

    @property
    def text(self) -> str:
        """All turns, one a paragraph."""
        return "\n\n".join(self.turns)


@dataclass(frozen=True, kw_only=True)
class DatasetVersion:
    """One version with its examples, in their order. `content_hash` is the same whenever the examples are the same."""

    name: str
    version: int
    content_hash: str
    examples: tuple[Example, ...]
    n_erased: int = 0


def read_version(control: Control, tenant: TenantId, name: str, version: int | None = None) -> DatasetVersion:
    """A version of a dataset, the newest for None. Raises NotFound, Corrupt."""
    found, lines = control.read_dataset(tenant, name, version)
    return DatasetVersion(
        name=found.name,
        version=found.version,
        content_hash=found.content_hash,
        examples=tuple(map(example_at, lines)),
        n_erased=found.n_erased,
    )


def example_at(line: bytes) -> Example:
    """The example of a stored line."""
    return example_of(json.loads(line))


def line_of(example: Example) -> bytes:
    """An example as it is stored: canonical JSON in UTF-8. Raises InvalidInput for what is no JSON, as NaN or half a
    surrogate pair; TooLarge over 1 MiB."""
    try:
        text = json.dumps(
            example_json(example), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
        line = text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "a text has half of a surrogate pair (\\ud800 to \\udfff); write the whole character"
        ) from None
    except ValueError:
        raise InvalidInput("a number is NaN or infinite; leave it out or write null") from None
    except RecursionError:
        raise InvalidInput("it is nested too deeply") from None
    if len(line) > MOST_LINE:
        raise TooLarge(f"the example has {len(line):,} bytes; at most {MOST_LINE:,}")
    return line


def example_json(example: Example) -> Json:
    """An example as JSON, every field in its place."""
    source = {name: value for name in _SOURCE if (value := getattr(example.source, name)) is not None}
    return {
        "example_id": example.example_id,
        "input": {"turns": list(example.turns)},
        "expected": expected_json(example.expected),
        "split": example.split,
        "metadata": dict(example.metadata),
        "source": source,
    }


def example_of(said: object) -> Example:
    """An example from its JSON; one without an id gets one of its content. Raises InvalidInput naming the field."""
    given = _object(said, "an example")
    for name in given:
        if name not in _FIELDS:
            raise InvalidInput(f"an example has no field {name[:60]!r}; it has {', '.join(_FIELDS)}", field=name[:60])
    if given.get("input") is None:
        raise InvalidInput("an example has an input", field="input")
    turns = turns_of(given["input"])
    expected = expected_of(given.get("expected"))
    metadata = _object(given.get("metadata") or {}, "metadata")
    _finite(metadata, "metadata")
    found = given.get("example_id")
    return Example(
        example_id=id_of(turns, expected) if found is None else checked_id(found),
        turns=turns,
        expected=expected,
        split=checked_split(given.get("split") or DEFAULT_SPLIT),
        metadata=metadata,
        source=_source(given.get("source") or {}),
    )


def id_of(turns: tuple[str, ...], expected: Expected) -> str:
    """The id of an example that was given none: of what is asked and expected."""
    said = json.dumps([turns, expected_json(expected)], sort_keys=True)
    return "ex_" + hashlib.sha256(said.encode()).hexdigest()[:20]


def turns_of(said: object) -> tuple[str, ...]:
    """The turns of an input: {"turns": [...]}, a list of texts, or one text. Raises InvalidInput."""
    if isinstance(said, dict):
        if set(said) != {"turns"}:
            raise InvalidInput('an input is a text or {"turns": [text, ...]}', field="input")
        said = said["turns"]
    turns = [said] if isinstance(said, str) else said
    if not isinstance(turns, list) or not all(isinstance(one, str) for one in turns):
        raise InvalidInput("an input's turns are texts", field="input")
    if not 1 <= len(turns) <= MOST_TURNS:
        raise InvalidInput(f"an input has 1 to {MOST_TURNS} turns, not {len(turns):,}", field="input")
    if not any(one.strip() for one in turns):
        raise InvalidInput("the input is empty", field="input")
    return tuple(turns)


def checked_id(said: object) -> str:
    """An example's id. Raises InvalidInput."""
    if isinstance(said, int) and not isinstance(said, bool):
        said = str(said)
    if not isinstance(said, str) or not 1 <= len(said) <= MOST_ID or not said.isprintable() or said != said.strip():
        raise InvalidInput(f"an example's id has 1 to {MOST_ID} printable characters", field="example_id")
    return said


def checked_split(said: object) -> str:
    """A split's name. Raises InvalidInput."""
    if not isinstance(said, str) or not 1 <= len(said) <= 60 or not said.isprintable() or said != said.strip():
        raise InvalidInput("a split's name has 1 to 60 printable characters", field="split")
    return said


def _source(said: object) -> Source:
    given = _object(said, "source")
    for name, value in given.items():
        if name not in _SOURCE:
            raise InvalidInput(f"a source has no field {name[:60]!r}; it has {', '.join(_SOURCE)}", field="source")
        if value is not None and (not isinstance(value, str) or len(value) > 4096):
            raise InvalidInput(f"source.{name} is a text of at most 4,096 characters", field=f"source.{name}")
    return Source(**given)


def _object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is a JSON object", field=where if " " not in where else None)
    return value


def _finite(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{where[:80]} is NaN or infinite; leave it out or write null", field=where[:80])
    if isinstance(value, dict):
        for name, one in value.items():
            _finite(one, f"{where}.{name}")
    elif isinstance(value, list):
        for n, one in enumerate(value):
            _finite(one, f"{where}[{n}]")
