"""Where an installation keeps lake and control database, for what looks it over without a server."""

from __future__ import annotations

from server.settings import Settings
from store.doctor import Place


def place_of(settings: Settings) -> Place:
    """The lake and the control database that the settings name."""
    return Place(data=settings.data, lake=settings.lake_root, control_url=settings.control_database)
