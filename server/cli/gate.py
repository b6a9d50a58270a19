"""Ask whether a release may take another's place: pass, fail or inconclusive, with the evidence.

  assay gate APP --candidate v2 --baseline v1 --policy gate.yaml
  assay gate verify BUNDLE      compute a decision again from its bundle, without a server
  assay gate check POLICY       say what is wrong with a policy's file, without a server

Exit codes of a gate: 0 pass, 1 fail, 2 usage, 3 inconclusive. Whatever keeps it from deciding is 3 too: no server, a
key that may not, a server that fails. `verify` ends as the decision did; an altered bundle is 3.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

DECIDE_S: Final = 120.0  # how long a decision may take
EXITS: Final = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "inconclusive": ExitCode.INCONCLUSIVE}
_ABOUT: Final = "verify and check are actions; an app of that name: --app"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """APP with its options; or verify and check with a file."""
    parser.add_argument("app", metavar="APP", help=f"the app; {_ABOUT}")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="of verify and check")
    parser.add_argument("--app", dest="named", action="store_true", help="APP is an app, whatever it is called")
    asked = parser.add_argument_group("the gate")
    asked.add_argument("--candidate", metavar="RELEASE", help="the release that would take over")
    asked.add_argument("--baseline", metavar="RELEASE", help="the release that is there")
    asked.add_argument("--policy", type=Path, metavar="FILE", help="the policy's YAML; - reads standard input")
    asked.add_argument("--policy-name", metavar="NAME", help="a policy of the server's data folder: gates/NAME.yaml")
    asked.add_argument("--candidate-run", metavar="RUN", help="instead of its newest finished run")
    asked.add_argument("--baseline-run", metavar="RUN", help="instead of its newest finished run")
    made = parser.add_argument_group("files to write")
    made.add_argument("--junit", type=Path, metavar="FILE", help="JUnit XML, a test case per metric")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="a summary for a pull request")
    made.add_argument("--bundle", type=Path, metavar="FILE", help="the decision with all its evidence, for verify")
    made.add_argument("--links", metavar="URL", help="address of the dashboard, for links in the summary")
    check = parser.add_argument_group("check")
    check.add_argument("--schema", action="store_true", help="print the JSON schema of a policy's file")
    check.add_argument("--metric", action="append", default=[], metavar="NAME", help="a metric of your own; repeatable")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Does one of the three. Raises CommandFailed, never with exit code 0."""
    if args.app == "verify" and not args.named:
        from server.cli.gate_offline import verify_bundle

        return verify_bundle(args)
    if args.app == "check" and not args.named:
        from server.cli.gate_offline import check_policy

        return check_policy(args)
    try:
        return _decide(args)
    except CommandFailed as failed:
        raise CommandFailed(str(failed), _exit_of(failed.code)) from failed


def _exit_of(code: ExitCode) -> ExitCode:
    """A gate that could not be asked has decided nothing: 1 says harm, and is kept for it."""
    match code:
        case ExitCode.USAGE | ExitCode.NOT_FOUND:
            return ExitCode.USAGE
        case ExitCode.INTERRUPTED:
            return code
        case _:
            return ExitCode.INCONCLUSIVE


def _decide(args: argparse.Namespace) -> int:
    from server.cli.rendering import print_json

    body = _asked(args)
    api = client_of(args, timeout_s=DECIDE_S)
    told = api.post(f"/api/v1/gates/{quote(args.app, safe='')}/decide", body)
    decision = str(told.get("decision"))
    if decision not in EXITS:
        raise CommandFailed(f"the server answered no decision but {decision[:40]!r}", ExitCode.INCONCLUSIVE)
    _write(args, api, told)
    if args.json:
        print_json(told)
    else:
        _print(told)
    return EXITS[decision]


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    if args.file is not None or args.schema or args.metric:
        raise CommandFailed("FILE, --schema and --metric belong to verify and check", ExitCode.USAGE)
    missing = [f"--{name}" for name in ("candidate", "baseline") if not getattr(args, name)]
    if missing:
        raise CommandFailed(f"a gate needs {' and '.join(missing)}", ExitCode.USAGE)
    if (args.policy is None) == (args.policy_name is None):
        raise CommandFailed("a gate needs one of --policy FILE and --policy-name NAME", ExitCode.USAGE)
    body = {name: getattr(args, name) for name in ("candidate", "baseline", "candidate_run", "baseline_run", "links")}
    body["policy_name"] = args.policy_name
    body["policy"] = None if args.policy is None else read_text(args.policy)
    return {name: value for name, value in body.items() if value is not None}


