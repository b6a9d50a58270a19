"""Filters: what is refused, what is one shape, and texts that would be code elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from store import spans
from store.asked import Asked
from store.filters import Filters, Status, parse_attribute, shape_of, values_of
from tests.store.build import fill, row
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.mark.parametrize(
    ("given_filters", "field"),
    [
        ({"app": "x" * 1001}, "app"),
        ({"q": "a\0b"}, "q"),
        ({"attr": (("k\0", "v"),)}, "attr"),
        ({"attr": (("k", "v" * 1001),)}, "attr"),
        ({"attr": (("k", "v"),) * 11}, "attr"),
        ({"min_duration_ms": -1.0}, "min_duration_ms"),
        ({"max_duration_ms": float("nan")}, "max_duration_ms"),
        ({"max_duration_ms": float("inf")}, "max_duration_ms"),
        ({"min_duration_ms": 2.0, "max_duration_ms": 1.0}, "max_duration_ms"),
    ],
)
def test_a_wrong_filter_names_its_field(given_filters: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Filters(**given_filters)
    assert refused.value.field == field


def test_a_nul_is_refused_with_its_position() -> None:
    with pytest.raises(InvalidInput, match="position 3"):
        Filters(name="abc\0")


@pytest.mark.parametrize("text", ["", "novalue", "=v"])
def test_an_attribute_filter_needs_a_key_and_an_equals_sign(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_attribute(text)


def test_an_attribute_filter_is_cut_at_the_first_equals_sign() -> None:
    assert parse_attribute("a=b=c") == ("a", "b=c")
    assert parse_attribute("a=") == ("a", "")


def test_two_values_have_one_shape() -> None:
    left, right = Filters(app="a", attr=(("k", "1"),)), Filters(app="b", attr=(("z", "2"),))
    assert shape_of(left) == shape_of(right) != shape_of(Filters(app="a"))
    assert values_of(left)["app"] == "a"
    assert values_of(Filters(status=Status.ERROR))["status"] == 2


HOSTILE = [
    "a';DROP TABLE spans;--",
    '"; SELECT 1; --',
    "%",
    "_",
    "\\",
    "$slot_app",
    "{0.__class__}",
    "\n",
    "k=v",
    "__proto__",
    "'||'",
    "\x1b[2J",
    "\ud7ff",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_attribute_is_found_as_what_it_is(tmp_path: Path, text: str) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, attributes={text: text}, app=text), row(span_id=2, attributes={"k": "v"}, app="x")])
    tenant = store.tenant("acme")
    for filters in (Filters(attr=((text, text),)), Filters(app=text)):
        found = spans.list_spans(tenant, Asked(window=WINDOW, filters=filters))
        assert found["span_id"].to_list() == [f"{1:016x}"]
    assert spans.list_spans(tenant, Asked(window=WINDOW, filters=Filters(attr=((text, "other"),)))).height == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_text_finds_itself_and_only_itself(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    lake, store = store_at(tmp_path_factory.mktemp("any"))
    fill(lake, [row(span_id=1, attributes={text: "1"}, user_id=text), row(span_id=2, attributes={text + "x": "1"})])
    tenant = store.tenant("acme")
    for filters in (Filters(attr=((text, "1"),)), Filters(user_id=text)):
        found = spans.list_spans(tenant, Asked(window=WINDOW, filters=filters))
        assert found["span_id"].to_list() == [f"{1:016x}"]
