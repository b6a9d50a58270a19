"""A data folder in a checkout is ignored by git, whatever its name: it holds keys and people's words."""

from __future__ import annotations

import subprocess
from pathlib import Path

from server.bootstrap import bootstrap
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, running_shell
from tests.store.build import agent_trace, fill


def test_git_sees_neither_a_data_folder_nor_a_restored_one(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with running_shell(tmp_path / "mine") as shell:
        data, restored = shell.services.settings.data, tmp_path / "restored"
        fill(shell.services.lake, agent_trace(1, tenant=AIRLINE))
        bootstrap(shell.services.settings)
    outside = tmp_path / ".git" / "monday.tar.zst"  # git looks at nothing in there
    assert main(["backup", str(outside), "--data", str(data)]) == ExitCode.OK
    assert main(["restore", str(outside), "--data", str(restored)]) == ExitCode.OK
    assert (restored / "credentials.json").is_file()
    seen = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert seen.stdout == ""
