"""Tells Assay what a release is, over HTTP and beside the turns: none of them waits for it or fails with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

import httpx

from agent_runtime.errors import BackendUnavailable, InvalidInput, RuntimeFailed
from agent_runtime.records import Release
from agent_runtime.settings import Settings

_log = logging.getLogger(__name__)
_TIMEOUT_S: Final = 30.0
_WAITS_S: Final = (1.0, 5.0, 30.0)  # before it is tried again


def client_of(settings: Settings) -> httpx.AsyncClient | None:
    """A client of the Assay that the settings name; None when they name none."""
    if not settings.assay_url:
        return None
    key = settings.assay_api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    return httpx.AsyncClient(base_url=settings.assay_url, headers=headers, timeout=_TIMEOUT_S)


async def register(assay: httpx.AsyncClient, releases: Sequence[Release]) -> int:
    """Registers the releases with Assay; how many it knows now. An Assay without releases is fine.

    Raises BackendUnavailable: it does not answer, or refuses; InvalidInput: the name is taken by other content.
    """
    known = 0
    for release in releases:
        try:
            answer = await assay.post("/api/v1/releases", json=_said(release))
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"Assay could not be reached: {error!r}") from None
        if answer.status_code == httpx.codes.CONFLICT:
            raise InvalidInput(f"release {release.name!r} is registered already with other content; take another name")
        if answer.status_code not in (httpx.codes.OK, httpx.codes.CREATED, httpx.codes.NOT_FOUND):
            raise BackendUnavailable(f"Assay answered {answer.status_code} to a release: {answer.text[:500]}")
        known += answer.status_code != httpx.codes.NOT_FOUND
    return known


class Announcer:
    """Registers each release once, in the background; what does not succeed is a line of the log."""

    def __init__(self, assay: httpx.AsyncClient, waits_s: Sequence[float] = _WAITS_S) -> None:
        """`waits_s` are the pauses before it is tried again. The client is closed with this."""
        self._assay = assay
        self._waits_s = waits_s
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def tell(self, release: Release) -> None:
        """Begins to register a release, unless that has begun before. Call it in a running event loop."""
        key = (release.app, release.name)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._register(release))

    async def close(self) -> None:
        """Gives up what has not succeeded."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._assay.aclose()

    async def _register(self, release: Release) -> None:
        for wait_s in (*self._waits_s, None):
            try:
                await register(self._assay, [release])
                return
            except InvalidInput as error:
                _log.warning("%s (AGENT_RELEASE)", error)
                return
            except (RuntimeFailed, httpx.InvalidURL) as error:
                if wait_s is None:
                    _log.warning("release %r is not registered: %s", release.name, error)
                    return
            await asyncio.sleep(wait_s)


def _said(release: Release) -> dict[str, Any]:
    return {
        "app": release.app,
        "name": release.name,
        "variant": release.variant,
        "model": release.model,
        "provider": release.provider,
        "prompt_version": release.prompt_version,
        "parameters": _plain(asdict(release.parameters)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Decimal) else value
