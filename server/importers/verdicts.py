"""Files of verdicts and labels, in known formats or with documented columns, as items of the API's /verdicts.

Nothing here trusts a file. Verdicts are passed on raw: the server maps them by the rubric.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from server.importers import verdict_rubrics
from server.importers.reading import BadLine, lines, whole

FORMATS: Final = ("tau2", "llmbar", "pandalm", "csv", "jsonl")
_MOST_CELL: Final = 1 << 20
_KNOWN: Final = (
    *("session_id", "target", "trace_id", "verdict", "label", "label_kind", "annotator", "confidence"),
    *("explanation", "at", "judge", "model", "segment", "probability"),
)
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_.-]+")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one line says of a target. `judge` None: a label only."""

    line: int
    key: tuple[str, str]  # session_id or trace_id, and which
    judge: str | None = None
    model: str | None = None
    verdict: dict[str, Any] = field(default_factory=dict)  # verdict or missing, confidence, explanation
    label: str | None = None
    annotator: str | None = None  # None: an outcome
    shared: dict[str, Any] = field(default_factory=dict)  # at, segment, probability


@dataclass(kw_only=True)
class Batch:
    """Items of one judge, or labels alone; `lines` are where they come from."""

    judge: str | None
    model: str
    items: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class Survey:
    """A file that was read: its items by judge, the most annotators of one item, and what could not be read."""

    format: str
    rubric: str | None  # the text of the format's own
    batches: list[Batch] = field(default_factory=list)
    n_annotators: int = 1
    n_lines: int = 0
    bad: list[BadLine] = field(default_factory=list)


def read_verdicts(
    path: Path, kind: str | None, on_progress: Callable[[int], None], *, prefix: str = "", judge: str | None = None
) -> Survey:
    """Reads a file of verdicts. `kind` None: recognised by its first row; `prefix` goes before the names of judges,
    `judge` is whose verdicts they are where the file does not say. Raises BadLine where it cannot be read at all."""
    rows = _rows(path)
    try:
        first = next(rows)
    except StopIteration:
        raise BadLine(path, 0, "holds no rows") from None
    if isinstance(first, BadLine):
        raise first
    number, row = first
    kind = kind or _recognised(path, row)
    reader = {"tau2": _tau2, "llmbar": _llmbar, "pandalm": _pandalm}.get(kind, _generic)
    texts = {"tau2": verdict_rubrics.TAU2, "llmbar": verdict_rubrics.LLMBAR, "pandalm": verdict_rubrics.PANDALM}
    survey = Survey(format=kind, rubric=texts.get(kind))
    found: list[Read] = []
    for one in _again(number, row, rows):
        survey.n_lines += 1
        on_progress(1)
        if isinstance(one, BadLine):
            survey.bad.append(one)
            continue
        try:
            found += reader(path, *one)
        except KeyError as error:
            survey.bad.append(BadLine(path, one[0], f"has no {error.args[0]!r}, which the format {kind} needs"))
        except BadLine as error:
            survey.bad.append(error)
    _put_together(path, survey, found, prefix, judge)
    return survey


def _again(number: int, row: Row, rows: Iterator[tuple[int, Row] | BadLine]) -> Iterator[tuple[int, Row] | BadLine]:
    yield number, row
    yield from rows


def _rows(path: Path) -> Iterator[tuple[int, Row] | BadLine]:
    """(line, row) of JSON lines or CSV with a head; a line that is neither is a BadLine."""
    if ".csv" in path.suffixes:
        yield from _csv(path)
        return
    for line in lines(path):
        try:
            said = json.loads(line.content)
        except (ValueError, RecursionError):
            yield BadLine(path, line.number, "is not JSON")
            continue
        yield (line.number, said) if isinstance(said, dict) else BadLine(path, line.number, "is no JSON object")


