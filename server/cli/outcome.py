"""How a command ends: exit codes, and the one exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command; scripts may rely on them."""

    OK = 0
    FAILED = 1  # the thing asked about is not well, or the work failed
    USAGE = 2  # wrong arguments or settings; nothing was started
    INCONCLUSIVE = 3  # a gate that could not decide
    UNREACHABLE = 4  # no server answers at the address
    NOT_ALLOWED = 5  # no key, an unknown key, or a role that may not do this
    NOT_FOUND = 6  # no such thing in the tenant
    INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends a command with a message of at most three lines on standard error and an exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
