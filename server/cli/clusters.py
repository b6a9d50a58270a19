"""Clusters of sessions: find them, look at them, freeze one into a dataset, and be told when one grows.

A run goes on in the server: Ctrl-C leaves it running, and `assay clusters runs RUN --wait` comes back to it.
Exit codes of run and runs --wait: 0 it is done, 1 it failed or was cancelled.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final
from urllib.parse import quote

from server.cli import clusters_changes
from server.cli.actions import Actions, add_actions
from server.cli.connection import ApiClient, client_of
from server.cli.filters import positive, since
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 120.0  # counts over many stored sessions
PATH: Final = "/api/v1/clusters"
SORTS: Final = ("failures", "size", "growth", "cost", "newest")
EMBEDDERS: Final = ("auto", "minilm", "tfidf", "endpoint")
METHODS: Final = ("auto", "umap_hdbscan", "evoc")
EXITS: Final = {"done": ExitCode.OK}
_PARAMS: Final = (
    *("embedder", "method", "n_neighbors", "n_components", "min_cluster_size", "min_samples", "n_resamples"),
    *("seed", "reassign_at"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each of ACTIONS."""
    add_actions(parser, "clusters", ACTIONS)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    return ACTIONS[args.action][2](args, client_of(args, PATIENCE_S))


def _run_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--app", required=True, help="whose sessions")
    made.add_argument("--since", type=since, help="sessions that began so long ago at most (default: 7d)")
    made.add_argument("--start", help="instead of --since: an RFC 3339 time")
    made.add_argument("--end", help="an RFC 3339 time (default: an hour from now, for clients with a fast clock)")
    made.add_argument(
        "--failure", metavar="EVALUATOR", help="its score below 0.5 says that a session failed (default: the outcome)"
    )
    made.add_argument("--detach", action="store_true", help="do not follow it")
    made.add_argument("--dry-run", action="store_true", help="say what it would take, begin nothing")
    how = made.add_argument_group("parameters (docs/clusters.md)")
    how.add_argument("--embedder", choices=EMBEDDERS, help="what makes vectors of texts (default: the server's)")
    how.add_argument("--method", choices=METHODS, help="default: auto, by the number of sessions")
    how.add_argument("--min-cluster-size", type=positive, metavar="N", help="default: by the number of sessions")
    how.add_argument("--min-samples", type=positive, metavar="N", help="default: by the smallest cluster")
    how.add_argument("--n-neighbors", type=positive, metavar="N", help="of the reduction (default: 15)")
    how.add_argument("--n-components", type=positive, metavar="N", help="dimensions to cluster in (default: 10)")
    how.add_argument("--n-resamples", type=int, metavar="N", help="of the stability; 0: not known (default: 10)")
    how.add_argument("--reassign", action="store_true", help="give noise to the cluster of its neighbours")
    how.add_argument("--reassign-at", type=float, metavar="SHARE", help="of neighbours that agree (default: 0.5)")
    how.add_argument("--seed", type=int, metavar="N", help="default: 0")
    how.add_argument(
        "--weight", action="append", metavar="FACET=W", help="of intent (default: 1), actions (1) or outcome (4)"
    )


