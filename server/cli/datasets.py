"""Datasets: what the agent is asked and what is expected of it, in versions that never change.

assay datasets create support-golden --from-traces --app shop --filter 'outcome == "failed"'
assay datasets import FILE.jsonl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import positive, since
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 300.0  # for a large dataset
_MOST_SHOWN: Final = 20
_FORMATS: Final = ("jsonl", "csv", "parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="{create,import,add,list,show,export,check,diff,remove,delete}"
    )
    made = _named(actions, "create", "make a dataset, empty or of stored sessions")
    made.add_argument("--description", default="", help="what it is for")
    made.add_argument("--from-traces", action="store_true", help="of the sessions that pass --app and --filter")
    _add_where(made)
    read = actions.add_parser("import", help="add the examples of a file: JSONL, CSV, Parquet", allow_abbrev=False)
    read.add_argument("file", type=Path, metavar="FILE", help="plain or gzip; - reads standard input")
    read.add_argument("--name", help="the dataset (default: the file's name without its ending)")
    read.add_argument("--format", choices=_FORMATS, help="default: by the file's name")
    read.add_argument("--skip-bad", action="store_true", help="leave bad lines out and list them")
    read.add_argument(
        *("--split", "-s"), action="append", default=[], metavar="NAME=SHARE", help="by hash of the id, as test=0.2"
    )
    read.add_argument("--dedupe", action="store_true", help="leave duplicates out, near ones too")
    read.add_argument("--threshold", type=float, metavar="J", help="from which similarity on (default: 0.85)")
    added = _named(actions, "add", "add sessions or traces")
    added.add_argument("--session", action="append", default=[], metavar="ID", help="repeatable")
    added.add_argument("--trace", action="append", default=[], metavar="ID", help="repeatable")
    added.add_argument("--from-traces", action="store_true", help="the sessions that pass --app and --filter")
    _add_where(added)
    for action in (read, added):
        action.add_argument("--replace", action="store_true", help="replace examples with the same id")
    shown = _named(actions, "show", "a dataset, its versions and its first examples")
    shown.add_argument("--limit", type=positive, default=_MOST_SHOWN, metavar="N", help="so many examples (20)")
    written = _named(actions, "export", "write a version as a file")
    written.add_argument("--format", choices=_FORMATS, help="default: by the name of --out, else jsonl")
    written.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    checked = _named(actions, "check", "look for examples that stand in prompts, and for duplicates")
    checked.add_argument("--prompts", type=Path, action="append", default=[], metavar="FILE", help="repeatable")
    checked.add_argument("--app", help="the system instructions of this app's traces")
    checked.add_argument("--since", type=since, help="how far back (default: 30d)")
    checked.add_argument("--threshold", type=float, metavar="J", help="of near duplicates (default: 0.85)")
    for action in (shown, written, checked):
        action.add_argument("--version", type=positive, metavar="N", help="default: the newest")
    compared = _named(actions, "diff", "what changed from one version to another")
    compared.add_argument("--before", type=positive, metavar="N", help="default: the one before --after")
    compared.add_argument("--after", type=positive, metavar="N", help="default: the newest")
    removed = _named(actions, "remove", "take examples out; earlier versions keep them")
    removed.add_argument("--id", action="append", required=True, metavar="ID", help="repeatable")
    deleted = _named(actions, "delete", "delete a dataset with all its versions")
    deleted.add_argument("--yes", action="store_true", help="do it; without it nothing is changed")
    listed = actions.add_parser("list", help="all datasets", allow_abbrev=False)
    for action in (made, read, added, removed):
        action.add_argument("--dry-run", action="store_true", help="say what would be, change nothing")
    for action in (read, added, removed):
        action.add_argument("--note", default="", help="kept with the version")
        action.add_argument("--if-version", type=int, metavar="N", help="only if the newest version is N (0: none)")
    for action in (made, read, added, shown, written, checked, compared, removed, deleted, listed):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer; `check` ends with 1 when it found something. Raises CommandFailed."""
    api = client_of(args, PATIENCE_S)
    match args.action:
        case "create":
            return _create(args, api)
        case "import":
            from server.cli.datasets_import import import_file

            return import_file(args, api)
        case "add":
            return _add(args, api)
        case "remove":
            body = {"example_ids": args.id, "note": args.note, "if_version": args.if_version, "dry_run": args.dry_run}
            return print_change(args, api.post(f"{path_of(args.name)}/removals", body))
        case "delete":
            return _delete(args, api)
        case _:
            from server.cli import datasets_shown

            return datasets_shown.run(args, api)


