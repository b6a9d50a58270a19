"""`assay datasets import`: reads the file here, sends what it holds in pieces, and makes one version of all of them."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from core.errors import AssayError, InvalidInput
from evaluators.datasets.reading import Imported, format_of, read_examples
from evaluators.datasets.records import Example, line_of
from evaluators.datasets.splitting import parse_split, split
from server.cli.connection import ApiClient
from server.cli.datasets import path_of, print_change
from server.cli.outcome import CommandFailed, ExitCode
from store.control.datasets import MOST_BYTES

PIECE_BYTES: Final = 4 << 20
_MOST_SAID: Final = 20
_ENDINGS: Final = re.compile(r"\.(gz|gzip|jsonl|ndjson|json|csv|parquet|pq)\Z", re.IGNORECASE)

Progress = Callable[[str, int], None]


def import_file(args: argparse.Namespace, api: ApiClient) -> int:
    """Sends the file's examples; nothing is kept unless all of them are. Raises CommandFailed."""
    name = args.name or _name_of(args.file.name)
    try:
        format_ = args.format or format_of(args.file.name if str(args.file) != "-" else "-.jsonl")
        shares = dict(map(parse_split, args.split))
        with _progress(args) as progress:
            read = _read(args, format_, progress)
            examples = split(read.examples, shares) if shares else read.examples
            told = _send(args, api, name, examples, progress)
    except InvalidInput as error:
        raise CommandFailed(f"{args.file}: {error}\nnothing was imported", ExitCode.USAGE) from error
    except AssayError as error:
        raise CommandFailed(str(error), ExitCode.FAILED) from error
    skipped = [{"line": one.line, "why": one.why} for one in read.skipped]
    if not args.json:
        _say_skipped(read)
    return print_change(args, {**told, "n_skipped": read.n_skipped, "skipped": skipped})


def _name_of(file_name: str) -> str:
    name = file_name
    while (shorter := _ENDINGS.sub("", name)) != name:
        name = shorter
    if name in ("", "-"):
        raise CommandFailed("say how the dataset is called: --name NAME", ExitCode.USAGE)
    return name


def _read(args: argparse.Namespace, format_: str, progress: Progress) -> Imported:
    try:
        with _opened(args) as stream:
            return read_examples(
                stream, format_, skip_bad=args.skip_bad, progress=lambda n: progress(f"reading {n:,} examples", n)
            )
    except IsADirectoryError:
        raise CommandFailed(f"{args.file} is a folder; name a file", ExitCode.USAGE) from None
    except FileNotFoundError:
        raise CommandFailed(f"there is no file {args.file}", ExitCode.NOT_FOUND) from None
    except OSError as error:
        raise CommandFailed(f"{args.file} cannot be read: {error.strerror or error}", ExitCode.FAILED) from error


@contextmanager
def _opened(args: argparse.Namespace) -> Iterator[BinaryIO]:
    if str(args.file) == "-":
        yield io.BytesIO(sys.stdin.buffer.read(MOST_BYTES + 1))
        return
    with args.file.open("rb") as stream:
        yield stream


def _send(
    args: argparse.Namespace, api: ApiClient, name: str, examples: Sequence[Example], progress: Progress
) -> dict[str, Any]:
    pieces: list[str] = []
    sent = 0
    for lines in _pieces(examples):
        kept = api.request("POST", f"{path_of(name)}/pieces", body=b"\n".join(lines), headers=_JSONL).json()
        pieces.append(kept["piece"])
        sent += len(lines)
        progress(f"sent {sent:,} of {len(examples):,} examples", sent)
    progress("looking for duplicates, writing the version", len(examples))
    how = {"note": args.note, "if_version": args.if_version, "replace": args.replace, "dry_run": args.dry_run}
    near: dict[str, Any] = {"near": True, "dedupe": args.dedupe}
    near |= {} if args.threshold is None else {"threshold": args.threshold}
    told: dict[str, Any] = api.post(f"{path_of(name)}/examples", {"pieces": pieces, "create": True, **how, **near})
    return told


_JSONL: Final = {"Content-Type": "application/x-ndjson"}


def _pieces(examples: Sequence[Example]) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    size = 0
    for example in examples:
        line = line_of(example)
        if lines and size + len(line) > PIECE_BYTES:
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield lines


def _say_skipped(read: Imported) -> None:
    from server.cli.terminal import plain

    if not read.n_skipped:
        return
    print(f"{read.n_skipped:,} bad lines were left out:", file=sys.stderr)
    for one in read.skipped[:_MOST_SAID]:
        print(f"  line {one.line:,}: {plain(one.why, 300)}", file=sys.stderr)
    if read.n_skipped > _MOST_SAID:
        print(f"  and {read.n_skipped - _MOST_SAID:,} more (--json lists them)", file=sys.stderr)


@contextmanager
def _progress(args: argparse.Namespace) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, disable=args.json or not console.is_terminal, transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done: bars.update(task, description=what, completed=done)
