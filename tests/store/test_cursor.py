"""Cursors: what was signed comes back, anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.errors import Undecodable
from core.windows import Window
from store.cursor import LIFETIME_S, Cursors, Position

NOW = 1_790_000_000 * NS_PER_S
HERE = Position(order=-5, row_id="trace-é\0", window=Window(start_ns=0, end_ns=2**62))


def cursors(now_ns: int = NOW, key: bytes = b"k") -> Cursors:
    return Cursors(key, lambda: now_ns)


def test_a_cursor_comes_back_whole() -> None:
    text = cursors().encode(HERE, tenant="a", query="q")
    assert cursors().decode(text, tenant="a", query="q") == HERE


@pytest.mark.parametrize(("tenant", "query", "key"), [("b", "q", b"k"), ("a", "other", b"k"), ("a", "q", b"x")])
def test_a_cursor_of_another_list_is_refused(tenant: str, query: str, key: bytes) -> None:
    text = cursors().encode(HERE, tenant="a", query="q")
    with pytest.raises(Undecodable) as refused:
        cursors(key=key).decode(text, tenant=tenant, query=query)
    assert refused.value.field == "cursor"


def test_a_cursor_expires_after_a_day() -> None:
    text = cursors().encode(HERE, tenant="a", query="q")
    assert cursors(NOW + LIFETIME_S * NS_PER_S).decode(text, tenant="a", query="q") == HERE
    with pytest.raises(Undecodable, match="expired"):
        cursors(NOW + (LIFETIME_S + 1) * NS_PER_S).decode(text, tenant="a", query="q")


def test_every_single_changed_character_is_refused() -> None:
    text = cursors().encode(HERE, tenant="a", query="q")
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(Undecodable):
            cursors().decode(changed, tenant="a", query="q")


@given(st.text(max_size=200))
def test_any_text_is_refused_without_a_crash(text: str) -> None:
    with pytest.raises(Undecodable):
        cursors().decode(text, tenant="a", query="q")


def test_a_long_text_is_refused() -> None:
    with pytest.raises(Undecodable):
        cursors().decode("A" * 10_000_000, tenant="a", query="q")
