"""Files of verdicts: whatever is in them, items or named faults come out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.importers.reading import BadLine
from server.importers.verdicts import Survey, name_of, read_verdicts

HEAD = "session_id,verdict,label,annotator,confidence,at,segment\n"
WORDS = st.sampled_from(["session_id", "verdict", "label", "judge", "annotator", "label_kind", "at", "score"])
ROWS = st.lists(
    st.dictionaries(WORDS, st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats())), max_size=5
)


def read(path: Path, **given: str) -> Survey:
    return read_verdicts(path, None, lambda _: None, **given)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=80).map(lambda text: (HEAD + text).encode())))
def test_any_bytes_give_items_or_a_named_fault(name: str, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            survey = read(path, judge="j")
        except BadLine:
            return
        assert all(len(batch.items) == len(batch.lines) for batch in survey.batches)


@given(rows=ROWS)
def test_any_objects_give_items_or_a_named_fault(rows: list[dict[str, object]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        try:
            survey = read(path, judge="j")
        except BadLine:
            return
        for batch in survey.batches:
            assert all("session_id" in item for item in batch.items)
            assert all(1 <= line <= len(rows) for line in batch.lines)


def test_lines_of_one_target_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "own.csv.gz"
    rows = "a,pass,pass,ann,0.5,,eu\na,,fail,bob,,,\na,,fail,bob,,,\na,,pass,bob,,,\nb,,fail,,,,\n"
    path.write_bytes(gzip.compress((HEAD + rows).encode()))
    survey = read(path, judge="J 1!")
    judged, alone = survey.batches
    assert (judged.judge, alone.judge, survey.n_annotators) == ("j-1", None, 2)
    assert judged.items[0]["annotations"] == {"ann": "pass", "bob": "fail"}
    assert judged.items[0]["confidence"] == 0.5
    assert alone.items == [{"session_id": "b", "annotations": {"imported": "fail"}}]
    assert [(bad.line, "a line before" in bad.reason) for bad in survey.bad] == [(5, True)]


def test_names_of_judges_are_names(tmp_path: Path) -> None:
    assert name_of("GPT-4/Metrics_Reference") == "gpt-4-metrics_reference"
    assert name_of("///") == "imported"
    path = tmp_path / "x.jsonl"
    path.write_text('{"simulation_id": "s", "judge_verdict": "pass", "tau2_success": "maybe", "judge_prompt": "p"}\n')
    survey = read(path)
    assert survey.format == "tau2"
    assert "true or false" in survey.bad[0].reason
