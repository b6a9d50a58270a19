"""Datasets as files: read and written in every format, and every bad file refused with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InvalidInput, TooLarge, Undecodable
from evaluators.datasets import tabular
from evaluators.datasets.reading import Imported, format_of, read_examples
from evaluators.datasets.records import MOST_LINE, Example, Source, example_at, example_json, line_of
from evaluators.records import Expected, ToolCall

WHOLE = Example(
    example_id="größe-1",
    turns=("=cmd|' /C calc'!A0", 'second\nline, with "quotes" and \U0001f600'),
    expected=Expected(
        answer="yes",
        answers=("yes", "YES"),
        contains=("42",),
        tool_calls=(ToolCall(name="refund", arguments={"order": "#W1", "usd": 4.5}, turn=1),),
        comparators={"refund.usd": "number"},
        write_tools=("refund",),
        end_state={"orders": {"#W1": "refunded"}},
        post_conditions=("state.orders['#W1'] == 'refunded'",),
        relevant={"doc": 2.0},
        refusal=False,
        json_schema={"type": "object"},
        policy={"caps": {"refund": 50}},
        source="the policy",
    ),
    split="dev",
    metadata={"n": 1, "nested": {"a": [1, None, True]}},
    source=Source(trace_id="a" * 32, session_id="s", user_id="u"),
)
PLAIN = Example(example_id="2", turns=("'=1+1",), expected=Expected(tool_calls=()))
BOTH = [WHOLE, PLAIN]


def read(content: bytes | str, format_: str = "jsonl", **how: Any) -> Imported:
    raw = content.encode() if isinstance(content, str) else content
    return read_examples(io.BytesIO(raw), format_, **how)


def test_an_example_is_the_same_after_every_format() -> None:
    assert example_at(line_of(WHOLE)) == WHOLE
    assert line_of(example_at(line_of(WHOLE))) == line_of(WHOLE)
    assert read(b"".join(tabular.jsonl_of(BOTH))).examples == BOTH
    assert read(b"".join(tabular.csv_of(BOTH)), "csv").examples == BOTH
    assert read(tabular.parquet_of(BOTH), "parquet").examples == BOTH
    assert read(json.dumps([example_json(one) for one in BOTH])).examples == BOTH
    assert read(gzip.compress(b"".join(tabular.jsonl_of(BOTH)))).examples == BOTH


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "'=", "''@", "\uff1d"])
def test_no_cell_of_a_csv_file_is_a_formula(start: str) -> None:
    hostile = Example(example_id=f"{start.strip()}x", turns=(f"{start}1+cmd|' /C calc'!A0",), split=f"{start.strip()}s")
    written = b"".join(tabular.csv_of([hostile])).decode()
    (_, row) = csv.reader(io.StringIO(written, newline=""))
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")) for cell in row)
    assert read(written, "csv").examples == [hostile]


def test_an_id_is_made_of_what_is_asked_and_expected() -> None:
    first, second, third = read(
        '{"input": "a"}\n{"input": ["a", "b"]}\n{"input": "a", "expected": {"answer": "x"}}'
    ).examples
    assert len({first.example_id, second.example_id, third.example_id}) == 3
    assert first.example_id == read('{"split": "dev", "input": {"turns": ["a"]}}').examples[0].example_id


GOOD = '{"example_id": "a", "input": "hello"}\n'


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("{", Undecodable, r"line 2: it is no JSON: .* at character 2"),
        ('{"input": NaN}', InvalidInput, "line 2: NaN is no JSON"),
        ('{"input": "x", "metadata": {"n": -Infinity}}', InvalidInput, "line 2: -Infinity"),
        ('{"input": "x", "metadata": {"n": 1e999}}', InvalidInput, r"line 2: metadata\.n is NaN or infinite"),
        ('{"input": "x", "expected": {"relevant": {"d": 1e999}}}', InvalidInput, "line 2: a number is NaN or infinite"),
        (
            '{"input": "x", "metadata": {"n": ' + "9" * 5000 + "}}",
            Undecodable,
            "line 2: it is no JSON that can be kept",
        ),
        ('{"input": "x", "input": "y"}', InvalidInput, "line 2: the name 'input' stands twice"),
        ('{"input": "x", "expect": {}}', InvalidInput, "line 2: an example has no field 'expect'; it has example_id"),
        ('{"input": "x", "expected": {"anwser": 1}}', InvalidInput, "line 2: expected has no field 'anwser'; it has"),
        ('{"input": "x", "expected": {"tool_calls": [{"nam": 1}]}}', InvalidInput, r"expected.tool_calls\[0\] has no"),
        ('{"input": "x", "expected": {"answer": 4}}', InvalidInput, "line 2: expected.answer is a text, not a number"),
        ('{"input": "x", "expected": {"refusal": "no"}}', InvalidInput, "expected.refusal is true or false"),
        ('{"input": ""}', InvalidInput, "line 2: the input is empty"),
        ('{"input": {"turns": []}}', InvalidInput, "line 2: an input has 1 to 200 turns"),
        ('{"example_id": "' + "x" * 121 + '", "input": "x"}', InvalidInput, "line 2: an example's id has 1 to 120"),
        ('{"example_id": "a", "input": "other"}', InvalidInput, "line 2: example_id 'a' stands on line 1 already"),
        ('{"input": "\\ud800"}', InvalidInput, "line 2: a text has half of a surrogate pair"),
        ('{"expected": {}}', InvalidInput, "line 2: "),
        ("[1]", InvalidInput, "line 2: an example is a JSON object"),
        ("[" * 100_000, Undecodable, "line 2: it is nested too deeply"),
        ('{"input": "' + "x" * (50 << 20) + '"}', TooLarge, "line 2: it has more than 1 MiB"),
    ],
    ids=range(21),
)
def test_a_bad_line_is_named_and_left_out_where_that_is_wanted(line: str, error: type[InvalidInput], said: str) -> None:
    content = GOOD + line + '\n{"example_id": "b", "input": "bye"}\n'
    with pytest.raises(error, match=said):
        read(content)
    found = read(content, skip_bad=True)
    assert [one.example_id for one in found.examples] == ["a", "b"]
    assert (found.n_skipped, found.skipped[0].line) == (1, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        ("\ufeff".encode("utf-16") + GOOD.encode("utf-16-le"), "UTF-16; convert it with: iconv"),
        (GOOD.encode("utf-16-be"), "line 1: it has a NUL byte"),
        (
            GOOD.encode() + '{"input": "caf\u00e9"}'.encode("latin-1"),
            r"line 2: byte 15 \(0xe9\) is not UTF-8; if it is Latin",
        ),
        (GOOD.encode() + b"\x00\x01", "line 2: it has a NUL byte, number 1"),
        (bytes(range(256)) * 40, "line 1: it has a NUL byte"),
        (b"PK\x03\x04" + bytes(100), "zip archive or a spreadsheet"),
        (gzip.compress(GOOD.encode() * 9)[:-12], "gzip is damaged or cut short"),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_a_file_that_is_none_is_refused(content: bytes, said: str, format_: str) -> None:
    if format_ == "csv":
        content = content.replace(GOOD.encode(), b"input,split\n")
        said = said if "byte 15" not in said else "line 2: byte 15"
        if content.startswith(b"\x1f"):
            return
    with pytest.raises(InvalidInput, match=said):
        read(content, format_)


def test_a_byte_order_mark_and_windows_line_ends_are_nothing() -> None:
    assert read(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()).examples[0].turns == ("hello",)
    assert read(b"\xef\xbb\xbfexample_id,input\r\na,hello\r\n", "csv").examples[0].example_id == "a"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,b,c\n", "line 2: it has 3 cells, and the first line names 2 columns"),
        ("a\n", "line 2: it has 1 cells"),
        ('a,"open\n', "line 2: a quote is opened here and not closed"),
        ('a,"x"y\n', "line 2: it is no CSV"),
        ("a," + "x" * (MOST_LINE + 1) + "\n", "line 2: it has more than 1 MiB"),
        ("a,x\0y\n", "line 2: it has a NUL byte"),
        ("a,x\na,y\n", "line 3: example_id 'a' stands on line 2 already"),
        ('a,"two\nlines"\nb\n', "line 4: it has 1 cells"),
    ],
)
def test_a_bad_row_is_named(rows: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read("example_id,input\n" + rows, "csv")


def test_bad_rows_are_left_out_and_the_others_kept() -> None:
    content = b"example_id,input\na,ok\nb,x,y\nc,caf\xe9\nd,good\ne,\x00\nf," + b"x" * (2 << 20) + b"\ng,fine\n"
    found = read(content, "csv", skip_bad=True)
    assert [one.example_id for one in found.examples] == ["a", "d", "g"]
    assert [one.line for one in found.skipped] == [3, 4, 6, 7]


def test_columns_that_are_not_ours_are_metadata() -> None:
    (one,) = read('id,question,answer,topic,input\n1,,yes,cards,"What, now?"\n', "csv").examples
    assert (one.turns, one.expected.answer, one.metadata["topic"]) == (("What, now?",), "yes", "cards")
    (one,) = read("question,answer,topic\nWhy?,because,cards\n", "csv").examples
    assert (one.turns, one.expected.answer, one.metadata) == (("Why?",), "because", {"topic": "cards"})
    with pytest.raises(InvalidInput, match="the column 'input' stands twice"):
        read("input,input\na,b\n", "csv")


def test_parquet_of_others_and_what_is_none() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"question": ["a", "b"], "answer": ["x", None], "score": [1.5, 2.0]}), sink)
    first, second = read(sink.getvalue(), "parquet").examples
    assert (first.turns, first.expected.answer, first.metadata) == (("a",), "x", {"score": 1.5})
    assert second.expected.answer is None
    for bad in (b"PAR1" + bytes(100), sink.getvalue()[:-20], b"{}"):
        with pytest.raises(Undecodable, match="not Parquet"):
            read(bad, "parquet")
    nan = io.BytesIO()
    pq.write_table(pa.table({"input": ["a", "b"], "n": [1.0, float("nan")]}), nan)
    with pytest.raises(InvalidInput, match=r"line 2: metadata\.n is NaN"):
        read(nan.getvalue(), "parquet")


def test_a_parquet_file_that_unpacks_to_more_than_is_read_is_refused_unread() -> None:
    sink = io.BytesIO()
    table = pa.table({"question": ["a" * (1 << 20)] * 300})
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    assert len(sink.getvalue()) < 1 << 17
    with pytest.raises(TooLarge, match="MiB unpacked"):
        read(sink.getvalue(), "parquet")


def test_what_is_no_text_is_not_cut() -> None:
    with pytest.raises(InvalidInput, match="no text has"):
        read(json.dumps({"question": [["a"] * 50_000]}))


def test_one_bad_line_in_a_hundred_thousand_is_named() -> None:
    lines = [b'{"example_id": "%d", "input": "q"}' % n for n in range(20_000)]
    lines[12_344] = b'{"example_id": "x", "input": '
    with pytest.raises(InvalidInput, match=r"^line 12,345: it is no JSON"):
        read(b"\n".join(lines))
    seen: list[int] = []
    found = read(b"\n".join(lines), skip_bad=True, progress=seen.append)
    assert (len(found.examples), [one.line for one in found.skipped]) == (19_999, [12_345])
    assert seen[-1] == 19_500


def test_formats_by_name() -> None:
    names = {"a.jsonl": "jsonl", "a.NDJSON": "jsonl", "a.json.gz": "jsonl", "a.csv": "csv", "b.parquet": "parquet"}
    assert {name: format_of(name) for name in names} == names
    with pytest.raises(InvalidInput, match="does not say a format"):
        format_of("a.xlsx")
