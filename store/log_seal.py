"""Seals of the Delta log: an altered entry or checkpoint is found before anything in it is believed.

A flipped bit in an entry can leave JSON that reads well and says another file, another day or another position of the
journal. So our commits carry the XXH3-128 of their own bytes in `commitInfo`, which Delta readers ignore, and a
checkpoint has a file of its hash beside it. Entries of other writers (deltalake made version 0 of tables of earlier
releases), and of Assay before seals, have none and are taken as they are.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import xxhash

from core.errors import Corrupt

BLANK: Final = b"0" * 32
_SEALED: Final = re.compile(rb'"engineInfo":"assay","seal":"([0-9a-f]{32})"\}\}')
# The whole first line as it was before there were seals: one flipped bit cannot make a sealed line look like it.
_BEFORE: Final = re.compile(
    rb'\{"commitInfo":\{"timestamp":\d+,"operation":"[A-Z]+","operationParameters":\{\},"engineInfo":"assay"\}\}'
)


def sealed(content: bytes) -> bytes:
    """An entry whose commitInfo ends `"seal":"000..."`, with its seal in the place of the zeros."""
    return content.replace(b'"seal":"' + BLANK, b'"seal":"' + xxhash.xxh3_128_hexdigest(content).encode(), 1)


def check(content: bytes, path: Path | str) -> bytes:
    """The entry, unchanged. Raises Corrupt when it is not what was written."""
    first = content.split(b"\n", 1)[0]
    found = _SEALED.search(first)
    if found is None:
        if _BEFORE.fullmatch(first) or _of_another(content, first):
            return content
        raise Corrupt(f"{path} was altered: it has no seal")
    at = found.start(1)
    if xxhash.xxh3_128_hexdigest(content[:at] + BLANK + content[at + 32 :]).encode() != found[1]:
        raise Corrupt(f"{path} was altered: its seal does not fit")
    return content


def _of_another(content: bytes, first: bytes) -> bool:
    """Whether another writer made the entry: no single flipped bit takes both marks of ours away."""
    if b'"engineInfo":"assay"' in first or b'"seal":"' in first:
        return False
    try:
        return any("commitInfo" in json.loads(line) for line in content.splitlines())
    except ValueError:
        return False


def seal_of(checkpoint: Path) -> tuple[Path, bytes]:
    """The file that seals a checkpoint, and what it has to hold. Raises OSError."""
    return checkpoint.with_suffix(".xxh3"), xxhash.xxh3_128_hexdigest(checkpoint.read_bytes()).encode()


def check_checkpoint(checkpoint: Path) -> None:
    """Raises Corrupt when a sealed checkpoint is not what was written. One without a seal is taken as it is."""
    try:
        expected = checkpoint.with_suffix(".xxh3").read_bytes()
    except FileNotFoundError:
        return
    try:
        found = seal_of(checkpoint)[1]
    except FileNotFoundError:  # another process has put it into a newer one and cleaned it away
        return
    if found != expected:
        raise Corrupt(f"{checkpoint} was altered: its content does not hash to what its seal says")
