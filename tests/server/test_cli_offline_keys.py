"""`assay keys create --offline`: who runs the machine gets into a tenant whose last admin key is lost."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from core.ids import tenant_id
from core.records import Role
from server.bootstrap import bootstrap
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.control_access import open_control
from server.settings import Settings
from tests.stack import Stack

RECOVER = ("keys", "create", "--offline", "--role", "admin", "--name", "recovered")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ASSAY_URL", "ASSAY_API_KEY", "ASSAY_DATA", "ASSAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    bootstrap(Settings(data=tmp_path / "data"))
    return tmp_path / "data"


def test_a_tenant_whose_last_admin_key_is_lost_is_administered_again_while_assay_runs(stack: Stack) -> None:
    made = json.loads(stack.cli("tenants", "create", "shut-out", "--json").stdout)
    recovered = stack.cli(*RECOVER, "--tenant", "shut-out")
    assert recovered.returncode == ExitCode.OK, recovered.stderr
    assert "only time" in recovered.stderr
    admin = {"x-api-key": recovered.stdout.strip()}
    me = httpx.get(f"{stack.url}/api/v1/me", headers=admin).json()
    assert (me["tenant"], me["role"]) == ("shut-out", "admin")
    lost = httpx.delete(f"{stack.url}/api/v1/keys/{made['key_id']}", headers=admin)
    assert lost.status_code == 200, lost.text
    audit = httpx.get(f"{stack.url}/api/v1/audit", headers=admin).json()["items"]
    (record,) = [each for each in audit if each["action"] == "key.create" and "recovered" in json.dumps(each)]
    assert "operator, offline" in json.dumps(record)
    assert httpx.get(f"{stack.url}/api/v1/audit/verify", headers=admin).json()["ok"] is True


def test_it_takes_role_and_life_and_the_first_tenant_where_none_is_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["keys", "create", "--offline", "--name", "ci", "--expires-in", "90d", "--data", str(data), "--json"]
    assert main(words) == ExitCode.OK
    made = json.loads(capsys.readouterr().out)
    assert (made["tenant"], made["role"], made["name"]) == ("default", "ingest", "ci")
    control = open_control(Settings(data=data))
    (record,) = [key for key in control.list_keys(tenant_id("default")) if key.key_id == made["key_id"]]
    control.close()
    assert record.role is Role.INGEST
    assert record.expires_at_ns is not None


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--tenant", "nobody"], ExitCode.NOT_FOUND, "assay tenants list"),
        (["--tenant", "Not An Id"], ExitCode.USAGE, "tenant"),
        (["--url", "http://127.0.0.1:8080"], ExitCode.USAGE, "--offline asks no server"),
        (["--data", "/nowhere/at/all"], ExitCode.NOT_FOUND, "assay up"),
    ],
)
def test_what_cannot_be_is_refused_and_makes_no_key(
    data: Path, words: list[str], code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RECOVER, "--data", str(data), *words]) == code
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told.err
    control = open_control(Settings(data=data))
    assert "recovered" not in [key.name for key in control.list_keys(tenant_id("default"))]
    control.close()


def test_a_tenant_is_named_to_the_folder_only(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "x", "--tenant", "acme", "--data", str(data)]) == ExitCode.USAGE
    assert "--offline" in capsys.readouterr().err
