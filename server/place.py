"""Where an installation keeps lake and control database, for what looks it over without a server."""

from __future__ import annotations

import argparse
from pathlib import Path

from server.settings import Settings, load_settings
from store.doctor import Place


def place_of(settings: Settings) -> Place:
    """The lake and the control database that the settings name."""
    return Place(data=settings.data, lake=settings.lake_root, control_url=settings.control_database)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that --data and --config of a command, and the environment, make. Raises BadSettings."""
    config: Path | None = args.config
    return load_settings(config, data=args.data)
