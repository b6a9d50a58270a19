"""Without a server: a dataset from a file, and two evaluators that need nothing else."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def examples_at(path: Path, dataset: str, split: str | None) -> list[dict[str, Any]]:
    """The examples of a JSONL file, or of DATASET.jsonl in a folder. Raises ValueError naming the line."""
    file = path / f"{dataset}.jsonl" if path.is_dir() else path
    found, seen = [], set()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file}:{number}: {error}") from None
        if not isinstance(said, dict) or said.get("input") is None:
            raise ValueError(f"{file}:{number}: an example is an object with an input")
        said["example_id"] = str(said.get("example_id") or f"line-{number}")
        if said["example_id"] in seen:
            raise ValueError(f"{file}:{number}: example {said['example_id']!r} is there twice")
        seen.add(said["example_id"])
        if split in (None, said.get("split") or "test"):
            found.append(said)
    return found


def scored(evaluator: str, expected: Mapping[str, Any], output: str) -> float | str:
    """A value, or why there is none."""
    if evaluator == "answer_match":
        wanted = [expected["answer"]] if expected.get("answer") is not None else []
        wanted += expected.get("answers") or []
        return float(_plain(output) in map(_plain, wanted)) if wanted else "not_expected"
    if evaluator == "answer_contains":
        parts = expected.get("contains") or []
        return float(all(_plain(part) in _plain(output) for part in parts)) if parts else "not_expected"
    return "needs_a_server"


def _plain(text: str) -> str:
    """Without case, outer punctuation and differences of writing."""
    folded = unicodedata.normalize("NFKC", str(text)).casefold()
    return " ".join(folded.split()).strip(" .,!?;:\"'")
