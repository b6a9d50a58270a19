"""A model server's failures in words of ours: what went wrong, where, what to set. No key is in them.

Servers quote requests in their errors, some with the key. What leaves here has every key that the process knows, and
whatever looks like one, taken out, and no cause that would bring it back into a log or a span.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelNotFoundError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.wrapper import WrapperModel

from agent_runtime.errors import ModelFailed, ModelNotAllowed, ModelNotFound, ModelUnreachable, ModelUnreadable
from agent_runtime.settings import Settings

_MOST_TEXT: Final = 300  # characters of what the server said
_LIKE_A_KEY: Final = re.compile(r"\b(?:sk|pk|api|key)[-_][\w*.-]{8,}", re.IGNORECASE)
_AWS_SECRETS: Final = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_BY_A_PARSER: Final = (ValueError, TypeError, LookupError, AttributeError)  # of an SDK that met something else
# Which setting holds a provider's key, and which its address.
_SET: Final = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "azure": ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "bedrock": ("the AWS credentials", "AWS_REGION"),
}


class ClearModel(WrapperModel):
    """A model that fails with a ModelFailed only."""

    def __init__(self, wrapped: Model, settings: Settings, provider: str) -> None:
        super().__init__(wrapped)
        self._told = settings
        self._kind = provider

    async def request(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """Asks the model. Raises ModelFailed."""
        try:
            return await super().request(*args, **kwargs)
        except Exception as error:  # SDKs let errors of their own parsers through
            failed = self._plainly(error)
        raise failed from None

    def _plainly(self, error: Exception) -> ModelFailed:
        key, address = _SET[self._kind]
        said = without_keys(str(error), known_keys(self._told))
        where = f"the model server {_place(self.wrapped.base_url)}"
        status = error.status_code if isinstance(error, ModelHTTPError) else None
        if isinstance(error, ModelAuthenticationError) or status in (401, 403):
            return ModelNotAllowed(f"{where} refused the key; check {key}: {said}")
        if isinstance(error, ModelNotFoundError) or status == 404:
            return ModelNotFound(f"{where} has no model {self.model_name!r}; check AGENT_MODEL and {address}: {said}")
        if isinstance(error, ModelConnectionError):
            return ModelUnreachable(f"{where} does not answer; check {address}: {said}")
        kind = type(error).__name__
        if type(error) in (ModelAPIError, UnexpectedModelBehavior) or isinstance(error, _BY_A_PARSER):
            return ModelUnreadable(f"{where} answers nothing that can be read; check {address}: {kind}: {said}")
        return ModelFailed(f"{where} gave no answer: {kind}: {said}")


def known_keys(settings: Settings) -> list[str]:
    """Every key of the settings and of AWS's variables, longest first."""
    held = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    held += [os.environ.get(name, "") for name in _AWS_SECRETS]
    return sorted((key for key in held if key), key=len, reverse=True)


def without_keys(text: str, keys: Iterable[str]) -> str:
    """`text` on one line, cut, without keys."""
    for key in keys:
        text = text.replace(key, "[KEY]")
    text = " ".join(_LIKE_A_KEY.sub("[KEY]", text).split())
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _place(url: str | None) -> str:
    """The address without what a user may have written before or behind it: names, passwords, queries."""
    if not url:
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
