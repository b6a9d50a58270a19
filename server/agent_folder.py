"""What the reference agent keeps of a user in the data folder. It is a program of its own: a child is asked."""

from __future__ import annotations

import json
import subprocess
from typing import Final

from core.errors import StorageFailed
from core.ids import TenantId
from server.settings import Settings

_FILES: Final = ("agent.db", "world.db")


class AgentNotReached(StorageFailed):
    """The reference agent's files in the data folder may hold something of the user. The erasure stays under way."""

    code = "agent_not_reached"


def rows_in_agent(settings: Settings, tenant: TenantId, user_id: str, *, yes: bool = False) -> dict[str, int]:
    """Rows of a user by table in `agent` of the data folder, empty without one; with `yes` they are deleted.

    Raises AgentNotReached.
    """
    from server.cli.launching import ask_agent
    from server.cli.outcome import CommandFailed

    folder = settings.data / "agent"
    if not any((folder / name).exists() for name in _FILES) or not user_id.isprintable():  # it takes no such ids
        return {}
    words = ["forget", "--user", "-", "--tenant", str(tenant), "--json", *(["--yes"] if yes else [])]
    try:
        done = ask_agent(words, folder=folder, said=f"{user_id}\n")
    except (CommandFailed, OSError) as error:
        raise AgentNotReached(f"{folder} was not reached: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise AgentNotReached(f"{folder} was not reached: the agent did not answer in {error.timeout:.0f} s") from error
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].removeprefix("agent_runtime: ")
        raise AgentNotReached(f"{folder} was not reached: {said}; then give the same command again")
    return {str(table): int(n) for table, n in json.loads(done.stdout)["rows"].items() if n}
