"""`assay tenants`: an operator makes a second tenant on the data folder, and changes what a tenant chose."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from core.ids import tenant_id
from core.records import PiiEntity, PiiMode, PiiPolicy, Role
from server.bootstrap import bootstrap
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.control_access import open_control
from server.settings import Settings
from tests.collector.otlp import span, traces
from tests.stack import Stack
from tests.waiting import wait_until

MAIL = "jane.doe@example.org"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ASSAY_URL", "ASSAY_API_KEY", "ASSAY_DATA", "ASSAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    bootstrap(Settings(data=tmp_path / "data"))
    return tmp_path / "data"


def test_a_second_tenant_works_at_once_beside_a_running_instance_and_sees_nothing_of_the_first(stack: Stack) -> None:
    made = stack.cli("tenants", "create", "acme")
    assert made.returncode == ExitCode.OK, made.stderr
    assert "only time" in made.stderr
    key = made.stdout.strip()
    assert stack.cli("tenants", "set", "acme", "--pii", "email=keep").returncode == ExitCode.OK
    now = time.time_ns()
    body = traces(span({"input.value": MAIL}, start_time_unix_nano=now, end_time_unix_nano=now + 1))
    sent = {"authorization": f"Bearer {key}", "content-type": "application/x-protobuf"}
    url = f"{stack.otlp_http}/v1/traces"
    assert httpx.post(url, content=body.SerializeToString(), headers=sent).status_code == 200

    def seen(whose: str) -> list[str]:
        asked = {"since": "1h"}
        answer = httpx.get(f"{stack.url}/api/v1/traces", params=asked, headers={"x-api-key": whose})
        assert answer.status_code == 200, answer.text
        return [str(item["input"]) for item in answer.json()["items"]]

    wait_until(lambda: seen(key) == [MAIL], 60, "the new tenant's trace, its address kept")
    assert MAIL not in seen(stack.key)
    me = httpx.get(f"{stack.url}/api/v1/me", headers={"x-api-key": key}).json()
    assert (me["tenant"], me["role"]) == ("acme", "admin")
    listed = json.loads(stack.cli("tenants", "list", "--json").stdout)["items"]
    assert {"acme", "default"} <= {one["tenant"] for one in listed}
    assert key not in stack.log_path.read_text(errors="replace")


def test_a_tenant_is_made_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tenants", "create", "acme", "--data", str(data)]
    assert main([*words, "--json"]) == ExitCode.OK
    made = json.loads(capsys.readouterr().out)
    assert made["tenant"] == "acme"
    assert made["key"].startswith(f"ask_{made['key_id']}_")
    assert main(words) == ExitCode.FAILED
    told = capsys.readouterr()
    assert told.out == ""
    assert "there is a tenant acme already" in told.err
    assert main(["tenants", "create", "default", "--data", str(data)]) == ExitCode.FAILED
    control = open_control(Settings(data=data))
    assert [(key.role, key.name) for key in control.list_keys(tenant_id("acme"))] == [(Role.ADMIN, "first admin")]
    assert control.verify(tenant_id("acme")).n_records == 2, "the tenant and its key"
    control.close()


def test_what_an_interrupted_create_left_gets_its_key(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = open_control(Settings(data=data))
    control.ensure_tenant(tenant_id("acme"))
    control.close()
    assert main(["tenants", "create", "acme", "--data", str(data)]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("ask_")


def test_set_changes_what_it_names_and_leaves_the_rest(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tenants", "set", "default", "--data", str(data)]
    assert main([*words, "--pii", "email=hash,default=keep"]) == ExitCode.OK
    assert main([*words, "--retention-days", "30"]) == ExitCode.OK
    capsys.readouterr()
    assert main([*words, "--pii", "phone=redact", "--json"]) == ExitCode.OK
    (shown,) = json.loads(capsys.readouterr().out)["items"]
    assert shown["retention_days"] == 30
    assert shown["pii"] == {"default": "keep", "by_entity": {"email": "hash", "phone": "redact"}}
    assert main(["tenants", "list", "--data", str(data)]) == ExitCode.OK
    table = capsys.readouterr().out
    assert "30 days" in table
    assert "default=keep,email=hash,phone=redact" in table
    assert main([*words, "--retention-days", "forever"]) == ExitCode.OK
    control = open_control(Settings(data=data))
    record = control.tenant(tenant_id("default"))
    control.close()
    modes = {PiiEntity.EMAIL: PiiMode.HASH, PiiEntity.PHONE: PiiMode.REDACT}
    assert (record.retention_days, record.pii) == (None, PiiPolicy(default=PiiMode.KEEP, by_entity=modes))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["create", "Not A Name"], ExitCode.USAGE),
        (["create", "../up"], ExitCode.USAGE),
        (["create"], ExitCode.USAGE),
        ([], ExitCode.USAGE),
        (["set", "default"], ExitCode.USAGE),
        (["set", "nobody", "--retention-days", "3"], ExitCode.NOT_FOUND),
        (["set", "default", "--retention-days", "0"], ExitCode.USAGE),
        (["set", "default", "--retention-days", "36501"], ExitCode.USAGE),
        (["set", "default", "--pii", "email"], ExitCode.USAGE),
        (["set", "default", "--pii", "email=hide"], ExitCode.USAGE),
        (["set", "default", "--pii", "shoe=hash"], ExitCode.USAGE),
        (["set", "default", "--pii", "email=hash,email=keep"], ExitCode.USAGE),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: ExitCode
) -> None:
    assert main(["tenants", *words, *(["--data", str(data)] if words else [])]) == code
    assert capsys.readouterr().err
    assert main(["tenants", "list", "--json", "--data", str(data)]) == ExitCode.OK
    (only,) = json.loads(capsys.readouterr().out)["items"]
    assert (only["tenant"], only["retention_days"], only["pii"]) == (
        "default",
        None,
        {"default": "redact", "by_entity": {}},
    )


def test_without_a_data_folder_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "none"
    assert main(["tenants", "create", "acme", "--data", str(folder)]) == ExitCode.NOT_FOUND
    assert "name it with --data DIR" in capsys.readouterr().err
    assert not folder.exists()
