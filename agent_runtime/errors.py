"""Every failure the runtime knows.

RuntimeFailed
├── InvalidInput         the caller's message or configuration; retrying changes nothing
├── NotFound             no such session, approval or user
├── Busy                 the session's queue is full; retry later
├── CorruptState         a checkpoint or row of the runtime's own file cannot be read
├── ModelFailed          the provider refused, timed out or answered nonsense, after the retries allowed
├── LimitReached         a turn reached a limit: steps, tokens, dollars, seconds, repeated calls
└── BackendFailed
    ├── BackendRefused       the shop said no, and why; nothing happened
    ├── BackendUnavailable   nothing happened; retrying is safe
    └── BackendTimeout       whether it happened is unknown; only a call with the same key may be repeated
"""

from __future__ import annotations


class RuntimeFailed(Exception):
    """Anything the runtime raises on purpose; the message says what, which and what to do."""


class InvalidInput(RuntimeFailed):
    """What the caller gave cannot be used."""


class NotFound(RuntimeFailed):
    """There is no such thing."""


class Busy(RuntimeFailed):
    """Too many messages wait in this session."""


class CorruptState(RuntimeFailed):
    """Something the runtime wrote cannot be read back."""


class ModelFailed(RuntimeFailed):
    """The model gave no usable answer."""


class LimitReached(RuntimeFailed):
    """A turn's limit was reached; `limit` names it: steps, tokens, dollars, seconds or repeated_calls."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class BackendFailed(RuntimeFailed):
    """A call to the shop did not succeed."""


class BackendRefused(BackendFailed):
    """The shop refused; nothing happened."""


class BackendUnavailable(BackendFailed):
    """The shop could not be reached; nothing happened."""


class BackendTimeout(BackendFailed):
    """No answer in time; the effect may have happened."""
