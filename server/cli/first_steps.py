"""What the supervisor has done for it by a short child process, so that it keeps no settings library and no database.

`python -m server.cli.first_steps` prints two lines of JSON: where everything is (or, before it has touched anything,
what is wrong with settings or folder); then, once it reads a line, the credentials, made where there are none that
work. Ends with 2 when settings, or a folder of a later release, are to blame, with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pydantic import SecretStr

from core.errors import AssayError, Conflict, InvalidInput, Unauthenticated
from server.cli.serve import add_settings_arguments, settings_of
from server.settings import PORTS, Settings
from store.versions import require_format

_NAMES = dict(
    zip(PORTS, ("OTLP gRPC", "OTLP HTTP", "API", "dashboard", "gateway", "agent", "simulated model"), strict=True)
)


def main() -> int:
    """Prints both lines and returns the exit code."""
    parser = argparse.ArgumentParser()
    add_settings_arguments(parser)
    try:
        settings = settings_of(parser.parse_args())
        require_format(settings.data)
    except AssayError as error:
        print(error, file=sys.stderr)
        return _code(error)
    print(json.dumps(places_of(settings)), flush=True)
    if not sys.stdin.readline():
        return 0
    try:
        print(json.dumps(credentials_of(settings)), flush=True)
    except (AssayError, OSError) as error:
        print(f"assay: {error}", file=sys.stderr)
        return _code(error)
    return 0


def _code(error: Exception) -> int:
    """A bootstrap key that is none is Unauthenticated, another's or a revoked one Conflict."""
    return 2 if isinstance(error, (InvalidInput, Unauthenticated, Conflict)) else 1


def places_of(settings: Settings) -> dict[str, Any]:
    """Folder, host, ports by name, and the settings as the environment of a part."""
    return {
        "data": str(settings.data.absolute()),
        "host": settings.host,
        "ports": {_NAMES[name]: getattr(settings, name) for name in PORTS},
        "environment": _environment(settings),
    }


def credentials_of(settings: Settings) -> dict[str, Any]:
    """The content of credentials.json; a key in it that works no more is replaced."""
    from server.bootstrap import bootstrap

    return dict(bootstrap(settings))


def _environment(settings: Settings) -> dict[str, str]:
    """The bootstrap key is not among it: only this process needs it. Other secrets are: JSON would hold asterisks."""
    found: dict[str, str] = {}
    for name, value in settings.model_dump(mode="json", exclude={"bootstrap_key", "port_base"}).items():
        secret = getattr(settings, name)
        if isinstance(secret, SecretStr):
            value = secret.get_secret_value()
        if value is not None:
            found[f"ASSAY_{name.upper()}"] = ",".join(value) if isinstance(value, list) else str(value)
    return {**found, "ASSAY_DATA": str(settings.data.absolute()), "ASSAY_PORT_BASE": "", "ASSAY_BOOTSTRAP_KEY": ""}


if __name__ == "__main__":
    sys.exit(main())
