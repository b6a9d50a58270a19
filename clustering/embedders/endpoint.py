"""Any OpenAI-compatible door for embeddings: POST {url}/embeddings with a model and texts.

What comes back is untrusted: as many vectors as texts, finite numbers, all of one length, which is part of the version.
A door that is busy (408, 409, 425, 429, 5xx) or silent is asked again after a pause; every other answer ends the work.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
import numpy as np

from clustering.embedders.protocol import DimensionChanged, EmbedderFailed, Endpoint
from clustering.embedders.unique import embed_unique
from clustering.records import Progress, Vectors
from core.errors import InvalidInput

NAME: Final = "endpoint"
AT_ONCE: Final = 64  # texts in one request
TIMEOUT_S: Final = 60.0
PAUSES_S: Final = (1.0, 4.0, 15.0)
MOST_PAUSE_S: Final = 60.0  # that a door may ask for
MOST_ANSWER: Final = 64 << 20  # bytes
MOST_DIMS: Final = 8_192
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_PROBE: Final = "embedding"
_MODEL: Final = re.compile(r"[^\s\x00-\x1f]{1,200}")


class EndpointEmbedder:
    """The embedder; its first question finds out how long its vectors are. `client` and `sleep` are for tests of the
    wire; close it at the end."""

    name = NAME

    def __init__(
        self, endpoint: Endpoint, *, client: httpx.Client | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Asks once. Raises InvalidInput for a model that is no name, EmbedderFailed."""
        if not _MODEL.fullmatch(endpoint.model):
            raise InvalidInput("embeddings_model is no name of a model", field="embeddings_model")
        self._endpoint, self._sleep = endpoint, sleep
        self._client = client or httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)
        self._headers = {} if endpoint.key is None else {"Authorization": f"Bearer {endpoint.key}"}
        self.dims = int(self._asked([_PROBE]).shape[1])
        self.version = f"endpoint/{endpoint.model}/{self.dims}"

    def close(self) -> None:
        """Gives the connections back."""
        self._client.close()

    def embed(self, texts: Sequence[str], progress: Progress) -> Vectors:
        """See Embedder."""
        return embed_unique(texts, self.dims, self._embed, progress, at_once=AT_ONCE)

    def _embed(self, texts: list[str]) -> Vectors:
        found = self._asked(texts)
        if found.shape[1] != self.dims:
            raise DimensionChanged(
                f"{self._endpoint.url} answers {found.shape[1]} numbers for {self._endpoint.model}, before it were "
                f"{self.dims}: another model is behind the name; nothing of it was kept, a new run takes it up"
            )
        return found

    def _asked(self, texts: list[str]) -> Vectors:
        """The vectors of these texts, asked for again where that can help."""
        body = {"model": self._endpoint.model, "input": texts, "encoding_format": "float"}
        trouble = ""
        for pause in (*PAUSES_S, None):
            try:
                answer = self._client.post(f"{self._endpoint.url}/embeddings", json=body, headers=self._headers)
            except httpx.TransportError as error:
                trouble, asked_for = f"{type(error).__name__}: {error}"[:200], None
            else:
                if answer.status_code == httpx.codes.OK:
                    return self._vectors(answer, len(texts))
                trouble = f"HTTP {answer.status_code} {_said(answer)}"
                if answer.status_code not in _AGAIN:
                    break
                asked_for = _retry_after(answer)
            if pause is not None:
                self._sleep(min(max(pause, asked_for or 0.0), MOST_PAUSE_S))
        raise EmbedderFailed(
            f"{self._endpoint.url} gives no embeddings: {trouble}; see embeddings_url and embeddings_key"
        )

    def _vectors(self, answer: httpx.Response, n: int) -> Vectors:
        try:
            if len(answer.content) > MOST_ANSWER:
                raise ValueError(f"an answer of over {MOST_ANSWER >> 20} MB")
            items = sorted(json.loads(answer.content)["data"], key=lambda item: int(item["index"]))
            if [item["index"] for item in items] != list(range(n)):
                raise ValueError(f"{len(items)} embeddings for {n} texts")
            found = np.array([item["embedding"] for item in items], dtype=np.float32)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EmbedderFailed(
                f"{self._endpoint.url} does not answer with embeddings: {str(error)[:200]}; is it OpenAI-compatible?"
            ) from error
        if found.ndim != 2 or not 1 <= found.shape[1] <= MOST_DIMS or not np.isfinite(found).all():
            raise EmbedderFailed(f"{self._endpoint.url} answers embeddings that are no finite numbers of one length")
        return found


def _said(answer: httpx.Response) -> str:
    """What a refusal says of itself, shortly."""
    try:
        found: Any = answer.json()
    except ValueError:
        return ""
    error = found.get("error") if isinstance(found, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return said[:200] if isinstance(said, str) else ""


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
