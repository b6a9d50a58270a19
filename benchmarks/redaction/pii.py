"""How much structured personal information gets past redaction, how much else is eaten, and how fast it goes.

    python -m benchmarks.redaction.pii                    # the table, and benchmarks/results/redaction.json
    python -m benchmarks.redaction.pii --show             # also every leak and every false redaction

Labels: the 894 sentences of presidio-research (MIT) in ../shared/data/pii_presidio. A labelled span counts as caught
when replaced ranges cover it whole; a replaced range that touches no label of a structured type is false. Names,
places and other unstructured types are not what this redactor is for. Speed is of one thread, by its own CPU clock.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from collector import pii_scan
from collector.redact import Redactor
from core.pii.patterns import confirm
from core.records import PiiPolicy

HERE = Path(__file__).parent
DATA = HERE.parent.parent.parent / "shared" / "data"
TYPES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "US_SSN": "ssn",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
}


def ranges(text: str) -> list[tuple[int, int, str]]:
    """(start, end, entity) in characters of everything that would be replaced in `text`."""
    raw = text.encode()
    data = np.frombuffer(raw, dtype=np.uint8)
    found = []
    for _, start, end, bits in pii_scan.candidates(data, np.array([0, len(raw)], dtype=np.int32)).tolist():
        found += confirm(raw, start, end, bits)
    return [(len(raw[: f.start].decode()), len(raw[: f.end].decode()), f.entity.value) for f in found]


def accuracy(rows: list[dict[str, Any]], *, show: bool) -> dict[str, dict[str, float]]:
    """Per type: labelled, caught, false, recall and precision (1.0 where there is nothing to divide by)."""
    labelled, caught, false = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        text, found = row["full_text"], ranges(row["full_text"])
        spans = [
            (s["start_position"], s["end_position"], TYPES[s["entity_type"]])
            for s in row["spans"]
            if s["entity_type"] in TYPES
        ]
        for start, end, kind in spans:
            labelled[kind] += 1
            hit = any(a <= start and end <= b for a, b, _ in found)
            caught[kind] += hit
            if show and not hit:
                print(f"leak  {kind:6} {text[max(0, start - 30) : end + 20]!r}")
        for a, b, kind in found:
            if not any(a < end and start < b for start, end, _ in spans):
                false[kind] += 1
                if show:
                    print(f"false {kind:6} {text[max(0, a - 30) : b + 20]!r}")
    return {
        kind: {
            "labelled": labelled[kind],
            "caught": caught[kind],
            "false": false[kind],
            "recall": round(caught[kind] / labelled[kind], 4) if labelled[kind] else 1.0,
            "precision": round(caught[kind] / (caught[kind] + false[kind]), 4) if caught[kind] + false[kind] else 1.0,
        }
        for kind in sorted({*TYPES.values(), *false})
    }


def conversations() -> Iterator[str]:
    """Real agent conversations as an exporter sends them: JSON messages, one growing history per model call."""
    for path in sorted((DATA / "tau2_trajectories").glob("*.jsonl.gz"))[:4]:
        with gzip.open(path, "rt") as lines:
            for line in lines:
                messages = json.loads(line).get("messages") or []
                for end in range(2, len(messages), 4):
                    parts = [
                        {"role": m["role"], "content": m.get("content") or ""} for m in messages[max(0, end - 6) : end]
                    ]
                    yield json.dumps(parts)


def speed(column: pa.Array) -> dict[str, float]:
    """MB/s of one thread over a column: of the native scan alone, and of the whole redaction."""
    redactor = Redactor(PiiPolicy(), b"benchmark")
    pii_scan.compile_kernels()
    size = column.nbytes / 1e6
    data = np.frombuffer(column.buffers()[2], dtype=np.uint8)
    bounds = np.frombuffer(column.buffers()[1], dtype=np.int32)[: len(column) + 1]
    scan = min(_cpu(lambda: pii_scan.candidates(data, bounds)) for _ in range(5))
    whole = min(_cpu(lambda: redactor.column(column)) for _ in range(3))
    changed = redactor.column(column)[1]
    return {
        "mb": round(size, 1),
        "rows": len(column),
        "rows_changed": changed,
        "scan_mb_s": round(size / scan),
        "redact_mb_s": round(size / whole),
    }


def _cpu(work: Any) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def machine() -> dict[str, Any]:
    """What the figures were measured on, with commit and date."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=HERE
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def main() -> None:
    """Print the tables and write the JSON result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, default=DATA / "pii_presidio" / "sentences.jsonl.gz")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "redaction.json")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    with gzip.open(args.sentences, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    table = accuracy(rows, show=args.show)
    for kind, r in table.items():
        counts = f"labelled {r['labelled']:4}  false {r['false']:3}"
        print(f"{kind:8} {counts}  recall {r['recall']:.4f}  precision {r['precision']:.4f}")
    texts = list(conversations())
    prose = [" ".join(json.loads(t)[0]["content"].split()) for t in texts]
    speeds = {
        "conversations": speed(pa.array(texts)),
        "prose": speed(pa.array([p for p in prose if "@" not in p])),
        "labelled_sentences": speed(pa.array([r["full_text"] for r in rows] * 20)),
    }
    for name, s in speeds.items():
        rates = f"scan {s['scan_mb_s']:5} MB/s  redact {s['redact_mb_s']:5} MB/s"
        print(f"{name:20} {rates}  ({s['rows_changed']} of {s['rows']} rows changed)")
    result = {**machine(), "n_sentences": len(rows), "accuracy": table, "speed": speeds}
    args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
