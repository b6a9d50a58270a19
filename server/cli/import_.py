"""Loads recorded traces through the collector's OTLP door.

tau2:      simulations of tau2-bench (JSONL, or its results .json) with their real times, tokens, costs and outcomes.
           The files' times carry no zone and are taken as UTC. One session per simulation, one trace per user message.
tau-bench: trajectories of tau-bench v1 (JSONL). They hold no times: a synthetic clock stands in, marked on every span.
otlp:      OTLP requests as JSON, JSONL or protobuf, plain or gzip.
verdicts:  what a judge elsewhere, programs and people said of sessions: tau2_judges, LLMBar, PandaLM, CSV, JSONL.

Every file is read once before anything is sent; a bad line is named as file:line and stops the import, unless
--skip-bad. Ids are made from the content, so an import that was interrupted, or is repeated, stores nothing twice: run
the same command again. The key decides the tenant; --tenant only makes sure that it is the one you mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from server.cli.connection import add_connection_arguments, add_json_argument

KINDS = {
    "tau2": "simulations of tau2-bench",
    "tau-bench": "trajectories of tau-bench v1",
    "otlp": "OTLP requests: JSON, JSONL or protobuf files",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands tau2, tau-bench, otlp and verdicts with their options."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{tau2,tau-bench,otlp,verdicts}")
    _add_verdicts(kinds)
    for name, line in KINDS.items():
        kind = kinds.add_parser(name, help=line, description=line, allow_abbrev=False)
        kind.add_argument("files", nargs="+", type=Path, metavar="FILE", help="plain or gzip")
        kind.add_argument("--app", help="application name (default: the domain; for otlp: what the spans say)")
        if name == "otlp":
            kind.add_argument("--signal", choices=["traces", "logs", "metrics"], help="what protobuf files hold")
        else:
            kind.add_argument("--release", help="release name (default: the arm, or the agent's model)")
        kind.add_argument("--tenant", help="refuse unless the key belongs to this tenant")
        kind.add_argument("--dry-run", action="store_true", help="read and count; send nothing")
        kind.add_argument("--skip-bad", action="store_true", help="leave out lines that cannot be read")
        kind.add_argument("--otlp-url", help="the collector's OTLP/HTTP address (default: found from the server's)")
        add_connection_arguments(kind)
        add_json_argument(kind)


def run(args: argparse.Namespace) -> int:
    """Runs the import; 0 when all that is good was accepted, 1 when something was not."""
    if args.kind == "verdicts":
        from server.cli import import_verdicts

        return import_verdicts.run_import(args)
    from server.cli.importing import run_import  # protobuf, pydantic and rich load only when files are imported

    return run_import(args)


def _add_verdicts(kinds: Any) -> None:
    line = "verdicts and labels from elsewhere"
    kind = kinds.add_parser("verdicts", help=line, description=line, allow_abbrev=False)
    kind.add_argument("file", type=Path, metavar="FILE", help="JSON lines or CSV, plain or gzip")
    kind.add_argument("--format", choices=("tau2", "llmbar", "pandalm", "csv", "jsonl"), help="default: recognised")
    kind.add_argument("--judge", metavar="NAME", help="whose verdicts they are, where the file does not say")
    kind.add_argument("--judge-prefix", default="", metavar="TEXT", help="goes before the names of judges")
    kind.add_argument("--model", help="what answered for the judge (default: as the file says)")
    kind.add_argument("--rubric", metavar="NAME[@VERSION]", help="a rubric that is there (default: the format's own)")
    kind.add_argument("--rubric-file", type=Path, metavar="FILE", help="a rubric's file")
    kind.add_argument("--app", help="the app that was judged")
    kind.add_argument("--dry-run", action="store_true", help="say what would be, write nothing")
    kind.add_argument("--skip-bad", action="store_true", help="leave out lines that cannot be read")
    add_connection_arguments(kind)
    add_json_argument(kind)
