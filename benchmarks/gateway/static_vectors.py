"""Questions as means of static token vectors, made of a model's as Model2Vec makes them; only measured, not served.

PCA of the tokens' vectors to 128 dimensions, eight bits each; a token counts a / (a + p), p its frequency by Zipf's law
from its rank in the vocabulary, a = 1e-4. The settings are those that Model2Vec publishes; none was chosen by results.
"""

from __future__ import annotations

import re
import string
import unicodedata
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

N_DIMENSIONS: Final = 128
_SIF: Final = 1e-4
_UNKNOWN: Final = 100  # [UNK] of BERT's vocabulary, which has vocab.txt's line number for an id
_SPECIAL: Final = re.compile(r"\[(?:unused\d+|PAD|UNK|CLS|SEP|MASK)\]")
_ASCII_MARKS: Final = frozenset(string.punctuation)


class StaticVectors:
    """What a question means: the weighted mean of its pieces' vectors, at length 1."""

    def __init__(self, vectors: Path) -> None:
        tokens = (vectors / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._ids = {token: n for n, token in enumerate(tokens)}
        kept = np.array([not _SPECIAL.fullmatch(token) for token in tokens])
        values = np.load(vectors / "tokens.npy")[kept].astype(np.float64)
        values -= values.mean(0)
        _, directions = np.linalg.eigh(values.T @ values)
        values = values @ directions[:, ::-1][:, :N_DIMENSIONS]
        scales = np.abs(values).max(1, keepdims=True) / 127
        often = 1 / np.arange(1, len(values) + 1)
        weights = _SIF / (_SIF + often / often.sum())
        self._values = np.zeros((len(tokens), N_DIMENSIONS), np.int8)
        self._weights = np.zeros(len(tokens), np.float32)
        self._values[kept], self._weights[kept] = np.round(values / scales), scales[:, 0] * weights

    @property
    def n_bytes(self) -> int:
        """Of the table with its weights; the vocabulary is another 230 kB."""
        return self._values.nbytes + self._weights.nbytes

    def of(self, text: str) -> NDArray[np.float32]:
        """(128,); zero for a text without a known piece."""
        ids = self.pieces(text)
        vector = self._weights[ids] @ self._values[ids].astype(np.float32)
        return vector / np.float32(np.sqrt(vector @ vector) or 1.0)

    def pieces(self, text: str) -> list[int]:
        """WordPiece of the uncased BERT: the ids of the longest pieces of every word, from its beginning."""
        plain = unicodedata.normalize("NFD", text.lower())
        words = "".join(_apart(letter) for letter in plain).split()
        return [piece for word in words for piece in self._pieces_of(word)]

    def _pieces_of(self, word: str) -> list[int]:
        found: list[int] = []
        begin, mark = 0, ""
        while begin < len(word):
            for end in range(len(word), begin, -1):
                piece = self._ids.get(mark + word[begin:end])
                if piece is not None:
                    found.append(piece)
                    begin, mark = end, "##"
                    break
            else:
                return [_UNKNOWN]
        return found


def _apart(letter: str) -> str:
    """An accent goes, a mark stands alone."""
    kind = unicodedata.category(letter)
    if kind == "Mn":
        return ""
    return f" {letter} " if kind.startswith("P") or letter in _ASCII_MARKS else letter
