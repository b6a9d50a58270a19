"""The control database of an installation, for processes that need nothing else of the store."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

from core.clock import Clock, system_clock
from core.errors import AssayError
from server.settings import Settings
from store.control.control import Control
from store.control.integrity import sound_rows_at, sqlite_file
from store.control.secret_file import read_or_create_secret
from store.control.tables import WATERMARKS
from store.instance import (
    AnotherInstance,
    Instance,
    fresh,
    instance_of,
    is_reached,
    moved,
    note,
    require_reached,
    require_same,
    require_secrets,
)
from store.lake import Lake
from store.versions import note_format, require_format

SECRETS: Final = ("master.key", "pepper")


def open_control(settings: Settings, clock: Clock = system_clock) -> Control:
    """The control database, with the installation's pepper, brought up to this release.

    Raises, before anything is touched, NewerData when a later release wrote the data folder and AnotherInstance when
    the folder is another instance's than the settings say; StorageFailed, Corrupt.
    """
    require_folder(settings)
    _database_there(settings)
    found = _secrets(settings)
    control = Control.open(settings.control_database, pepper=found["pepper"], clock=clock)
    _first_open(settings, control)
    note_format(settings.data, version("assay"))
    note(settings.data, **_places(settings), secrets_=found)
    keep_out_of_git(settings.data)
    return control


def _first_open(settings: Settings, control: Control) -> None:
    """Keeps a folder of an earlier release from being noted with a lake that is not its own."""
    if instance_of(settings.data) is None and (counted := control.watermarks()):
        try:
            require_reached(settings.data, Lake(settings.lake_root, cache=settings.lake_cache), counted)
        except AssayError:
            control.close()
            raise


def _database_there(settings: Settings) -> None:
    """The same for a control database on SQLite: a new one beside a journal would know no tenant of it."""
    path = sqlite_file(settings.control_database)
    used = (settings.data / "journal" / "journal.json").exists()
    if path is not None and not path.exists() and used and instance_of(settings.data) is None:
        raise AnotherInstance(
            f"{settings.data} was used before, and there is no control database at {path}\n"
            "name the right one in ASSAY_CONTROL_URL or --config FILE, or restore a backup\n"
            "to go on with a new one: assay adopt --yes"
        )


def require_folder(settings: Settings) -> None:
    """Raises NewerData, AnotherInstance: this release may not open the folder, or not with these settings, or a secret
    is not the folder's own; Corrupt, StorageFailed. Changes nothing."""
    require_places(settings)
    require_secrets(settings.data)


def require_places(settings: Settings) -> None:
    """The same without the secrets, for what reports on them."""
    require_format(settings.data)
    require_same(settings.data, **_places(settings))


def require_lake(settings: Settings, lake: Lake) -> None:
    """Raises AnotherInstance when the lake has nothing of what the ledger counts; StorageFailed."""
    require_reached(settings.data, lake, _watermarks(settings))


def note_instance(settings: Settings) -> None:
    """Notes the folder as the instance that it is with these settings, unless that is noted already. Raises
    StorageFailed, Corrupt, AnotherInstance when a secret is not the folder's own."""
    note(settings.data, **_places(settings), secrets_=_secrets(settings))


def moved_instance(settings: Settings) -> Instance:
    """The folder's instance with lake and control database where the settings say, not noted yet. Raises
    StorageFailed, Corrupt, AnotherInstance when a secret is not the folder's own."""
    lake = Lake(settings.lake_root, cache=settings.lake_cache)
    known, found = instance_of(settings.data), _secrets(settings)
    return moved(
        known or fresh(settings.data, **_places(settings), secrets_=found),
        settings.data,
        **_places(settings),
        empty_lake=not is_reached(lake, _watermarks(settings)),
    )


def _places(settings: Settings) -> dict[str, str]:
    return {"lake": settings.lake_root, "control_url": settings.control_database}


def _watermarks(settings: Settings) -> dict[int, int]:
    rows = sound_rows_at(settings.control_database, WATERMARKS)
    return {int(str(row["journal"])): int(str(row["upto_seq"])) for row in rows}


def keep_out_of_git(data: Path) -> None:
    """Lets git ignore a data folder, whatever it is called: it holds keys, and may lie in a checkout."""
    with suppress(OSError):  # a courtesy: nothing depends on it
        if not (data / ".gitignore").exists():
            (data / ".gitignore").write_text("*\n")


def pepper_of(settings: Settings) -> bytes:
    """The installation's pepper, made at first use. Raises StorageFailed, Corrupt, AnotherInstance."""
    return read_or_create_secret(settings.secrets_dir / "pepper")


def _secrets(settings: Settings) -> dict[str, bytes]:
    return {name: read_or_create_secret(settings.secrets_dir / name) for name in SECRETS}
