"""Judges: models that grade by a rubric. Make one, let it judge stored sessions or watch live ones, calibrate it.

A job goes on in the server: Ctrl-C leaves it running, and `assay judges show NAME --job JOB --wait` comes back to it.
Exit codes of run and show --wait: 0 all was judged, 1 the job failed or was cancelled, 3 the budget ended it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from server.cli import judges_calibrate
from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import since
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 120.0  # a forecast over many stored sessions
OVER: Final = frozenset({"done", "out_of_budget", "failed", "cancelled"})
EXITS: Final = {"done": ExitCode.OK, "out_of_budget": ExitCode.INCONCLUSIVE}
MOST_RUBRIC: Final = 200_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands create, list, show, run, watch, calibrate, cancel, delete and rubrics."""
    words = "{create,list,show,run,watch,calibrate,cancel,delete,rubrics}"
    actions = parser.add_subparsers(dest="action", required=True, metavar=words)

    def action(name: str, about: str, *, connects: bool = True) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=about, allow_abbrev=False)
        if connects:
            add_connection_arguments(made)
            add_json_argument(made)
        return made

    _create_arguments(action("create", "make a judge, or its next version"))
    action("list", "the judges, as they are now")
    shown = action("show", "one judge: versions, schedules, jobs and what they cost")
    shown.add_argument("name", metavar="NAME")
    shown.add_argument("--job", metavar="JOB", help="one job of it")
    shown.add_argument("--wait", action="store_true", help="until the job is over")
    _run_arguments(action("run", "judge stored sessions, or the trials of an evaluation run"))
    _watch_arguments(action("watch", "judge an app's sessions as they end, from now on"))
    judges_calibrate.add_arguments(action("calibrate", "how well it agrees with people", connects=False))
    ended = action("cancel", "end a job where it is; what was paid for is kept")
    ended.add_argument("name", metavar="NAME")
    ended.add_argument("job", metavar="JOB")
    deleted = action("delete", "delete a judge with its jobs and kept replies; says first what would go")
    deleted.add_argument("name", metavar="NAME")
    deleted.add_argument("--yes", action="store_true", help="do it; without it nothing is changed")
    listed = action("rubrics", "the rubrics, each version; or keep one")
    listed.add_argument("rubric", nargs="?", metavar="NAME", help="only this one; with its text where one is left")
    listed.add_argument("--add", type=Path, metavar="FILE", help="keep the version that a file says")


def _create_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("name", metavar="NAME")
    made.add_argument(
        "--rubric", required=True, metavar="FILE", help="a rubric's file, or NAME or NAME@VERSION of one kept"
    )
    made.add_argument("--model", required=True, action="append", metavar="MODEL",
                      help="openai:NAME, anthropic:NAME or simulated:sim-judge; several times: a panel")  # fmt: skip
    made.add_argument("--model-url", metavar="URL", help="base URL of an OpenAI-compatible server (admins)")
    made.add_argument(
        "--key-env", metavar="VAR", help="the server's variable with its key, ASSAY_JUDGE_KEY_... (admins)"
    )
    made.add_argument("--app", help="the app it judges where none is named")
    made.add_argument("--temperature", type=float, metavar="T", help="default: 0")
    made.add_argument("--repeats", type=int, metavar="N", help="ask each model so often (default: 1)")
    made.add_argument("--max-output-tokens", type=int, metavar="N", help="of one answer (default: 1000)")
    made.add_argument("--one-order", action="store_true", help="of a pair: show it in one order, drawn at random")
    made.add_argument("--refuse-own-family", action="store_true", help="grade no models of its own family")


