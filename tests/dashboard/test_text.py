"""Text from traces is shown as it is spelled."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dashboard.text import as_json, chart_text, inert, inert_tree, label, one_line, parsed
from tests.dashboard import hostile

BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def test_markup_is_kept_letter_by_letter() -> None:
    assert inert(hostile.MARKUP) == hostile.MARKUP


def test_bidi_overrides_and_escapes_become_visible_marks() -> None:
    assert inert(hostile.OVERRIDE) == "invoice[U+202E]gpj.exe[U+202C]"
    assert inert(hostile.ANSI) == "[U+001B][31mred[U+001B][0m"


def test_right_to_left_words_stay_and_are_isolated_in_cells() -> None:
    assert inert("שלום\u200f") == "שלום\u200f"
    assert one_line("שלום") == "\u2068שלום\u2069"
    assert one_line("hello") == "hello"


@given(st.text())
def test_no_text_keeps_a_control_that_reorders_or_rewrites_the_page(text: str) -> None:
    shown = inert(text)
    assert not BIDI.search(shown)
    assert not CONTROLS.search(shown)
    shown.encode()  # lone surrogates cannot reach the browser


def test_piled_up_combining_marks_stay_on_their_line() -> None:
    assert len(inert("e" + "\u0301" * 10_000)) == 9


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t="])
def test_a_cell_never_starts_as_a_spreadsheet_formula(start: str) -> None:
    assert not one_line(start + "1+1").lstrip(" ").startswith(("=", "+", "-", "@"))


def test_a_line_of_megabytes_is_cut() -> None:
    assert len(one_line("x" * 5_000_000)) == 201
    assert len(inert("x" * 5_000_000, 1_000)) == 1_001


def _rendered(text: str) -> str:
    html: str = MarkdownIt("commonmark", {"html": True}).enable(["strikethrough", "table"]).renderInline(text)
    return html


@pytest.mark.parametrize(
    "text", [hostile.MARKUP, hostile.EVERYTHING, "# head", "1. one", "- a", "> q", "a|b", "\\*", "[x]: y", "&lt;b&gt;"]
)
def test_a_label_renders_as_its_own_characters(text: str) -> None:
    html = _rendered(label(text, 1_000))
    assert "<" not in html
    back = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert back.replace("\u2060", "") == " ".join(inert(text).split())


def test_a_label_offers_streamlit_no_directive() -> None:
    assert not re.search(r":(material/|red\[|smile:)", label(hostile.MARKUP, 1_000).replace("\\", ""))


def test_chart_text_has_neither_tags_nor_templates() -> None:
    text = chart_text('<a href="x">%{y}</a> $x$ &amp;', 200)
    assert "<" not in text
    assert "%{" not in text
    assert "$" not in text


def test_json_is_recognised_and_nothing_else() -> None:
    assert parsed(' {"a": 1}') == {"a": 1}
    assert parsed("[1]") == [1]
    assert parsed("3") is None
    assert parsed("{broken") is None
    assert parsed("[" * 100_000) is None


def test_a_json_tree_is_inert_in_keys_and_values() -> None:
    tree = inert_tree({hostile.OVERRIDE: ["\x1b", {"n": 1, "none": None}], "long": "x" * 30_000})
    text = json.dumps(tree, ensure_ascii=False)
    assert not BIDI.search(text)
    assert "\\u001b" not in text
    assert len(text) < 21_000
    assert tree == json.loads(as_json(tree))
