"""Label an app's sessions, one after the other, by keyboard.

  assay annotate shop --queue triage
  assay annotate shop --queue triage --json                    the next task as JSON, reserved for you
  assay annotate shop --queue triage --answer pass             answers the task that you hold
  assay annotate shop --queue triage --answers labels.jsonl    {"task_id", "labels" or "skip", "note"} a line

Your name is that of the key. Nobody sees your answers before a task is completed, and you see nobody's. `?` shows the
keys. Without a terminal each line of standard input is a key.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode

WAITS_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """APP, --queue, and how a script answers."""
    parser.add_argument("app", metavar="APP", help="the app whose sessions are labelled")
    parser.add_argument("--queue", metavar="QUEUE", help="the label queue (default: the app's, where it has one)")
    script = parser.add_argument_group("for scripts")
    script.add_argument("--answer", metavar="LABEL", help="the label; several of a multi-label rubric by commas")
    script.add_argument("--skip", metavar="WHY", help="skip the task instead")
    script.add_argument("--task", metavar="ID", help="of --answer and --skip (default: the task that you hold)")
    script.add_argument("--note", default="", help="kept with the answer")
    script.add_argument("--answers", type=Path, metavar="FILE", help="answers as JSON lines; - reads standard input")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Labels. 0 when all went well, 1 when an answer of --answers was refused. Raises CommandFailed."""
    given = [name for name in ("answer", "skip", "answers") if getattr(args, name) is not None]
    if len(given) > 1 or (args.task and args.answer is None and args.skip is None):
        raise CommandFailed("give one of --answer, --skip and --answers; --task is for the first two", ExitCode.USAGE)
    api = client_of(args, timeout_s=WAITS_S)
    path = f"/api/v1/label-queues/{quote(queue_of(api, args.app, args.queue), safe='')}"
    if args.answers is not None:
        return _answers(api, path, args.answers)
    if args.answer is not None or args.skip is not None:
        return _answer(api, path, args)
    if args.json:
        from server.cli.rendering import print_json

        print_json(api.post(f"{path}/next", {}))
        return ExitCode.OK
    from server.cli.annotating import Desk
    from server.cli.keyboard import Keyboard

    return Desk(api, path, Keyboard()).work()


def queue_of(api: ApiClient, app: str, name: str | None) -> str:
    """The queue's name. Raises CommandFailed when the app has no such queue, or several and none is named."""
    names = [str(one["name"]) for one in api.get("/api/v1/label-queues", {"app": app})["items"]]
    if name is not None:
        if name not in names:
            known = f"its queues: {', '.join(names[:10])}" if names else "it has none: assay labels create"
            raise CommandFailed(f"app {app[:80]!r} has no label queue {name[:80]!r}; {known}", ExitCode.NOT_FOUND)
        return name
    if len(names) != 1:
        known = f"name one with --queue: {', '.join(names[:10])}" if names else "make one: assay labels create"
        raise CommandFailed(f"app {app[:80]!r} has {len(names)} label queues\n{known}", ExitCode.USAGE)
    return names[0]


def _answer(api: ApiClient, path: str, args: argparse.Namespace) -> int:
    from server.cli.rendering import print_json

    task_id = args.task
    if task_id is None:
        task = api.post(f"{path}/next", {})["task"]
        if task is None:
            raise CommandFailed("nothing is left for you in this queue", ExitCode.NOT_FOUND)
        task_id = task["task_id"]
    body: dict[str, Any] = {"note": args.note}
    body |= (
        {"skip": args.skip} if args.skip is not None else {"labels": [one.strip() for one in args.answer.split(",")]}
    )
    told = api.post(f"{path}/tasks/{quote(task_id, safe='')}/annotations", body)
    if args.json:
        print_json(told)
    else:
        print(f"{told['task_id']}: {told['status']}")
    return ExitCode.OK


def _answers(api: ApiClient, path: str, file: Path) -> int:
    """Each line in, one line out, in order; a refused one says why."""
    from server.cli.gate import read_text
    from server.cli.terminal import plain

    code = ExitCode.OK
    for number, line in enumerate(read_text(file, most=1 << 26).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            said = _said(line)
            body = {name: said[name] for name in ("labels", "skip", "note", "duration_ms") if name in said}
            told = api.post(f"{path}/tasks/{quote(str(said['task_id']), safe='')}/annotations", body)
            print(
                json.dumps({"task_id": told["task_id"], "status": told["status"], "label": told["label"]}), flush=True
            )
        except CommandFailed as failed:
            if failed.code in (ExitCode.UNREACHABLE, ExitCode.INTERRUPTED):
                raise
            print(json.dumps({"line": number, "error": str(failed)}), flush=True)
            print(f"assay: {plain(file, 200)}:{number}: {plain(failed, 300)}", file=sys.stderr)
            code = ExitCode.FAILED
    return code


def _said(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        raise CommandFailed("is not JSON", ExitCode.USAGE) from None
    if not isinstance(said, dict) or not isinstance(said.get("task_id"), str):
        raise CommandFailed("is no object with a task_id", ExitCode.USAGE)
    return said
