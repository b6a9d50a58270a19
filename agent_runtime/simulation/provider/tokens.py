"""Token counts: a deterministic estimate, about four characters a token, never a tokenizer's exact count."""

from __future__ import annotations

CHARS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """Estimates the tokens of `text`: 0 for "", else at least 1."""
    return (len(text) + CHARS_PER_TOKEN - 1) // CHARS_PER_TOKEN


def cut_to_tokens(text: str, most: int) -> str:
    """Gives the longest start of `text` of at most `most` tokens."""
    return text[: max(0, most) * CHARS_PER_TOKEN]


def pieces(text: str, tokens: int = 6) -> list[str]:
    """Splits `text` as a stream would deliver it, `tokens` tokens a piece; joined they are `text` again."""
    size = tokens * CHARS_PER_TOKEN
    return [text[start : start + size] for start in range(0, len(text), size)]
