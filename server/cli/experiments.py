"""Experiments on live traffic: plan one, create and start it, look at it, and analyze a table that came from elsewhere.

A definition never changes: `create` with the same name and other content makes the next version.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from server.cli import (
    experiments_analyze,
    experiments_changes,
    experiments_create,
    experiments_list,
    experiments_plan,
    experiments_show,
)
from server.cli.actions import add_action
from server.cli.connection import add_connection_arguments, add_json_argument

Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int]

# action -> (one line of help, its arguments, what it does, whether it asks a server: then it has --url, --data, ...).
# Every action has --json. The modules named here are imported by each of them: keep what is heavy inside `run`.
ACTIONS: Final[dict[str, tuple[str, Add, Run, bool]]] = {
    "plan": ("how many units an effect takes", experiments_plan.add_arguments, experiments_plan.run, False),
    "create": (
        *("register an experiment, or the next version of one", experiments_create.add_arguments),
        *(experiments_create.run, True),
    ),
    "list": ("the experiments and how they stand", experiments_list.list_arguments, experiments_list.run_list, True),
    "show": ("what it found by now, and what to do", experiments_show.show_arguments, experiments_show.show, True),
    "start": ("begin to assign units", experiments_changes.name_arguments, experiments_changes.run_start, True),
    "ramp": ("let more units in", experiments_changes.ramp_arguments, experiments_changes.run_ramp, True),
    "stop": ("end it for ever", experiments_changes.stop_arguments, experiments_changes.run_stop, True),
    "override": (
        *("give a tester a variant", experiments_changes.override_arguments, experiments_changes.run_override, True),
    ),
    "analyze": (
        *("any table of outcomes, without a server", experiments_analyze.analyze_arguments),
        *(experiments_analyze.analyze, False),
    ),
    "assign": ("which variant a unit gets, and why", experiments_list.assign_arguments, experiments_list.assign, True),
}


EXAMPLES: Final = {
    "plan": "--metric resolution --baseline 0.86 --mde 0.03 --users 800/day --sessions-per-user 2.3",
    "create": (
        "refund-prompt --app shop --control v1 --treatment v2 --split 50/50 --primary resolution "
        "--guardrail safety,cost,p95_latency"
    ),
    "list": "--app shop",
    "show": "refund-prompt",
    "start": "refund-prompt --coverage 10%",
    "ramp": "refund-prompt 50%",
    "stop": 'refund-prompt --reason "shipped v2"',
    "override": "refund-prompt u-17 treatment",
    "analyze": "FILE.csv --unit user --variant arm --outcome success --strata department",
    "assign": "u-17 --app shop",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each of ACTIONS."""
    actions = parser.add_subparsers(dest="action", required=True, metavar=f"{{{','.join(ACTIONS)}}}")
    for name, (about, add, _, connects) in ACTIONS.items():
        made = add_action(actions, "experiments", name, about, EXAMPLES[name])
        add(made)
        if connects:
            add_connection_arguments(made)
        add_json_argument(made)


def run(args: argparse.Namespace) -> int:
    """Does what the action says. Raises CommandFailed."""
    return ACTIONS[args.action][2](args)
