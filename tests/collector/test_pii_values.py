"""Which values cannot be secrets is said natively, and text made to be expensive is not confirmed piece by piece."""

from __future__ import annotations

import random
import string

import numpy as np
import pytest

from collector import pii_scan
from collector.pii_values import made_of_words, may_follow
from core.pii.secrets import assigned, named, secret
from core.pii.tables import PREFIXES

LETTERS, ALNUM = string.ascii_lowercase, string.ascii_letters + string.digits
NAMES = (
    "api_key",
    "secret",
    "auth-token",
    "password",
    "PWD",
    "sig",
    "credentials",
    "subscription access key",
    "turkey",
)
LEADS = (
    "",
    " ",
    "\n",
    "\\",
    "[",
    "[ ",
    '["',
    '"',
    "'",
    "`",
    '\\\\"',
    "Bearer ",
    '"basic   ',
    '["Token ',
    "> ",
    '"=:',
    "(",
)


def _bytes(text: str) -> np.ndarray:
    data = np.frombuffer(text.encode(), np.uint8).view()
    data.flags.writeable = False
    return data


def _value(choose: random.Random) -> str:
    n = choose.choice([0, 1, 5, 6, 7, 15, 16, 17, 30, 70])
    alphabet = choose.choice(
        [LETTERS, ALNUM, string.digits, ALNUM + "!@#$%^&*()_+-=[]{};:,./<>?~\u00e9", LETTERS + '",']
    )
    return "".join(choose.choice(alphabet) for _ in range(n)) + "=" * choose.choice([0, 0, 1, 2, 3])


@pytest.mark.parametrize("seed", range(4))
def test_no_value_that_is_a_secret_is_ruled_out(seed: int) -> None:
    choose = random.Random(seed)
    n_found = 0
    for _ in range(2000):
        name = choose.choice(NAMES)
        before = name + choose.choice(["", '"', "'", '\\"', "]", "   "])
        text = before + choose.choice(":=") + choose.choice(["", ":", "=", ">"]) + choose.choice(LEADS) + _value(choose)
        text += choose.choice(["", '"', "'", "]", ",", '", "', "\n"]) + _value(choose)
        sign, raw = len(before), text.encode()
        if assigned(raw, sign):
            n_found += 1
            least = 6 if named(name.encode()) == "password" else 16
            assert may_follow(_bytes(text), len(raw), sign, least), text
    assert n_found > 200  # the texts are rich enough to mean something


@pytest.mark.parametrize("seed", range(4))
def test_what_is_made_of_words_is_no_key(seed: int) -> None:
    choose = random.Random(seed)
    n_words = 0
    for _ in range(2000):
        prefix = choose.choice(PREFIXES)
        parts = [
            "".join(choose.choice(LETTERS) for _ in range(choose.randint(1, 9))) for _ in range(choose.randint(0, 14))
        ]
        text = (
            prefix
            + "".join(part + choose.choice("--_") for part in parts)
            + choose.choice(["", "a", "Z", "1", "-", "."])
        )
        if made_of_words(_bytes(text), 0, len(prefix), len(text)):
            n_words += 1
            assert secret(text.encode(), 0) == [], text
    assert n_words > 100


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "api_key=[",
            "api_key: ",
            "key=",
            "pwd=",
            'sig:"',
            "secret:",
            "token=ApiKey ",
            "password: [a, ",
            "passwd='a' ",
        ),
        *("sk-", "sk-a-", "sk-lf-", "xoxb-", "pypi-", "glpat-to-", "figd_"),
    ],
)
def test_hostile_text_without_a_secret_has_next_to_nothing_to_confirm(unit: str) -> None:
    text = _bytes(unit * 20_000)
    assert len(pii_scan.candidates(text, np.array([0, len(text)], dtype=np.int64))) < 64
