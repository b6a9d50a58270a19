"""OpenAI's embeddings: hashed character trigrams, so that texts with the same words are near."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import orjson

from agent_runtime.simulation.provider.asked import RequestRefused
from agent_runtime.simulation.provider.fields import as_list, count_of, parse_body, text_of
from agent_runtime.simulation.provider.tokens import count_tokens

MODELS: Final = frozenset({"sim-embed"})
DIMENSIONS: Final = 256
MOST_DIMENSIONS: Final = 1024
MOST_INPUTS: Final = 2048
MOST_TOKENS: Final = 8192  # of one input
MOST_TOKENS_IN_ALL: Final = 300_000
_GRAM: Final = 3

Input = str | tuple[int, ...]  # a text, or the ids of its tokens


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """One request for vectors of `dimensions` numbers, as base64 of little-endian 32-bit floats if `packed`."""

    model: str
    inputs: tuple[Input, ...]
    dimensions: int
    packed: bool

    def input_tokens(self) -> int:
        """What is counted: ids as they are, texts by the estimate."""
        return sum(_tokens(one) for one in self.inputs)

    def digest(self) -> str:
        """16 hex digits of what was asked."""
        asked = f"{self.model}\0{self.dimensions}\0{self.inputs}"
        return hashlib.blake2b(asked.encode("utf-8", "replace"), digest_size=8).hexdigest()


def read_request(body: bytes) -> Embedded:
    """Reads a POST /v1/embeddings body. Raises RequestRefused."""
    given = parse_body(body)
    model = text_of(given, "model", "model")
    inputs = _inputs(given.get("input"))
    for index, one in enumerate(inputs):
        if _tokens(one) > MOST_TOKENS:
            said = f"This model's maximum context length is {MOST_TOKENS} tokens, input[{index}] has {_tokens(one)}"
            raise RequestRefused(said, param="input", code="context_length_exceeded")
    dimensions = count_of(given, "dimensions") or DIMENSIONS
    if dimensions > MOST_DIMENSIONS:
        raise RequestRefused(f"'dimensions' has to be at most {MOST_DIMENSIONS}", param="dimensions")
    encoding = text_of(given, "encoding_format", "encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise RequestRefused("'encoding_format' has to be 'float' or 'base64'", param="encoding_format")
    asked = Embedded(model=model, inputs=inputs, dimensions=dimensions, packed=encoding == "base64")
    if asked.input_tokens() > MOST_TOKENS_IN_ALL:
        said = f"a request has at most {MOST_TOKENS_IN_ALL} tokens, this one has {asked.input_tokens()}"
        raise RequestRefused(said, param="input", code="max_tokens_per_request")
    return asked


def check_model(asked: Embedded) -> None:
    """Raises RequestRefused(404) for what is no embedding model."""
    if asked.model not in MODELS:
        said = f"The model '{asked.model:.80}' is no embedding model here; there is {', '.join(sorted(MODELS))}"
        raise RequestRefused(said, status=404, param="model", code="model_not_found")


def answer(asked: Embedded) -> bytes:
    """Renders the answer as OpenAI does."""
    data: list[dict[str, Any]] = []
    for index, one in enumerate(asked.inputs):
        vector = embedding(one, asked.dimensions)
        data.append({"object": "embedding", "index": index, "embedding": packed(vector) if asked.packed else vector})
    usage = {"prompt_tokens": asked.input_tokens(), "total_tokens": asked.input_tokens()}
    return orjson.dumps({"object": "list", "data": data, "model": asked.model, "usage": usage})


def embedding(given: Input, dimensions: int) -> list[float]:
    """The vector of a text or of token ids, of length 1; equal arguments give equal vectors.

    Each trigram (each id) adds the root of its count to the place that its hash names, with the sign it names."""
    vector = [0.0] * dimensions
    for gram, count in Counter(_grams(given)).items():
        hashed = crc32(gram.encode("utf-8", "replace"))
        vector[(hashed >> 1) % dimensions] += math.sqrt(count) if hashed & 1 else -math.sqrt(count)
    length = math.sqrt(sum(number * number for number in vector))
    if length == 0:  # all of them met their opposites
        return [1.0] + [0.0] * (dimensions - 1)
    return [number / length for number in vector]


def packed(vector: list[float]) -> str:
    """Base64 of 32-bit floats, least byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _inputs(given: object) -> tuple[Input, ...]:
    several = [given] if isinstance(given, str) or _is_ids(given) else as_list(given, "input")
    if not several:
        raise RequestRefused("'input' has to hold at least one text", param="input")
    if len(several) > MOST_INPUTS:
        raise RequestRefused(f"'input' has {len(several)} texts; at most {MOST_INPUTS} are allowed", param="input")
    return tuple(_input(one, index) for index, one in enumerate(several))


def _input(given: object, index: int) -> Input:
    if isinstance(given, list) and _is_ids(given):
        return tuple(given)
    if not isinstance(given, str) or not given:
        raise RequestRefused(
            "each input has to be a text or a list of token ids, and not empty", param=f"input[{index}]"
        )
    return given


def _is_ids(given: object) -> bool:
    return isinstance(given, list) and bool(given) and all(type(one) is int and one >= 0 for one in given)


def _tokens(given: Input) -> int:
    return count_tokens(given) if isinstance(given, str) else len(given)


def _grams(given: Input) -> Iterable[str]:
    if not isinstance(given, str):
        return (str(one) for one in given)
    text = f" {' '.join(given.casefold().split())} " if given.strip() else f" {given} "
    return (text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1))
