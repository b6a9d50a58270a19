"""`python -m agent_runtime forget`: a user leaves a folder whole, whether a runtime works in it or not.

The runtime's own file is changed under the folder's lock; where a serving runtime has it, through that one's door. The
simulated shop's file, which several processes may have open, is changed beside them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from agent_runtime import checkpoints
from agent_runtime.checkpoints import Checkpoints
from agent_runtime.errors import CorruptState, FolderInUse, RuntimeFailed
from agent_runtime.memory import tables
from agent_runtime.memory.stored import StoredMemory
from agent_runtime.runtime import SCHEMAS
from agent_runtime.settings import Settings
from agent_runtime.simulation.world import World
from agent_runtime.state import StateFile, door_of

_DOOR_S: Final = 240.0  # a door waits for the user's turns before it answers


def count(settings: Settings, user_id: str, tenant: str) -> dict[str, int]:
    """Rows of a user by table, those of the shop as `shop.TABLE`. Changes nothing. Raises CorruptState."""
    found: dict[str, int] = {}
    file = settings.data / "agent.db"
    if file.exists():
        try:
            with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                found |= checkpoints.count_user(connection, tenant, user_id)
                found |= tables.count_user(connection, tenant, user_id)
        except sqlite3.DatabaseError as error:
            raise CorruptState(f"{file} cannot be read: {error}") from error
    return found | _in_shop(settings, user_id, tenant, World.count)


async def forget(settings: Settings, user_id: str, tenant: str) -> dict[str, int]:
    """Deletes what `count` counts, and every byte of it; gives rows by table. Again, it finds nothing.

    Raises FolderInUse (a runtime without a door has it, a conversation in a terminal say), CorruptState, RuntimeFailed.
    """
    found: dict[str, int] = {}
    if (settings.data / "agent.db").exists():
        try:
            found |= await _by_hand(settings.data, user_id, tenant)
        except FolderInUse as taken:
            door = door_of(settings.data)
            if not door:
                raise FolderInUse(f"{settings.data} is in use by an agent runtime; end it first") from taken
            found |= await _by_door(settings, door, user_id, tenant)
    return found | _in_shop(settings, user_id, tenant, World.forget)


async def _by_hand(folder: Path, user_id: str, tenant: str) -> dict[str, int]:
    state = StateFile(folder, (*SCHEMAS, tables.SCHEMA))
    try:
        turns = Checkpoints(state)
        sessions = await turns.sessions_of(tenant, user_id)
        found = await turns.forget(tenant, user_id, sessions)
        found |= await StoredMemory(state).forget(tenant, user_id)
        await state.vacuum()
    finally:
        state.close()
    log = state.path.with_name(f"{state.path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise RuntimeFailed(f"{state.path} is read elsewhere: what was deleted is still in its write-ahead log")
    return found


async def _by_door(settings: Settings, door: str, user_id: str, tenant: str) -> dict[str, int]:
    key = settings.api_key
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=_DOOR_S, headers=headers, trust_env=False) as client:
            answer = await client.delete(f"{door}/v1/users/{quote(user_id, safe='')}", params={"tenant": tenant})
            said: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise RuntimeFailed(f"the agent at {door} does not answer: {error or type(error).__name__}") from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise RuntimeFailed(f"the agent at {door} asks for its key: set AGENT_API_KEY")
    if not answer.is_success:
        raise RuntimeFailed(f"the agent at {door} refused: {said.get('error', {}).get('message', answer.status_code)}")
    return {str(table): int(n) for table, n in said["deleted"].items()}


def _in_shop(settings: Settings, user_id: str, tenant: str, work: Any) -> dict[str, int]:
    """The shop is one tenant's, and knows users by their id alone."""
    file = settings.data / "world.db"
    if tenant != settings.tenant or not file.exists():
        return {}
    with closing(World.open(file)) as world:
        try:
            found: dict[str, int] = work(world, user_id)
        except sqlite3.Error as error:
            raise RuntimeFailed(f"{file} cannot be changed: {error}") from error
    return {f"shop.{table}": n for table, n in found.items()}
