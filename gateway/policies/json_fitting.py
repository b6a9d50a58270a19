"""Whether a value fits a JSON schema, as far as structured outputs go.

Checked are type, enum, const, properties, required, additionalProperties, items, anyOf, oneOf, allOf and local $ref;
other keywords count as fulfilled. The schema is the caller's: work is bounded, and no reference leaves it.
"""

from __future__ import annotations

from typing import Any, Final

_MOST_STEPS: Final = 20_000
_MOST_DEPTH: Final = 100
_PLAIN: Final = frozenset(
    ("type", "properties", "required", "additionalProperties", "items", "description", "title", "$defs")
)
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int, float),
}


def fits(value: Any, schema: Any) -> bool:
    """Whether the value fits; True also where the schema is too large or too strange to say."""
    return _Fitting(schema).fits(value, schema, 0)


class _Fitting:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._n_steps = 0

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        """Whether a part of the value fits a part of the schema."""
        self._n_steps += 1
        if schema is False:
            return False
        if not isinstance(schema, dict) or self._n_steps > _MOST_STEPS or depth > _MOST_DEPTH:
            return True
        if "type" in schema and not _is_of(value, schema["type"]):
            return False
        if isinstance(value, dict) and not self._members(value, schema, depth):
            return False
        if isinstance(value, list) and "items" in schema:
            items = schema["items"]
            for each in value:
                if not self.fits(each, items, depth + 1):
                    return False
        return _PLAIN.issuperset(schema) or self._others(value, schema, depth)

    def _others(self, value: Any, schema: dict[str, Any], depth: int) -> bool:
        return (
            ("$ref" not in schema or self.fits(value, self._at(schema["$ref"]), depth + 1))
            and ("enum" not in schema or _is_among(value, schema["enum"]))
            and ("const" not in schema or _is_among(value, [schema["const"]]))
            and self._choices(value, schema, depth)
        )

    def _choices(self, value: Any, schema: dict[str, Any], depth: int) -> bool:
        for word in ("anyOf", "oneOf"):
            offered = schema.get(word)
            if isinstance(offered, list) and not any(self.fits(value, each, depth + 1) for each in offered):
                return False
        every = schema.get("allOf")
        return not isinstance(every, list) or all(self.fits(value, each, depth + 1) for each in every)

    def _members(self, value: dict[str, Any], schema: dict[str, Any], depth: int) -> bool:
        named, required, others = schema.get("properties"), schema.get("required"), schema.get("additionalProperties")
        named = named if isinstance(named, dict) else {}
        if isinstance(required, list) and any(isinstance(name, str) and name not in value for name in required):
            return False
        if "patternProperties" in schema:
            others = None
        for name, member in value.items():
            allowed = named.get(name, others)
            if allowed is not None and not self.fits(member, allowed, depth + 1):
                return False
        return True

    def _at(self, reference: Any) -> Any:
        """What a local reference names; nothing (which everything fits) if it names nothing here."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                return None
            found = found[name]
        return found


def _is_of(value: Any, named: Any) -> bool:
    whole = not isinstance(value, float) or value.is_integer()
    for name in named if isinstance(named, list) else (named,):
        types = _TYPES.get(name) if isinstance(name, str) else None
        if types is None:
            return True
        said = isinstance(value, types) and (name == "boolean" or not isinstance(value, bool))
        if said and (whole or name != "integer"):
            return True
    return False


def _is_among(value: Any, offered: Any) -> bool:
    # JSON tells 1 from true, Python does not.
    return not isinstance(offered, list) or any(
        value == each and isinstance(value, bool) is isinstance(each, bool) for each in offered
    )
