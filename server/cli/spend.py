"""What model calls cost, by whom and for what; at other prices with --prices; `assay spend export` writes a month as a
file for chargeback, in the columns of FOCUS 1.2.

--prices FILE is YAML: {"gpt-4o*": {input_usd_per_mtok: 2.5, output_usd_per_mtok: 10}}, the same below a key `prices`,
or a gateway's configuration, whose prices are taken. What it does not name is priced as genai-prices says of the call's
time. Nothing stored changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import since
from server.cli.outcome import CommandFailed, ExitCode

KEYS: Final = ("team", "app", "release", "variant", "model", "user", "key", "upstream", "day")
PATIENCE_S: Final = 120.0  # a month of calls is read at once
DEFAULT_SINCE: Final = "30d"
DEFAULT_BY: Final = "app,model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to sum by, the window, prices; and the export."""
    parser.add_argument("action", nargs="?", choices=("show", "export"), default="show", help="default: show")
    parser.add_argument("--by", type=_keys, metavar="KEYS", help=f"any of {', '.join(KEYS)} (default: {DEFAULT_BY})")
    parser.add_argument("--app")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="price the calls of the window again")
    parser.add_argument("--outcome", metavar="EVALUATOR", help="whose scores of sessions say what was resolved")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many rows (default: 50)")
    window = parser.add_argument_group("window")
    window.add_argument("--since", type=since, help=f"how far back: 24h, 30d, all (default: {DEFAULT_SINCE})")
    window.add_argument("--start", help="instead of --since: an RFC 3339 time")
    window.add_argument("--end", help="an RFC 3339 time (default: now)")
    export = parser.add_argument_group("export")
    export.add_argument("--format", choices=("focus",), default="focus", help="default: focus")
    export.add_argument("--month", metavar="YYYY-MM", help="the calendar month to export, in UTC")
    export.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints or writes the answer. Raises CommandFailed."""
    if args.action == "export":
        return _export(args)
    if args.month or args.out:
        raise CommandFailed("--month and --out belong to assay spend export", ExitCode.USAGE)
    if args.since is not None and args.start is not None:
        raise CommandFailed("give --since or --start, not both", ExitCode.USAGE)
    prices = None if args.prices is None else _prices(args.prices)
    default = DEFAULT_SINCE if args.start is None else None
    by = DEFAULT_BY if args.by is None else args.by
    asked = {"by": by, "app": args.app, "outcome": args.outcome, "limit": args.limit, "start": args.start}
    asked |= {"since": args.since or default, "end": args.end}
    told = _asked(
        client_of(args, PATIENCE_S), {name: value for name, value in asked.items() if value is not None}, prices
    )
    if args.json:
        from server.cli.rendering import print_json

        print_json(told)
    else:
        _print(told, again=prices is not None)
    return ExitCode.OK


def _asked(api: ApiClient, asked: dict[str, Any], prices: dict[str, Any] | None) -> Any:
    if prices is None:
        return api.get("/api/v1/spend", asked)
    return api.post("/api/v1/spend/recompute", {**asked, "prices": prices})


def _print(told: dict[str, Any], *, again: bool) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, print_table

    if not told["n_groups"]:
        print("no model calls in that window; widen --since", file=sys.stderr)
        _print_judges(told)
        return
    keys: Sequence[str] = told["by"]
    items = _by_day(told["items"]) if "day" in keys else told["items"]
    figures = ["calls", "tokens in > out", "cost", *(["at these prices"] if again else []), "cache hits", "saved"]
    figures += ["resolved", "per resolved"]
    rows: list[list[Text | str]] = [
        [*(cell("-" if one[key] is None else one[key], 40) for key in keys), *_figures(one, again)] for one in items
    ]
    if keys:
        rows.append(["all", *[""] * (len(keys) - 1), *_figures(told["totals"], again)])
    print_table((*keys, *figures, "unpriced"), rows, right=figures)
    hidden = told["n_groups"] - len(told["items"])
    if hidden > 0:
        print(f"and {hidden:,} more, of lower cost; --limit shows them", file=sys.stderr)
    if again and (n := told["totals"]["n_as_reported"]):
        print(f"{n:,} calls stay at what was reported: nobody knows their price", file=sys.stderr)
    _print_judges(told)


def _print_judges(told: dict[str, Any]) -> None:
    """What judges cost, which is no product's."""
    from server.cli.rendering import counted, money

    judges = told.get("judges")
    if judges and judges["n_calls"]:
        print(f"judges, not counted above: {counted(judges['n_calls'], 'call')}, {money(judges['cost_usd'])}")


def _by_day(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Oldest day first, within a day the dearest."""
    return sorted(items, key=lambda one: one["day"] or "")


def _figures(one: dict[str, Any], again: bool) -> list[str]:
    from server.cli.rendering import money, tokens

    n_scored = one["n_resolved"] + one["n_unresolved"]
    unscored = f" (+{one['n_unscored']:,} unscored)" if one["n_unscored"] else ""
    return [
        *(f"{one['n_calls']:,}", tokens(one["input_tokens"], one["output_tokens"]), money(one["cost_usd"])),
        *([money(one["recomputed_usd"])] if again else []),
        *(f"{one['n_cache_hits']:,}", money(one["saved_usd"])),
        *(f"{one['n_resolved']:,} of {n_scored:,}{unscored}", money(one["cost_per_resolved_usd"])),
        f"{one['n_unpriced']:,}" if one["n_unpriced"] else "",
    ]


def _export(args: argparse.Namespace) -> int:
    if args.month is None:
        raise CommandFailed("say which month: --month 2026-11", ExitCode.USAGE)
    answer = client_of(args, PATIENCE_S).request("GET", "/api/v1/spend/focus", params={"month": args.month})
    n_rows = answer.body.count(b"\n") - 1
    if args.out is None:
        sys.stdout.write(answer.body.decode())
        return ExitCode.OK
    try:
        args.out.write_bytes(answer.body)
    except OSError as error:
        raise CommandFailed(f"{args.out} cannot be written: {error.strerror}", ExitCode.FAILED) from error
    print(f"{args.out}: {n_rows:,} rows of {args.month} in FOCUS 1.2 columns", file=sys.stderr)
    return ExitCode.OK


def _prices(path: Path) -> dict[str, Any]:
    """The prices of a YAML file, or of a gateway's configuration. Raises CommandFailed."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}", ExitCode.USAGE) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CommandFailed(f"{path} is no YAML: {str(error).splitlines()[0]}", ExitCode.USAGE) from None
    if isinstance(found, dict) and ("upstreams" in found or _nested(found)):
        found = found.get("prices") or {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise CommandFailed(
            f'{path} holds no prices; write "gpt-4o*": {{input_usd_per_mtok: 2.5, output_usd_per_mtok: 10}}',
            ExitCode.USAGE,
        )
    return found


def _nested(found: dict[Any, Any]) -> bool:
    """Whether the globs stand below a key `prices`; that may also be the name of a model with its own two prices."""
    below = found.get("prices")
    return isinstance(below, dict) and all(isinstance(one, dict) for one in below.values())


def _keys(text: str) -> str:
    """Keys separated by commas; none for the whole. Raises argparse's error otherwise."""
    for name in (part.strip() for part in text.split(",") if part.strip()):
        if name not in KEYS:
            raise argparse.ArgumentTypeError(f"{name[:30]!r} is not one of {', '.join(KEYS)}")
    return text
