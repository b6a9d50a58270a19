"""Baggage on its way to a release: ours wins, theirs stays, and it has an end."""

from __future__ import annotations

import pytest

from gateway.baggage import MOST_BYTES, MOST_ENTRIES, stamped
from gateway.callers import parse_baggage

OURS = {"assay.release": "v2", "assay.variant": "", "user.id": "ann, bob=é"}


def test_ours_wins_and_theirs_stays() -> None:
    found = stamped(b"a=1;p=2 , assay.release=v9, user.id = eve,b=%20x", OURS)
    assert found == "assay.release=v2,user.id=ann%2C%20bob%3D%C3%A9,a=1;p=2,b=%20x"
    assert parse_baggage(found.encode()) == {"assay.release": "v2", "user.id": "ann, bob=é", "a": "1", "b": " x"}


def test_what_we_do_not_know_is_not_taken_from_the_caller() -> None:
    assert "variant" not in stamped(b"assay.variant=mine", OURS)


@pytest.mark.parametrize("header", [b"", b",,,", b"nonsense", b"\xff=1", b"a\x01=1", b"=", b"x" * 10_000])
def test_entries_that_are_none_are_left_out(header: bytes) -> None:
    assert stamped(header, {"k": "v"}).split(",")[0] == "k=v"
    assert stamped(header, {"k": "v"}).isascii()


def test_it_has_an_end() -> None:
    many = b",".join(b"k%d=v" % n for n in range(500))
    assert len(stamped(many, OURS).split(",")) == MOST_ENTRIES
    long = b",".join(b"k%d=%s" % (n, b"v" * 800) for n in range(10))
    assert len(stamped(long, {"ours": "x" * 3_000})) <= MOST_BYTES
    assert stamped(long, {"ours": "x" * 3_000}).startswith("ours=")
