"""Text from traces on a terminal: shown, never obeyed.

A trace's text may hold escape sequences that move the cursor or retitle the window, control characters, and marks that
reverse the reading direction. `plain` makes all of them visible and harmless; every module of this folder passes
whatever came from a trace through it.
"""

from __future__ import annotations

import re
from typing import Final

# C0 and DEL have pictures in Unicode; C1, direction marks, zero-width and line separators, and tag characters
# (invisible text) are written as their code point.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_KEPT_IN_BLOCKS: Final = "\n\t"


def plain(text: object, limit: int | None = None, *, block: bool = False) -> str:
    """`text` without anything a terminal obeys; cut to `limit` characters with an ellipsis.

    On one line by default: line ends and tabs become spaces. `block` keeps them.
    """
    shown = str(text)
    if limit is not None and len(shown) > limit:
        shown = shown[: max(0, limit - 1)] + "…"
    if not block:
        shown = shown.replace("\r\n", " ").translate({ord("\n"): " ", ord("\t"): " ", ord("\r"): " "})
    return _UNSAFE.sub(lambda found: _visible(found[0], block), shown)


def _visible(character: str, block: bool) -> str:
    code = ord(character)
    if block and character in _KEPT_IN_BLOCKS:
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"<U+{code:04X}>"
