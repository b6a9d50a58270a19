"""The operator's own evaluators in a server process: read once when it begins, known by name like those built in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from evaluators.catalogue import BY_NAME, install
from evaluators.custom.load import Loaded, load_folder

_LOG: Final = logging.getLogger("assay.evaluators")


def install_own(folder: Path) -> Loaded:
    """Reads the folder and installs what can be used; what cannot is told in the log. Close it at the end."""
    loaded = load_folder(folder, taken=tuple(BY_NAME))
    for problem in loaded.problems:
        _LOG.error("own evaluators of %s are left out: %s", problem.file, problem.what)
    install(loaded.evaluators)
    return loaded
