"""Labels as files: JSON lines, or CSV in which no cell is a formula."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from server.cli.outcome import CommandFailed, ExitCode

COLUMNS: Final = (
    *("task_id", "target", "item", "session_id", "trace_id", "label", "how", "n_answers", "answers", "decided_by"),
    *("note", "stratum", "segment", "probability", "completed_at"),
)
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


def write_labels(rows: Sequence[Mapping[str, Any]], out: Path | None, kind: str) -> None:
    """Writes labels to a file, or to standard output. Raises CommandFailed."""
    try:
        with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8", newline="") as file:
            if kind == "jsonl":
                file.writelines(json.dumps(row) + "\n" for row in rows)
                return
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_cells(row) for row in rows)
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error.strerror}", ExitCode.FAILED) from error


def _cells(row: Mapping[str, Any]) -> list[object]:
    answers = [f"{one['annotator']}: {','.join(one['labels']) or 'skipped'}" for one in row["answers"]]
    known = {**row, "n_answers": sum(1 for one in row["answers"] if one["labels"]), "answers": "; ".join(answers)}
    return [_harmless(known[name]) for name in COLUMNS]


def _harmless(value: object) -> object:
    """A cell that a spreadsheet would take for a formula stands behind a single quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
