"""`assay datasets` list, show, export, check and diff: what there is, printed."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from server.cli.connection import ApiClient, Params
from server.cli.datasets import path_of
from server.cli.outcome import CommandFailed, ExitCode

_MOST_TOLD: Final = 20
_MOST_PROMPT: Final = 4 << 20


def run(args: argparse.Namespace, api: ApiClient) -> int:
    """Asks and prints. Raises CommandFailed."""
    match args.action:
        case "list":
            return _list(args, api)
        case "show":
            return _show(args, api)
        case "export":
            return _export(args, api)
        case "check":
            return _check(args, api)
        case _:
            return _diff(args, api)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, moment, print_json, print_table

    items = api.get("/api/v1/datasets")["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print("no datasets: make one with assay datasets import FILE.jsonl", file=sys.stderr)
        return ExitCode.OK
    rows = []
    for one in items:
        newest = one["newest"] or {"version": 0, "n_examples": 0, "splits": {}, "made_at": None}
        about = (
            str(newest["version"]),
            f"{newest['n_examples']:,}",
            cell(_splits(newest), 80),
            moment(newest["made_at"]),
        )
        rows.append((cell(one["name"], 60), *about, cell(one["description"], 60)))
    columns = ("dataset", "version", "examples", "splits", "changed (UTC)", "description")
    print_table(columns, rows, right=("version", "examples"))
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, counted, moment, print_json, print_table

    one = api.get(path_of(args.name))
    examples: dict[str, Any] = {"items": []}
    if one["newest"]:
        asked: Params = {"limit": min(args.limit, 1000), "version": args.version}
        examples = api.get(f"{path_of(args.name)}/examples", asked)
    if args.json:
        print_json({**one, "examples": examples["items"]})
        return ExitCode.OK
    out = console()
    out.print(cell(one["name"], 200) if not one["description"] else cell(f"{one['name']}: {one['description']}", 400))
    rows = [
        (
            *(
                str(v["version"]),
                f"{v['n_examples']:,}",
                cell(_splits(v), 60),
                f"{v['n_erased']:,}" if v["n_erased"] else "",
            ),
            *(moment(v["made_at"]), cell(v["made_by"], 40), cell(v["note"], 100), v["content_hash"][:12]),
        )
        for v in one["versions"]
    ]
    columns = ("version", "examples", "splits", "erased", "made (UTC)", "by", "note", "content")
    print_table(columns, rows, right=("version", "examples", "erased"))
    if examples["items"]:
        out.print(f"\nversion {examples['version']}:")
        print_table(
            ("example", "split", "turns", "input", "expects"), [_example(e) for e in examples["items"]], ("turns",)
        )
        if examples["next_cursor"]:
            out.print(f"the first {counted(len(examples['items']), 'example')}; export writes all")
    return ExitCode.OK


def _example(said: dict[str, Any]) -> tuple[Any, ...]:
    from server.cli.rendering import cell

    turns = said["input"]["turns"]
    expects = ", ".join(said["expected"]) or "nothing"
    return (
        *(cell(said["example_id"], 40), cell(said["split"], 20), str(len(turns))),
        *(cell(turns[0], 80), cell(expects, 60)),
    )


def _export(args: argparse.Namespace, api: ApiClient) -> int:
    from evaluators.datasets.reading import format_of

    format_ = args.format or (format_of(args.out.name) if args.out else "jsonl")
    if args.out is None and format_ == "parquet" and sys.stdout.isatty():
        raise CommandFailed("Parquet is not for a terminal; name a file with --out", ExitCode.USAGE)
    asked: Params = {"format": format_, "version": args.version}
    body = api.request("GET", f"{path_of(args.name)}/export", params=asked).body
    if args.out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        return ExitCode.OK
    beside = args.out.with_name(args.out.name + ".part")
    try:
        beside.write_bytes(body)
        beside.replace(args.out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise CommandFailed(f"{args.out} cannot be written: {error.strerror}", ExitCode.FAILED) from error
    if args.json:
        from server.cli.rendering import print_json

        print_json({"file": str(args.out), "format": format_, "bytes": len(body)})
    else:
        print(f"{args.out}: {len(body):,} bytes", file=sys.stderr)
    return ExitCode.OK


def _check(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, counted, print_json

    body: dict[str, Any] = {"prompts": _prompts(args), "version": args.version}
    body |= {name: getattr(args, name) for name in ("app", "since", "threshold") if getattr(args, name) is not None}
    told = api.post(f"{path_of(args.name)}/check", body)
    code = ExitCode.OK if told["clean"] else ExitCode.FAILED
    if args.json:
        print_json(told)
        return code
    out = console()
    for one in told["given_away"][:_MOST_TOLD]:
        share = f"{100 * one['share']:.0f} % of its {one['part']}"
        out.print(cell(f"given away: {one['example_id']} ({one['split']}), {share} in {one['place']}", 400))
        out.print(cell(f"  ... {one['words']} ...", 300))
    for one in told["across_splits"][:_MOST_TOLD]:
        pair = f"{one['first_id']} ({one['first_split']}) and {one['second_id']} ({one['second_split']})"
        out.print(cell(f"in two splits: {pair}, {100 * one['similarity']:.0f} % alike", 400))
    for one in told["duplicates"][:_MOST_TOLD]:
        out.print(cell(f"duplicate: {one['example_id']} of {one['of']}, {100 * one['similarity']:.0f} % alike", 400))
    looked = (
        f"{counted(told['n_examples'], 'example')} of version {told['version']}, {counted(told['n_prompts'], 'prompt')}"
    )
    found = ", ".join(
        f"{told[f'n_{name}']:,} {name.replace('_', ' ')}" for name in ("given_away", "across_splits", "duplicates")
    )
    out.print(f"{looked}: {'nothing found' if told['clean'] else found}")
    if not told["n_prompts"]:
        print("no prompt was looked into: name --prompts FILE or --app APP", file=sys.stderr)
    return code


def _prompts(args: argparse.Namespace) -> list[dict[str, str]]:
    found = []
    for path in args.prompts:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise CommandFailed(f"{path} cannot be read: {error.strerror}", ExitCode.USAGE) from error
        if len(raw) > _MOST_PROMPT:
            raise CommandFailed(f"{path} has more than {_MOST_PROMPT >> 20} MiB", ExitCode.USAGE)
        found.append({"place": str(path), "text": raw.decode("utf-8", "replace")})
    return found


def _diff(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, print_json

    told = api.get(f"{path_of(args.name)}/diff", {"before": args.before, "after": args.after})
    if args.json:
        print_json(told)
        return ExitCode.OK
    out = console()
    for mark, what in (("+", "added"), ("-", "removed"), ("~", "changed")):
        for one in told[what][:_MOST_TOLD]:
            out.print(cell(f"{mark} {one}", 200))
        if len(told[what]) > _MOST_TOLD:
            out.print(f"{mark} and {len(told[what]) - _MOST_TOLD:,} more")
    counts = ", ".join(f"{len(told[what]):,} {what}" for what in ("added", "removed", "changed"))
    out.print(f"{counts}, {told['n_same']:,} the same")
    return ExitCode.OK


def _splits(version: dict[str, Any]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in version["splits"].items())
