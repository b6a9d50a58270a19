"""`assay gate verify` and `assay gate check`: what needs no server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from server.cli.gate import EXITS, print_metrics, read_text
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain


def verify_bundle(args: argparse.Namespace) -> int:
    """Computes a decision again and ends as it did. Raises CommandFailed: 2 for what is no bundle, 3 for an altered
    one."""
    from core.errors import Corrupt, InvalidInput
    from experiments.gates.bundle import MOST_BYTES, verify
    from experiments.gates.records import as_json
    from server.gate_policy import read_policy

    path = _file(args, "verify", "BUNDLE")
    text = read_text(path, MOST_BYTES)
    try:
        bundle = json.loads(text)
    except (ValueError, RecursionError):
        raise CommandFailed(f"{path} is not JSON", ExitCode.USAGE) from None
    try:
        found = as_json(verify(bundle, read_policy))
    except Corrupt as error:
        raise CommandFailed(f"{path}: {error}", ExitCode.INCONCLUSIVE) from error
    except InvalidInput as error:
        raise CommandFailed(f"{path}: {error}", ExitCode.USAGE) from error
    if args.json:
        from server.cli.rendering import print_json

        print_json({"verified": True, "digest": bundle["digest"], **found})
        return EXITS[found["decision"]]
    app, candidate, baseline = (plain(found["asked"][name], 200) for name in ("app", "candidate", "baseline"))
    print(f"verified: {found['decision']}  {app}: {candidate} against {baseline}")
    print_metrics(found["metrics"])
    for one in found["reasons"]:
        print(f"{'-' if one['blocks'] else '  note:'} {plain(one['text'], 600)}")
    print(f"digest {bundle['digest']}: compare it with the one that the server keeps", file=sys.stderr)
    return EXITS[found["decision"]]


def check_policy(args: argparse.Namespace) -> int:
    """Says what is wrong with a policy's file; 2 when anything is."""
    from evaluators.catalogue import BY_NAME
    from evaluators.pairing import UNITS_OF_TRIALS
    from experiments.gates.policy import schema
    from server.gate_policy import BadPolicy, read_policy

    if args.schema:
        print(json.dumps(schema(), indent=2))
        return ExitCode.OK
    path = _file(args, "check", "POLICY")
    text = read_text(path)
    problems: tuple[str, ...] = ()
    said = ""
    try:
        policy = read_policy(text, known={*BY_NAME, *UNITS_OF_TRIALS, *args.metric}, where=str(path))
        said = f"{path} is good: {len(policy.metrics)} metrics at alpha {policy.alpha:g}"
    except BadPolicy as error:
        problems = error.problems
    if args.json:
        print(json.dumps({"file": str(path), "good": not problems, "problems": list(problems)}, indent=2))
    else:
        for problem in problems:
            print(plain(problem), file=sys.stderr)
        if said:
            print(plain(said))
    return ExitCode.USAGE if problems else ExitCode.OK


def _file(args: argparse.Namespace, action: str, named: str) -> Path:
    if args.file is None:
        raise CommandFailed(f"assay gate {action} needs a file: assay gate {action} {named}", ExitCode.USAGE)
    found: Path = args.file
    return found
