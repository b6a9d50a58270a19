"""Records of this room as plain JSON, for the control database and the API."""

from __future__ import annotations

import dataclasses
import math
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """Dataclasses to dicts by field, enums to their values, tuples to lists, deeply.

    Raises ValueError for a number that is not finite: what is not known is never NaN. TypeError for what is no JSON.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} among what is told")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} is no JSON")
