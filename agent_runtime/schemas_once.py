"""The tools' schemas in a provider's dialect, made once: ours never change, and pydantic-ai walks them per request."""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai import ModelProfile
from pydantic_ai.profiles import JsonSchemaTransformer

_MOST: Final = 512  # schemas of a model; a program that makes new ones per request gains nothing and keeps few
_Walked = tuple[dict[str, Any], dict[str, Any], bool]  # the schema (its id stays taken), the result, fit for strict


def schemas_once(profile: ModelProfile) -> ModelProfile:
    """A model's profile whose schema transformer remembers; given to pydantic-ai as `profile=`."""
    transformer = profile.get("json_schema_transformer")
    if transformer is None:
        return profile
    return ModelProfile(**{**profile, "json_schema_transformer": _remembering(transformer)})


def _remembering(transformer: type[JsonSchemaTransformer]) -> type[JsonSchemaTransformer]:
    walked: dict[tuple[int, bool | None], _Walked] = {}

    class Once(transformer):  # type: ignore[valid-type, misc]
        def __init__(self, schema: dict[str, Any], *, strict: bool | None = None) -> None:
            self._given = schema
            self._key = (id(schema), strict)
            found = walked.get(self._key)
            if found is None:
                super().__init__(schema, strict=strict)
            else:
                self.schema, self.strict, self.is_strict_compatible = schema, strict, found[2]

        def walk(self) -> dict[str, Any]:
            found = walked.get(self._key)
            if found is None:
                if len(walked) >= _MOST:
                    walked.clear()
                found = walked[self._key] = (self._given, super().walk(), self.is_strict_compatible)
            return found[1]

    return Once
