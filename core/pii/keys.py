"""What the key of a map says of its value: `password`, `user.phone_number`, `ssn`.

In a map a key and its value stand apart, so that the rules for text, which read a name before a value, would miss what
they find in `{"password": "..."}`. A label takes the key's place: the value is read after it as text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from core.pii import numbers, secrets

KEY_TAIL: Final = 128  # characters at the end of a key that are read
REMEMBERED: Final = 16_384  # keys of which it is remembered what they say


@lru_cache(maxsize=REMEMBERED)
def label_of(key: str) -> str:
    """What the key says its value is, in words that the rules for text know ("phone", "password"), else empty."""
    raw = key.encode("utf-8", "surrogatepass")
    said = [
        "phone" if numbers.names_phone(raw) else None,
        "ssn" if numbers.names_ssn(raw) else None,
        secrets.named(raw),
    ]
    return " ".join(word for word in said if word)
