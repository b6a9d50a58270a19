"""Why a call was not answered, in the shape that OpenAI's clients know.

    CallFailed
    ├── BadCall           400, the request itself; repeating it will not help
    ├── UnknownModel      404
    ├── Refused           a policy said no: 403, or 429 with `retry_after_s`
    └── UpstreamFailed    502, 503 or 504: nobody answered, or the answer is unusable; or what the provider itself answered

A message says what happened, to what, and what to do. It never holds a provider's key.
"""

from __future__ import annotations

from typing import Any

from core.errors import AssayError


class CallFailed(AssayError):
    """Root: `status` is the HTTP status, `type` and `code` are OpenAI's fields, `param` names the part to blame."""

    code = "call_failed"
    status = 500
    type = "server_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.status if status is None else status
        self.type = self.type if type is None else type
        self.code = self.code if code is None else code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadCall(CallFailed):
    """The request cannot be understood or is out of bounds."""

    code = "invalid_request"
    status = 400
    type = "invalid_request_error"


class UnknownModel(CallFailed):
    """No such virtual model for this caller."""

    code = "model_not_found"
    status = 404
    type = "invalid_request_error"


class Refused(CallFailed):
    """A policy refused the call; `code` is what the span and the page call the reason."""

    code = "refused"
    status = 403
    type = "policy_error"


class UpstreamFailed(CallFailed):
    """No target answered. `retryable`: another attempt, at this or another target, may work."""

    code = "upstream_failed"
    status = 502
    type = "upstream_error"

    def __init__(self, message: str, *, retryable: bool = True, **named: Any) -> None:
        super().__init__(message, **named)
        self.retryable = retryable
