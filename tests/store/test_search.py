"""Search: where the text stands, inside a window, as plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from store.asked import Asked
from store.filters import Filters
from store.search import search
from store.spans import list_spans
from tests.store.build import T0, fill, row, span
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def test_every_place_is_searched_whatever_the_case(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    places = {"name": "xNeedlex", "input": "a NEEDLE b", "output": "needle"}
    rows = [row(span_id=n, at_s=n, **{place: text}) for n, (place, text) in enumerate(places.items(), 1)]
    rows.append(row(span_id=4, at_s=4, attributes={"k": "the needle"}))
    rows.append(row(span_id=5, at_s=5, attributes={"needle": "a key is no text"}))
    fill(lake, rows, batches=2)
    found = search(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(q="nEEdle")))
    assert found["span_id"].to_list() == [span(n) for n in (4, 3, 2, 1)]
    assert found["matched_in"].to_list() == ["attributes", "output", "input", "name"]
    assert found["snippet"].to_list() == ["the needle", "needle", "a NEEDLE b", "xNeedlex"]


def test_what_every_call_repeats_is_not_searched(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    repeated = {"gen_ai.system_instructions": "mind the needle", "gen_ai.tool.definitions": "needle()"}
    rows = [row(span_id=1, attributes=repeated), row(span_id=2, at_s=1, attributes=repeated | {"k": "a needle"})]
    rows += [
        row(span_id=3, at_s=2, attributes={"other": ""}),
        row(span_id=4, at_s=3, input="needle", attributes=repeated),
    ]
    fill(lake, rows, batches=2)
    found = search(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(q="needle")))
    assert found["span_id"].to_list() == [span(4), span(2)]
    assert found["matched_in"].to_list() == ["input", "attributes"]
    by_key = Filters(attr=(("gen_ai.tool.definitions", "needle()"),))
    assert list_spans(store.tenant("acme"), Asked(window=WINDOW, filters=by_key)).height == 3


def test_a_snippet_stands_around_the_match(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(input="a" * 5000 + "needle" + "b" * 5000)])
    (snippet,) = search(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(q="needle")))["snippet"]
    assert snippet == "a" * 60 + "needle" + "b" * 134


@pytest.mark.parametrize("text", ["100%", "a_b", "(a+)+$", "[", "\\d", "İ", "'"])
def test_a_pattern_is_plain_text(tmp_path: Path, text: str) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, input=f"<{text}>"), row(span_id=2, at_s=1, input="100 aXb aaaa 5")])
    found = search(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(q=text)))
    assert found["span_id"].to_list() == [span(1)]


def test_only_the_window_is_searched(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, input="needle"), row(span_id=2, at_s=100, input="needle")], batches=2)
    early = Window(start_ns=T0, end_ns=T0 + 50 * NS_PER_S)
    assert search(store.tenant("acme"), Asked(window=early, filters=Filters(q="needle"))).height == 1


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    with pytest.raises(InvalidInput):
        search(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(q=" ")))
