"""The control database of an installation, for processes that need nothing else of the store."""

from __future__ import annotations

from core.clock import Clock, system_clock
from server.settings import Settings
from store.control.control import Control
from store.control.secret_file import read_or_create_secret


def open_control(settings: Settings, clock: Clock = system_clock) -> Control:
    """The control database, with the installation's pepper. Raises StorageFailed, Corrupt."""
    return Control.open(settings.control_database, pepper=pepper_of(settings), clock=clock)


def pepper_of(settings: Settings) -> bytes:
    """The installation's pepper, made at first use. Raises StorageFailed, Corrupt."""
    return read_or_create_secret(settings.secrets_dir / "pepper")
