"""The fuzz campaign of `make test`: 20,000 inputs, and every input that was ever kept for what it showed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tests.fuzz.inputs import kept, seeds
from tests.fuzz.mutate import fields_of, written
from tests.fuzz.run import campaign
from tests.fuzz.target import Target


def test_every_input_that_was_kept_is_answered(tmp_path: Path) -> None:
    inputs = kept()
    assert inputs
    target = Target(tmp_path)
    for start in range(0, len(inputs), 50):
        target.run(inputs[start : start + 50])


def test_fields_are_written_as_they_were_read() -> None:
    for each in seeds(8):
        if not each.is_json and not each.is_gzip:
            assert b"".join(map(written, fields_of(each.body) or [])) == each.body


def test_20_000_mutants(tmp_path: Path) -> None:
    args = argparse.Namespace(
        runs=20_000,
        workers=min(os.cpu_count() or 1, 2),
        seed=20_261_121,
        seconds=float("inf"),
        out=tmp_path,
        checked=False,
    )
    figures = campaign(args)
    assert figures["found"] == []
    assert figures["runs"] >= 20_000
    assert figures["through_doors"] >= 200
