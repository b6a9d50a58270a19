"""The control database of an installation, for processes that need nothing else of the store."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from core.clock import Clock, system_clock
from server.settings import Settings
from store.control.control import Control
from store.control.secret_file import read_or_create_secret
from store.versions import note_format, require_format


def open_control(settings: Settings, clock: Clock = system_clock) -> Control:
    """The control database, with the installation's pepper, brought up to this release.

    Raises NewerData, before anything is touched, when a later release wrote the data folder; StorageFailed, Corrupt.
    """
    require_format(settings.data)
    control = Control.open(settings.control_database, pepper=pepper_of(settings), clock=clock)
    note_format(settings.data, version("assay"))
    keep_out_of_git(settings.data)
    return control


def keep_out_of_git(data: Path) -> None:
    """Lets git ignore a data folder, whatever it is called: it holds keys, and may lie in a checkout."""
    with suppress(OSError):  # a courtesy: nothing depends on it
        if not (data / ".gitignore").exists():
            (data / ".gitignore").write_text("*\n")


def pepper_of(settings: Settings) -> bytes:
    """The installation's pepper, made at first use. Raises StorageFailed, Corrupt."""
    return read_or_create_secret(settings.secrets_dir / "pepper")
