"""Every failure the runtime knows.

RuntimeFailed
├── InvalidInput         the caller's message or configuration; retrying changes nothing
│   └── FolderInUse          another process has the folder
├── NotFound             no such session, approval or user
├── Busy                 the session's queue is full; retry later
├── CorruptState         a checkpoint or row of the runtime's own file cannot be read
├── ModelFailed          the model gave no usable answer, after the retries allowed
│   ├── ModelNotAllowed      the model server refused the key
│   ├── ModelNotFound        it knows no such model or deployment
│   ├── ModelUnreachable     no server answers there, or not in time
│   └── ModelUnreadable      something answers there, but not as a model does
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


class FolderInUse(InvalidInput):
    """Another process has the runtime's folder."""


class NotFound(RuntimeFailed):
    """There is no such thing."""


class Busy(RuntimeFailed):
    """Too many messages wait in this session."""


class CorruptState(RuntimeFailed):
    """Something the runtime wrote cannot be read back."""


class ModelFailed(RuntimeFailed):
    """The model gave no usable answer."""


class ModelNotAllowed(ModelFailed):
    """The model server refused the key."""


class ModelNotFound(ModelFailed):
    """The model server knows no such model or deployment."""


class ModelUnreachable(ModelFailed):
    """No model server answers at the address, or not in time."""


class ModelUnreadable(ModelFailed):
    """What the model server answers cannot be read."""


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