def _run(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_runs import print_forecast
    from server.cli.rendering import print_json

    body = {name: getattr(args, name) for name in ("app", "since", "start", "end", "failure")}
    body = {name: value for name, value in body.items() if value is not None} | {"params": _params(args)}
    if args.dry_run:
        told = api.post(f"{PATH}/runs", {**body, "dry_run": True})
        if args.json:
            print_json(told)
        else:
            print_forecast(told)
        return ExitCode.OK
    told = api.post(f"{PATH}/runs", body)
    if not args.detach:
        return _followed(args, api, told)
    if args.json:
        print_json(told)
    else:
        print(told["id"])
    return ExitCode.OK


def _params(args: argparse.Namespace) -> dict[str, Any]:
    said = {name: getattr(args, name) for name in _PARAMS if getattr(args, name) is not None}
    said |= {"reassign": True} if args.reassign else {}
    weights = {}
    for each in args.weight or []:
        facet, separator, weight = each.partition("=")
        try:
            weights[facet] = float(weight)
        except ValueError:
            separator = ""
        if not separator:
            raise CommandFailed(f"{each[:40]!r} is no weight; write FACET=W, such as actions=2", ExitCode.USAGE)
    return said | ({"weights": weights} if weights else {})


def _runs_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("run", nargs="?", metavar="RUN", help="one run, with its stages")
    made.add_argument("--app", help="only this app's")
    made.add_argument("--wait", action="store_true", help="until the run is over")
    made.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def _runs(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_runs import print_run, print_runs
    from server.cli.rendering import print_json

    if args.wait and args.run is None:
        raise CommandFailed("--wait is for one run: name it", ExitCode.USAGE)
    if args.run is None:
        found = api.get(f"{PATH}/runs", {"app": args.app, "limit": args.limit})
        if args.json:
            print_json(found)
        elif not found["items"]:
            print("no runs: begin one with assay clusters run --app APP", file=sys.stderr)
        else:
            print_runs(found["items"])
        return ExitCode.OK
    told = api.get(f"{PATH}/runs/{quote(args.run, safe='')}")
    if args.wait:
        return _followed(args, api, told)
    if args.json:
        print_json(told)
    else:
        print_run(told)
    return ExitCode.OK


def _cancel_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("run", metavar="RUN")


def _cancel(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_runs import print_run
    from server.cli.rendering import print_json

    told = api.post(f"{PATH}/runs/{quote(args.run, safe='')}/cancel", {})
    if args.json:
        print_json(told)
    else:
        print_run(told)
    return ExitCode.OK


def _list_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--app", help="whose clusters (default: the only app with runs)")
    made.add_argument("--state", metavar="A,B", help="born, continued, grown, split, merged, died, fixed, regressed")
    made.add_argument(
        "--sort",
        choices=SORTS,
        default="failures",
        help="what comes first (default: failures beyond as many at the rest's rate); the line below the list says it",
    )
    made.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_shown import print_clusters
    from server.cli.rendering import print_json

    asked = {"app": args.app, "state": args.state, "sort": args.sort, "limit": args.limit}
    told = api.get(PATH, asked)
    if args.json:
        print_json(told)
    else:
        print_clusters(told, args.sort)
    return ExitCode.OK


def _id_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("cluster", type=clusters_changes.cluster_id, metavar="ID", help="such as C-0042")


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_shown import print_cluster
    from server.cli.rendering import print_json

    told = api.get(f"{PATH}/{quote(args.cluster, safe='')}")
    if args.json:
        print_json(told)
    else:
        print_cluster(told)
    return ExitCode.OK


def _sessions_arguments(made: argparse.ArgumentParser) -> None:
    _id_arguments(made)
    made.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def _sessions(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_shown import print_sessions
    from server.cli.rendering import print_json

    items = list(api.items(f"{PATH}/{quote(args.cluster, safe='')}/sessions", {}, args.limit))
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no session is in this cluster now", file=sys.stderr)
    else:
        print_sessions(items)
    return ExitCode.OK


def _map_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--app", help="whose sessions (default: the only app with runs)")
    made.add_argument("--run", metavar="RUN", help="as of this run (default: the newest)")
    made.add_argument("--most", type=positive, default=20_000, metavar="N", help="sessions (default: 20000)")


def _map(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_shown import print_map
    from server.cli.rendering import print_json

    told = api.get(f"{PATH}/map", {"app": args.app, "run": args.run, "most": args.most})
    if args.json:
        print_json(told)
    else:
        print_map(told)
    return ExitCode.OK


def _emerging_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--app", help="only this app's")
    made.add_argument("--since", type=since, default="30d", help="how far back (default: 30d)")


def _emerging(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.clusters_shown import print_emerging
    from server.cli.rendering import print_json

    told = api.get(f"{PATH}/emerging", {"app": args.app, "since": args.since})
    if args.json:
        print_json(told)
    else:
        print_emerging(told)
    return ExitCode.OK


def _followed(args: argparse.Namespace, api: ApiClient, told: dict[str, Any]) -> int:
    """Shows how a run goes on until it is over, then what came of it."""
    from server.cli.clusters_runs import follow, print_run
    from server.cli.rendering import print_json

    path = f"{PATH}/runs/{quote(told['id'], safe='')}"
    try:
        told = follow(lambda: api.get(path), told)
    except KeyboardInterrupt:
        print(
            f"\n{told['id']} goes on in the server\ncome back to it with assay clusters runs {told['id']} --wait",
            file=sys.stderr,
        )
        raise
    if args.json:
        print_json(told)
    else:
        print_run(told)
    return EXITS.get(told["status"], ExitCode.FAILED)


# action -> (one line of help, its arguments, what it does, an example)
ACTIONS: Final[Actions] = {
    "run": ("find the clusters of an app's sessions", _run_arguments, _run, "--app shop --since 7d"),
    "runs": ("the runs, or one with its stages", _runs_arguments, _runs, "--app shop"),
    "cancel": ("end a run where it is; its embeddings are kept", _cancel_arguments, _cancel, "RUN"),
    "list": ("the clusters as they stand", _list_arguments, _list, "--state born,growing --sort failures"),
    "show": ("one cluster with all that is known of it", _id_arguments, _show, "C-0042"),
    "sessions": ("the sessions that are in a cluster now", _sessions_arguments, _sessions, "C-0042"),
    "map": ("every session's place in two dimensions", _map_arguments, _map, "--app shop --json"),
    "emerging": ("new and growing failures", _emerging_arguments, _emerging, "--app shop"),
    "freeze": (
        *("make a cluster's sessions a dataset", clusters_changes.freeze_arguments, clusters_changes.freeze),
        "C-0042 --dataset refund-loops",
    ),
    "watch": (
        *("be told when a cluster grows; without an id: those watched", clusters_changes.watch_arguments),
        *(clusters_changes.watch, "C-0042"),
    ),
    "unwatch": ("watch a cluster no more", _id_arguments, clusters_changes.unwatch, "C-0042"),
}
