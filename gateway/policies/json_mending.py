"""Text that is nearly JSON becomes JSON: one pass, linear in the text, and no guess where the structure is not clear.

Mended are: text around one value, code fences, comments, single and typographic quotes, quotes and line breaks inside
strings, wrong escapes, True, False, None, NaN, bare keys, trailing commas, and an end that was cut off: strings and
brackets are closed, what was begun but has no value (or a number that may be longer) is left out.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

MOST_CHARACTERS: Final = 65_536  # 50 ms; longer texts stay as they are
_MOST_DEPTH: Final = 200

_CLOSES: Final = r"(?=\s{0,40}(?:[,:}\]]|//|/\*|\#|\Z))"  # behind a quote: it ends the string
_TOKEN: Final = re.compile(
    rf"""(?P<skip>\s++|//[^\n]*+|\#[^\n]*+|/\*(?:(?!\*/).)*+(?:\*/|\Z))
    |"(?P<double>(?:[^"\\]++|\\.|"(?!{_CLOSES}))*+)(?P<double_end>"|\\?\Z)
    |'(?P<single>(?:[^'\\]++|\\.|'(?!{_CLOSES}))*+)(?P<single_end>'|\\?\Z)
    |“(?P<curly>[^”]*+)(?P<curly_end>”|\Z)
    |(?P<sign>[{{}}\[\]:,])
    |(?P<word>[^\s{{}}\[\]:,"'“]++)""",
    re.VERBOSE | re.DOTALL,
)
_TO_ESCAPE: Final = re.compile(r"\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})|\\.?|[\"\x00-\x1f]", re.DOTALL)
_CUT_ESCAPE: Final = re.compile(r"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?\Z")
_WORDS: Final = {
    "true": "true",
    "false": "false",
    "null": "null",
    "True": "true",
    "False": "false",
    "None": "null",
    "NaN": "null",
    "undefined": "null",
}


def parsed(text: str) -> Any:
    """The value of a text that is JSON. Raises ValueError."""
    return orjson.loads(text.encode("utf-8", "replace"))


def mended(text: str) -> str | None:
    """The JSON that the text was meant to be; None if that is not clear."""
    begin = re.search(r"[{\[]", text)
    if begin is None or len(text) > MOST_CHARACTERS:
        return None
    made = _Mending(text, begin.start()).run()
    if made is None:
        return None
    try:
        parsed(made)
    except ValueError:
        return None
    return made


class _Mending:
    """One pass over the tokens. `_wants`: what may come next."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self._at = text, at
        self._out: list[str] = []
        self._open: list[str] = []
        self._whole = 0  # so much of `_out` makes sense if the open brackets are closed
        self._whole_open: tuple[str, ...] = ()
        self._wants = "value"

    def run(self) -> str | None:
        while self._at < len(self._text):
            token = _TOKEN.match(self._text, self._at)
            if token is None or len(self._open) > _MOST_DEPTH:
                return None
            self._at = token.end()
            kind = token.lastgroup or ""
            if kind == "skip":
                continue
            clear = self._sign(token["sign"]) if kind == "sign" else self._scalar(token)
            if not clear:
                return None
            if not self._open:
                return "".join(self._out) if self._nothing_behind() else None
        return "".join(self._out[: self._whole]) + "".join("}" if o == "{" else "]" for o in reversed(self._open))

    def _nothing_behind(self) -> bool:
        return re.search(r"[{\[]", self._text[self._at :]) is None

    def _sign(self, sign: str) -> bool:
        match sign:
            case "{" | "[" if self._wants in ("value", "item"):
                self._open.append(sign)
                self._out.append(sign)
                self._wants = "key" if sign == "{" else "item"
                self._whole = len(self._out)
            case "}" | "]":
                return self._close(sign)
            case ":" if self._wants == "colon":
                self._out.append(":")
                self._wants = "value"
            case "," if self._wants == "comma":
                self._out.append(",")
                self._wants = "key" if self._open[-1] == "{" else "item"
            case _:
                return False
        return True

    def _close(self, sign: str) -> bool:
        if self._wants not in ("comma", "key", "item") or self._open[-1] != ("{" if sign == "}" else "["):
            return False
        if self._out[-1] == ",":
            self._out.pop()
        self._open.pop()
        self._out.append(sign)
        self._valued()
        return True

    def _valued(self) -> None:
        self._wants, self._whole = "comma", len(self._out)

    def _scalar(self, token: re.Match[str]) -> bool:
        at_the_end = self._at == len(self._text)
        if token["word"] is not None:
            return self._word(token["word"], at_the_end)
        ended = token["double_end"] or token["single_end"] or token["curly_end"]
        text = next(each for each in (token["double"], token["single"], token["curly"]) if each is not None)
        if not ended or ended == "\\":
            text = _CUT_ESCAPE.sub("", text, count=1)
        said = '"' + _TO_ESCAPE.sub(_escaped, text) + '"'
        if self._wants == "key":
            self._out.append(said)
            self._wants = "colon"
        elif self._wants in ("value", "item"):
            self._out.append(said)
            self._valued()
        else:
            return False
        return bool(ended) or at_the_end

    def _word(self, word: str, at_the_end: bool) -> bool:
        if self._wants == "key":
            self._out.append('"' + _TO_ESCAPE.sub(_escaped, word) + '"')
            self._wants = "colon"
            return word.isidentifier() or at_the_end
        said = _WORDS.get(word) or (word if _NUMBER.match(word) else None)
        if self._wants not in ("value", "item"):
            return False
        if at_the_end and (said is None or said == word):  # perhaps only the beginning of it
            self._wants = "nothing"
            return True
        if said is None:
            return False
        self._out.append(said)
        self._valued()
        return True


def _escaped(found: re.Match[str]) -> str:
    said = found[0]
    if said[0] != "\\":
        return '\\"' if said == '"' else f"\\u{ord(said):04x}"
    if len(said) == 1:  # a backslash where the text was cut off
        return ""
    if said[1] in '"\\/bfnrt' or len(said) > 2:
        return said
    return said[1] if said[1] == "'" else "\\\\" + _TO_ESCAPE.sub(_escaped, said[1])