def _run_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("name", metavar="NAME")
    made.add_argument("--app", help="whose sessions (default: the judge's)")
    made.add_argument("--since", type=since, help="sessions that began so long ago at most (default: 24h)")
    made.add_argument("--start", help="instead of --since: an RFC 3339 time")
    made.add_argument("--end", help="an RFC 3339 time (default: now)")
    made.add_argument("--run", metavar="RUN", dest="run_id", help="instead: the trials of an evaluation run")
    made.add_argument(
        "--against", metavar="RUN", help="with --run, by a rubric of pairs: the run of the second answers"
    )
    made.add_argument("--sample", type=float, metavar="SHARE", dest="share", help="of sessions, 0 to 1 (default: all)")
    made.add_argument("--limit", type=int, metavar="N", help="at most so many")
    made.add_argument("--budget", type=_budget, metavar="USD", help="what it may cost, as 5usd; none: no limit")
    made.add_argument("--concurrency", type=int, metavar="N", help="calls in flight (default: 8)")
    made.add_argument("--per-minute", type=float, metavar="N", help="calls of each model a minute at most")
    made.add_argument("--strict", action="store_true", help="refuse a judge of the product's own family")
    made.add_argument("--batch", action="store_true", help="through the providers' batches: half the price, in a day")
    made.add_argument("--dry-run", action="store_true", help="say what it would take, ask nothing")
    made.add_argument("--detach", action="store_true", help="do not follow it")


def _watch_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("name", metavar="NAME")
    made.add_argument("--app", help="whose sessions; without it the schedules are listed")
    made.add_argument("--share", type=float, default=0.1, help="of sessions, 0 to 1 (default: 0.1)")
    made.add_argument("--budget-per-day", type=_budget, metavar="USD", help="from midnight to midnight UTC, as 5usd")
    made.add_argument(
        "--idle", type=float, default=30.0, metavar="S", help="a session has ended so long after its last span"
    )
    made.add_argument("--off", action="store_true", help="no more")
    made.add_argument("--dry-run", action="store_true", help="say what it would take, change nothing")


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    if args.action == "calibrate":
        return judges_calibrate.run(args)
    api = client_of(args, PATIENCE_S)
    match args.action:
        case "create":
            return _create(args, api)
        case "show":
            return _show(args, api)
        case "run":
            return _run(args, api)
        case "watch":
            return _watch(args, api)
        case "cancel":
            return _cancel(args, api)
        case "delete":
            return _delete(args, api)
        case "rubrics":
            return _rubrics(args, api)
        case _:
            return _list(args, api)


def _budget(text: str) -> float | None:
    """'5usd', '$5', '0.50' or 'none'."""
    said = text.strip().lower()
    if said == "none":
        return -1.0
    said = said.removeprefix("$").removesuffix("usd").strip()
    try:
        amount = float(said)
    except ValueError:
        amount = 0.0
    if not 0 < amount <= 1e6:
        raise argparse.ArgumentTypeError(f"{text[:30]!r} is no budget; write 5usd, 0.50usd or none")
    return amount


