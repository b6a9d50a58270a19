"""`core.pii.find` answers on one text what the native scan does on a column: never less, and on real text the same."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import pii_scan
from core.pii.context import Found, disjoint, whole_characters
from core.pii.find import find, find_in_bytes
from core.pii.patterns import confirm
from core.pii.tables import IBAN_LENGTHS, LABELS, PREFIXES
from core.records import PiiEntity
from tests.collector import test_pii_blocks, test_redact, test_redact_secrets
from tests.thorough import often

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SENTENCES = DATA / "pii_presidio" / "sentences.jsonl.gz"
CONVERSATIONS = DATA / "tau2_trajectories"
CREDENTIALS = [
    *("Authorization: Bearer a1B2c3D4e5F6g7H8i9J0", "postgres://app:s3cr3t@db.example.com:5432/x", "PWD=hunter2x!"),
    *('{\\"client_secret\\": \\"Ab3dEf6hIj9lMn2p\\"}', '{"x-api-key": ["a8F3kL9mQ2xT7vB1", "b8F3kL9mQ2xT7vB2"]}'),
    *(
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEab12\n-----END RSA PRIVATE KEY-----",
        "api_key=os.environ['OPENAI_API_KEY']",
    ),
    *('{"max_tokens": 4096, "total_tokens": 1234567}', "the token: [a8F3kL9m] and the secret: [see below]"),
]
WRITTEN = (
    [text for text, _ in test_redact.REPLACED]
    + test_redact.KEPT
    + [*test_redact_secrets.VENDORS.values(), *CREDENTIALS]
)


def scanned(raw: bytes) -> list[Found]:
    """What the collector replaces in one text."""
    data = np.frombuffer(raw, dtype=np.uint8)
    found: list[Found] = []
    consumed = 0
    for _, start, end, bits in pii_scan.candidates(data, np.array([0, len(raw)], dtype=np.int64)).tolist():
        if start < consumed:
            continue
        for one in confirm(raw, start, end, bits):
            found.append(one)
            if one.entity is PiiEntity.SECRET:
                consumed = max(consumed, one.end)
    return [Found(*whole_characters(raw, one.start, one.end), one.entity) for one in disjoint(found)]


def covers(found: list[Found], one: Found) -> bool:
    return any(other.start <= one.start and one.end <= other.end for other in found)


def _missed(text: str) -> list[bytes]:
    raw = text.encode("utf-8", "surrogatepass")
    found = find_in_bytes(raw)
    return [raw[one.start : one.end] for one in scanned(raw) if not covers(found, one)]


@pytest.mark.parametrize("text", WRITTEN)
def test_written_examples_are_answered_alike(text: str) -> None:
    raw = text.encode()
    for written in (raw, b"x " + raw + b" y", json.dumps({"a": [text]}).encode(), b"\\n" + raw):
        assert find_in_bytes(written) == scanned(written)


def test_labelled_sentences_are_answered_alike() -> None:
    if not SENTENCES.exists():
        pytest.skip("the labelled sentences are not here: ../shared/data/pii_presidio")
    with gzip.open(SENTENCES, "rt") as lines:
        texts = [json.loads(line)["full_text"] for line in lines]
    assert len(texts) > 800
    for text in texts:
        assert find_in_bytes(text.encode()) == scanned(text.encode()), text


def _conversations() -> Iterator[bytes]:
    for path in sorted(CONVERSATIONS.glob("*.jsonl.gz"))[:2]:
        with gzip.open(path, "rt") as lines:
            for _, line in zip(range(20), lines, strict=False):
                yield line.encode()


def test_real_conversations_are_answered_alike() -> None:
    if not CONVERSATIONS.exists():
        pytest.skip("the conversations are not here: ../shared/data/tau2_trajectories")
    n_found = 0
    for raw in _conversations():
        found = find_in_bytes(raw)
        assert found == scanned(raw)
        n_found += len(found)
    assert n_found > 5


_DIGITS = st.text("0123456789", min_size=1, max_size=9)
_SIGNS = st.sampled_from(
    [
        *" -.()/+:=@,\\\"'[]{}<>#$_\n\x00",
        "\u00a0",
        "\\n",
        "\\u0040",
        "\\u002b",
        "%40",
        "::",
        " [",
        ": ",
        '": "',
        "é",
        "日",
    ]
)
_WORDS = st.one_of(
    st.sampled_from(PREFIXES),
    st.sampled_from(LABELS),
    st.sampled_from(sorted(IBAN_LENGTHS)),
    st.sampled_from(["api_key", "token", "password", "pwd", "secret", "authorization", "sig", "version", "git"]),
    st.sampled_from(["example", "org", "com", "fe80", "2001", "db8", "BEGIN PRIVATE KEY-----", "AAAA", "xyZ9"]),
    st.text("abcdefXYZ0189_-", max_size=20),
)
_ATOMS = st.one_of(_DIGITS, _SIGNS, _WORDS, st.text(max_size=3))
_MADE = st.lists(st.one_of(_ATOMS, st.sampled_from(WRITTEN)), max_size=14).map("".join)


@given(_MADE)
@settings(max_examples=often(400, 200), deadline=None)
def test_nothing_that_the_scan_finds_is_missed(text: str) -> None:
    assert not _missed(text)


@given(_MADE)
@settings(max_examples=often(150, 75), deadline=None)
def test_ranges_are_of_characters_in_order_and_apart(text: str) -> None:
    found = find(text)
    raw = text.encode("utf-8", "surrogatepass")
    pieces = [raw[one.start : one.end].decode("utf-8", "surrogatepass") for one in find_in_bytes(raw)]
    assert [text[one.start : one.end] for one in found] == pieces
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_missed_in_candidates_at_random(seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(20):
        data, offsets = test_pii_blocks._column(choose)
        for start, end in pairwise(offsets.tolist()):
            assert not _missed(data[start:end].tobytes().decode())


@pytest.mark.parametrize("unit", test_redact.HOSTILE)
def test_hostile_text_is_answered(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    assert not _missed(text)
