"""Every error this project raises on purpose.

    AssayError
    ├── InvalidInput        the caller sent something wrong; repeating it will not help
    │   ├── Undecodable     bytes that are not what their content type says
    │   └── TooLarge        over a declared limit
    ├── Unauthenticated     no credential, or one that is not known
    ├── Forbidden           a known caller without the permission
    ├── NotFound            no such thing in the caller's tenant
    ├── Conflict            the same name or idempotency key with another content
    │   └── InProgress      the first request with this idempotency key is being worked on; try after `retry_after_s`
    ├── Overloaded          try again after `retry_after_s`; nothing was kept
    ├── StorageFailed       disk full, EIO, failed fsync; nothing was acknowledged
    └── Corrupt             bytes on disk are not the bytes that were written

A message says what happened, to which thing, and what to do.
"""

from __future__ import annotations


class AssayError(Exception):
    """Root of the tree; `code` is the stable machine-readable name of the error."""

    code = "error"


class InvalidInput(AssayError):
    """The caller sent something wrong. `field` names the part, if one part is to blame."""

    code = "invalid_input"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Undecodable(InvalidInput):
    """Bytes that are not what their content type says."""

    code = "undecodable"


class TooLarge(InvalidInput):
    """Over a declared limit."""

    code = "too_large"


class Unauthenticated(AssayError):
    """No credential, or one that is not known."""

    code = "unauthenticated"


class Forbidden(AssayError):
    """A known caller without the permission."""

    code = "forbidden"


class NotFound(AssayError):
    """No such thing in the caller's tenant."""

    code = "not_found"


class Conflict(AssayError):
    """The same name or idempotency key with another content."""

    code = "conflict"


class InProgress(Conflict):
    """The first request with this idempotency key is being worked on; try again after `retry_after_s` seconds."""

    code = "in_progress"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(AssayError):
    """Nothing was kept; try again after `retry_after_s` seconds."""

    code = "overloaded"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageFailed(AssayError):
    """Disk full, EIO or a failed fsync: nothing was acknowledged."""

    code = "storage_failed"


class Corrupt(AssayError):
    """Bytes on disk are not the bytes that were written."""

    code = "corrupt"
