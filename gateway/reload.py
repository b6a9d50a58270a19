"""Notices that the gateway's file has changed. A good one is offered, a bad one is told and the old one holds."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from core.clock import Clock, to_datetime
from gateway.config import GatewayConfig
from gateway.config_file import MAX_FILE_BYTES, BadConfig, LoadedConfig, load_config

LOOK_EVERY_S: Final = 1.0
_LOG = logging.getLogger("assay.gateway")


def first_config(path: Path, environ: Mapping[str, str], *, needed: bool) -> LoadedConfig:
    """What a start begins with: the file, or an empty configuration where there is none and it is not `needed`.
    Raises BadConfig."""
    if not needed and not path.exists():
        return LoadedConfig(config=GatewayConfig())
    return load_config(path, environ)


class ConfigWatch:
    """Looks at one file and at the files of secrets that it names. Not thread-safe; `look` reads files, so call it in
    a thread. A change counts once it was the same at two looks: a file that is being written is not taken by halves.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], first: LoadedConfig, clock: Clock) -> None:
        self._path = path
        self._environ = environ
        self._clock = clock
        self._loaded = first
        self._loaded_at_ns = clock()
        self._judged = self._seen = self._fingerprint()
        self._problems: tuple[str, ...] = ()

    def look(self, *, at_once: bool = False) -> LoadedConfig | None:
        """A configuration that differs from the one in use, or None. `at_once`: somebody said that the file is whole.
        Call `taken` or `refused` with what became of it."""
        seen, before = self._fingerprint(), self._seen
        self._seen = seen
        judged = seen == self._judged and not self._problems  # what was wrong may be a secret that has come since
        if not at_once and (judged or seen != before):
            return None
        self._judged = seen
        if seen is None and self._loaded.path is None:
            return None  # there was none, and there is none
        try:
            found = load_config(self._path, self._environ)
        except BadConfig as error:
            self.refused(error.problems)
            return None
        if found.digest == self._loaded.digest and found.path == self._loaded.path:
            self._problems = ()
            return None
        return found

    def taken(self, config: LoadedConfig) -> None:
        """It is in use now."""
        self._loaded, self._loaded_at_ns, self._problems = config, self._clock(), ()
        _LOG.warning("%s: read again and in use (%s)", self._path, config.digest)

    def refused(self, problems: tuple[str, ...]) -> None:
        """It cannot be used; the one before stays."""
        if problems == self._problems:
            return
        self._problems = problems
        for problem in problems:
            _LOG.error("%s", problem)
        _LOG.error("%s is not used; what was read at %s stays in use", self._path, self._since())

    def status(self) -> dict[str, Any]:
        """What is in use since when, and what is wrong with the file as it is now."""
        shown = {"file": str(self._path), "in_use": str(self._loaded.path) if self._loaded.path else "built in"}
        return {**shown, "digest": self._loaded.digest, "since": self._since(), "problems": list(self._problems)}

    def _since(self) -> str:
        return to_datetime(self._loaded_at_ns).isoformat(timespec="seconds").replace("+00:00", "Z")

    def _fingerprint(self) -> bytes | None:
        """Of the bytes of all files; None when there is no file."""
        if not self._path.exists():
            return None
        found = hashlib.sha256()
        for path in (self._path, *self._loaded.secret_files):
            try:
                with path.open("rb") as file:
                    found.update(file.read(MAX_FILE_BYTES + 1))
            except OSError as error:
                found.update(str(error.errno).encode())
            found.update(b"\0")
        return found.digest()
