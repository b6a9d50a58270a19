"""Commands made from a table: each subcommand's help says what it does, and its example can be typed."""

from __future__ import annotations

import argparse
import shlex

import pytest

from server.cli import alerts, clusters, incidents, jobs, monitors
from server.cli.main import main
from server.cli.outcome import ExitCode

COMMANDS = {"alerts": alerts, "clusters": clusters, "incidents": incidents, "jobs": jobs, "monitors": monitors}
ACTIONS = [(command, action) for command, module in COMMANDS.items() for action in module.ACTIONS]


@pytest.mark.parametrize(("command", "action"), ACTIONS)
def test_a_subcommand_explains_itself(command: str, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    COMMANDS[command].add_arguments(parser)
    about, _, _, example = COMMANDS[command].ACTIONS[action]
    assert parser.parse_args([action, *shlex.split(example), "--json"]).json
    assert main([command, action, "--help"]) == ExitCode.OK
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{about[0].upper()}{about[1:]}." in shown
    assert f"example: assay {command} {action} {example}".rstrip() in shown
