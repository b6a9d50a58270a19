"""Which keys of a column say what their values are (`core.pii.keys`): the native scan spares it most of them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector import pii_scan
from collector.redact import text_buffers
from core.pii.keys import KEY_TAIL, label_of

# The scan lists it as a candidate after the keys that may name a number or a secret: it may be either.
_EITHER: Final = ": 5550001!xxxxxxxxx"


def labels(keys: pa.Array) -> dict[int, str]:
    """place -> label, of those of some distinct keys (strings without nulls) that say what their values are."""
    found = pii_scan.candidates(*text_buffers(pc.binary_join_element_wise(keys, _EITHER, "")))
    said = ((int(place), label_of(keys[int(place)].as_py()[-KEY_TAIL:])) for place in np.unique(found[:, 0]))
    return {place: label for place, label in said if label}
