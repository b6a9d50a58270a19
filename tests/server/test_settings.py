"""Settings: three sources, one line per problem, frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import PORTS, BadSettings, load_settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "assay.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems_of(config: Path | None = None, **flags: object) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        load_settings(config, **flags)
    return str(refused.value).splitlines()


def test_the_defaults_are_loopback_and_the_documented_ports() -> None:
    found = load_settings()
    assert (found.host, found.grpc_port, found.http_port, found.api_port, found.dashboard_port) == (
        "127.0.0.1",
        4317,
        4318,
        8080,
        8501,
    )
    assert found.lake_root == str(Path.cwd() / "data" / "lake")


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(tmp_path, "api_port = 1001\ngrpc_port = 1002\nhttp_port = 1003\n")
    monkeypatch.setenv("ASSAY_API_PORT", "2001")
    monkeypatch.setenv("ASSAY_GRPC_PORT", "2002")
    found = load_settings(config, api_port=3001)
    assert (found.api_port, found.grpc_port, found.http_port) == (3001, 2002, 1003)


def test_a_port_base_moves_all_of_them() -> None:
    found = load_settings(port_base=9000)
    assert [getattr(found, name) for name in PORTS] == list(range(9000, 9007))
    assert (found.api_port, found.dashboard_port, found.gateway_port, found.agent_port) == (9002, 9003, 9004, 9005)


def test_the_gateways_file_is_in_the_data_folder_unless_said(tmp_path: Path) -> None:
    assert load_settings(data=tmp_path).gateway_file == tmp_path / "gateway.yaml"
    assert load_settings(data=tmp_path, gateway_config="mine.yaml").gateway_file == Path.cwd() / "mine.yaml"


def test_settings_are_frozen_and_hide_the_bootstrap_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_BOOTSTRAP_KEY", "ask_secret")
    found = load_settings()
    assert "ask_secret" not in repr(found)
    with pytest.raises(ValidationError):
        found.api_port = 1


def test_each_problem_is_one_line_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(tmp_path, '# ours\napiport = 3\ngrpc_port = "x"\nmax_body_bytes = -3\n')
    monkeypatch.setenv("ASSAY_HTTP_PORT", "0")
    lines = problems_of(config, port_base="no")
    assert lines[0] == f"{config}:2: 'apiport' is not a setting; did you mean 'api_port'?"
    assert lines[1].startswith("--port-base: ")
    starts = [f"{config}:3: grpc_port: ", "environment: ASSAY_HTTP_PORT: ", f"{config}:4: max_body_bytes: "]
    assert all(any(line.startswith(start) for line in lines) for start in starts), lines
    assert len(lines) == 5


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe\x00",
        "api_port",
        "api_port = ",
        "api_port = 1\napi_port = 2\n",
        "\tapi_port = [1\n",
        "!!python/object/apply:os.system ['true']",
        "a: &a [*a, *a]",
        "[nested]\napi_port = 1\n",
    ],
)
def test_a_file_that_is_not_settings_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    config = written(tmp_path, text)
    (line,) = problems_of(config)
    assert str(config) in line


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert "cannot be read" in problems_of(tmp_path / "none.toml")[0]
    assert "cannot be read" in problems_of(tmp_path)[0]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "")) == load_settings()


def test_a_misspelt_variable_is_noticed_and_a_foreign_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_ELSEWHERE_UPSTREAM", "of another tool")
    load_settings()
    monkeypatch.setenv("ASSAY_GRPC_PROT", "5")
    assert problems_of() == ["environment: ASSAY_GRPC_PROT is not a setting; did you mean ASSAY_GRPC_PORT?"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com"])
def test_an_address_others_reach_needs_to_be_meant(host: str) -> None:
    (line,) = problems_of(host=host)
    assert "--i-know" in line
    assert load_settings(host=host, i_know=True).host == host


def test_quotas_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().quotas == ()
    monkeypatch.setenv("ASSAY_TENANT_BYTES_S", "noisy=1000, *=5000000")
    assert load_settings().quotas == (("noisy", 1000), ("*", 5_000_000))
    (line,) = problems_of(tenant_bytes_s="noisy=0")
    assert "'noisy=0' is no quota; write TENANT=BYTES" in line
    (line,) = problems_of(tenant_bytes_s="noisy=1,*=3,noisy=2")
    assert "'noisy' has two quotas; keep one" in line


def test_hosts_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TRUSTED_HOSTS", "assay.example, 127.0.0.1")
    assert load_settings().trusted_hosts == ("assay.example", "127.0.0.1")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[
            ("clickhouse_url", value)
            for value in ("foo", "foo:8123", "clickhouse:/h", "clickhouse://", "mysql://u:hunter2@h/")
        ],
        *[("clickhouse_url", value) for value in ("clickhouse://h:port/", "clickhouse://[::1/")],
        *[("control_url", value) for value in ("control.db", "postgres://h/d", "mysql://h/d", "postgresql:/h/d")],
        *[("lake", value) for value in ("s3:/bucket", "s3://", "gs://bucket", "file:///lake", "S3://bucket")],
    ],
)
def test_an_address_that_can_be_none_is_refused_without_repeating_it(setting: str, value: str) -> None:
    (line,) = problems_of(None, **{setting: value})
    assert line.startswith(f"--{setting.replace('_', '-')}: not an address that can be used; write ")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("clickhouse_url", value) for value in ("clickhouse://u:p@h:8123/", "https://h", "chdb://memory")],
        *[("control_url", value) for value in ("sqlite:////a/control.db", "postgresql+psycopg://u:p@h:1/d")],
        ("control_url", "postgresql://postgres:@/far?host=/tmp/socket"),
        *[("lake", value) for value in ("/a/lake", "s3://bucket/prefix", "/odd:/lake")],
    ],
)
def test_addresses_of_every_kind_are_taken_as_they_are(setting: str, value: str) -> None:
    assert getattr(load_settings(None, **{setting: value}), setting) == value


def test_a_data_folder_is_no_file_and_in_none(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("x")
    for folder in (taken, taken / "below"):
        assert problems_of(data=folder) == [f"--data: {taken} is not a folder (the default is data)"]