def read_text(path: Path, most: int = 1 << 20) -> str:
    """The text of a file, or of standard input for '-'. Raises CommandFailed."""
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(most + 1)
        if len(raw) > most:
            raise CommandFailed(f"{path} is over {most:,} bytes", ExitCode.USAGE)
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}", ExitCode.USAGE) from error
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not UTF-8 text", ExitCode.USAGE) from None


def _write(args: argparse.Namespace, api: ApiClient, told: dict[str, Any]) -> None:
    """The files that were asked for. A gate whose evidence cannot be written has not answered. Raises CommandFailed."""
    from experiments.gates.summary import junit

    texts: list[tuple[Path | None, str]] = [(args.markdown, told["markdown"])]
    if args.junit is not None:
        texts.append((args.junit, junit(as_decided(told))))
    if args.bundle is not None:
        bundle = api.request("GET", f"/api/v1/gates/{quote(told['gate_id'], safe='')}/bundle").body
        texts.append((args.bundle, bundle.decode("utf-8")))
    for path, text in texts:
        if path is None:
            continue
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandFailed(f"{path} cannot be written: {error.strerror}", ExitCode.INCONCLUSIVE) from error


def as_decided(told: dict[str, Any]) -> dict[str, Any]:
    """The API's answer in the shape of a decision."""
    asked = {name: told[name] for name in ("app", "candidate", "baseline")}
    sides = {side: told[f"{side}_run"] for side in ("baseline", "candidate")}
    return {**told, "asked": asked, **sides}


def _print(told: dict[str, Any]) -> None:
    from server.cli.rendering import cell, console, print_table

    out = console()
    style = {"pass": "bold green", "fail": "bold red"}.get(told["decision"], "bold yellow")
    asked = f"{told['app']}: {told['candidate']} against {told['baseline']}"
    out.print(told["decision"], style=style, end="")
    out.print(f"  {plain(asked, 200)}", soft_wrap=True)
    print_metrics(told["metrics"])
    for one in told["reasons"]:
        mark = "-" if one["blocks"] else "  note:"
        out.print(f"{mark} {plain(one['text'], 600)}", soft_wrap=True)
    for text in told["settle"]:
        out.print(f"  to settle it: {plain(text, 300)}", soft_wrap=True)
    if told["worst"]:
        rows = [
            (
                *(cell(one["example_id"], 60), cell(one["metric"], 40)),
                *(_figure(one["baseline_mean"]), _figure(one["candidate_mean"])),
                cell(one["candidate_session"] or one["candidate_trace"], 120),
            )
            for one in told["worst"]
        ]
        columns = ("worst example", "metric", "baseline", "candidate", "session")
        print_table(columns, rows, right=("baseline", "candidate"))
    print(f"kept as {plain(told['gate_id'], 60)}", file=sys.stderr)


def print_metrics(metrics: list[dict[str, Any]]) -> None:
    """The evidence of each metric as a table."""
    from experiments.gates.summary import FINDINGS
    from server.cli.rendering import cell, print_table

    if not metrics:
        return
    columns = ("metric", "role", "baseline", "candidate", "difference", "interval", "margin", "examples", "finding")
    rows = []
    for one in metrics:
        found = one["measured"] or {}
        between = "-" if found.get("low") is None else f"{_figure(found['low'])} to {_figure(found['high'])}"
        figures = [_figure(found.get(name)) for name in ("baseline_mean", "candidate_mean", "difference")]
        rows.append((cell(one["metric"], 60), one["role"], *figures, between, cell(one["margin_said"], 20),
                     str(found.get("n", 0)), FINDINGS[one["finding"]]))  # fmt: skip
    print_table(columns, rows, right=("baseline", "candidate", "difference", "margin", "examples"))


def _figure(value: float | None) -> str:
    from experiments.gates.words import number

    return number(value)
