"""Azure's wire: OpenAI's bodies at the address of a deployment, with the key in a header of its own."""

from __future__ import annotations

from urllib.parse import quote

from gateway.records import Call, Target
from gateway.upstreams.openai import PATHS, OpenAIWire
from gateway.upstreams.wire import Outgoing


class AzureWire(OpenAIWire):
    """`BASE/openai/deployments/MODEL/chat/completions?api-version=VERSION`; a target's model is its deployment."""

    provider = "azure.ai.openai"

    def __init__(self, api_version: str) -> None:
        self._version = quote(api_version, safe="")

    def request(self, call: Call, target: Target, key: str) -> Outgoing:
        """OpenAI's request at Azure's address."""
        plain = super().request(call, target, "")
        path = f"/openai/deployments/{quote(target.model, safe='')}{PATHS[call.kind]}?api-version={self._version}"
        return Outgoing(path=path, headers={**plain.headers, "api-key": key}, body=plain.body)
