"""`assay experiments analyze`: any table of outcomes, without a server."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from experiments.table_analysis import Asked

EXITS: Final = {"unhealthy": ExitCode.FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


def analyze_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and which column is what."""
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, TSV, JSON lines or Parquet, a row per outcome")
    parser.add_argument("--variant", required=True, metavar="COLUMN", help="the arm of a row")
    parser.add_argument(
        "--outcome",
        required=True,
        action="append",
        default=[],
        metavar="COLUMN",
        help="0 and 1, true and false, or numbers; the first one decides, more may follow",
    )
    parser.add_argument(
        "--unit", metavar="COLUMN[,COLUMN]", help="what was randomised, as a user; without it every row is a unit"
    )
    parser.add_argument(
        "--cluster",
        metavar="COLUMN[,COLUMN]",
        help="rows that depend on each other and may be in several arms, as tasks that every arm was given",
    )
    parser.add_argument(
        "--strata",
        action="append",
        default=[],
        metavar="COLUMN[,COLUMN]",
        help="what units are like before they meet an arm",
    )
    parser.add_argument("--control", metavar="NAME", help="the arm to compare with (default: the first by name)")
    parser.add_argument(
        "--split",
        metavar="A=50,B=50",
        help="how units were split, the control first; checked, and needed to say that chance did it",
    )
    parser.add_argument(
        "--guardrail",
        action="append",
        default=[],
        metavar="COLUMN[=MARGIN]",
        help="an outcome that must not get worse, by more than the margin where one is given",
    )
    parser.add_argument(
        "--lower", action="append", default=[], metavar="COLUMN", help="an outcome of which less is better"
    )
    parser.add_argument("--margin", type=float, metavar="LOSS", help="how much of the first outcome may be lost")
    parser.add_argument("--covariate", metavar="COLUMN", help="a number known before the unit met its arm (CUPED)")
    parser.add_argument(
        "--weights", metavar="COLUMN", help="a table of counts: units of a row, of which the outcome says yes"
    )
    parser.add_argument("--day", metavar="COLUMN", help="the day of a row (2026-11-22); each day is then a look")
    parser.add_argument("--horizon", type=int, metavar="UNITS", help="with --day: the planned units over all arms")
    parser.add_argument("--once", action="store_true", help="with --day: all days were looked at once, at the end")
    parser.add_argument("--bayes", action="store_true", help="the Bayesian view beside it")
    parser.add_argument("--alpha", type=float, default=0.05, help="chance of a false call (default: 0.05)")


def analyze(args: argparse.Namespace) -> int:
    """Prints the analysis: 0 for a decision, 1 unhealthy, 3 inconclusive. Raises CommandFailed."""
    from core.clock import system_clock, to_datetime
    from core.errors import InvalidInput
    from experiments.shown import as_json
    from experiments.table_analysis import analyse_table
    from server.cli.experiment_shown import print_analysis
    from server.cli.rendering import print_json

    today = to_datetime(system_clock()).date()
    try:
        analysis, table = analyse_table(args.file, asked_of(args), today=today)
    except InvalidInput as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    told: dict[str, Any] = {**as_json(analysis), "n_rows": table.n_rows, "notes": list(table.notes)}
    if args.control is None and not args.split:
        told["notes"].append(f"{table.variants[0]} is the control, as the first by name; --control names another")
    if args.json:
        print_json(told)
    else:
        print_analysis(told, bayes=args.bayes)
    return EXITS.get(told["decision"]["word"], ExitCode.OK)


def asked_of(args: argparse.Namespace) -> Asked:
    """The arguments as a question. Raises CommandFailed for what cannot be meant."""
    from experiments.table_analysis import Asked
    from experiments.tabulating import Columns

    guardrails = dict(_margin(one) for one in args.guardrail)
    outcomes = [name for one in args.outcome for name in one.split(",")]
    strata = [name for one in args.strata for name in one.split(",")]
    unknown = [one for one in args.lower if one not in (*outcomes, *guardrails)]
    if unknown:
        raise CommandFailed(f"--lower {unknown[0]} is no outcome and no guardrail", ExitCode.USAGE)
    if args.horizon is not None and (args.horizon < 1 or args.day is None):
        raise CommandFailed("--horizon counts units from 1 up, and goes with --day", ExitCode.USAGE)
    if args.unit and args.cluster:
        raise CommandFailed("--unit or --cluster: a unit is in one arm, a cluster may be in several", ExitCode.USAGE)
    if args.margin is not None and not 0 < args.margin < math.inf:
        raise CommandFailed("--margin is a loss above 0, in the outcome's unit", ExitCode.USAGE)
    return Asked(
        columns=Columns(
            variant=args.variant,
            outcomes=(*outcomes, *(one for one in guardrails if one not in outcomes)),
            unit=tuple((args.unit or args.cluster or "").split(",")) if args.unit or args.cluster else (),
            clustered=args.cluster is not None,
            strata=tuple(dict.fromkeys(strata)),
            covariate=args.covariate,
            weights=args.weights,
            day=args.day,
        ),
        control=args.control,
        split=_split(args.split),
        guardrails=guardrails,
        lower=tuple(args.lower),
        margin=args.margin,
        alpha=args.alpha,
        horizon=args.horizon,
        once=args.once,
    )


def _split(text: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(",") if text else []:
        name, _, weight = part.rpartition("=")
        try:
            found[name] = float(weight)
        except ValueError:
            found = {}
        if not name or not found or not 0 < found[name] < math.inf:
            raise CommandFailed(
                f"--split names each arm with a weight above 0, as A=50,B=50; not {text!r}", ExitCode.USAGE
            )
    if len(found) == 1:
        raise CommandFailed("--split names two arms at least, as A=50,B=50", ExitCode.USAGE)
    return found


def _margin(text: str) -> tuple[str, float | None]:
    name, given, margin = text.partition("=")
    try:
        value = float(margin) if given else None
    except ValueError:
        value = math.nan
    if not name or (value is not None and not 0 < value < math.inf):
        raise CommandFailed(
            f"--guardrail is COLUMN or COLUMN=MARGIN with a margin above 0, not {text!r}", ExitCode.USAGE
        )
    return name, value
