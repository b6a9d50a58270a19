"""What the runtime is told by its environment; read once when a process starts."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _named(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Every setting, by the name of its variable; docs/agent.md has the same table."""

    model_config = SettingsConfigDict(env_prefix="AGENT_", frozen=True, populate_by_name=True, extra="ignore")

    data: Path = Path("data/agent")  # AGENT_DATA: folder of agent.db
    host: str = "127.0.0.1"
    port: int = Field(default=8091, ge=0, le=65535)
    api_key: SecretStr | None = None  # callers of the HTTP door show it; needed beyond loopback
    tenant: str = "default"

    otlp_endpoint: str = Field(
        default="", validation_alias=_named("AGENT_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    otlp_key: SecretStr | None = None  # sent as `Authorization: Bearer ...` to the collector

    assay_url: str = Field(default="", validation_alias=_named("AGENT_ASSAY_URL", "ASSAY_URL"))
    assay_api_key: SecretStr | None = Field(
        default=None, validation_alias=_named("AGENT_ASSAY_API_KEY", "ASSAY_API_KEY")
    )
    release: str = "default"  # name of what the settings below describe; Assay is told once, for good

    provider: str = "openai"  # openai (and compatible), azure, anthropic, bedrock
    model: str = "sim-1"
    openai_base_url: str | None = Field(
        default=None, validation_alias=_named("AGENT_OPENAI_BASE_URL", "OPENAI_BASE_URL")
    )
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=_named("AGENT_OPENAI_API_KEY", "OPENAI_API_KEY")
    )
    azure_endpoint: str | None = Field(
        default=None, validation_alias=_named("AGENT_AZURE_ENDPOINT", "AZURE_OPENAI_ENDPOINT")
    )
    azure_api_key: SecretStr | None = Field(
        default=None, validation_alias=_named("AGENT_AZURE_API_KEY", "AZURE_OPENAI_API_KEY")
    )
    azure_api_version: str | None = Field(
        default=None, validation_alias=_named("AGENT_AZURE_API_VERSION", "OPENAI_API_VERSION")
    )
    anthropic_base_url: str | None = Field(
        default=None, validation_alias=_named("AGENT_ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL")
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias=_named("AGENT_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY")
    )
    aws_region: str | None = Field(
        default=None, validation_alias=_named("AGENT_AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    )

    model_timeout_s: float = Field(default=30.0, gt=0)
    model_baggage_hosts: str = ""  # besides loopback: a gateway of one's own may be told user, tenant and session
    model_retries: int = Field(default=2, ge=0)  # of one request, on 429, 5xx and broken connections
    input_usd_per_mtok: Decimal | None = None  # for models whose price genai-prices does not know
    output_usd_per_mtok: Decimal | None = None
    tool_timeout_s: float = Field(default=5.0, gt=0)
    tool_attempts: int = Field(default=3, ge=1)
    tool_backoff_s: float = Field(default=0.05, ge=0)  # doubles per attempt
    tool_result_bytes: int = Field(default=16_384, ge=256)  # longer results are cut before the model sees them
    queued_messages: int = Field(default=8, ge=1)  # per session; more are refused as busy
    approval_hours: float = Field(default=24.0, gt=0, le=876_000)  # an action that nobody decided on is then declined
    keep_days: float = Field(default=90.0, gt=0, le=36_500)  # turns, approvals, ledger; memory has times of its own
    memory_half_life_days: float = Field(default=30.0, gt=0, le=36_500)  # of the default release
