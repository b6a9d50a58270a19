"""The runtime tells Assay what its release is; whether it is there or not, turns go on."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from agent_runtime.announce import Announcer
from agent_runtime.compose import open_runtime
from agent_runtime.records import Parameters, Release, TurnInput, TurnStatus
from agent_runtime.settings import Settings
from tests.stack import Stack, free_port_base
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _no_model_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


async def _one_turn(settings: Settings) -> TurnStatus:
    async with open_runtime(settings) as running:
        given = TurnInput(session_id="s", user_id=running.demo_user, text="What is your return policy?", message_id="m")
        return (await running.runtime.turn(given)).status


def test_an_assay_that_is_not_there_breaks_no_turn(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port_base(1)}"
    assert asyncio.run(_one_turn(Settings(data=tmp_path, assay_url=nobody))) is TurnStatus.ANSWERED
    assert asyncio.run(_one_turn(Settings(data=tmp_path, assay_url="no address"))) is TurnStatus.ANSWERED


def test_it_is_tried_again_and_given_up_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def announced() -> None:
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port_base(1)}")
        announcer = Announcer(client, waits_s=(0.0, 0.0))
        announcer.tell(Release(name="v9"))
        announcer.tell(Release(name="v9"))
        await asyncio.gather(*announcer._tasks.values())
        await announcer.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(announced())
    (line,) = [record.getMessage() for record in caplog.records if record.name == "agent_runtime.announce"]
    assert "release 'v9' is not registered" in line


def test_assay_knows_the_release_of_a_running_agent(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stack.client() as client:
        settings = Settings(data=tmp_path, assay_url=stack.url, assay_api_key=SecretStr(stack.key), release="r7")

        async def living() -> None:
            async with open_runtime(settings) as running:
                await asyncio.to_thread(wait_until, known, 30, "the release to be registered")
                running.runtime._announce(Release(name="r7", parameters=Parameters(temperature=1.0)))

        def asked() -> httpx.Response:
            return client.get("/api/v1/releases/larkspur-support/r7", params={"since": "1h"})

        def known() -> bool:
            return asked().is_success

        asyncio.run(living())
        row = asked().json()
        assert (row["registered"], row["model"], row["provider"], row["prompt_version"]) == (
            True,
            "sim-1",
            "openai",
            "1",
        )
        assert row["parameters"]["refund_cap_usd"] == "200"
        assert row["parameters"]["limits"]["steps"] == 12
        other = settings.model_copy(update={"model": "sim-2"})
        with caplog.at_level(logging.WARNING):
            assert asyncio.run(_one_turn(other)) is TurnStatus.ANSWERED
        assert "AGENT_RELEASE" in caplog.text
        assert asked().json()["model"] == "sim-1"
