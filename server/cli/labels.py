"""Label queues: what people say of sessions, drawn with known chances and answered blind.

  assay labels create triage --app shop --judge helpfulness --annotators 2
  assay labels sample triage --since 7d --n 200 --dry-run
  assay labels show triage

`assay annotate APP --queue QUEUE` is for those who label.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from core.windows import parse_duration_s
from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import duration, positive, since
from server.cli.outcome import CommandFailed, ExitCode

WAITS_S: Final = 120.0
_PAGE: Final = 1000
_ITEMS: Final = 500  # in one request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(
        dest="action",
        required=True,
        metavar="{create,list,show,sample,add,assign,adjudicate,export,delete}",
    )
    made = _named(actions, "create", "make a queue")
    made.add_argument("--app", required=True, help="the app whose sessions are labelled")
    made.add_argument("--judge", help="the judge that the labels are for; its rubric is the queue's")
    made.add_argument("--rubric", metavar="NAME[@VERSION]", help="the rubric to label by (default: the judge's)")
    made.add_argument("--annotators", type=positive, default=1, metavar="N", help="people for each task (1)")
    made.add_argument("--reserve", type=duration, default="30m", metavar="TIME", help="how long a task is held (30m)")
    made.add_argument("--note", default="", help="kept with the queue")
    listed = actions.add_parser("list", help="all queues", allow_abbrev=False)
    listed.add_argument("--app", help="of this app")
    shown = _named(actions, "show", "how far a queue is, and how its annotators agree")
    drawn = _named(actions, "sample", "draw tasks from what the judge said")
    _add_sample(drawn)
    added = _named(actions, "add", "put sessions, turns or items of a file into a queue by hand")
    added.add_argument("--session", action="append", default=[], metavar="ID", help="repeatable")
    added.add_argument("--trace", action="append", default=[], metavar="ID", help="a turn; repeatable")
    added.add_argument("--file", type=Path, help="JSON lines: {item, content, segment?}; - reads standard input")
    moved = _named(actions, "assign", "give what is left to somebody who is gone to another")
    moved.add_argument("--from", dest="away", required=True, metavar="NAME", help="who is gone")
    moved.add_argument("--to", metavar="NAME", help="who takes their place (default: anybody)")
    decided = _named(actions, "adjudicate", "decide on tasks that annotators disagree on, by keyboard or with --task")
    decided.add_argument("--task", metavar="ID", help="this task, with --label")
    decided.add_argument("--label", metavar="LABEL", help="several of a multi-label rubric by commas")
    decided.add_argument("--note", default="", help="why")
    written = _named(actions, "export", "write the labels with their answers, strata and chances")
    written.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    written.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    deleted = _named(actions, "delete", "delete a queue with all that was said in it; labels in the lake stay")
    deleted.add_argument("--yes", action="store_true", help="do it; without it nothing is changed")
    for action in (drawn, added):
        action.add_argument("--assign", metavar="NAMES", help="who is asked in turn, by commas (default: anybody)")
    for action in (made, listed, shown, drawn, added, moved, decided, written, deleted):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    api = client_of(args, timeout_s=WAITS_S)
    return {
        "create": _create,
        "list": _list,
        "show": _show,
        "sample": _sample,
        "add": _add,
        "assign": _assign,
        "adjudicate": _adjudicate,
        "export": _export,
        "delete": _delete,
    }[args.action](args, api)


def path_of(name: str) -> str:
    """The address of a queue."""
    return f"/api/v1/label-queues/{quote(name, safe='')}"


def _add_sample(drawn: argparse.ArgumentParser) -> None:
    drawn.add_argument("--n", type=positive, required=True, metavar="N", help="so many")
    drawn.add_argument("--judge", help="whose verdicts (default: the queue's judge)")
    drawn.add_argument("--judge-version", metavar="V", help="default: the one that holds")
    drawn.add_argument("--sessions", action="store_true", help="of the app's sessions, whatever was judged")
    drawn.add_argument("--since", type=since, help="how far back: 24h, 7d, all (default: 7d)")
    drawn.add_argument("--start", help="instead of --since: an RFC 3339 time")
    drawn.add_argument("--end", help="an RFC 3339 time (default: now)")
    drawn.add_argument("--floor", type=int, default=10, metavar="N", help="of each stratum at least so many (10)")
    drawn.add_argument("--random", type=float, default=0.02, metavar="SHARE", help="at random over all (0.02)")
    drawn.add_argument("--by-segment", action="store_true", help="strata by segment (release) too")
    drawn.add_argument("--seed", type=int, metavar="N", help="to draw the same again (default: another each time)")
    drawn.add_argument("--dry-run", action="store_true", help="show strata and chances, draw nothing")


def _create(args: argparse.Namespace, api: ApiClient) -> int:
    body: dict[str, Any] = {name: getattr(args, name) for name in ("name", "app", "judge", "note")}
    body |= {"n_annotators": args.annotators, "reservation_s": parse_duration_s(args.reserve)}
    if args.rubric:
        name, _, version = args.rubric.partition("@")
        if version and not version.removeprefix("v").isdecimal():
            raise CommandFailed("--rubric is NAME or NAME@VERSION, as helpfulness@3", ExitCode.USAGE)
        body |= {"rubric": name, "rubric_version": int(version.removeprefix("v")) if version else None}
    told = api.post("/api/v1/label-queues", body)
    rubric = told["rubric"]
    return _print(
        args,
        told,
        f"{told['name']} labels by {rubric['name']} v{rubric['version']}: draw its tasks with assay labels sample",
    )


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.label_shown import print_queues
    from server.cli.rendering import print_json

    told = api.get("/api/v1/label-queues", {"app": args.app})
    if args.json:
        print_json(told)
    elif told["items"]:
        print_queues(told["items"])
    else:
        print("there is no label queue: assay labels create NAME --app APP --judge JUDGE", file=sys.stderr)
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.label_shown import print_queue
    from server.cli.rendering import print_json

    told = api.get(path_of(args.name))
    agreement = api.get(f"{path_of(args.name)}/agreement")
    if args.json:
        print_json({**told, "agreement": agreement})
    else:
        print_queue(told, agreement)
    return ExitCode.OK


def _sample(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.label_shown import print_sample
    from server.cli.rendering import counted, print_json

    if args.sessions and (args.judge or args.judge_version):
        raise CommandFailed("give --sessions or --judge, not both", ExitCode.USAGE)
    judge = None if args.sessions else args.judge or api.get(path_of(args.name))["judge"]
    if judge is None and not args.sessions:
        raise CommandFailed("this queue is for no judge: name one with --judge, or draw --sessions", ExitCode.USAGE)
    names = ("n", "judge_version", "start", "end", "floor", "by_segment", "seed", "dry_run")
    body = {name: getattr(args, name) for name in names}
    body |= {"judge": judge, "random_share": args.random, "assign": _names(args.assign)}
    body["since"] = args.since or (None if args.start else "7d")
    told = api.post(f"{path_of(args.name)}/sample", body)
    if args.json:
        print_json(told)
        return ExitCode.OK
    print_sample(told)
    if told["dry_run"]:
        print("a dry run: nothing was drawn", file=sys.stderr)
    else:
        there = f", {told['n_changed']:,} there already have another chance now" if told["n_changed"] else ""
        print(f"{counted(told['n_new'], 'new task')}{there}", file=sys.stderr)
    return ExitCode.OK


def _add(args: argparse.Namespace, api: ApiClient) -> int:
    items: list[dict[str, Any]] = [{"session_id": one} for one in args.session]
    items += [{"trace_id": one} for one in args.trace]
    if args.file is not None:
        items += _read_items(args.file)
    if not items:
        raise CommandFailed("name --session, --trace or --file", ExitCode.USAGE)
    told = {"n_new": 0, "n_there": 0}
    for at in range(0, len(items), _ITEMS):
        body = {"items": items[at : at + _ITEMS], "assign": _names(args.assign)}
        part = api.post(f"{path_of(args.name)}/tasks", body)
        told = {name: told[name] + part[name] for name in told}
    return _print(args, told, f"{told['n_new']:,} new, {told['n_there']:,} there already")


def _read_items(path: Path) -> list[dict[str, Any]]:
    from server.cli.gate import read_text
    from server.cli.terminal import plain

    found = []
    for number, line in enumerate(read_text(path, most=1 << 28).splitlines(), start=1):
        if line.strip():
            try:
                found.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                message = f"{plain(path, 200)}:{number}: is no JSON object; nothing was added"
                raise CommandFailed(message, ExitCode.USAGE) from None
    return found


def _assign(args: argparse.Namespace, api: ApiClient) -> int:
    told = api.post(f"{path_of(args.name)}/assignments", {"away": args.away, "to": args.to})
    return _print(args, told, f"{told['n_changed']:,} tasks are not {args.away}'s any more")


def _adjudicate(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json

    path = path_of(args.name)
    if (args.task is None) != (args.label is None):
        raise CommandFailed("--task and --label go together", ExitCode.USAGE)
    if args.task is not None:
        body = {"labels": _names(args.label), "note": args.note}
        told = api.post(f"{path}/tasks/{quote(args.task, safe='')}/adjudications", body)
        return _print(args, told, f"{told['task_id']}: {told['label']}")
    if args.json:
        print_json(api.get(f"{path}/tasks", {"status": "needs_adjudication", "limit": _PAGE}))
        return ExitCode.OK
    from server.cli.adjudicating import Bench
    from server.cli.keyboard import Keyboard

    return Bench(api, path, Keyboard()).work()


def _export(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.label_files import write_labels

    rows: list[dict[str, Any]] = []
    while True:
        page = api.get(f"{path_of(args.name)}/labels", {"limit": _PAGE, "offset": len(rows)})
        rows += page["items"]
        if not page["items"] or len(rows) >= page["total"]:
            break
    write_labels(rows, args.out, "jsonl" if args.json else args.format)
    if args.out is not None:
        print(f"{len(rows):,} labels written", file=sys.stderr)
    return ExitCode.OK


def _delete(args: argparse.Namespace, api: ApiClient) -> int:
    told = api.delete(path_of(args.name)) if args.yes else api.get(path_of(args.name))
    done = "deleted" if args.yes else "would delete"
    _print(args, told, f"{done} {told['name']} with {told['n_tasks']:,} tasks; labels in the lake stay")
    if not args.yes:
        print("nothing was changed; add --yes to delete", file=sys.stderr)
    return ExitCode.OK


def _print(args: argparse.Namespace, told: Any, line: str) -> int:
    from server.cli.rendering import cell, console, print_json

    if args.json:
        print_json(told)
    else:
        console().print(cell(line, 400), soft_wrap=True)
    return ExitCode.OK


def _names(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _named(actions: Any, action: str, line: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(action, help=line, allow_abbrev=False)
    parser.add_argument("name", metavar="QUEUE")
    return parser
