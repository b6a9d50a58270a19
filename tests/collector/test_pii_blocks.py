"""The regions of `pii_blocks` leave no candidate out: the byte-by-byte scan of everything is the oracle."""

from __future__ import annotations

import random

import numpy as np
import pytest

from collector import pii_scan
from core.pii.tables import IBAN_LENGTHS, LABELS, PREFIXES

DIGITS = "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
BREAKS = [
    " ",
    "-",
    ".",
    "(",
    ")",
    "/",
    "\u00a0",
    ": ",
    '":"',
    '\\":\\"',
    "=",
    ", ",
    "\\n",
    "\n",
    "'",
    "é",
    "\\u00e9",
    "+",
]


def _digits(choose: random.Random, n: int) -> str:
    return "".join(choose.choice(DIGITS) for _ in range(n))


def _word(choose: random.Random, n: int) -> str:
    return "".join(choose.choice(LETTERS) for _ in range(n))


def _grouped(choose: random.Random) -> str:
    separators = [" ", "-", ".", " -", ". ", "/", ") ", "", "\u00a0"]
    parts = [_digits(choose, choose.randint(1, 5)) + choose.choice(separators) for _ in range(choose.randint(1, 9))]
    return choose.choice(["", "", "+", "(", "\\u002b"]) + "".join(parts)


def _colons(choose: random.Random) -> str:
    return ":".join(
        "".join(choose.choice("0123456789abcdefAF") for _ in range(choose.choice([0, 1, 2, 4, 4, 9])))
        for _ in range(choose.randint(2, 10))
    )


def _account(choose: random.Random) -> str:
    country = choose.choice([*IBAN_LENGTHS, "xx", "Gb"])
    rest = _digits(choose, 2) + "".join(choose.choice(DIGITS + "ABCZ -") for _ in range(choose.randint(8, 40)))
    return country + rest


def _piece(choose: random.Random) -> str:
    match choose.randrange(10):
        case 0:
            return _grouped(choose)
        case 1:
            return _colons(choose)
        case 2:
            return _account(choose)
        case 3:
            return choose.choice(PREFIXES) + _word(choose, choose.randint(0, 30))
        case 4:
            return _word(choose, choose.randint(0, 5)) + choose.choice(["@", "%40", "%4", "@@"]) + _word(choose, 4)
        case 5:
            name = choose.choice(["api_key", "token", "secret", "password", "passwd", "PWD", "authorization", "sig"])
            return name + choose.choice(['": "', "=", " : ", "\\\\' :", "']=", "    =", "         :"]) + "v"
        case 6:
            return choose.choice(LABELS)
        case 7:
            return ".".join(_digits(choose, choose.randint(1, 4)) for _ in range(choose.randint(2, 6)))
        case 8:
            return _word(choose, choose.choice([1, 2, 3, 20, 70, 150]))
        case _:
            return " ".join(_word(choose, choose.randint(2, 9)) for _ in range(choose.randint(1, 30)))


def _column(choose: random.Random) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    for _ in range(choose.randint(1, 6)):
        pieces = [_piece(choose) + choose.choice(["", *BREAKS]) for _ in range(choose.randint(0, 8))]
        rows.append("".join(pieces).encode())
    text = b"".join(rows)
    return np.frombuffer(text, np.uint8), np.cumsum([0, *[len(row) for row in rows]], dtype=np.int32)


@pytest.mark.parametrize("seed", range(8))
def test_no_candidate_lies_outside_the_regions(seed: int) -> None:
    choose = random.Random(seed)
    n = 0
    for _ in range(400):
        data, offsets = _column(choose)
        everything = pii_scan.listed(data, offsets, np.array([[0, len(data)]]))
        found = pii_scan.candidates(data, offsets)
        assert found.tolist() == everything.tolist(), (seed, data.tobytes())
        n += len(found)
    assert n > 400  # the texts are rich enough to mean something


def test_plain_text_has_no_regions_and_a_lone_address_has_one() -> None:
    from collector.pii_blocks import regions

    prose = ("The agent looked the order up and told the customer, politely, that nothing was lost. " * 200).encode()
    assert len(regions(np.frombuffer(prose, np.uint8))[0]) == 0
    hidden = prose[:9000] + b"ann@example.org" + prose[9000:]
    found, _ = regions(np.frombuffer(hidden, np.uint8))
    assert len(found) == 1
    assert found[0, 0] <= 9000 < 9015 <= found[0, 1]
