"""The demo's monitors: those that every agent begins with, and one that promises 99% of each release's sessions.
Made once, when the two days before are there, so that their first look learns from them.

    python -m server.cli.demo_monitors      (with ASSAY_URL and ASSAY_API_KEY)

Nothing is made up for them: demo-v1 keeps the promise, demo-v2 with its faults does not, and that is the incident. They
go through the API, as a user would: the commands that they stand for are printed. Whatever goes wrong is said and no
more: the simulated users, who come after this, are not kept waiting for it.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx

from server.cli.demo_evaluations import APP, asked, once
from server.supervisor import Part

if TYPE_CHECKING:
    from server.cli.up import Places

NAME: Final = "promise"
DEFINITION: Final[dict[str, Any]] = {
    "app": APP,
    "series": "resolution",
    "by": "release",
    "band": {"kind": "slo", "objective": 0.99},
    "owner": "whoever looks",
}
HISTORY: Final = timedelta(hours=50)  # what goes by the hour of the day wants 48 of them first
_OLDEST: Final = timedelta(hours=2)  # of the history, which is filled from its end to its beginning
_PATIENCE_S: Final = 60.0


def part(places: Places, key: str) -> Part:
    """The process that does it."""
    return once("monitors", "server.cli.demo_monitors", places, key)


def main() -> int:
    """Does what is not done yet; always 0."""
    from server.cli.serve import end_with_parent

    end_with_parent()
    headers = {"authorization": f"Bearer {os.environ['ASSAY_API_KEY']}"}
    try:
        with httpx.Client(base_url=os.environ["ASSAY_URL"], headers=headers, timeout=60) as api:
            print(_watched(api))
    except (httpx.HTTPError, SystemExit) as error:
        print(f"nothing is watched: {error}")
    return 0


def _watched(api: httpx.Client) -> str:
    """Makes them where nobody has made any; in a line, what watches the app."""
    if asked(api, "GET", "/monitors", params={"app": APP})["items"]:
        return "monitors of an earlier start are there"
    _wait_for_the_oldest(api)
    print(f"assay monitors create --defaults --app {APP}")
    made = asked(api, "POST", "/monitors/defaults", json={"app": APP})["items"]
    objective, owner = DEFINITION["band"]["objective"], DEFINITION["owner"]
    band = f"--by release --band slo --set objective={objective}"
    print(f"assay monitors create resolution --app {APP} --name {NAME} {band} --owner '{owner}'")
    asked(api, "POST", "/monitors", json={"name": NAME, "definition": DEFINITION})
    return f"{len(made)} default monitors and {NAME}, 99% of each release, watch {APP} from now on"


def _wait_for_the_oldest(api: httpx.Client) -> None:
    """Until the sessions that were sent last can be read; for as long as that is worth."""
    begun = datetime.now(UTC) - HISTORY
    window = {"start": _text(begun - _OLDEST), "end": _text(begun + _OLDEST), "app": APP, "limit": 1}
    until = time.monotonic() + _PATIENCE_S
    while not asked(api, "GET", "/sessions", params=window)["items"] and time.monotonic() < until:
        time.sleep(1)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
