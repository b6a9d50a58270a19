"""`assay eval compare`: a candidate's run beside a baseline's, as a table, as Markdown, or as JSON."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 120.0
COLUMNS: Final = ("metric", "examples", "baseline", "candidate", "difference", "95%", "p", "q", "finding", "could see")
REGRESSIONS: Final = ("example", "baseline", "candidate", "lost", "compare with")
FINDINGS: Final = {"better": "better", "worse": "WORSE", "no_evidence": "no evidence", "unknown": "unknown"}
STYLES: Final = {"better": "green", "worse": "bold red", "no_evidence": "dim", "unknown": "yellow"}

Row = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two runs, what to compare, and the form of the answer."""
    parser.add_argument("run_a", metavar="RUN_A", help="the baseline's run")
    parser.add_argument("run_b", metavar="RUN_B", help="the candidate's")
    parser.add_argument("--metric", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--margin", action="append", default=[], type=_margin, metavar="NAME=LOSS",
                        help="a loss that matters: how many examples would show it")  # fmt: skip
    parser.add_argument("--alpha", type=float, default=0.05, help="chance of a false finding (default: 0.05)")
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="regressions to list (default: 10)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the comparison. It decides nothing: a gate does. Raises CommandFailed."""
    if args.json and args.markdown:
        raise CommandFailed("give --json or --markdown, not both", ExitCode.USAGE)
    asked: dict[str, Any] = {"run_a": args.run_a, "run_b": args.run_b, "alpha": args.alpha, "worst": args.worst}
    asked |= {"metrics": args.metric} if args.metric else {}
    asked |= {"margins": dict(args.margin)} if args.margin else {}
    told = client_of(args, PATIENCE_S).post("/api/v1/comparisons", asked)
    if args.json:
        from server.cli.rendering import print_json

        print_json(told)
    elif args.markdown:
        print(markdown(told))
    else:
        _print(told)
    return ExitCode.OK


def markdown(told: Row) -> str:
    """A comparison as Markdown; every name is data and stands escaped."""
    from experiments.gates.summary import said

    a, b = told["run_a"], told["run_b"]
    lines = [
        f"### {said(_title(b))} beside {said(_title(a))}",
        "",
        *_grid(COLUMNS, [_metric_row(one) for one in _rows(told)], said),
    ]
    for note in told["notes"]:
        lines += ["", f"> {said(note)}"]
    for one in _with_losses(told):
        lines += ["", f"**Worst regressions of {said(one['metric'])}**", ""]
        lines += _grid(REGRESSIONS, _worst_rows(one), said)
    return "\n".join(lines)


def _print(told: Row) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, console, print_table
    from server.cli.terminal import plain

    out = console()
    out.print(cell(f"{_title(told['run_b'])} beside {_title(told['run_a'])}", 300, "bold"))
    rows: list[list[Text | str]] = [
        [
            cell(text, 60, STYLES[one["finding"]] if at == COLUMNS.index("finding") else "")
            for at, text in enumerate(row)
        ]
        for one, row in ((one, _metric_row(one)) for one in _rows(told))
    ]
    print_table(COLUMNS, rows, right=COLUMNS[1:8])
    for one in _with_losses(told):
        out.print()
        out.print(cell(f"worst regressions of {one['metric']}", 200, "bold"))
        print_table(
            REGRESSIONS, [[cell(text, 400) for text in row] for row in _worst_rows(one)], right=REGRESSIONS[1:4]
        )
    for note in [*told["notes"], *_missing(told)]:
        print(f"note: {plain(note, 400)}", file=sys.stderr)


def _title(run: Row) -> str:
    of = f"{run['dataset']}@{run['dataset_version']}"
    return f"{run['release'] or run['app']} ({run['run_id']}, {of}, {run['k']} trials)"


def _rows(told: Row) -> list[Row]:
    """The metrics, and the strata of one: of the only one that was asked for, else of that whose regressions follow."""
    chosen = {one["metric"] for one in (told["metrics"] if len(told["metrics"]) == 1 else _with_losses(told))}
    return [*told["metrics"], *(one for one in told["strata"] if one["metric"] in chosen)]


def _metric_row(one: Row) -> list[str]:
    show = _shown(one["unit"])
    name = one["metric"] if one["stratum"] is None else f"  {one['metric']} · {one['stratum']}"
    ends = "-" if one["low"] is None else f"{_signed(one['low'], show)} to {_signed(one['high'], show)}"
    could = "-" if one["detectable"] is None else show(one["detectable"])
    if one["needed"] is not None and one["needed"] > one["n"] and one["finding"] == "no_evidence":
        could += f"; {one['needed']:,} examples would settle it"
    finding = FINDINGS[one["finding"]] + (f" ({one['lack'].replace('_', ' ')})" if one["lack"] else "")
    if one["stratum"] is not None and one["finding"] in ("better", "worse"):
        finding += " (p not adjusted)"
    return [
        *(name, f"{one['n']:,}", _or_dash(one["baseline"], show), _or_dash(one["candidate"], show)),
        "-" if one["difference"] is None else _signed(one["difference"], show),
        *(ends, _p(one["p_two_sided"]), _p(one["q"]), finding, could),
    ]


def _worst_rows(one: Row) -> list[list[str]]:
    show = _shown(one["unit"])
    return [
        [
            *(each["example_id"], show(each["baseline"]), show(each["candidate"]), show(-each["difference"])),
            _diff(each),
        ]
        for each in one["worst"]
    ]


def _diff(each: Row) -> str:
    if each["diff"] is None:
        return "-"
    return shlex.join(["assay", "traces", "diff", "--", each["session_baseline"], each["session_candidate"]])


def _with_losses(told: Row) -> list[Row]:
    """The metric with the strongest evidence of harm that has regressions, quality before time and money; none where
    nothing got worse."""
    lost = [one for one in told["metrics"] if one["worst"]]
    return sorted(lost, key=_urgency)[:1]


def _urgency(one: Row) -> tuple[bool, bool, float, str]:
    p = 1.0 if one["p_harm"] is None else one["p_harm"]
    return one["finding"] != "worse", one["unit"] in ("ms", "usd", "tokens"), p, one["metric"]


def _missing(told: Row) -> list[str]:
    """What could not be paired, by metric."""
    return [
        f"{one['metric']}: not paired: " + ", ".join(f"{n:,} {why}" for why, n in one["unpaired"].items())
        for one in told["metrics"]
        if one["unpaired"]
    ]


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]], said: Callable[[object], str]) -> list[str]:
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*head, *("| " + " | ".join(said(text.strip()) for text in row) + " |" for row in rows)]


def _shown(unit: str) -> Callable[[float], str]:
    from server.cli.rendering import duration, money

    match unit:
        case "ms":
            return lambda value: duration(value) if value >= 0 else "-" + duration(-value)
        case "usd":
            return lambda value: money(value) if value >= 0 else "-" + money(-value)
        case "tokens":
            return lambda value: f"{value:,.0f}"
        case _:
            return lambda value: f"{value:.4g}" if abs(value) >= 10 else f"{value:.3f}"


def _signed(value: float, show: Callable[[float], str]) -> str:
    return show(value) if value < 0 else f"+{show(value)}"


def _or_dash(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _margin(text: str) -> tuple[str, float]:
    name, _, loss = text.rpartition("=")
    try:
        value = float(loss)
    except ValueError:
        value = 0.0
    if not name or not value > 0:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not NAME=LOSS with a loss above 0")
    return name, value
