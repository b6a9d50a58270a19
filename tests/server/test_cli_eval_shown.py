"""What `assay eval run` says while a run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from server.cli.eval_shown import follow


def test_a_run_is_named_where_there_is_no_terminal_too(capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, Any] = {"run_id": "run_1", "status": "waiting", "n_trials": 8, "n_scored": 0, "n_failed": 0}
    ended = told | {"status": "done", "n_scored": 8, "cost_usd": 0.0}
    assert follow(lambda: ended, told) == ended
    said = capsys.readouterr()
    assert said.err.startswith("run_1: 8 trials; Ctrl-C leaves it going in the server\n")
    assert said.out == ""
