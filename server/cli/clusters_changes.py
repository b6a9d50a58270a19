"""What is done with a cluster: frozen into a dataset, watched, watched no more."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import ApiClient
from server.cli.filters import positive
from server.cli.outcome import ExitCode

_PATH: Final = "/api/v1/clusters"
_ID: Final = re.compile(r"[Cc]-[0-9]{1,20}")


def cluster_id(text: str) -> str:
    """A cluster's id; a small c will do. Raises argparse's error for another word, which may be one of the API's."""
    if not _ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no cluster's id; they look like C-0042")
    return text.upper()


def freeze_arguments(made: argparse.ArgumentParser) -> None:
    """ID, --dataset, --split, --with-answer, --limit and --dry-run."""
    made.add_argument("cluster", type=cluster_id, metavar="ID", help="such as C-0042")
    made.add_argument("--dataset", required=True, metavar="NAME", help="gets them as its next version, or is made")
    made.add_argument("--split", metavar="NAME", help="of the examples (default: all)")
    made.add_argument("--with-answer", action="store_true", help="what the agent said is what is expected")
    made.add_argument("--limit", type=positive, default=1000, metavar="N", help="the latest N (default: 1000)")
    made.add_argument("--dry-run", action="store_true", help="say what would be added, change nothing")


def freeze(args: argparse.Namespace, api: ApiClient) -> int:
    """Adds a cluster's sessions to a dataset. Raises CommandFailed."""
    from server.cli.rendering import cell, console, print_json

    body: dict[str, Any] = {"dataset": args.dataset, "with_answer": args.with_answer, "limit": args.limit}
    body |= {"dry_run": args.dry_run} | ({"split_name": args.split} if args.split else {})
    told = api.post(f"{_path(args)}/freeze", body)
    if args.json:
        print_json(told)
        return ExitCode.OK
    done = "would add" if told["dry_run"] else "added"
    same = f", {told['n_same']:,} were there" if told["n_same"] else ""
    out = console()
    out.print(
        cell(
            f"{done} {told['n_added']:,} of the {_looked_at(told)} sessions of {told['cluster']} to dataset "
            f"{told['dataset']} ({_version(told)}){same}",
            400,
        )
    )
    for line in told["says"]:
        out.print(cell(line, 400))
    return ExitCode.OK


def _version(told: dict[str, Any]) -> str:
    """'version 3'; of a dry run which one it would be."""
    if not told["dry_run"]:
        return f"version {told['version']}"
    if not told["n_added"] and not told["n_replaced"]:
        return f"version {told['version']} as it is" if told["version"] else "no version"
    return f"as version {told['version'] + 1}"


def _looked_at(told: dict[str, Any]) -> str:
    """'8', or 'latest 10,000 (there are 12,345)' where one freeze does not look at all."""
    n = f"{told['n_sessions']:,}"
    return f"latest {n} (there are {told['of']:,})" if told["capped"] else n


def watch_arguments(made: argparse.ArgumentParser) -> None:
    """ID, --min-ratio and --webhook."""
    about = "such as C-0042; without it those watched are listed"
    made.add_argument("cluster", type=cluster_id, nargs="?", metavar="ID", help=about)
    made.add_argument("--min-ratio", type=float, metavar="R", help="how many times as often (default: 1.5)")
    made.add_argument("--webhook", metavar="ADDRESS", help="also told, beside those of the server's settings")


def watch(args: argparse.Namespace, api: ApiClient) -> int:
    """Watches a cluster, or lists those that are. Raises CommandFailed."""
    from server.cli.clusters_shown import print_watches
    from server.cli.rendering import print_json

    if args.cluster is None:
        found = api.get(f"{_PATH}/watches")
        if args.json:
            print_json(found)
        elif not found["items"]:
            print("no cluster is watched: assay clusters watch ID", file=sys.stderr)
        else:
            print_watches(found["items"])
        return ExitCode.OK
    body = {"min_ratio": args.min_ratio, "url": args.webhook}
    told = api.put(f"{_path(args)}/watch", {name: value for name, value in body.items() if value is not None})
    if args.json:
        print_json(told)
    else:
        print_watches([told])
    return ExitCode.OK


def unwatch(args: argparse.Namespace, api: ApiClient) -> int:
    """Watches a cluster no more. Raises CommandFailed."""
    from server.cli.rendering import print_json

    told = api.delete(f"{_path(args)}/watch")
    if args.json:
        print_json(told)
    else:
        print(f"{told['cluster']['id']} is watched no more; its alerts stay")
    return ExitCode.OK


def _path(args: argparse.Namespace) -> str:
    return f"{_PATH}/{quote(args.cluster, safe='')}"
