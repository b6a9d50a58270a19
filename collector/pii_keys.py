"""What the key of an attribute says of its value: `password`, `user.phone_number`, `ssn`.

In a map a key and its value are cells apart, so that the rules for text, which read a name before a value, would miss
what they find in `{"password": "..."}`. A label takes the key's place: the value is read after it as text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector import pii_numbers, pii_scan, pii_secrets
from collector.redact import text_buffers

KEY_TAIL: Final = 128  # characters at the end of a key that are read
REMEMBERED: Final = 16_384  # keys of which it is remembered what they say
# The scan lists it as a candidate after the keys that may name a number or a secret: it may be either.
_EITHER: Final = ": 5550001!xxxxxxxxx"


def labels(keys: pa.Array) -> dict[int, str]:
    """place -> label, of those of some distinct keys (strings without nulls) that say what their values are."""
    found = pii_scan.candidates(*text_buffers(pc.binary_join_element_wise(keys, _EITHER, "")))
    said = ((int(place), label_of(keys[int(place)].as_py()[-KEY_TAIL:])) for place in np.unique(found[:, 0]))
    return {place: label for place, label in said if label}


@lru_cache(maxsize=REMEMBERED)
def label_of(key: str) -> str:
    """What the key says its value is, in words that the rules for text know ("phone", "password"), else empty."""
    raw = key.encode("utf-8", "surrogatepass")
    said = [
        "phone" if pii_numbers.names_phone(raw) else None,
        "ssn" if pii_numbers.names_ssn(raw) else None,
        pii_secrets.named(raw),
    ]
    return " ".join(word for word in said if word)
