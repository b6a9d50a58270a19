"""Structured personal information: what is replaced, what is not, and how columns are treated."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import pii_scan
from collector.redact import Redactor
from core.pii.numbers import is_card, luhn
from core.pii.patterns import is_iban
from core.pii.tables import IBAN_LENGTHS
from core.records import PiiEntity, PiiMode, PiiPolicy
from tests.thorough import often

REDACT = Redactor(PiiPolicy(), b"test-key")
HASH = Redactor(PiiPolicy(default=PiiMode.HASH), b"test-key")

REPLACED = [
    ("write to ann.lee+x@example.co.uk, please", "write to [EMAIL], please"),
    ("<o'brien_99@sub.example.travel>", "<[EMAIL]>"),
    ("josé@exämple.de und müller@firma.de", "[EMAIL] und [EMAIL]"),
    ("mailto:a@b.io?subject=x", "mailto:[EMAIL]?subject=x"),
    ("https://x.test/?email=ann%40example.com&y=1", "https://x.test/?email=[EMAIL]&y=1"),
    ("card 4111 1111 1111 1111 exp 12/29", "card [CARD] exp 12/29"),
    ("5500-0055-5555-5559", "[CARD]"),
    ("amex 3782 822463 10005.", "amex [CARD]."),
    ("until 1227 4111 1111 1111 1111", "until 1227 [CARD]"),
    ("+1 415 555 2670 5500 0055 5555 5559 4111 1111 1111 1111", "[PHONE] [CARD] [CARD]"),
    ("maestro 501864667909", "maestro [CARD]"),
    ("19 digits: 4131034282458809939", "19 digits: [CARD]"),
    ("his SSN is 853-37-1694", "his SSN is [SSN]"),
    ("social security number 853371694", "social security number [SSN]"),
    ("Tax ID: 853371694", "Tax ID: [SSN]"),
    ("taxpayer identification number 853 37 1694", "taxpayer identification number [SSN]"),
    ('{"tax_number": "853371694"}', '{"tax_number": "[SSN]"}'),
    ("TIN 853371694, TIN No. 853371694", "TIN [SSN], TIN No. [SSN]"),
    ("pay GB82 WEST 1234 5698 7654 32 today", "pay [IBAN] today"),
    ("gb42nawi04454264788619", "[IBAN]"),
    ("DE89370400440532013000", "[IBAN]"),
    ("from 203.0.113.7:443", "from [IP]:443"),
    ("10.1.2.0/24", "[IP]/24"),
    ("localhost/10.1.2.3", "localhost/[IP]"),
    ("at 2001:db8:85a3::8a2e:370:7334 now", "at [IP] now"),
    ("[fe80::1ff:fe23:4567:890a]", "[[IP]]"),
    ("6e40:4041:c617:e898:c11:40d2:c669:2eb4", "[IP]"),
    ("+1 415 555 2671", "[PHONE]"),
    ("+44 20 7946 0958 and +49 (0)30 901820", "[PHONE] and [PHONE]"),
    ("(415) 555-2671", "[PHONE]"),
    ("415.555.2671", "[PHONE]"),
    ("415 555 2671", "[PHONE]"),
    ("1-800-555-0199", "[PHONE]"),
    ("call 001-518-640-0854", "call [PHONE]"),
    ("tél. 01.84.17.61.18", "tél. [PHONE]"),
    ("020 7946 0958", "[PHONE]"),
    ("Phone: 467 3395", "Phone: [PHONE]"),
    ('{"phone_number": "4155552671"}', '{"phone_number": "[PHONE]"}'),
    ("please call me on 9472 7916", "please call me on [PHONE]"),
    ("9472 7916 office", "[PHONE] office"),
    ("\\u002B14155552671", "[PHONE]"),
]

KEPT = [
    *("1795229720123456789", '"ts":1795229720123', "epoch 1795229720", "2026-11-21T02:35:20.123456789Z"),
    *("2026-11-21 02:35:20", "21.11.2026 14:05", "05-12-2024 14:04", "11/21/2026", "20261121 02:35"),
    *("0d664b27-1006-4461-9a9d-62c991811111", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
    *("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "1b8400f7-1477-4323-8545-748f1253e50d"),
    *("order #W2378156", "item 7195021808", "order 4837 2938", "IMEI 234567890123456", "ISBN 9780306406157"),
    *("tracking 561724567137", "sku 4003-2918-22", "HAT045", "passengers 3, bags 2"),
    *("v1.2.3.4", "version 1.2.3.4", "pkg==1.2.3.4", "Chrome/120.0.0.0", "section 1.2.3.4", "1.3.6.1.4.1.311.2"),
    *("$1,234,567.89", "EUR 1 234 567.89", "48.8583701,2.2944813", "0.029618000000000002", "3.14159265358979"),
    *("gpt-4.1-2025-04-14", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet@20240620", "text-embedding-3-small"),
    *(
        "resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "chatcmpl-ABC123def456",
        "call_abcDEF123456789",
        "toolu_01A09q90qw90lq9",
    ),
    *("iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4", "12:34:56", "aa:bb:cc:dd:ee:ff"),
    *("std::vector<int>", "a[::2]", "x[1::2]", "::1", "127.0.0.1:4318", "git@github.com:org/repo.git"),
    *("@property", "npm i pkg@1.2.3", "icon@2x.png", "a @ b", "@user", "100 200 300 400", "1-2-3-4-5-6-7-8-9"),
    *("4111111111111112", "5 + 12345678", "+12.5%", "000-12-3456", "666-12-3456", "GB82WEST12345698765433"),
    "tool call 7195021808 returned 12 rows",
    '{"type": "text", "content": "I mean LK-6076742."}',
]


@pytest.mark.parametrize(("text", "expected"), REPLACED)
def test_personal_information_is_replaced(text: str, expected: str) -> None:
    assert REDACT.text(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_it_is_kept(text: str) -> None:
    assert REDACT.text(text) == text
    assert HASH.text(text) == text


@pytest.mark.parametrize("text", [text for text, _ in REPLACED])
@pytest.mark.parametrize("redactor", [REDACT, HASH])
def test_redaction_is_idempotent(redactor: Redactor, text: str) -> None:
    once = redactor.text(text)
    assert redactor.text(once) == once


_PIECES = st.sampled_from(
    [text for text, _ in REPLACED] + KEPT + ["\n", '"', "\\", " ", "-", ":", "phone ", "[EMAIL:", "]"]
)


@given(st.lists(st.one_of(_PIECES, st.text(max_size=12)), max_size=8))
@settings(max_examples=often(150, 75), deadline=None)
def test_redaction_is_idempotent_on_any_mixture(pieces: list[str]) -> None:
    for redactor in (REDACT, HASH):
        once = redactor.text("".join(pieces))
        assert redactor.text(once) == once


_JSON = st.recursive(
    st.one_of(_PIECES, st.integers(), st.sampled_from([4111111111111111, 4155552671, 853371694, True, None, 1.5])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["phone", "card", "n", "ssn", "password"]), inner)
    ),
    max_leaves=8,
)


@given(_JSON, st.booleans(), st.sampled_from([None, 2]), st.integers(0, 2))
@settings(max_examples=often(200, 100), deadline=None)
def test_json_stays_json_at_any_depth(document: object, ascii_only: bool, indent: int | None, depth: int) -> None:
    text = json.dumps([document], ensure_ascii=ascii_only, indent=indent)
    for _ in range(depth):
        text = json.dumps({"content": text}, ensure_ascii=ascii_only)
    for redactor in (REDACT, HASH):
        once = redactor.text(text)
        decoded = json.loads(once)
        for _ in range(depth):
            decoded = json.loads(decoded["content"])
        assert isinstance(decoded, list)
        assert "4111111111111111" not in once
        assert redactor.text(once) == once


def test_a_bare_number_in_json_becomes_a_quoted_string() -> None:
    assert json.loads(REDACT.text('{"card": 4111111111111111, "n": 3}')) == {"card": "[CARD]", "n": 3}
    assert json.loads(REDACT.text("[4111111111111111, 5500005555555559]")) == ["[CARD]", "[CARD]"]
    nested = json.dumps({"arguments": json.dumps({"phone": 4155552671, "all": [4111111111111111]})})
    assert json.loads(json.loads(REDACT.text(nested))["arguments"]) == {"phone": "[PHONE]", "all": ["[CARD]"]}
    assert REDACT.text('{"a": "his card: 4111111111111111, ok"}') == '{"a": "his card: [CARD], ok"}'


@pytest.mark.parametrize("escape", ["\\n", "\\t", "\\r", "\\u00a0", "\\u000a", "\\\\n", '\\"'])
def test_an_escape_is_no_letter_of_what_follows(escape: str) -> None:
    for piece, mark in (("4111111111111111", "CARD"), ("ann@example.com", "EMAIL"), ("203.0.113.7", "IP")):
        assert REDACT.text(f'{{"t":"x{escape}{piece}{escape}y"}}') == f'{{"t":"x{escape}[{mark}]{escape}y"}}'


# --- modes ----------------------------------------------------------------------------------------------------------


def test_a_hash_joins_spellings_of_one_thing_and_depends_on_the_key() -> None:
    one, other = HASH.text("Ann@Example.com"), HASH.text("ann@example.com")
    assert one == other
    assert one.startswith("[EMAIL:")
    assert len(one) == len("[EMAIL:") + 12 + 1
    assert HASH.text("4111 1111 1111 1111") == HASH.text("4111111111111111")
    assert Redactor(PiiPolicy(default=PiiMode.HASH), b"another").text("ann@example.com") != one


def test_each_entity_has_its_own_mode() -> None:
    policy = PiiPolicy(by_entity={PiiEntity.EMAIL: PiiMode.KEEP, PiiEntity.IP: PiiMode.HASH})
    redacted = Redactor(policy, b"k").text("ann@example.com 203.0.113.7 4111111111111111")
    assert redacted.startswith("ann@example.com [IP:")
    assert redacted.endswith("[CARD]")


def test_keep_everything_touches_nothing() -> None:
    column = pa.array(["ann@example.com"])
    after, n_changed = Redactor(PiiPolicy(default=PiiMode.KEEP), b"k").column(column)
    assert after is column
    assert n_changed == 0


# --- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_a_column_keeps_nulls_and_counts_what_changed(kind: pa.DataType) -> None:
    column = pa.array(["clean", None, "", "ann@example.com", "clean too", "203.0.113.7"], type=kind)
    after, n_changed = REDACT.column(column)
    assert after.to_pylist() == ["clean", None, "", "[EMAIL]", "clean too", "[IP]"]
    assert n_changed == 2


def test_slices_and_chunks_are_read_in_place() -> None:
    array = pa.array(["ann@example.com", "a", None, "bob@example.com", "b", "eve@example.com"])
    assert REDACT.column(array[1:5])[0].to_pylist() == ["a", None, "[EMAIL]", "b"]
    chunked = pa.chunked_array([array[:1], array[2:4], array[:0], array[5:]])
    after, n_changed = REDACT.column(chunked)
    assert isinstance(after, pa.Array)
    assert after.to_pylist() == ["[EMAIL]", None, "[EMAIL]", "[EMAIL]"]
    assert n_changed == 3
    assert REDACT.column(pa.chunked_array([], type=pa.string()))[0].to_pylist() == []


def test_a_clean_column_is_the_same_object() -> None:
    column = pa.array(["nothing", "to", "see", None])
    after, n_changed = REDACT.column(column)
    assert after is column
    assert n_changed == 0


def test_a_dictionary_column_is_redacted_once_per_word() -> None:
    column = pa.array(["ann@example.com", "x", "ann@example.com", None]).dictionary_encode()
    after, n_changed = REDACT.column(column)
    assert after.to_pylist() == ["[EMAIL]", "x", "[EMAIL]", None]
    assert n_changed == 2


def test_an_identifier_is_hashed_so_that_it_still_joins() -> None:
    column = pa.array(["ann@example.com", "session-17", "ann@example.com", "bob@example.com"])
    after = REDACT.column(column, identifier=True)[0].to_pylist()
    assert after[0] == after[2] != after[3]
    assert after[0].startswith("[EMAIL:")
    assert after[1] == "session-17"


def test_a_boundary_between_rows_is_a_boundary() -> None:
    after = REDACT.column(pa.array(["abc", "4111111111111111", "def", "41111111", "11111111"]))[0]
    assert after.to_pylist() == ["abc", "[CARD]", "def", "41111111", "11111111"]


def test_a_value_of_any_size_is_redacted_at_both_ends_and_past_nul() -> None:
    filler = "lorem ipsum \x00 dolor " * 100_000
    assert REDACT.text(f"a@b.io {filler} c@d.io") == f"[EMAIL] {filler} [EMAIL]"


def test_the_column_and_the_text_agree() -> None:
    texts = [text for text, _ in REPLACED] + KEPT
    assert REDACT.column(pa.array(texts))[0].to_pylist() == [REDACT.text(text) for text in texts]


# --- check digits ---------------------------------------------------------------------------------------------------


@given(st.text("0123456789", min_size=11, max_size=18))
def test_luhn_accepts_exactly_one_check_digit(stem: str) -> None:
    assert sum(luhn(f"{stem}{d}".encode()) for d in range(10)) == 1


@given(st.text("0123456789", min_size=15, max_size=15), st.integers(0, 15), st.integers(1, 9))
def test_luhn_sees_any_single_wrong_digit(stem: str, place: int, change: int) -> None:
    number = next(f"{stem}{d}" for d in range(10) if luhn(f"{stem}{d}".encode()))
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert not luhn(wrong.encode())


@given(st.sampled_from(["4", "51", "2221", "34", "6011", "3530"]), st.text("0123456789", min_size=15, max_size=15))
def test_a_card_with_an_issuers_prefix_is_replaced(prefix: str, rest: str) -> None:
    length = 15 if prefix == "34" else 16
    stem = (prefix + rest)[: length - 1]
    number = next(f"{stem}{d}" for d in range(10) if luhn(f"{stem}{d}".encode()))
    expected = "[CARD]" if is_card(number.encode()) else number
    assert REDACT.text(f"card {number}.") == f"card {expected}."
    assert is_card(number.encode()) or len(set(number)) == 1


@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.data())
def test_an_iban_has_exactly_one_pair_of_check_digits_and_is_replaced(country: str, data: st.DataObject) -> None:
    length = IBAN_LENGTHS[country] - 4
    account = data.draw(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=length, max_size=length))
    valid = [f"{country}{n:02d}{account}" for n in range(2, 99) if is_iban(f"{country}{n:02d}{account}".encode())]
    assert len(valid) == 1
    spaced = " ".join(valid[0][i : i + 4] for i in range(0, len(valid[0]), 4))
    assert REDACT.text(f"to {valid[0]}!") == "to [IBAN]!"
    assert REDACT.text(f"to {spaced}!") == "to [IBAN]!"


# --- hostile input --------------------------------------------------------------------------------------------------

HOSTILE = [
    *("@", "a@", "a@b", "a@a.", "1 ", "1.", "1:", "::", "abc::", "12345678 ", "phone 1234567 ", "call 1234567 "),
    *("-----BEGIN PRIVATE KEY----- ", "-----BEGIN PRIVATE KEY-----AAAA", "eyJ", "eyJ-", "eyJaaaaaaaa.", "sk-", "sk-a1"),
    *(
        "api_key=",
        "api_key: ",
        "api_key:[",
        "secret=[a1B2c3D4e5,",
        "password=aB3",
        "://a:",
        "Bearer ",
        "xoxb-1 ",
        ":AA",
        "8Q~",
        "GB56",
        "(1",
        "+1",
        "\\",
    ),
    *("\\u0041", '"', "[4111111111111111,", "4111111111111111 ", "%40", "[EMAIL:1", "\\\\n", "AKIA", "SK", "0 "),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_work_grows_in_a_straight_line_on_hostile_text(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: bytes that the confirming patterns may look at, per byte of text, are bounded."""
    size = 200_000
    text = (unit * (size // len(unit) + 1))[:size].encode()
    found = pii_scan.candidates(*_column_of(text))
    assert len(found) <= size
    ranges = int((found[:, 2] - found[:, 1]).sum()) if len(found) else 0
    # A range of an '@' may reach 320 bytes back and 260 on; every other range overlaps none of its kind.
    assert ranges <= 64 * size
    redacted = REDACT.text(text.decode())
    assert len(redacted) <= 4 * size


def _column_of(text: bytes) -> tuple[pii_scan.Bytes, pii_scan.Ints]:
    import numpy as np

    return np.frombuffer(text, dtype=np.uint8), np.array([0, len(text)], dtype=np.int64)


def test_writable_and_read_only_buffers_share_one_compilation() -> None:
    import numpy as np

    writable = np.frombuffer(bytearray(b"ann@example.com"), dtype=np.uint8)
    offsets = np.array([0, len(writable)], dtype=np.int32)
    pii_scan.compile_kernels()
    before = len(pii_scan.scan.signatures)  # type: ignore[attr-defined]
    assert len(pii_scan.candidates(writable, offsets)) == 1
    assert len(pii_scan.scan.signatures) == before  # type: ignore[attr-defined]


def test_versions_in_version_columns_are_no_addresses_and_mail_in_them_is_still_mail() -> None:
    redactor = Redactor(PiiPolicy(), b"key").sparing_ips
    column, n = redactor.column(pa.array(["1.4.2.0", "build by jane@example.org"]))
    assert (column.to_pylist(), n) == (["1.4.2.0", "build by [EMAIL]"], 1)


def test_json_escapes_hide_nothing() -> None:
    redactor = Redactor(PiiPolicy(), b"key")
    hidden = r'[{"content":"mail canary.person\u0040example.org or 4539\u00205787\u00206362\u00201486"}]'
    nested = json.dumps({"arguments": hidden})
    clean = r'{"content":"caf\u00e9 costs \u0024 5 at the \u0022Bar\u0022"}'
    column, n = redactor.column(pa.array([hidden, None, nested, clean]))
    assert n == 2
    assert json.loads(column[0].as_py())[0]["content"] == "mail [EMAIL] or [CARD]"
    assert json.loads(json.loads(column[2].as_py())["arguments"])[0]["content"] == "mail [EMAIL] or [CARD]"
    assert column[3].as_py() == clean
    assert redactor.text(hidden) == column[0].as_py()
