"""Why a call was not answered, in the shape that OpenAI's clients know.

    CallFailed
    ├── BadCall           400, the request itself; repeating it will not help
    ├── UnknownModel      404
    ├── Refused           a policy said no: 403, or 429 with `retry_after_s`
    └── UpstreamFailed    502, 503 or 504: nobody answered usably; or the status that the provider answered

A message says what happened, to what, and what to do. It never holds a provider's key.
"""

from __future__ import annotations

from typing import Any

from core.errors import AssayError


class CallFailed(AssayError):
    """Root: `status` is the HTTP status, `kind` and `code` are OpenAI's fields type and code, `param` names the part to
    blame."""

    code = "call_failed"
    status = 500
    kind = "server_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.status if status is None else status
        self.kind = self.kind if kind is None else kind
        self.code = self.code if code is None else code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class BadCall(CallFailed):
    """The request cannot be understood or is out of bounds."""

    code = "invalid_request"
    status = 400
    kind = "invalid_request_error"


class UnknownModel(CallFailed):
    """No such virtual model for this caller."""

    code = "model_not_found"
    status = 404
    kind = "invalid_request_error"


class Refused(CallFailed):
    """A policy refused the call; `code` is what the span and the page call the reason."""

    code = "refused"
    status = 403
    kind = "policy_error"


class UpstreamFailed(CallFailed):
    """No target answered. `retryable`: another attempt, at this or another target, may work."""

    code = "upstream_failed"
    status = 502
    kind = "upstream_error"

    def __init__(self, message: str, *, retryable: bool = True, **named: Any) -> None:
        super().__init__(message, **named)
        self.retryable = retryable
