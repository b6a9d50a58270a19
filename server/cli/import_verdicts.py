"""What `assay import verdicts` does: a file is read, mapped by its rubric on the server, and written once."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from server.cli.connection import ApiClient, client_of
from server.cli.gate import read_text
from server.cli.importing import progress_of
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.rendering import cell, console, counted, print_json, print_table
from server.cli.terminal import plain
from server.importers.reading import BadLine
from server.importers.verdicts import Batch, Survey, read_verdicts

_PER_REQUEST: Final = 500
_PATIENCE_S: Final = 120.0
_MOST_TOLD: Final = 20
_COUNTS: Final = ("n_verdicts", "n_outcomes", "n_labels", "n_unresolved", "n_new", "n_known")


def run_import(args: argparse.Namespace) -> int:
    """Imports one file; 1 when a line was refused. Raises CommandFailed."""
    try:
        with progress_of(args, "reading") as advance:
            survey = read_verdicts(args.file, args.format, advance, prefix=args.judge_prefix, judge=args.judge)
    except BadLine as error:
        raise CommandFailed(f"{plain(error, 500)}\nnothing was imported", ExitCode.FAILED) from error
    if survey.bad and not args.skip_bad:
        more = f" (and {counted(len(survey.bad) - 1, 'more problem')})" if len(survey.bad) > 1 else ""
        raise CommandFailed(
            f"{plain(survey.bad[0], 500)}{more}\nnothing was imported; --skip-bad imports the rest", ExitCode.FAILED
        )
    api = client_of(args, timeout_s=_PATIENCE_S)
    rubric = _rubric(args, survey)
    total = sum(len(batch.items) for batch in survey.batches)
    judges, refused = [], [(one.line, one.reason) for one in survey.bad]
    with progress_of(args, "sending", total) as advance:
        for batch in survey.batches:
            told, wrong = _send(args, api, survey, batch, rubric, advance)
            judges.append(told)
            refused += wrong
    report = {
        "file": str(args.file),
        "format": survey.format,
        "rubric": judges[0]["rubric"] if judges else None,
        "n_lines": survey.n_lines,
        "judges": judges,
        "refused": [{"line": line, "reason": why} for line, why in sorted(refused)],
        "dry_run": args.dry_run,
    }
    print_json(report) if args.json else _print(args.file, report)
    return ExitCode.FAILED if refused else ExitCode.OK


def _rubric(args: argparse.Namespace, survey: Survey) -> dict[str, Any]:
    """The rubric in a request: one that is there, or a file's or the format's own text."""
    if args.rubric and args.rubric_file:
        raise CommandFailed("give --rubric or --rubric-file, not both", ExitCode.USAGE)
    if args.rubric:
        name, _, version = args.rubric.partition("@")
        digits = version.removeprefix("v")
        if version and not (digits.isascii() and digits.isdecimal()):
            raise CommandFailed("--rubric is NAME or NAME@VERSION, as helpfulness@3", ExitCode.USAGE)
        return {"rubric": name, "rubric_version": int(digits) if digits else None}
    text = read_text(args.rubric_file, 1 << 16) if args.rubric_file else survey.rubric
    if text is None:
        said = "this format brings no rubric along: name one with --rubric or --rubric-file"
        raise CommandFailed(said, ExitCode.USAGE)
    return {"rubric_text": text}


def _send(
    args: argparse.Namespace,
    api: ApiClient,
    survey: Survey,
    batch: Batch,
    rubric: dict[str, Any],
    advance: Any,
) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """What became of a judge's items, and the lines that were refused."""
    counts: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    refused: list[tuple[int, str]] = []
    version = queue = under = None
    for at in range(0, len(batch.items), _PER_REQUEST):
        items = batch.items[at : at + _PER_REQUEST]
        body = {
            **rubric,
            "judge": batch.judge,
            "app": args.app,
            "model": args.model or batch.model,
            "n_annotators": survey.n_annotators,
            "items": items,
            "dry_run": args.dry_run,
        }
        told = api.post("/api/v1/verdicts", body)
        counts.update({name: told[name] for name in _COUNTS})
        missing.update(told["missing"])
        refused += [(batch.lines[at + one["item"]], one["reason"]) for one in told["refused"]]
        version, queue = told["judge_version"] or version, told["queue"] or queue
        under = f"{told['rubric']}@{told['rubric_version']}"
        advance(len(items))
    said = {name: counts[name] for name in _COUNTS}
    whole = {"judge": batch.judge, "version": version, "rubric": under, **said, "missing": dict(missing)}
    return {**whole, "queue": queue}, refused


def _print(file: Path, report: dict[str, Any]) -> None:
    rows = [
        (
            *(str(one["n_verdicts"]), str(sum(one["missing"].values())), str(one["n_outcomes"])),
            *(str(one["n_labels"]), str(one["n_new"]), str(one["n_known"]), cell(one["judge"] or "(labels)", 100)),
        )
        for one in report["judges"]
    ]
    columns = ("verdicts", "missing", "outcomes", "labels", "new", "there before", "judge")
    print_table(columns, rows, right=columns[:-1])
    reasons: Counter[str] = Counter()
    for one in report["judges"]:
        reasons.update(one["missing"])
    out = console()
    if reasons:
        said = ", ".join(f"{n:,} {plain(why, 60)}" for why, n in reasons.most_common())
        out.print(cell(f"missing verdicts, no class of their own: {said}", 400), soft_wrap=True)
    unresolved = sum(one["n_unresolved"] for one in report["judges"])
    if unresolved:
        queue = next(one["queue"] for one in report["judges"] if one["queue"])
        line = f"{counted(unresolved, 'label')} people disagree on: assay labels adjudicate {queue}"
        out.print(cell(line, 400), soft_wrap=True)
    for one in report["refused"][:_MOST_TOLD]:
        print(f"assay: refused {plain(file, 200)}:{one['line']}: {plain(one['reason'], 300)}", file=sys.stderr)
    if len(report["refused"]) > _MOST_TOLD:
        print(f"assay: and {len(report['refused']) - _MOST_TOLD:,} more", file=sys.stderr)
    named = [one["judge"] for one in report["judges"] if one["judge"]]
    if report["dry_run"]:
        print("a dry run: nothing was imported", file=sys.stderr)
    elif named:
        print(f"see how they agree:  assay judges calibrate {plain(named[0], 100)}", file=sys.stderr)
