"""The text of a key, and the header that carries it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.keys import credential_of, digest, issue, parse
from core.errors import Unauthenticated


def test_an_issued_key_parses_into_its_parts() -> None:
    text = issue()
    parsed = parse(text)
    assert text.startswith(f"ask_{parsed.key_id}_{parsed.secret}")
    assert (len(parsed.key_id), len(parsed.secret), len(text)) == (12, 43, 66)
    assert parsed.secret not in repr(parsed)


def test_issued_keys_differ() -> None:
    assert len({issue() for _ in range(1000)}) == 1000


@given(st.integers(0, 65), st.sampled_from(string.ascii_letters + string.digits))
def test_any_changed_character_is_refused(position: int, other: str) -> None:
    text = issue()
    changed = text[:position] + other + text[position + 1 :]
    if changed == text:
        return
    with pytest.raises(Unauthenticated):
        parse(changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ask_",
        " " + issue(),
        issue() + "\n",
        issue() + "\0",
        issue().upper(),
        issue()[:-1],
        issue() * 200,
        "ask_" + "٣" * 12 + issue()[16:],
        "' OR '1'='1",
        "Bearer " + issue(),
    ],
)
def test_other_texts_are_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        parse(text)
    assert not text.strip() or text.strip() not in str(refused.value) or text == "ask_"


def test_the_digest_depends_on_the_secret_and_the_pepper() -> None:
    secret = parse(issue()).secret
    assert digest(secret, b"p" * 32) == digest(secret, b"p" * 32)
    assert len(digest(secret, b"p" * 32)) == 32
    assert digest(secret, b"p" * 32) != digest(secret, b"q" * 32)
    assert digest(secret, b"p" * 32) != digest(parse(issue()).secret, b"p" * 32)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([("Authorization", "Bearer K")], "K"),
        ([("authorization", "bearer   K  ")], "K"),
        ([("AUTHORIZATION", "BEARER K")], "K"),
        ([("X-Api-Key", " K ")], "K"),
        ([("x-api-key", "A"), ("authorization", "Bearer B")], "B"),
        ([("authorization", "Bearer A"), ("authorization", "Bearer B")], "A"),
        ([("x-api-key", "A"), ("x-api-key", "B")], "A"),
        ([("authorization", "Bearer")], ""),
        ([("authorization", "Bearer wrong"), ("x-api-key", "right")], "wrong"),
        ([("authorization", "Digest dXNlcg=="), ("x-api-key", "right")], "Digest dXNlcg=="),
        ([("authorization", "Basic YXNzYXk6Szp4")], "K:x"),
        ([("authorization", "Basic OktLSw==")], "KKK"),
        ([("authorization", "Basic dXNlcg=="), ("x-api-key", "right")], ""),
        ([("authorization", "Basic not base64"), ("x-api-key", "right")], ""),
        ([("authorization", "Basic /w=="), ("x-api-key", "right")], ""),
        ([("cookie", "x-api-key=K")], None),
    ],
)
def test_the_first_defined_header_is_the_credential(headers: list[tuple[str, str]], expected: str | None) -> None:
    assert credential_of(headers) == expected
