"""Evaluation runs: try a dataset on a release, on stored traces or on a file of outputs; list, show, compare, cancel.

A run goes on in the server: Ctrl-C leaves it running, and `assay eval show RUN --wait` comes back to it.
Exit codes of run and show --wait: 0 the run is done, 1 it failed, was cancelled, or no trial of it succeeded.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from server.cli import eval_compare, eval_online
from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import since
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 120.0  # planning a run over many stored sessions
DEFAULT: Final = "correctness,latency,cost"
_OVER: Final = frozenset({"done", "failed", "cancelled"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands run, list, show, compare, cancel and online."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{run,list,show,compare,cancel,online}")
    _run_arguments(actions.add_parser("run", help="begin a run and follow it", allow_abbrev=False))
    listed = actions.add_parser("list", help="runs, newest first", allow_abbrev=False)
    for name in ("app", "release", "dataset"):
        listed.add_argument(f"--{name}")
    listed.add_argument("--status", choices=("waiting", "running", "done", "failed", "cancelled"))
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)")
    shown = actions.add_parser("show", help="one run: how far it is, its figures and failed trials", allow_abbrev=False)
    shown.add_argument("--wait", action="store_true", help="until it is over")
    shown.add_argument("--trials", action="store_true", help="with every trial")
    eval_compare.add_arguments(
        actions.add_parser("compare", help="a candidate's run beside another", allow_abbrev=False)
    )
    eval_online.add_arguments(
        actions.add_parser("online", help="rules that look at sessions as they end", allow_abbrev=False)
    )
    ended = actions.add_parser("cancel", help="end a run where it is; what it has is kept", allow_abbrev=False)
    for action in (shown, ended):
        action.add_argument("run", metavar="RUN")
    for action in (listed, shown, ended):
        add_connection_arguments(action)
        add_json_argument(action)


def _run_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("dataset", nargs="?", metavar="DATASET", help="not with --sessions-of-release")
    made.add_argument("--release", required=True, help="what is asked, or whose sessions or outputs these are")
    made.add_argument("--app", help="needed where several apps have a release of that name, or none is registered")
    made.add_argument("--version", type=int, metavar="N", help="of the dataset (default: the newest)")
    made.add_argument("--evaluators", default=DEFAULT, metavar="NAMES", help=f"with commas (default: {DEFAULT})")
    made.add_argument("--trials", type=int, metavar="K", help="of each example (default: 1, or as many as there are)")
    source = made.add_mutually_exclusive_group()
    source.add_argument("--traces", action="store_true", help="score stored sessions instead of asking the release")
    source.add_argument("--sessions-of-release", action="store_true", help="each stored session is an example")
    source.add_argument("--outputs", type=Path, metavar="FILE", help="score outputs of a JSONL file")
    made.add_argument("--since", type=since, help="how far back stored sessions are looked for (default: all)")
    made.add_argument("--split", help="only examples of this split")
    made.add_argument("--limit", type=int, metavar="N", help="only the first N examples")
    made.add_argument("--concurrency", type=int, metavar="N", help="trials at once (default: 4)")
    made.add_argument("--per-minute", type=float, metavar="N", help="calls a minute at most")
    made.add_argument("--timeout", type=float, metavar="S", dest="timeout_s", help="of one trial (default: 300)")
    made.add_argument("--attempts", type=int, metavar="N", help="tries of one call (default: 4)")
    made.add_argument("--trace-wait", type=float, metavar="S", dest="trace_wait_s", help="for a trace (default: 30)")
    made.add_argument("--max-cost", type=float, metavar="USD", dest="max_cost_usd", help="ask nothing more beyond it")
    made.add_argument("--via", choices=("gateway", "endpoint"), help="how the release is reached (default: what works)")
    made.add_argument("--stop-against", metavar="RUN", help="end it as soon as harm is proved beside this run")
    made.add_argument("--stop-metrics", type=_names, metavar="NAMES", help="by these (default: all shares)")
    made.add_argument("--dry-run", action="store_true", help="say what it would take, begin nothing")
    made.add_argument("--detach", action="store_true", help="do not follow it")
    add_connection_arguments(made)
    add_json_argument(made)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    match args.action:
        case "compare":
            return eval_compare.run(args)
        case "online":
            return eval_online.run(args)
        case "run":
            return _begin(args, client_of(args, PATIENCE_S))
        case "show":
            return _show(args, client_of(args))
        case "cancel":
            return _cancel(args, client_of(args))
        case _:
            return _list(args, client_of(args))


def _begin(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.eval_shown import print_forecast
    from server.cli.rendering import print_json

    told = api.post("/api/v1/runs", _wanted(args))
    if args.dry_run:
        if args.json:
            print_json(told)
        else:
            print_forecast(told)
        return ExitCode.OK
    if args.detach:
        if args.json:
            print_json(told)
        else:
            print(told["run_id"])
        return ExitCode.OK
    return _followed(args, api, told)


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    if (args.dataset is None) != args.sessions_of_release:
        said = "name a DATASET, or say --sessions-of-release, not both" if args.dataset else "name a DATASET"
        raise CommandFailed(said, ExitCode.USAGE)
    source = "traces" if args.traces or args.sessions_of_release else "file" if args.outputs else "release"
    names = _names(args.evaluators)
    body: dict[str, Any] = {"dataset": args.dataset, "release": args.release, "source": source, "evaluators": names}
    if args.outputs:
        body["outputs"] = _lines(args.outputs)
    optional = ("app", "version", "trials", "split", "limit", "concurrency", "per_minute", "timeout_s", "attempts")
    for name in (*optional, "trace_wait_s", "max_cost_usd", "via", "since", "stop_against", "stop_metrics"):
        if getattr(args, name) is not None:
            body[name] = getattr(args, name)
    return body | ({"dry_run": True} if args.dry_run else {})


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _lines(path: Path) -> list[Any]:
    """The objects of a JSONL file. Raises CommandFailed naming the line."""
    found = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}", ExitCode.USAGE) from error
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not UTF-8", ExitCode.USAGE) from None
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise CommandFailed(f"{path}, line {n} is no JSON: {error}", ExitCode.USAGE) from None
        if not isinstance(one, dict):
            raise CommandFailed(f"{path}, line {n} is no JSON object", ExitCode.USAGE)
        found.append(one)
    if not found:
        raise CommandFailed(f"{path} has no output", ExitCode.USAGE)
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _followed(args: argparse.Namespace, api: ApiClient, told: dict[str, Any]) -> int:
    """Shows how a run goes on until it is over, then its figures."""
    from server.cli.eval_shown import follow, print_run
    from server.cli.rendering import print_json

    try:
        told = follow(lambda: api.get(_path(told["run_id"])), told)
    except KeyboardInterrupt:
        print(
            f"\n{told['run_id']} goes on in the server\n"
            f"come back to it with assay eval show {told['run_id']} --wait, end it with assay eval cancel",
            file=sys.stderr,
        )
        raise
    if args.json:
        print_json(told)
    else:
        print_run(told, _failed_trials(api, told))
    return code_of(told)


def code_of(told: dict[str, Any]) -> int:
    """The exit code of a run: OK when it is done and something of it succeeded."""
    good = told["status"] == "done" and (told["n_done"] > 0 or told["n_trials"] == 0)
    return ExitCode.OK if good or told["status"] not in _OVER else ExitCode.FAILED


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.eval_shown import print_run, print_trials
    from server.cli.rendering import print_json

    told = api.get(_path(args.run))
    if args.wait:
        return _followed(args, api, told)
    trials = list(api.items(f"{_path(args.run)}/trials")) if args.trials else None
    if args.json:
        print_json(told | ({"items": trials} if trials is not None else {}))
        return ExitCode.OK
    print_run(told, _failed_trials(api, told))
    if trials is not None:
        print_trials(trials)
    return ExitCode.OK


def _failed_trials(api: ApiClient, told: dict[str, Any]) -> list[dict[str, Any]]:
    if not told["n_failed"]:
        return []
    return [one for one in api.items(f"{_path(told['run_id'])}/trials") if one["status"] == "failed"]


def _cancel(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json
    from server.cli.terminal import plain

    told = api.post(f"{_path(args.run)}/cancel", {})
    if args.json:
        print_json(told)
    else:
        kept = f"{told['n_done']} of {told['n_trials']} trials are kept"
        print(f"{plain(told['run_id'], 60)} is {told['status']}: {kept}")
    return ExitCode.OK


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.eval_shown import print_runs
    from server.cli.rendering import print_json

    asked = {name: getattr(args, name) for name in ("app", "release", "dataset", "status", "limit")}
    items = api.get("/api/v1/runs", asked)["items"]
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no runs: begin one with assay eval run DATASET --release NAME", file=sys.stderr)
    else:
        print_runs(items)
    return ExitCode.OK


def _path(run_id: str) -> str:
    return f"/api/v1/runs/{quote(run_id, safe='')}"
