"""Prints what a supervisor needs of the settings, as JSON; or their problems, one line each, and ends with 2.

A process of its own (`python -m server.cli.places`), so that the supervisor does not keep a settings library loaded.
"""

from __future__ import annotations

import argparse
import json
import sys

from server.cli.serve import add_settings_arguments, settings_of
from server.settings import PORTS, BadSettings, Settings

_NAMES = dict(zip(PORTS, ("OTLP gRPC", "OTLP HTTP", "API", "dashboard"), strict=True))


def main() -> int:
    """Prints and returns the exit code."""
    parser = argparse.ArgumentParser()
    add_settings_arguments(parser)
    try:
        settings = settings_of(parser.parse_args())
    except BadSettings as problems:
        print(problems, file=sys.stderr)
        return 2
    places = {
        "data": str(settings.data.absolute()),
        "host": settings.host,
        "ports": {_NAMES[name]: getattr(settings, name) for name in PORTS},
        "environment": environment_of(settings),
    }
    print(json.dumps(places))
    return 0


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as the environment of a part; the bootstrap key is nobody's but the bootstrap's, which has it."""
    found: dict[str, str] = {}
    for name, value in settings.model_dump(mode="json", exclude={"bootstrap_key", "port_base"}).items():
        if value is not None:
            found[f"ASSAY_{name.upper()}"] = ",".join(value) if isinstance(value, list) else str(value)
    found["ASSAY_DATA"] = str(settings.data.absolute())
    found["ASSAY_PORT_BASE"] = ""
    return found


if __name__ == "__main__":
    sys.exit(main())
