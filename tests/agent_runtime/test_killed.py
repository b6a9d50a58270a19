"""A process that is killed anywhere: its turn ends as if it had not been, and what was done was done once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agent_runtime.records import TurnResult
from tests.agent_runtime.killed import STORIES, opened
from tests.agent_runtime.test_checkpoints import ROOT


def told(folder: Path, story: str) -> tuple[object, ...]:
    """Tells the story, to its end or again after a kill: how it ends and what the shop has done, each so often."""
    made, go = opened(folder, story)

    async def whole() -> TurnResult:
        await made.runtime.start()
        try:
            return await go(made)
        finally:
            await made.runtime.close()

    result = asyncio.run(whole())
    return result.status, result.reply, Counter(made.shop.rows("SELECT tool, args FROM effects"))


@pytest.mark.parametrize("story", sorted(STORIES))
def test_wherever_it_is_killed_the_story_ends_the_same(tmp_path: Path, story: str) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    expected = told(tmp_path / "whole", story)
    subprocess.run(
        [sys.executable, "-m", "tests.agent_runtime.killed", str(tmp_path / "killed"), story],
        cwd=ROOT,
        check=True,
        timeout=300,
    )
    folders = sorted(tmp_path.glob("killed/*"), key=lambda folder: int(folder.name))
    assert len(folders) > 10
    assert {folder.name: told(folder, story) for folder in folders} == {folder.name: expected for folder in folders}
