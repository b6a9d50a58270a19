"""Any JSON value that a schema allows, decided by hash: what a simulated model says to a schema it knows nothing of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

MOST_DEPTH: Final = 8
MOST_ITEMS: Final = 16
MOST_CHARS: Final = 1000
_MOST: Final = 2**53  # beyond it a bound is not read
_BOUNDS: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
_FORMATS: Final = {
    "date-time": "2026-03-02T12:00:00Z",
    "date": "2026-03-02",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "simulated@example.com",
    "hostname": "simulated.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://simulated.example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def filled(schema: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """Gives an object for the object schema `schema`; equal arguments give equal objects."""
    value = _value(schema, schema, salt, 0)
    return value if isinstance(value, dict) else {}


def _value(schema: object, root: Mapping[str, Any], salt: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > MOST_DEPTH:
        return None
    if isinstance(schema.get("$ref"), str):
        return _value(_referred(schema["$ref"], root), root, salt, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][_hash(salt) % len(schema["enum"])]
    for several in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(several), list) and schema[several]:
            return _value(schema[several][0], root, salt, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object" or (kind is None and isinstance(schema.get("properties"), Mapping)):
        return _object(schema, root, salt, depth)
    if kind == "array":
        least, most = (schema.get(name) for name in ("minItems", "maxItems"))
        n_items = min(least, MOST_ITEMS) if isinstance(least, int) else most if most == 0 else 1
        return [_value(schema.get("items"), root, f"{salt}\0{i}", depth + 1) for i in range(n_items)]
    return _scalar(kind, schema, salt)


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], salt: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: _value(one, root, f"{salt}\0{name}", depth + 1) for name, one in properties.items()}


def _scalar(kind: object, schema: Mapping[str, Any], salt: str) -> Any:
    match kind:
        case "boolean":
            return _hash(salt) % 2 == 0
        case "integer":
            return int(_number(schema, Fraction(1), salt))
        case "number":
            return float(_number(schema, Fraction(1, 100), salt))
        case "null":
            return None
        case _:
            return _text(schema)


def _number(schema: Mapping[str, Any], step: Fraction, salt: str) -> Fraction:
    """A multiple of the schema's step (else of `step`) within its bounds: from 0 to 1 where it has none."""
    found = {name: Fraction(str(value)) for name in _BOUNDS if _is_bound(value := schema.get(name))}
    step = abs(found.get("multipleOf", Fraction(0))) or step
    lows = [ceil(found[name] / step) for name in found.keys() & {"minimum"}]
    lows += [floor(found[name] / step) + 1 for name in found.keys() & {"exclusiveMinimum"}]
    highs = [floor(found[name] / step) for name in found.keys() & {"maximum"}]
    highs += [ceil(found[name] / step) - 1 for name in found.keys() & {"exclusiveMaximum"}]
    low = max(lows) if lows else min([0, *highs])
    high = min(highs) if highs else low + floor(1 / step)
    return step * (low + _hash(salt) % (max(0, high - low) + 1))


def _is_bound(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


def _text(schema: Mapping[str, Any]) -> str:
    """Of the right format and length; a `pattern` is beyond it."""
    text = _FORMATS.get(str(schema.get("format")), "simulated")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int):
        text = text.ljust(min(least, MOST_CHARS), "x")
    return text[: max(0, most)] if isinstance(most, int) else text


def _referred(reference: str, root: Mapping[str, Any]) -> object:
    found: object = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _hash(salt: str) -> int:
    return int.from_bytes(hashlib.blake2b(salt.encode("utf-8", "replace"), digest_size=6).digest(), "big")