def _create(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_made
    from server.cli.rendering import print_json

    body: dict[str, Any] = {"name": args.name, "models": args.model, "both_orders": not args.one_order}
    body |= _rubric_of(args.rubric)
    for name in ("key_env", "app", "temperature", "repeats", "max_output_tokens"):
        if getattr(args, name) is not None:
            body[name] = getattr(args, name)
    body |= {} if args.model_url is None else {"url": args.model_url}
    body |= {"own_family": "refuse"} if args.refuse_own_family else {}
    told = api.post("/api/v1/judges", body)
    if args.json:
        print_json(told)
    else:
        print_made(told)
    return ExitCode.OK


def _rubric_of(text: str) -> dict[str, Any]:
    path = Path(text)
    if path.is_file() or "/" in text or path.suffix:
        return {"rubric": _file(path)}
    name, _, version = text.partition("@")
    if version and not version.removeprefix("v").isdigit():
        raise CommandFailed(f"{text[:80]!r} is neither a file nor a rubric; write NAME or NAME@VERSION", ExitCode.USAGE)
    return {"rubric_name": name} | ({"rubric_version": int(version.removeprefix("v"))} if version else {})


def _file(path: Path) -> str:
    from server.cli.gate import read_text

    return read_text(path, MOST_RUBRIC)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_judges
    from server.cli.rendering import print_json

    items = api.get("/api/v1/judges")["items"]
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no judges: make one with assay judges create NAME --rubric FILE --model openai:NAME", file=sys.stderr)
    else:
        print_judges(items)
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_job, print_judge
    from server.cli.rendering import print_json

    if args.wait and args.job is None:
        raise CommandFailed("--wait is for a job: name it with --job", ExitCode.USAGE)
    told = api.get(_path(args.name) if args.job is None else f"{_path(args.name)}/runs/{quote(args.job, safe='')}")
    if args.wait:
        return _followed(args, api, told)
    if args.json:
        print_json(told)
    elif args.job is None:
        print_judge(told)
    else:
        print_job(told)
    return ExitCode.OK


def _run(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import forecast_line, print_forecast
    from server.cli.rendering import print_json

    body = _wanted(args)
    told = api.post(f"{_path(args.name)}/forecast", body)
    if args.dry_run:
        if args.json:
            print_json(told)
        else:
            print_forecast(told)
        return ExitCode.OK
    if args.budget is None:
        said = f"say what it may cost: --budget 5usd, or --budget none\n{forecast_line(told)}"
        raise CommandFailed(said, ExitCode.USAGE)
    print(forecast_line(told), file=sys.stderr)
    for warning in told["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    job = api.post(f"{_path(args.name)}/runs", body)
    if not args.detach:
        return _followed(args, api, job)
    if args.json:
        print_json(job)
    else:
        print(job["job_id"])
    return ExitCode.OK


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    if args.run_id is not None and (args.since or args.start or args.end):
        raise CommandFailed(
            "the trials of a run are all judged: --since, --start and --end are for sessions", ExitCode.USAGE
        )
    names = ("app", "run_id", "against", "since", "start", "end", "share", "limit", "concurrency", "per_minute")
    body = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if not {"since", "start", "run_id"} & body.keys():
        body["since"] = "24h"
    body |= {"budget_usd": args.budget} if args.budget is not None and args.budget > 0 else {}
    return body | {name: True for name in ("strict", "batch") if getattr(args, name)}


def _followed(args: argparse.Namespace, api: ApiClient, told: dict[str, Any]) -> int:
    """Shows how a job goes on until it is over, then what came of it."""
    from server.cli.judges_shown import follow, print_job
    from server.cli.rendering import print_json

    path = f"{_path(told['judge'])}/runs/{quote(told['job_id'], safe='')}"
    try:
        told = follow(lambda: api.get(path), told)
    except KeyboardInterrupt:
        print(
            f"\n{told['job_id']} goes on in the server\n"
            f"come back to it with assay judges show {told['judge']} --job {told['job_id']} --wait",
            file=sys.stderr,
        )
        raise
    if args.json:
        print_json(told)
    else:
        print_job(told)
    return EXITS.get(told["status"], ExitCode.FAILED)


def _watch(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_schedules, print_watching
    from server.cli.rendering import print_json

    path = f"{_path(args.name)}/schedule"
    if args.app is None:
        found = api.get(path)
        if args.json:
            print_json(found)
        else:
            print_schedules(found["items"])
        return ExitCode.OK
    if not args.off and (args.budget_per_day is None or args.budget_per_day < 0):
        raise CommandFailed("say what a day may cost: --budget-per-day 5usd", ExitCode.USAGE)
    body = {"app": args.app, "share": args.share, "idle_s": args.idle, "on": not args.off, "dry_run": args.dry_run}
    body |= {"budget_per_day_usd": args.budget_per_day} if args.budget_per_day else {}
    told = api.put(path, body)
    if args.json:
        print_json(told)
    else:
        print_watching(told)
    return ExitCode.OK


def _cancel(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_job
    from server.cli.rendering import print_json

    told = api.post(f"{_path(args.name)}/runs/{quote(args.job, safe='')}/cancel", {})
    if args.json:
        print_json(told)
    else:
        print_job(told)
    return ExitCode.OK


def _delete(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_deleted
    from server.cli.rendering import print_json

    told = api.delete(_path(args.name) + ("" if args.yes else "?dry_run=true"))
    if args.json:
        print_json(told)
    else:
        print_deleted(told)
    return ExitCode.OK


def _rubrics(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.judges_shown import print_rubrics
    from server.cli.rendering import print_json

    if args.add is not None:
        items = [api.post("/api/v1/rubrics", {"text": _file(args.add)})]
    else:
        items = api.get("/api/v1/rubrics", {} if args.rubric is None else {"name": args.rubric})["items"]
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no such rubric: keep one with assay judges rubrics --add FILE", file=sys.stderr)
    else:
        print_rubrics(items)
    return ExitCode.OK


def _path(name: str) -> str:
    return f"/api/v1/judges/{quote(name, safe='')}"
