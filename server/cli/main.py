"""`assay`: finds the subcommand, loads its module and turns every end into a documented exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from server.cli.outcome import CommandFailed, ExitCode

# name -> (module, one line of help). A module has add_arguments(parser) and run(args) -> int.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("server.cli.up", "start everything on this machine: collector, server, gateway and dashboard"),
    "demo": ("server.cli.demo", "the same, with simulated users talking to the reference agent"),
    "serve": ("server.cli.serve", "start one part alone: collector, server, gateway, dashboard or agent"),
    "simulate": ("server.cli.simulate", "let simulated users talk to the reference agent"),
    "gateway": ("server.cli.gateway", "check the gateway's file, ask for its status, try a call"),
    "agent": ("server.cli.agent", "talk to the reference agent in the terminal"),
    "traces": ("server.cli.traces", "list and show traces, compare two step by step"),
    "sessions": ("server.cli.sessions", "list and show sessions"),
    "releases": ("server.cli.releases", "list, show and register releases of an app"),
    "plan": ("server.cli.plan", "list, show and set how an app's sessions are split over its releases"),
    "deploy": ("server.cli.deploy", "bring a release into traffic step by step, and back at once when it harms"),
    "rollouts": ("server.cli.rollouts", "list and show rollouts; abort, pause, resume, approve, verify one"),
    "evaluators": ("server.cli.evaluators", "list evaluators, show what one scores and misses, try your own"),
    "eval": ("server.cli.eval_", "run a dataset on a release, stored traces or a file; list, show, compare, cancel"),
    "metrics": ("server.cli.metrics", "pass^k, cost per resolved session, judged rates corrected by labels"),
    "gate": ("server.cli.gate", "may a release take another's place: pass, fail or inconclusive"),
    "experiments": ("server.cli.experiments", "plan, run and read experiments on live traffic; analyze a table"),
    "clusters": ("server.cli.clusters", "find what fails that nobody looked for: run, list, show, freeze, watch"),
    "monitors": ("server.cli.monitors", "watch series of an app: make, list, change, backtest, test monitors"),
    "alerts": ("server.cli.alerts", "alerts of monitors, and the messages that told them"),
    "incidents": ("server.cli.incidents", "what is wrong and why: list, show, acknowledge, note, close"),
    "silence": ("server.cli.silence", "keep alerts from being told for a while, once or every week"),
    "jobs": ("server.cli.jobs", "what servers do by the clock: list, show, do again what failed"),
    "datasets": ("server.cli.datasets", "make, import, export, list, check, compare and delete datasets"),
    "judges": ("server.cli.judges", "models that grade by a rubric: make, run, watch, calibrate"),
    "labels": ("server.cli.labels", "label queues: make, draw, show, adjudicate, export and delete"),
    "annotate": ("server.cli.annotate", "label an app's sessions, one after the other, by keyboard"),
    "spend": ("server.cli.spend", "what model calls cost, by whom and for what; export for chargeback"),
    "import": ("server.cli.import_", "load recorded traces (tau2, tau-bench, OTLP), or verdicts and labels"),
    "keys": ("server.cli.keys", "create, list and revoke API keys"),
    "tenants": ("server.cli.tenants", "list and create tenants, change what they chose"),
    "remap": ("server.cli.remap", "run today's attribute mapping over spans already stored"),
    "backup": ("server.cli.backup", "back up a whole data folder while Assay runs"),
    "restore": ("server.cli.restore", "restore a backup into an empty data folder"),
    "adopt": ("server.cli.adopt", "note that lake or control database were moved on purpose"),
    "erase": ("server.cli.erase", "erase a user from everything that is kept"),
    "doctor": ("server.cli.doctor", "check ledger, integrity, versions and disk, and say what to do"),
}

_EPILOG: Final = (
    "exit codes: 0 ok, 1 not well or failed, 2 usage, 3 inconclusive, 4 cannot reach the server,\n"
    "5 not allowed, 6 not found, 130 interrupted"
)


class CommandParser(argparse.ArgumentParser):
    """Says only what is wrong, and of a missing or unknown argument where the others are listed."""

    def error(self, message: str) -> NoReturn:
        """Raises CommandFailed, which ends with exit code 2."""
        if message.startswith("argument "):
            raise CommandFailed(message.removeprefix("argument "), ExitCode.USAGE)
        raise CommandFailed(f"{message}\n'{self.prog} --help' lists the arguments", ExitCode.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except CommandFailed as failed:
        _complain(str(failed))
        return failed.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return ExitCode.FAILED
    except SystemExit as ended:  # argparse: 0 after --help, 2 after a usage message
        return ended.code if isinstance(ended.code, int) else ExitCode.USAGE
    except UnicodeEncodeError as error:
        if not any(word.encode(errors="ignore") != word.encode(errors="surrogateescape") for word in words):
            return _unforeseen(error)
        _complain("an argument is not UTF-8 text")
        return ExitCode.USAGE
    except Exception as error:
        return _unforeseen(error)


def _dispatch(words: list[str]) -> int:
    _tolerant_streams()
    if words and words[0] in COMMANDS:
        return _run(words[0], words[1:])
    if words and not words[0].startswith("-"):
        raise CommandFailed(_unknown(words[0]), ExitCode.USAGE)
    parser = argparse.ArgumentParser(
        prog="assay",
        usage="assay [--version] COMMAND ...",
        description="Tells a team whether its AI agents got better.\n\ncommands:\n" + _command_lines(),
        epilog="'assay COMMAND --help' explains a command.\n\n" + _EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    args = parser.parse_args(words)
    if args.version:
        from importlib.metadata import version

        print(f"assay {version('assay')}")
        return ExitCode.OK
    parser.print_help(sys.stdout if words else sys.stderr)
    return ExitCode.USAGE if not words else ExitCode.OK


def _run(command: str, words: list[str]) -> int:
    module_name, line = COMMANDS[command]
    module = importlib.import_module(module_name)
    parser = CommandParser(
        prog=f"assay {command}",
        description=(module.__doc__ or line).strip(),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(words)))


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, COMMANDS, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"there is no command {word[:60]!r}{hint}\n'assay --help' lists the commands"


def _command_lines() -> str:
    return "\n".join(f"  {name:<10} {line}" for name, (_, line) in COMMANDS.items())


def _unforeseen(error: Exception) -> int:
    """Errors of ours say what to do; others are named without a traceback unless ASSAY_DEBUG is set."""
    from core.errors import AssayError, InvalidInput

    if os.environ.get("ASSAY_DEBUG"):
        raise error
    if isinstance(error, AssayError):
        _complain(str(error))
        return ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.FAILED
    if isinstance(error, OSError):
        _complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return ExitCode.FAILED
    _complain(
        f"unexpected {type(error).__name__}: {error}\nset ASSAY_DEBUG=1 to see where; this is a defect, report it"
    )
    return ExitCode.FAILED


def _complain(message: str) -> None:
    lines = message.splitlines()[:3] or ["failed"]
    print("assay: " + "\n".join(lines), file=sys.stderr)


def _tolerant_streams() -> None:
    """Text of traces must print in any locale: what the terminal cannot show is escaped. A stream that was closed
    (`>&-`) is None: what would go there goes nowhere."""
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Nobody reads any more; keeps the interpreter's last flush from complaining."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
