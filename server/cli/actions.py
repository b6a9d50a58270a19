"""Commands with subcommands that ask a server: each from one line of a table, with its description and an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument

Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace, ApiClient], int]
Actions = Mapping[str, tuple[str, Add, Run, str]]
"""By name: what it does, what adds its arguments, what does it, and the arguments of an example."""


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], command: str, name: str, about: str, example: str
) -> argparse.ArgumentParser:
    """The parser of one subcommand, whose help says what it does and shows an example."""
    return actions.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"example: assay {command} {name} {example}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_actions(parser: argparse.ArgumentParser, command: str, table: Actions) -> None:
    """A subcommand for each line of `table`, with --url, --key and --json."""
    actions = parser.add_subparsers(dest="action", required=True, metavar=f"{{{','.join(table)}}}")
    for name, (about, add, _, example) in table.items():
        made = add_action(actions, command, name, about, example)
        add(made)
        add_connection_arguments(made)
        add_json_argument(made)


def no_arguments(made: argparse.ArgumentParser) -> None:
    """Of a subcommand that takes none of its own."""