def _csv(path: Path) -> Iterator[tuple[int, Row] | BadLine]:
    raw = whole(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadLine(path, 0, "is not UTF-8 text") from None
    csv.field_size_limit(_MOST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                yield BadLine(path, reader.line_num, "has more or fewer cells than the head")
            else:
                yield reader.line_num, row
    except csv.Error as error:
        yield BadLine(path, reader.line_num, f"is no CSV: {error}")


def _recognised(path: Path, row: Row) -> str:
    if {"simulation_id", "judge_verdict"} <= row.keys():
        return "tau2"
    if {"winner_ab", "winner_ba"} <= row.keys():
        return "llmbar"
    if "judge_pandalm7b" in row:
        return "pandalm"
    return "csv" if ".csv" in path.suffixes else "jsonl"


def _tau2(path: Path, number: int, row: Row) -> list[Read]:
    """A verdict of one prompt on a simulation, and whether its checks passed."""
    success = str(row["tau2_success"]).lower()
    if success not in ("true", "false"):
        raise BadLine(path, number, f"tau2_success is true or false, not {success[:40]!r}")
    verdict = {"verdict": _text(row["judge_verdict"]), "explanation": _text(row.get("judge_justification"))}
    return [
        Read(
            line=number,
            key=("session_id", _text(row["simulation_id"])),
            judge=_text(row.get("judge_prompt_name") or row["judge_prompt"]),  # of the flat table
            model=_text(row["judge_model"]),
            verdict=verdict,
            label="pass" if success == "true" else "fail",
            shared={"segment": _text(row["domain"]), "probability": 1.0},  # every verdict has its truth
        )
    ]


def _llmbar(_: Path, number: int, row: Row) -> list[Read]:
    """A judge's winners in both orders, and the gold label."""
    first, second = _text(row["winner_ab"]), _text(row["winner_ba"])
    agreed = first and first == second
    verdict: dict[str, Any] = {"verdict": first}
    if not agreed:
        verdict = {"missing": "panel_disagreed" if first and second else "empty_reply"}
    verdict["orders"] = [first or None, second or None]
    return [
        Read(
            line=number,
            key=("session_id", f"{row['subset']}#{row['idx']}"),
            judge=f"llmbar-{row['judge']}-{row['prompting']}",
            model=_text(row["judge"]),
            verdict=verdict,
            label=_text(row["label"]),
            annotator="gold",
            shared={"segment": _text(row["subset"])},
        )
    ]


def _pandalm(_: Path, number: int, row: Row) -> list[Read]:
    """Two judges and three annotators of one pair."""
    key = ("session_id", f"pandalm-{row['idx']}-{row['cmp_key']}")
    shared = {"segment": _text(row["motivation_app"])[:200]}
    found = []
    for judge in ("gpt35", "pandalm7b"):
        verdict = {"verdict": _text(row[f"judge_{judge}"]), "explanation": _text(row.get(f"judge_{judge}_reason"))}
        found.append(Read(line=number, key=key, judge=f"pandalm-{judge}", model=judge, verdict=verdict, shared=shared))
    for name in ("annotator1", "annotator2", "annotator3"):
        found.append(Read(line=number, key=key, label=_text(row[name]), annotator=name, shared=shared))
    return found


def _generic(path: Path, number: int, row: Row) -> list[Read]:
    """A row with the documented columns."""
    unknown = sorted(str(name)[:40] for name in row if name not in _KNOWN)
    if unknown:
        raise BadLine(path, number, f"there is no column {unknown[0]!r}; known are {', '.join(_KNOWN)}")
    name = "trace_id" if row.get("trace_id") else "session_id"
    target = _text(row.get("trace_id") or row.get("session_id") or row.get("target"))
    if not target:
        raise BadLine(path, number, "has no session_id, target or trace_id")
    kind = _text(row.get("label_kind")) or "human"
    if kind not in ("human", "outcome"):
        raise BadLine(path, number, f"label_kind is human or outcome, not {kind[:40]!r}")
    verdict: dict[str, Any] = {}
    if row.get("verdict") is not None and (_text(row["verdict"]) or not _text(row.get("label"))):
        verdict = {"verdict": _text(row["verdict"]), "explanation": _text(row.get("explanation"))}
        verdict["confidence"] = _number(path, number, row, "confidence")
    shared: dict[str, Any] = {"at": _text(row.get("at")) or None, "segment": _text(row.get("segment")) or None}
    shared["probability"] = _number(path, number, row, "probability")
    annotator = None if kind == "outcome" else _text(row.get("annotator")) or "imported"
    return [
        Read(
            line=number,
            key=(name, target),
            judge=_text(row.get("judge")) or None,
            model=_text(row.get("model")) or None,
            verdict=verdict,
            label=_text(row.get("label")) or None,
            annotator=annotator,
            shared={each: value for each, value in shared.items() if value is not None},
        )
    ]


def _put_together(path: Path, survey: Survey, found: list[Read], prefix: str, judge: str | None) -> None:
    """One item for each target and judge. Labels go with the target's first verdict, or stand alone."""
    batches: dict[str | None, Batch] = {}
    items: dict[tuple[str | None, tuple[str, str]], dict[str, Any]] = {}
    first: dict[tuple[str, str], dict[str, Any]] = {}
    several: dict[tuple[str, str], list[Read]] = defaultdict(list)

    def item(one: Read, name: str | None) -> dict[str, Any]:
        batch = batches.setdefault(name, Batch(judge=name, model=one.model or "unknown"))
        made = {one.key[0]: one.key[1], **one.shared}
        batch.items.append(made)
        batch.lines.append(one.line)
        items[name, one.key] = made
        first.setdefault(one.key, made)
        return made

    for one in found:
        if one.label is not None:
            several[one.key].append(one)
        if not one.verdict:
            continue
        named = one.judge or judge
        if named is None:
            survey.bad.append(BadLine(path, one.line, "has a verdict and no judge; name it with --judge"))
        elif (name := name_of(prefix + named)) and (name, one.key) in items:
            survey.bad.append(BadLine(path, one.line, f"a second verdict of {name} on {one.key[1][:80]}"))
        else:
            item(one, name).update({each: said for each, said in one.verdict.items() if said is not None})
    for key, labels in several.items():
        _label(path, survey, labels, first.get(key) or item(labels[0], None))
    survey.batches = list(batches.values())


def _label(path: Path, survey: Survey, labels: list[Read], item: dict[str, Any]) -> None:
    """Puts what was said of a target into its item; saying two things in one name is a bad line."""
    said: dict[str, str] = item.setdefault("annotations", {})
    for one in labels:
        label = one.label or ""
        before = item.get("outcome") if one.annotator is None else said.get(one.annotator)
        if before not in (None, label):
            survey.bad.append(BadLine(path, one.line, f"says {label[:40]!r}, a line before {before[:40]!r}"))
        elif one.annotator is None:
            item["outcome"] = label
        else:
            said[one.annotator] = label
        for name, value in one.shared.items():
            item.setdefault(name, value)
    survey.n_annotators = max(survey.n_annotators, len(said))


def name_of(text: str) -> str:
    """A judge's name from what a file calls it."""
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-.")[:100] or "imported"


def _text(value: object) -> str:
    """A value as text; empty for nothing."""
    return "" if value is None else str(value).strip()


def _number(path: Path, number: int, row: Row, name: str) -> float | None:
    text = _text(row.get(name))
    try:
        return float(text) if text else None
    except ValueError:
        raise BadLine(path, number, f"{name} is a number, not {text[:40]!r}") from None
