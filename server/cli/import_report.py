"""The summary of an import: one JSON object, or a short table and what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.clock import NS_PER_S, to_datetime, to_ns
from server.cli.rendering import counted, print_table
from server.cli.terminal import plain
from server.importers.service import Delivery, FileSurvey


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Scores written now, and those that were there from an earlier import."""

    written: int
    known: int


Ledger = Mapping[str, int] | None


def report_of(
    surveys: Sequence[FileSurvey],
    delivery: Delivery | None,
    outcomes: Outcomes | None,
    *,
    ledger: tuple[Ledger, Ledger] = (None, None),
) -> dict[str, Any]:
    """What `--json` prints. `sent` and the counts after it are null for a dry run.

    `sent`, `accepted` and `rejected` count spans, log records and metrics. `stored` and `duplicate` are the ledger of
    the tenant's spans and log records after minus before: all senders' of that time. `unsettled` are accepted ones that
    the ledger has not counted yet: they are safe in the journal, not yet visible.
    """
    first = min((one.first_ns for one in surveys if one.first_ns is not None), default=None)
    last = max((one.last_ns for one in surveys if one.last_ns is not None), default=None)
    before, after = ledger
    known = before is not None and after is not None
    settled = (after or {}).get("received", 0) - (before or {}).get("received", 0) if known else 0
    return {
        "files": [_file(one) for one in surveys],
        "conversations": sum(one.n_conversations for one in surveys),
        "turns": sum(one.n_turns for one in surveys),
        "spans": sum(one.n_spans for one in surveys),
        "log_records": sum(one.n_log_records for one in surveys),
        "metrics": sum(one.n_metrics for one in surveys),
        "apps": sorted({app for one in surveys for app in one.apps}),
        "first_at": _at(first),
        "last_at": _at(last),
        "times_are_synthetic": any(one.time_is_synthetic for one in surveys),
        "requests": delivery.n_requests if delivery else None,
        "sent": delivery.sent if delivery else None,
        "accepted": delivery.accepted if delivery else None,
        "rejected": delivery.rejected if delivery else None,
        "messages": [*delivery.messages, *delivery.refused] if delivery else [],
        "stored": (after or {}).get("stored", 0) - (before or {}).get("stored", 0) if known else None,
        "duplicate": (after or {}).get("duplicate", 0) - (before or {}).get("duplicate", 0) if known else None,
        "unsettled": max(0, delivery.settling - settled) if known and delivery else None,
        "scores_written": outcomes.written if outcomes else None,
        "scores_known": outcomes.known if outcomes else None,
        "skipped": [
            {"file": str(bad.path), "line": bad.line, "reason": bad.reason} for one in surveys for bad in one.bad
        ],
    }


def print_report(report: Mapping[str, Any], *, as_json: bool, dry_run: bool, app: str | None = None) -> None:
    """Prints the report on standard output. `app` is that of --app."""
    if as_json:
        print(json.dumps({**report, "dry_run": dry_run}, indent=2))
        return
    _print_files(report["files"])
    for line in _lines(report, dry_run=dry_run, app=app):
        print(plain(line, 800))


def _print_files(files: Sequence[Mapping[str, Any]]) -> None:
    names = {"conversations": "sessions", "turns": "turns", "pass": "pass", "fail": "fail", "unscored": "unscored"}
    names |= {"spans": "spans", "log_records": "log records", "metrics": "metrics"}
    shown = {key: name for key, name in names.items() if any(one[key] for one in files)}
    shown |= {"bad_lines": "bad lines"}
    rows = [[*(str(one[key]) for key in shown), plain(Path(one["file"]).name, 100)] for one in files]
    print_table([*shown.values(), "file"], rows, right=list(shown.values()))


def _lines(report: Mapping[str, Any], *, dry_run: bool, app: str | None) -> list[str]:
    synthetic = " (synthetic times)" if report["times_are_synthetic"] else ""
    when = f", from {report['first_at']} to {report['last_at']}{synthetic}" if report["first_at"] else ""
    records = _records(report)
    if dry_run:
        of = f" of {counted(report['conversations'], 'session')}" if report["conversations"] else ""
        return [f"would send {records}{of}{when}; nothing was sent"]
    requests = counted(report["requests"], "request")
    said = [f"sent {records} in {requests}: {report['accepted']:,} accepted{_of_which(report)}{when}"]
    if report["rejected"]:
        said.append(f"REJECTED by the collector: {report['rejected']:,}")
    said += [f"the collector says: {message}" for message in report["messages"]]
    if report["stored"] is not None:
        ledger = f"{report['stored']:,} stored, {report['duplicate']:,} there before"
        said.append(f"ledger of the tenant (all senders): {ledger}")
    if report["duplicate"] and app:
        said.append(f"{report['duplicate']:,} were there before, under their earlier app: --app changes nothing stored")
    if report["unsettled"]:
        said.append(f"{report['unsettled']:,} not in the lake yet, safe in the journal; `assay doctor` shows when")
    if report["scores_written"] is not None:
        scores = f"{counted(report['scores_written'], 'score')} written, {report['scores_known']:,} there before"
        said.append(f"outcomes: {scores}")
    if report["first_at"] and report["spans"]:
        said.append(f"see them:  assay traces list{_of_app(report, app)} {_window(report)}")
    return said


def _of_which(report: Mapping[str, Any]) -> str:
    """How many of the accepted were there before, where the ledger has counted them and nothing of other senders."""
    stored, known = report["stored"] or 0, report["duplicate"] or 0
    if not known or report["unsettled"] or stored + known != report["accepted"]:
        return ""
    return f", of these {stored:,} new and {known:,} there before"


def _of_app(report: Mapping[str, Any], app: str | None) -> str:
    """The filter by app for what was imported: none where it is not known, or where earlier spans kept theirs."""
    known = app if not report["duplicate"] else None
    known = known or next(iter(report["apps"]), None)
    return f" --app {shlex.quote(known)}" if known else ""


def _window(report: Mapping[str, Any]) -> str:
    return f"--start {report['first_at']} --end {_after(report['last_at'])}"


def _records(report: Mapping[str, Any]) -> str:
    """What is sent, by kind; "0 spans" where there is nothing."""
    kinds = [("spans", "span"), ("log_records", "log record"), ("metrics", "metric")]
    return ", ".join(counted(report[key], name) for key, name in kinds if report[key]) or "0 spans"


def _file(one: FileSurvey) -> dict[str, Any]:
    return {
        "file": str(one.path),
        "conversations": one.n_conversations,
        "turns": one.n_turns,
        "spans": one.n_spans,
        "log_records": one.n_log_records,
        "metrics": one.n_metrics,
        "pass": one.n_pass,
        "fail": one.n_fail,
        "unscored": one.n_unscored,
        "bad_lines": len(one.bad),
    }


def _at(ns: int | None) -> str | None:
    return None if ns is None else f"{to_datetime(ns):%Y-%m-%dT%H:%M:%SZ}"


def _after(at: str) -> str:
    return str(_at(to_ns(datetime.fromisoformat(at)) + NS_PER_S))
