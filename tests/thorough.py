"""How much a run tries where more is only more: `make test` less, ASSAY_TEST_THOROUGH=1 (and `make soak`) all of it."""

from __future__ import annotations

import os
from typing import Final

THOROUGH: Final = os.environ.get("ASSAY_TEST_THOROUGH") == "1"
EXAMPLES: Final = 100 if THOROUGH else 40  # of a property without a number of its own


def often(n: int, least: int) -> int:
    """`n` in a thorough run, else `least`."""
    return n if THOROUGH else least
