"""A release's model, behind one HTTP client; every request tells where it belongs by traceparent, and by baggage where
that stays in the house."""

from __future__ import annotations

import os
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from pydantic_ai.models import Model

from agent_runtime.clear_errors import ClearModel
from agent_runtime.errors import InvalidInput
from agent_runtime.priced import PricedModel
from agent_runtime.records import Release
from agent_runtime.schemas_once import schemas_once
from agent_runtime.settings import Settings
from agent_runtime.telemetry import request_headers

PROVIDERS: Final = ("openai", "azure", "anthropic", "bedrock")
_CONNECT_S: Final = 5.0


def _is_own(host: str, trusted: str) -> bool:
    """Whether a host is this machine's loopback, or one of `trusted` (names with commas between them)."""
    if host in {name.strip() for name in trusted.split(",")}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Models:
    """Makes each model once. `fixed` answers for every release (tests, an embedding program's own model)."""

    def __init__(self, settings: Settings, fixed: Model | None = None) -> None:
        self._settings = settings
        self._fixed = fixed
        self._made: dict[tuple[str, str], Model] = {}
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(settings.model_timeout_s, connect=_CONNECT_S),
            limits=httpx2.Limits(max_connections=256, max_keepalive_connections=64),
            event_hooks={"request": [self._say_where]},
        )

    def of(self, release: Release) -> Model:
        """Gives the release's model. Raises InvalidInput: unknown provider, or its settings are missing."""
        if self._fixed is not None:
            return self._fixed
        key = (release.provider, release.model)
        if key not in self._made:
            made = ClearModel(self._make(*key), self._settings, release.provider)
            self._made[key] = PricedModel(made, self._settings)
        return self._made[key]

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _say_where(self, request: httpx2.Request) -> None:
        self._put(request.headers, request.url.host)

    def _say_where_to_aws(self, request: Any, **_: Any) -> None:
        self._put(request.headers, urlsplit(request.url).hostname or "")

    def _put(self, headers: Any, host: str) -> None:
        """Says where the request belongs. Baggage names user, tenant and session: it goes to this machine and to the
        hosts that the settings trust, and is taken out for others, where an SDK has put it in."""
        told = request_headers()
        if not _is_own(host, self._settings.model_baggage_hosts):
            told.pop("baggage", None)
        for name in ("traceparent", "baggage"):
            if name in headers:  # also of a request that is tried again
                del headers[name]
            if name in told:
                headers[name] = told[name]

    def _make(self, provider: str, model: str) -> Model:
        match provider:
            case "openai":
                return self._openai(model)
            case "azure":
                return self._azure(model)
            case "anthropic":
                return self._anthropic(model)
            case "bedrock":
                return self._bedrock(model)
            case _:
                raise InvalidInput(f"unknown provider {provider!r}; one of {', '.join(PROVIDERS)}")

    def _client(self) -> dict[str, Any]:
        s = self._settings
        return {"http_client": self._http, "max_retries": s.model_retries, "timeout": s.model_timeout_s}

    def _openai(self, model: str) -> Model:
        from openai import AsyncOpenAI
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        s = self._settings
        if s.openai_api_key is None and s.openai_base_url is None:
            raise InvalidInput("set OPENAI_API_KEY, or OPENAI_BASE_URL of a compatible server that needs no key")
        key = s.openai_api_key.get_secret_value() if s.openai_api_key else "none"
        client = AsyncOpenAI(base_url=s.openai_base_url, api_key=key, **self._client())
        return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client), profile=schemas_once)

    def _azure(self, model: str) -> Model:
        from openai import AsyncAzureOpenAI
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.azure import AzureProvider

        s = self._settings
        if s.azure_endpoint is None or s.azure_api_key is None or s.azure_api_version is None:
            raise InvalidInput("set AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY and OPENAI_API_VERSION")
        client = AsyncAzureOpenAI(
            azure_endpoint=s.azure_endpoint,
            api_key=s.azure_api_key.get_secret_value(),
            api_version=s.azure_api_version,
            **self._client(),
        )
        return OpenAIChatModel(model, provider=AzureProvider(openai_client=client), profile=schemas_once)

    def _anthropic(self, model: str) -> Model:
        from anthropic import AsyncAnthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        s = self._settings
        if s.anthropic_api_key is None and s.anthropic_base_url is None:
            raise InvalidInput("set ANTHROPIC_API_KEY, or ANTHROPIC_BASE_URL of a compatible server")
        key = s.anthropic_api_key.get_secret_value() if s.anthropic_api_key else "none"
        client = AsyncAnthropic(base_url=s.anthropic_base_url, api_key=key, **self._client())
        return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client), profile=schemas_once)

    def _bedrock(self, model: str) -> Model:
        try:
            boto3, config = import_module("boto3"), import_module("botocore.config")  # optional: extra `bedrock`
            from pydantic_ai.models.bedrock import BedrockConverseModel
            from pydantic_ai.providers.bedrock import BedrockProvider
        except ImportError as error:
            raise InvalidInput("provider bedrock needs the package boto3: pip install boto3") from error
        s = self._settings
        if s.aws_region is None:
            raise InvalidInput("set AWS_REGION; credentials come from the usual AWS places")
        given = config.Config(
            connect_timeout=_CONNECT_S,
            read_timeout=s.model_timeout_s,
            retries={"mode": "standard", "total_max_attempts": 1 + s.model_retries},
            max_pool_connections=64,
        )
        session = boto3.Session(region_name=s.aws_region)
        if session.get_credentials() is None and not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
            raise InvalidInput(
                "there are no AWS credentials; set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        client = session.client("bedrock-runtime", config=given)
        client.meta.events.register("before-sign.bedrock-runtime", self._say_where_to_aws)
        return BedrockConverseModel(model, provider=BedrockProvider(bedrock_client=client), profile=schemas_once)
