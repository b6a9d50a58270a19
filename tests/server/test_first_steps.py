"""What `assay up` does before it starts anything: folders it must not touch, keys that work no more, what failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.clock import system_clock
from core.ids import KeyId
from core.keytext import parse
from core.records import Role
from server.bootstrap import TENANT
from server.cli.first_steps import places_of
from server.control_access import open_control
from server.settings import Settings
from server.supervisor import complaint_of
from tests.stack import REPOSITORY, free_port_base

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}


def assay(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli.main", *words]
    given = {**CLEAN, **(environment or {})}
    return subprocess.run(command, cwd=REPOSITORY, env=given, capture_output=True, text=True, timeout=120, check=False)


def up(data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return assay("up", "--data", str(data), "--port-base", str(free_port_base()), environment=environment)


def credentials(data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the child of `assay up` makes; its second line is the credentials."""
    command = [sys.executable, "-m", "server.cli.first_steps", "--data", str(data)]
    given = {**CLEAN, **environment}
    return subprocess.run(
        command, cwd=REPOSITORY, env=given, input="go\n", capture_output=True, text=True, timeout=120, check=False
    )


def test_every_part_is_given_the_settings_as_they_are_with_their_secrets(tmp_path: Path) -> None:
    given = Settings(
        data=tmp_path,
        rollout_webhooks=("https://a.example/", "https://b.example/"),
        rollout_webhook_key=SecretStr("a key of sixteen characters"),
        github_token=SecretStr("token"),
        bootstrap_key=SecretStr("only here"),
    )
    environment = places_of(given)["environment"]
    assert environment["ASSAY_ROLLOUT_WEBHOOKS"] == "https://a.example/,https://b.example/"
    assert environment["ASSAY_ROLLOUT_WEBHOOK_KEY"] == "a key of sixteen characters"
    assert (environment["ASSAY_GITHUB_TOKEN"], environment["ASSAY_BOOTSTRAP_KEY"]) == ("token", "")


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ('{"format": 99, "release": "9.9.9"}', 2, "written by Assay 9.9.9"),
        ('{"format": 1, "rel', 1, "cannot be read"),
        ("", 1, "cannot be read"),
    ],
)
def test_a_folder_of_another_format_is_refused_before_it_is_touched(
    tmp_path: Path, said: str, code: int, message: str
) -> None:
    (tmp_path / "format.json").write_text(said)
    for answer in (up(tmp_path), assay("doctor", "--offline", "--data", str(tmp_path))):
        assert (answer.returncode, answer.stdout) == (code, "")
        assert message in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["format.json"]


def test_a_key_that_was_revoked_is_replaced_at_the_next_start(tmp_path: Path) -> None:
    def made() -> dict[str, str]:
        found: dict[str, str] = json.loads(credentials(tmp_path).stdout.splitlines()[1])
        return found

    first = made()
    assert made() == first
    control = open_control(Settings(data=tmp_path))
    control.create_key(TENANT, Role.ADMIN, "another")  # the last of a tenant cannot be revoked
    try:
        for name in ("key", "dashboard_key"):
            control.revoke_key(TENANT, KeyId(parse(first[name]).key_id))
            second = made()
            assert second[name] != first[name]
            record = control.find_key(parse(second[name]).key_id)
            assert record is not None
            assert record.usable(system_clock())
        assert json.loads((tmp_path / "credentials.json").read_bytes()) == second
    finally:
        control.close()


def test_a_bootstrap_key_that_was_revoked_is_a_wrong_setting(tmp_path: Path) -> None:
    key = json.loads(credentials(tmp_path / "other").stdout.splitlines()[1])["key"]
    assert credentials(tmp_path / "data", ASSAY_BOOTSTRAP_KEY=key).returncode == 0
    control = open_control(Settings(data=tmp_path / "data"))
    control.create_key(TENANT, Role.ADMIN, "another")
    control.revoke_key(TENANT, KeyId(parse(key).key_id))
    control.close()
    again = credentials(tmp_path / "data", ASSAY_BOOTSTRAP_KEY=key)
    assert again.returncode == 2
    assert again.stderr.startswith("assay: ")
    assert key not in again.stderr


def test_a_control_database_that_does_not_answer_is_no_wrong_argument_and_is_named(tmp_path: Path) -> None:
    answer = up(tmp_path, ASSAY_CONTROL_URL="postgresql://u:secret@127.0.0.1:1/x")
    assert answer.returncode == 1
    assert "assay: the control database postgresql://u:***@127.0.0.1:1/x failed: " in answer.stderr
    assert "secret" not in answer.stderr


def test_a_complaint_begins_where_assay_begins_to_speak() -> None:
    assert complaint_of("noise\nassay: old\nassay: it failed:\nwhy\n\nwhat to do\nmore\n") == (
        "assay: it failed:\nwhy\nwhat to do"
    )
    assert complaint_of("a\nb\nNoLuck: today\n") == "b\nNoLuck: today"
    assert complaint_of("") == ""
