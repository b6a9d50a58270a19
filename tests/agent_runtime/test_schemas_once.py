"""Schemas in a provider's dialect are made once, and are what pydantic-ai would have made each time."""

from __future__ import annotations

import copy

import pytest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles import JsonSchemaTransformer
from pydantic_ai.providers.openai import OpenAIProvider

from agent_runtime.schemas_once import schemas_once
from agent_runtime.tools.table import TOOLS


@pytest.fixture
def plain() -> type[JsonSchemaTransformer]:
    model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url="http://127.0.0.1:9", api_key="none"))
    found = model.profile["json_schema_transformer"]
    assert found is not None
    return found


@pytest.mark.parametrize("strict", [None, True, False])
def test_every_tool_is_said_as_before(plain: type[JsonSchemaTransformer], strict: bool | None) -> None:
    once = schemas_once({"json_schema_transformer": plain})["json_schema_transformer"]
    assert once is not None
    for tool in TOOLS.values():
        schema = dict(tool.schema)
        before = copy.deepcopy(schema)
        expected = plain(schema, strict=strict)
        walked = expected.walk()
        for _ in range(2):
            made = once(schema, strict=strict)
            assert made.walk() == walked
            assert made.is_strict_compatible == expected.is_strict_compatible
        assert once(schema, strict=strict).walk() is once(schema, strict=strict).walk()
        assert schema == before


def test_schemas_made_anew_each_time_are_not_kept_for_ever(plain: type[JsonSchemaTransformer]) -> None:
    once = schemas_once({"json_schema_transformer": plain})["json_schema_transformer"]
    assert once is not None
    for number in range(2000):
        schema = {"type": "object", "properties": {f"p{number}": {"type": "string"}}}
        assert once(schema).walk()["properties"] == schema["properties"]


def test_a_profile_without_a_dialect_stays_as_it_is() -> None:
    assert schemas_once({}) == {}
