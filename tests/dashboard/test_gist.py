"""Lists show what was said, not the JSON it came in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.parts.gist import gist

PARTS = [
    {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
    {"role": "user", "parts": [{"type": "text", "content": 'Say "hi" — é'}]},
]
CALL = [
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "find_trains", "arguments": {"q": 1}}]}
]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        ("plain words", "plain words"),
        ("[not json", "[not json"),
        ('{"answer": 42}', '{"answer": 42}'),
        ("[1, 2]", "[1, 2]"),
        (json.dumps(PARTS), 'Say "hi" — é'),
        (json.dumps(PARTS, ensure_ascii=False)[:-3], 'Say "hi" — é'),
        ('[{"role":"user","content":"A long quest', "A long quest…"),
        ('[{"role":"user","content":"cut \\u00', "cut …"),
        (json.dumps(CALL), "→ find_trains"),
        (json.dumps(CALL)[:-9], "→ find_trains"),
        ([{"role": "assistant", "content": "Hello"}], "Hello"),
    ],
)
def test_gists(value: object, said: str) -> None:
    assert gist(value) == said


@given(
    st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text()})), st.data()
)
def test_a_cut_at_any_place_raises_nothing(messages: list[dict[str, str]], data: st.DataObject) -> None:
    text = json.dumps(messages)
    assert isinstance(gist(text[: data.draw(st.integers(0, len(text)))]), str)


def test_an_answer_that_repeats_the_conversation_is_its_last_message() -> None:
    said = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "4 degrees"}]
    assert gist(said) == "Weather?"
    assert gist(said, answer=True) == "4 degrees"