def path_of(name: str) -> str:
    """The address of a dataset. Raises InvalidInput for a name that none can have."""
    from store.control.datasets import checked_name

    return f"/api/v1/datasets/{quote(checked_name(name), safe='')}"


def print_change(args: argparse.Namespace, told: dict[str, Any]) -> int:
    """Prints what became of a change."""
    from server.cli.rendering import cell, console, counted, print_json

    if args.json:
        print_json(told)
        return ExitCode.OK
    counts = [(told[f"n_{what}"], what) for what in ("added", "replaced", "removed")]
    said = ", ".join(f"{n:,} {what}" for n, what in counts if n) or "nothing new"
    same = f", {told['n_same']:,} were there already" if told["n_same"] else ""
    console().print(cell(f"{told['name']}: {said}{same}", 400))
    for one in told["duplicates"][:_MOST_SHOWN]:
        how = "the same as" if one["similarity"] == 1 else f"{100 * one['similarity']:.0f} % like"
        console().print(cell(f"  duplicate: {one['example_id']} is {how} {one['of']}", 400))
    if told["n_duplicates"] > _MOST_SHOWN:
        console().print(f"  and {told['n_duplicates'] - _MOST_SHOWN:,} more")
    splits = ", ".join(f"{name} {n:,}" for name, n in told["splits"].items())
    console().print(cell(f"{counted(told['n_examples'], 'example')}: {splits}", 400))
    if told["dry_run"]:
        print("a dry run: nothing changed", file=sys.stderr)
    elif told["changed"]:
        print(f"version {told['version']} is the newest from now on", file=sys.stderr)
    else:
        print(f"version {told['version']} holds all of that: nothing changed", file=sys.stderr)
    return ExitCode.OK


def _create(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, print_json

    if not args.from_traces:
        if args.app or args.filter or args.dry_run:
            raise CommandFailed("--app, --filter and --dry-run need --from-traces", ExitCode.USAGE)
        made = api.post("/api/v1/datasets", {"name": args.name, "description": args.description})
        if args.json:
            print_json(made)
        else:
            console().print(cell(f"{made['name']} is made, without examples yet", 400))
        return ExitCode.OK
    body = _where(args) | {"create": True, "if_version": 0, "description": args.description, "dry_run": args.dry_run}
    return print_change(args, api.post(f"{path_of(args.name)}/examples", body))


def _add(args: argparse.Namespace, api: ApiClient) -> int:
    if not (args.session or args.trace or args.from_traces):
        raise CommandFailed("name --session, --trace or --from-traces; a file is added with import", ExitCode.USAGE)
    where = _where(args) if args.from_traces else {"with_answer": args.with_answer, "split_name": args.split_name}
    how = {"note": args.note, "if_version": args.if_version, "dry_run": args.dry_run, "replace": args.replace}
    body = {**where, **how, "sessions": args.session, "traces": args.trace}
    return print_change(args, api.post(f"{path_of(args.name)}/examples", body))


def _delete(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, counted, print_json

    dry = "" if args.yes else "?dry_run=true"
    told = api.delete(path_of(args.name) + dry)
    if args.json:
        print_json(told)
        return ExitCode.OK
    what = f"{counted(told['n_versions'], 'version')}, {counted(told['n_examples'], 'example')} in the newest"
    console().print(cell(f"{'deleted' if args.yes else 'would delete'} {told['name']}: {what}", 400))
    if not args.yes:
        print("nothing was changed; add --yes to delete", file=sys.stderr)
    return ExitCode.OK


def _named(actions: Any, action: str, line: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(action, help=line, allow_abbrev=False)
    parser.add_argument("name", metavar="NAME")
    return parser


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--app", help="sessions of this app")
    parser.add_argument(
        "--filter", metavar="TEXT", help="sessions that pass, as 'outcome == \"failed\"' (docs/datasets.md)"
    )
    parser.add_argument("--since", type=since, help="how far back: 24h, 7d, all (default: 7d)")
    parser.add_argument("--limit", type=positive, default=1000, metavar="N", help="the latest N sessions (1000)")
    parser.add_argument("--with-answer", action="store_true", help="expect what the agent answered")
    parser.add_argument("--split-name", default="test", metavar="SPLIT", help="the split of the examples (test)")


def _where(args: argparse.Namespace) -> dict[str, Any]:
    where = {"app": args.app, "filter": args.filter, "since": args.since or "7d", "limit": args.limit}
    return {"where": where, "with_answer": args.with_answer, "split_name": args.split_name}
