"""An empty list says which of window and filters kept everything out, and never advises what would not help."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import agent_trace, fill

WINDOW = ("--start", "2026-09-01T00:00:00Z", "--end", "2026-10-01T00:00:00Z")
BEFORE = ("--start", "2025-09-01T00:00:00Z", "--end", "2025-10-01T00:00:00Z")
SEEN = "app support was last seen at 2026-09-21 14:13"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("empty")) as running:
        fill(running.services.lake, agent_trace(1, tenant=AIRLINE, app="support", session_id=None))
        yield running


@pytest.fixture(scope="module")
def url(shell: Shell) -> Iterator[str]:
    with served(shell.services) as url:
        yield url


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("traces", *WINDOW, "--release", "none"), "there are traces in that window: drop a filter (--release)"),
        (
            ("traces", *WINDOW, "--app", "support", "--session-id", "s", "--attr", "a=b"),
            "app support has traces in that window: drop a filter (--session-id, --attr)",
        ),
        (
            ("sessions", "--since", "all", "--user-id", "u"),
            "there are traces in that window: drop a filter (--user-id)",
        ),
        (("sessions", *WINDOW), "there are traces in that window, but none that names its session"),
        (("traces", "--since", "1m", "--release", "none"), f"{SEEN}:21 UTC: widen --since"),
        (("traces", *BEFORE), f"{SEEN}:21 UTC: choose another --start or --end"),
        (("traces", "--since", "all", "--app", "other"), "no traces of all time match; known apps: support"),
    ],
)
def test_an_empty_list_names_what_kept_everything_out(
    capsys: pytest.CaptureFixture[str], shell: Shell, url: str, words: tuple[str, ...], wanted: str
) -> None:
    what, *rest = words
    assert main([what, "list", *rest, "--url", url, "--key", shell.keys[AIRLINE, Role.USER]]) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().endswith(wanted)


def test_a_tenant_without_anything_is_told_how_to_send(
    capsys: pytest.CaptureFixture[str], shell: Shell, url: str
) -> None:
    main(["traces", "list", "--release", "none", "--url", url, "--key", shell.keys[SHOP, Role.USER]])
    assert "nothing has arrived yet" in capsys.readouterr().err
