"""Attributes of a span whose key says what they are: at the top level a key and its value are cells apart."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.decode import decode
from collector.encode import attributes_of as originals_of
from collector.encode import request_of
from collector.key_table import key_table
from collector.mask import masked
from collector.mask_attributes import masked_map
from collector.pii_keys import labels
from collector.redact import Redactor
from core.pii.keys import KEY_TAIL, label_of
from core.records import PiiEntity, PiiMode, PiiPolicy
from store.schema import SPANS
from store.span_detail import attributes_of
from tests.collector.otlp import span, traces
from tests.thorough import often

REDACT = Redactor(PiiPolicy(), b"test-key")
HASH = Redactor(PiiPolicy(default=PiiMode.HASH), b"test-key")
KEEP = Redactor(PiiPolicy(default=PiiMode.KEEP), b"test-key")


def rows_of(*spans: Span) -> pa.Table:
    """Rows before redaction."""
    return decode([(1, traces(*spans).SerializeToString())], tenant="t", ingested_at_us=1_800_000_000_000_000).rows


def stored(attributes: dict[str, Any], redactor: Redactor = REDACT) -> dict[str, Any]:
    """The attributes of a span as a reader gets them, redacted once or twice."""
    once, _ = masked(rows_of(span(attributes)), redactor)
    twice, n = masked(once, redactor)
    assert (twice.equals(once), n) == (True, 0)
    (row,) = once.to_pylist()
    assert len(row["attributes"]) == len(row["attribute_types"])
    decode(
        [(1, request_of([row]))], tenant="t", ingested_at_us=1
    )  # types and texts agree: a later mapping can read them
    return attributes_of(row)


TOLD = [
    ("api_key", "abcDEF1234567890xyz", "[SECRET]"),
    ("apiKey", "abcDEF1234567890xyz", "[SECRET]"),
    ("password", "Tr0ub4dor&3", "[SECRET]"),
    ("db.password", "S3cr3t!pass99", "[SECRET]"),
    ("password", "a(b)[c]:D1;<e>|=,{f}", "[SECRET]"),
    ("password", ["a(b):D1"], ["[SECRET]"]),
    ("DB_PASSWORD", "S3cr3t!pass99", "[SECRET]"),
    ("client_secret", "q8Zx91LmPp02Ttyy7", "[SECRET]"),
    ("http.request.header.authorization", "Token 9f8e7d6c5b4a39281706AbCd", "Token [SECRET]"),
    ("http.request.header.authorization", ["Token 9f8e7d6c5b4a39281706AbCd"], ["Token [SECRET]"]),
    ("http.request.header.x-api-key", ["a8F3kL9mQ2xT7vB1"], ["[SECRET]"]),
    ("http.request.header.x-api-key", ["a8F3kL9mQ2xT7vB1", "no", "b8F3kL9mQ2xT7vB2"], ["[SECRET]", "no", "[SECRET]"]),
    ("x.access_token", '[ "a8F3kL9mQ2xT7vB1" ]', '[ "[SECRET]" ]'),
    ("phone", "5551234567", "[PHONE]"),
    ("phone", 5551234567, "[PHONE]"),
    ("user.phone_number", "4155552671", "[PHONE]"),
    ("userPhone", "4155552671", "[PHONE]"),
    ("phones.mobile", [4155552671, "467 3395", 12], ["[PHONE]", "[PHONE]", 12]),
    ("ssn", "078051120", "[SSN]"),
    ("user.ssn", 853371694, "[SSN]"),
    ("ssn", {"value": 853371694, "n": 1}, {"value": "[SSN]", "n": 1}),
    ("social_security_number", "853371694", "[SSN]"),
    ("customer.tax_id", "853371694", "[SSN]"),
    ("tin", 853371694, "[SSN]"),
    ("phone.password", "Tr0ub4dor&3", "[SECRET]"),
    ("phone.password", "4155552671", "[PHONE]"),
    ("tool.args", {"password": "Tr0ub4dor&3"}, {"password": "[SECRET]"}),
    ("card", 4111111111111111, "[CARD]"),
    ("note", "mail ann@example.com", "mail [EMAIL]"),
    ("of ann@example.com: password", "Tr0ub4dor&3", None),
]


@pytest.mark.parametrize(("key", "value", "expected"), TOLD)
def test_a_value_is_replaced_for_what_its_key_says(key: str, value: Any, expected: Any) -> None:
    found = stored({"before": 1, key: value, "after": "x"})
    assert (found.pop("before"), found.pop("after")) == (1, "x")
    [(kept, text)] = found.items()
    assert kept == key.replace("ann@example.com", "[EMAIL]")
    assert text == (expected if expected is not None else "[SECRET]")


UNTOLD = {
    "gen_ai.usage.input_tokens": 1_234_567,
    "gen_ai.request.max_tokens": 40_960_000,
    "total_tokens": 123_456_789,
    "token": 123_456_789_012,
    "idempotency_key": "0d664b27-1006-4461-9a9d-62c991811111",
    "next_page_token": "abc123def456ghi789jkl",
    "password": "correct horse",
    "api_key": "YOUR_API_KEY",
    "secret": "${SECRET_1234567890}",
    "tool.call.id": "call_abcDEF123456789",
    "phone_order_id": 5551234567,
    "phone": "iPhone 15",
    "mobile": True,
    "sms": 3.5,
    "call": None,
    "timestamp": 1795229720123456789,
    "empty": "",
    "ssn": [],
    "image": b"\x89PNG\r\n\x1a\n\x00\x01",
    "authorization": b"\x00\x01\x02\xff",
}


def test_other_values_and_their_types_stay() -> None:
    rows = rows_of(span(UNTOLD))
    after, n = masked(rows, REDACT)
    assert n == 0
    assert after.equals(rows)


@given(
    st.sampled_from([*{key for key, _, _ in TOLD}, *UNTOLD, "version", "a b", 'say "token', "ключ.password"]),
    st.one_of(
        st.sampled_from(["Tr0ub4dor&3", "abcDEF1234567890xyz", "5551234567", "Bearer abcDEF1234567890xyz", "x"]),
        st.sampled_from([5551234567, 853371694, True, None, 7]),
        st.text("aB3 @.-+x", max_size=24),
        st.lists(st.sampled_from(["abcDEF1234567890xyz", "no"]), max_size=3),
    ),
)
@settings(max_examples=often(200, 100), deadline=None)
def test_what_is_replaced_in_json_is_replaced_in_an_attribute(key: str, value: Any) -> None:
    for redactor in (REDACT, HASH):
        in_json = json.loads(redactor.text(json.dumps({key: value}, ensure_ascii=False)))
        found = stored({key: value}, redactor)
        if found != in_json:
            # An attribute may be replaced where JSON keeps it: a label reads on where a list or quotes begin.
            assert json.dumps(in_json) == json.dumps({key: value}), (found, in_json)
            assert "[" in json.dumps(found)


def test_each_kind_keeps_its_own_mode() -> None:
    policy = PiiPolicy(by_entity={PiiEntity.PHONE: PiiMode.HASH, PiiEntity.SSN: PiiMode.KEEP})
    found = stored({"phone": 5551234567, "ssn": 853371694, "pwd": "Tr0ub4dor&3"}, Redactor(policy, b"k"))
    assert found["phone"].startswith("[PHONE:")
    assert (found["ssn"], found["pwd"]) == (853371694, "[SECRET]")
    assert stored({"phone": "[PHONE:d9bc5900652a]"}, Redactor(policy, b"k"))["phone"] == "[PHONE:d9bc5900652a]"
    assert stored({"phone": "555 123 4567"}, Redactor(policy, b"k"))["phone"] == found["phone"]
    plain = {"phone": 5551234567, "password": "Tr0ub4dor&3", "raw": b"ann@example.com"}
    rows = rows_of(span(plain))
    assert masked(rows, KEEP) == (rows, 0)


def test_what_becomes_text_is_of_type_text() -> None:
    attributes = {"n": 7, "phone": 5551234567, "d": 0.5, "card": 4111111111111111, "b": True, "phones": [5551234567]}
    (row,) = masked(rows_of(span(attributes)), REDACT)[0].to_pylist()
    assert row["attribute_types"] == "isdsba"
    kinds = [pair.value.WhichOneof("value") for pair in originals_of(row)]
    assert kinds == ["int_value", "string_value", "double_value", "string_value", "bool_value", "array_value"]


def test_a_row_whose_type_does_not_fit_its_text_can_be_sent_again() -> None:
    row = {"attributes": [("card", "[CARD]"), ("raw", "[IP]"), ("all", "[1"), ("n", "7")], "attribute_types": "iyai"}
    values = [pair.value for pair in originals_of({**row, "moved_attributes": None})]
    assert values[:3] == [AnyValue(string_value=text) for text in ("[CARD]", "[IP]", "[1")]
    assert values[3].int_value == 7


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_bytes_that_are_text_are_searched_and_stay_bytes() -> None:
    attributes = {
        "raw": b"mail ann@example.com\nnow",
        "password": b"Tr0ub4dor&3",
        "json": json.dumps({"card": 4111111111111111}).encode(),
        "image": b"\x89PNG ann@example.com",
        "nul": b"ann@example.com\x00",
        "none": b"",
        "clean": "größer".encode(),
    }
    (row,) = masked(rows_of(span(attributes)), REDACT)[0].to_pylist()
    assert row["attribute_types"] == "y" * len(attributes)
    found = {key: base64.b64decode(text, validate=True) for key, text in row["attributes"]}
    assert found == {
        **attributes,
        "raw": b"mail [EMAIL]\nnow",
        "password": b"[SECRET]",
        "json": b'{"card": "[CARD]"}',
    }


# --- tables ---------------------------------------------------------------------------------------------------------


def _rows_of_every_kind() -> pa.Table:
    return rows_of(
        span({"a": 1}),
        span({"phone": 5551234567, "b": 2, "password": "Tr0ub4dor&3"}),
        span({}),
        span({"c": b"ann@example.com", "ssn": 853371694}),
        span({"d": "ann@example.com", "e": 4111111111111111}),
    )


@pytest.mark.parametrize(("start", "n"), [(0, 5), (0, 1), (1, 1), (1, 3), (2, 1), (3, 2), (4, 1), (2, 0), (5, 0)])
def test_a_slice_of_a_table_is_redacted_as_the_whole_is(start: int, n: int) -> None:
    whole = masked(_rows_of_every_kind(), REDACT)[0]
    assert masked(_rows_of_every_kind().slice(start, n), REDACT)[0].to_pylist() == whole.slice(start, n).to_pylist()


def test_a_table_in_chunks_is_redacted_as_the_whole_is() -> None:
    rows = _rows_of_every_kind()
    whole = masked(rows, REDACT)[0].to_pylist()
    parts = pa.concat_tables([rows.slice(0, 2), rows.slice(2, 0), rows.slice(2, 3)])
    assert masked(parts, REDACT)[0].to_pylist() == whole
    assert masked(SPANS.empty_table(), REDACT)[0].num_rows == 0


def test_types_that_are_not_one_an_entry_are_left_alone() -> None:
    entries = pa.array([[("phone", "5551234567")], []], pa.map_(pa.string(), pa.string()))
    for types in (None, pa.array(["ii", ""]), pa.array(["i", None])):
        found = masked_map(entries, types, REDACT)
        assert found.entries.to_pylist() == [[("phone", "[PHONE]")], []]
        assert found.types is None


# --- keys -----------------------------------------------------------------------------------------------------------


def test_what_a_key_says() -> None:
    assert label_of("db.password") == "password"
    assert label_of("x-api-key") == "secret"
    assert label_of("user.phone_number") == "phone"
    assert label_of("ssn") == "ssn"
    assert label_of("phone.password") == "phone password"
    assert label_of("gen_ai.usage.input_tokens") == ""
    keys = ["a", "db.password", "x" * 10_000 + ".phone", "gen_ai.tool.call.id", "", "ssn", "x: 5551234567"]
    assert labels(pa.array(keys)) == {1: "password", 2: "phone", 5: "ssn"}
    assert len("phone") < KEY_TAIL


def test_the_scan_lists_every_key_that_says_something() -> None:
    keys = [key for key, _, _ in TOLD] + ["itin", "pwd", "x.sig", "credentials", "FAX", "handy mobil", "secretKey"]
    said = labels(pa.array(keys))
    assert {keys[place]: label for place, label in said.items()} == {
        key: label_of(key) for key in keys if label_of(key)
    }


def test_no_attribute_that_moves_into_a_column_has_a_key_that_says_something() -> None:
    """A column's text is read without its key."""
    assert [key for key in key_table().keys if label_of(key)] == []
