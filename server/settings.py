"""Settings of one process: read once at its entry from flags, environment (ASSAY_*) and a TOML file, then frozen.

Flags win over the environment, the environment over the file. Every problem is one line that says where it is and what
to write instead; a process with a problem does not start.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from core.errors import InvalidInput
from server.urls import checked_callee, checked_folder, checked_url

ENV_PREFIX: Final = "ASSAY_"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
PORTS: Final = (
    "grpc_port",
    "http_port",
    "api_port",
    "dashboard_port",
    "gateway_port",
    "agent_port",
    "simulated_port",
)

_QUOTA: Final = re.compile(r"(\*|[a-z0-9][a-z0-9_-]*)=[1-9][0-9]{0,14}")
REPOSITORY: Final = re.compile(r"([^=\s]{1,200})=([\w.-]{1,100}/[\w.-]{1,100})(?:@([\w.-]{1,100}))?")
_RELATIVE_SQLITE: Final = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:?].*)")

Port = Annotated[int, Field(ge=1, le=65_535)]


class BadSettings(InvalidInput):
    """Settings that cannot be used; the message has one line per problem."""

    code = "bad_settings"


class Settings(BaseSettings):
    """Everything that can be set. `port_base` N replaces the ports by N, N+1 and so on, in the order of PORTS."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    data: Annotated[Path, Field(validate_default=True)] = Path("data")
    host: str = "127.0.0.1"
    port_base: Annotated[int, Field(ge=1, le=65_529)] | None = None
    grpc_port: Port = 4317
    http_port: Port = 4318
    api_port: Port = 8080
    dashboard_port: Port = 8501
    gateway_port: Port = 8090
    agent_port: Port = 8091  # of `assay serve agent`
    simulated_port: Port = 8092  # of the demo's simulated model provider
    i_know: bool = False
    lake: str | None = None
    control_url: str | None = None
    clickhouse_url: str | None = None
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "localhost", "[::1]")
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 64 << 20
    backlog_bytes: Annotated[int, Field(ge=1024, le=1 << 40)] = 1 << 30  # acknowledged, not in the lake; beyond: 503
    tenant_bytes_s: Annotated[tuple[str, ...], NoDecode] = ()  # quotas: "*=5000000", "TENANT=1000000"
    journal_segment_bytes: Annotated[int, Field(ge=65_536, le=1 << 32)] = 64 << 20  # then another file is begun
    journal_retention_s: Annotated[float, Field(ge=0, le=366 * 86_400)] = 0.0
    max_api_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 8 << 20
    online_interval_s: Annotated[float, Field(ge=0, le=3600)] = 10.0  # between looks for ended sessions; 0: none
    judge_certificate_days: Annotated[float, Field(gt=0, le=3660)] = 90.0  # how long a judge's certificate counts
    clusters_interval_s: Annotated[float, Field(ge=0, le=3600)] = 20.0  # between looks for new sessions; 0: none
    monitors_interval_s: Annotated[float, Field(ge=0, le=3600)] = 60.0  # between looks at monitors; 0: none
    monitors_kept_days: Annotated[int, Field(ge=0, le=36_500)] = 400  # incidents after they were closed; 0: for ever
    clusters_window_days: Annotated[int, Field(ge=0, le=366)] = 7  # of the nightly run; 0: no run by itself
    clusters_nightly_hour: Annotated[int, Field(ge=0, le=23)] = 3  # UTC
    clusters_embedder: Annotated[str, Field(pattern="^(auto|minilm|tfidf|endpoint)$")] = "auto"
    clusters_facets: Annotated[str, Field(pattern="^(spans|model)$")] = "spans"  # in whose words sessions are embedded
    clusters_model: str | None = None  # PROVIDER:NAME, asked for titles; None: terms name clusters
    clusters_model_url: str | None = None
    clusters_model_key: SecretStr | None = None  # None: the provider's own variable, for its own address
    embeddings_url: str | None = None  # of an OpenAI-compatible door, before /embeddings
    embeddings_model: str | None = None
    embeddings_key: SecretStr | None = None
    bootstrap_key: SecretStr | None = None
    gateway_config: Path | None = None  # None: gateway.yaml in `data`, if it is there
    evaluators_dir: Path | None = None  # the operator's own evaluators; None: evaluators in `data`
    rollout_webhooks: Annotated[tuple[str, ...], NoDecode] = ()  # who is told what rollouts do: docs/deploying.md
    rollout_webhook_key: SecretStr | None = None  # signs it
    rollout_webhooks_private: bool = False  # http, and addresses within the network, may be called
    monitor_channels: Path | None = None  # whom monitors tell; None: channels.yaml in `data`, if it is there
    github_deployments: Annotated[tuple[str, ...], NoDecode] = ()  # APP=OWNER/REPOSITORY[@ENVIRONMENT]
    github_token: SecretStr | None = None
    github_api_url: str = "https://api.github.com"
    collector_url: str | None = None  # where the gateway sends its spans; None: `http_port` of this machine

    @field_validator("trusted_hosts", "tenant_bytes_s", "rollout_webhooks", "github_deployments", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("tenant_bytes_s")
    @classmethod
    def _bytes_by_tenant(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [part for part in value if not _QUOTA.fullmatch(part)]:
            raise ValueError(f"{bad[0]!r} is no quota; write TENANT=BYTES, or *=BYTES for all others")
        tenants = [part.split("=")[0] for part in value]
        if twice := [tenant for tenant in tenants if tenants.count(tenant) > 1]:
            raise ValueError(f"{twice[0]!r} has two quotas; keep one")
        return value

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return checked_folder(value.absolute())

    @field_validator("github_deployments")
    @classmethod
    def _repositories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [part for part in value if not REPOSITORY.fullmatch(part)]:
            raise ValueError(f"{bad[0]!r} names no repository; write APP=OWNER/REPOSITORY or APP=OWNER/REPOSITORY@NAME")
        return value

    @field_validator("github_api_url")
    @classmethod
    def _of_github(cls, value: str) -> str:
        if not re.fullmatch(r"https://[^/@\s?#]+(/[^@\s?#]*)?|http://(127\.0\.0\.1|localhost)(:[0-9]+)?", value):
            raise ValueError("write https:// and the host, of GitHub Enterprise Server with /api/v3")
        return value.rstrip("/")

    @field_validator("collector_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/@\s?#]+/?", value):
            raise ValueError("write http:// or https://, host and port, such as http://collector:4318")
        return value

    @field_validator("gateway_config", "evaluators_dir")
    @classmethod
    def _absolute_config(cls, value: Path | None) -> Path | None:
        return value if value is None else value.absolute()

    @field_validator("lake", "control_url", "clickhouse_url")
    @classmethod
    def _address(cls, value: str | None, which: ValidationInfo) -> str | None:
        return value if value is None else checked_url(str(which.field_name), value)

    @field_validator("lake")
    @classmethod
    def _absolute_lake(cls, value: str | None) -> str | None:
        return value if value is None or "://" in value else str(Path(value).absolute())

    @field_validator("control_url")
    @classmethod
    def _absolute_database(cls, value: str | None) -> str | None:
        found = _RELATIVE_SQLITE.fullmatch(value or "")
        return f"{found[1]}{Path(found[2]).absolute()}" if found else value

    @model_validator(mode="before")
    @classmethod
    def _ports_of_base(cls, given: Any) -> Any:
        base = given.get("port_base") if isinstance(given, dict) else None
        if base is None or not str(base).isdigit():
            return given
        return {**given, **{name: int(base) + offset for offset, name in enumerate(PORTS)}}

    @model_validator(mode="after")
    def _loopback_unless_known(self) -> Settings:
        if self.host not in LOOPBACK and not self.i_know:
            raise ValueError(
                f"host {self.host!r} is reachable from other machines, without TLS; put a TLS proxy in front and say "
                "--i-know, or keep 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _embedded_by_a_model(self) -> Settings:
        if (self.embeddings_url is None) != (self.embeddings_model is None):
            raise ValueError("embeddings_url and embeddings_model belong together; set both or none")
        if self.clusters_embedder == "endpoint" and self.embeddings_url is None:
            raise ValueError("clusters_embedder endpoint needs embeddings_url and embeddings_model")
        if self.clusters_facets == "model" and self.clusters_model is None:
            raise ValueError("clusters_facets model needs clusters_model")
        return self

    @field_validator("embeddings_url", "clusters_model_url")
    @classmethod
    def _door(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/@\s?#]+(/[^@\s?#]*)?", value):
            raise ValueError("write http:// or https://, host and path, such as https://api.openai.com/v1")
        return value if value is None else value.rstrip("/")

    @model_validator(mode="after")
    def _told_with_secrets(self) -> Settings:
        for address in self.rollout_webhooks:
            checked_callee(address, private=self.rollout_webhooks_private)
        key = self.rollout_webhook_key
        if self.rollout_webhooks and (key is None or len(key.get_secret_value()) < 16):
            raise ValueError("rollout_webhooks needs rollout_webhook_key, 16 characters or more, to sign what is sent")
        if self.github_deployments and self.github_token is None:
            raise ValueError("github_deployments needs github_token; set ASSAY_GITHUB_TOKEN")
        return self

    @property
    def quotas(self) -> tuple[tuple[str, int], ...]:
        """Body bytes a second by tenant; "*" stands for those that are not named."""
        return tuple((tenant, int(size)) for tenant, size in (part.split("=") for part in self.tenant_bytes_s))

    @property
    def lake_root(self) -> str:
        """Folder of the lake."""
        return self.lake or str(self.data / "lake")

    @property
    def lake_cache(self) -> Path:
        """Folder of what was read of a lake in an object store; may be deleted."""
        return self.data / "lake-cache"

    @property
    def control_database(self) -> str:
        """URL of the control database."""
        return self.control_url or f"sqlite:///{self.data.absolute() / 'control.db'}"

    @property
    def secrets_dir(self) -> Path:
        """Folder of the secret files."""
        return self.data / "secrets"

    @property
    def clusters_dir(self) -> Path:
        """Folder of what embedders learned, a folder for each tenant."""
        return self.data / "clustering"

    @property
    def gateway_dir(self) -> Path:
        """Folder of the gateway: spending, sessions, spans that wait."""
        return self.data / "gateway"

    @property
    def gateway_spool_secret(self) -> Path:
        """The secret file that seals the gateway's spans that wait."""
        return self.secrets_dir / "gateway-spool"

    @property
    def run_dir(self) -> Path:
        """Folder of what concerns the running instance: lock, state, logs."""
        return self.data / "run"

    @property
    def api_url(self) -> str:
        """Where this machine reaches the API."""
        return f"http://127.0.0.1:{self.api_port}"

    def gateway_environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What `${env:...}` in the gateway's file may name: `given`, and ports of this installation."""
        ports = {"ASSAY_AGENT_PORT": self.agent_port, "ASSAY_SIMULATED_PORT": self.simulated_port}
        return {**given, **{name: str(port) for name, port in ports.items()}}

    @property
    def gateway_file(self) -> Path:
        """Where the gateway's configuration is, or would be."""
        return self.gateway_config or self.data.absolute() / "gateway.yaml"

    @property
    def channels_file(self) -> Path:
        """Where the channels of monitors are, or would be."""
        return self.monitor_channels or self.data.absolute() / "channels.yaml"

    @property
    def own_evaluators(self) -> Path:
        """Folder of the operator's own evaluators, if it is there."""
        return self.evaluators_dir or self.data.absolute() / "evaluators"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, then the file, which `load_settings` passes as `_file_values`."""
        assert isinstance(init_settings, InitSettingsSource)
        flags = dict(init_settings.init_kwargs)
        file_values = flags.pop("_file_values", {})
        return (
            InitSettingsSource(settings_cls, flags),
            env_settings,
            InitSettingsSource(settings_cls, file_values),
        )


def load_settings(config: Path | None = None, **flags: object) -> Settings:
    """The settings of this process; flags that are None were not given. Raises BadSettings."""
    text = _read(config)
    values = _parse(config, text)
    problems = _unknown_keys(config, text, values) + _misspelt_environment(os.environ)
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Settings(**given, _file_values=known)  # type: ignore[call-arg, arg-type]
    except ValidationError as error:
        problems += [_line(config, text, known, given, found) for found in error.errors(include_url=False)]
    if problems:
        raise BadSettings("\n".join(problems))
    return settings


def _read(config: Path | None) -> str:
    if config is None:
        return ""
    try:
        return config.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSettings(f"{config}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadSettings(f"{config}: is not UTF-8 text; a settings file is TOML") from None


def _parse(config: Path | None, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{config}: {error}; a settings file is TOML, such as api_port = 8080") from None


def _unknown_keys(config: Path | None, text: str, values: Mapping[str, object]) -> list[str]:
    return [
        f"{config}:{_line_of(text, key)}: {key!r} is not a setting{_suggestion(key)}"
        for key in values
        if key not in Settings.model_fields
    ]


def _misspelt_environment(environ: Mapping[str, str]) -> list[str]:
    """Names under our prefix that are nearly a setting; other tools may own other names."""
    clients = {"ASSAY_URL", "ASSAY_API_KEY", "ASSAY_DEBUG", "ASSAY_KEY", "ASSAY_GATEWAY_URL"}
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    problems = []
    for name in environ:
        if name.startswith(ENV_PREFIX) and name not in known | clients:
            near = get_close_matches(name, known, n=1, cutoff=0.85)
            problems += [f"environment: {name} is not a setting; did you mean {near[0]}?"] if near else []
    return problems


def _line(
    config: Path | None, text: str, from_file: Mapping[str, object], flags: Mapping[str, object], found: Any
) -> str:
    """One problem as one line. The value is not repeated: it may be a secret."""
    name = str(found["loc"][0]) if found["loc"] else ""
    message = str(found["msg"]).removeprefix("Value error, ").strip()
    if not name:
        return f"settings: {message}"
    if name in flags:
        where = f"--{name.replace('_', '-')}"
    elif ENV_PREFIX + name.upper() in os.environ:
        where = f"environment: {ENV_PREFIX}{name.upper()}"
    elif name in from_file:
        where = f"{config}:{_line_of(text, name)}: {name}"
    else:
        where = name
    default = Settings.model_fields[name].default if name in Settings.model_fields else None
    hint = f" (the default is {default})" if default is not None else ""
    return f"{where}: {message[:1].lower()}{message[1:]}{hint}"


def _line_of(text: str, key: str) -> int:
    found = re.search(rf'^\s*\[?"?{re.escape(key)}\b', text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 + found[0].count("\n") if found else 1


def _suggestion(key: str) -> str:
    near = get_close_matches(key.replace("-", "_"), Settings.model_fields, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else "; remove it"
