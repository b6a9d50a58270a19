"""Any table of outcomes (CSV, TSV, JSON lines, Parquet) to the sums, the exposure and the definition of an analysis.

Rows are read in a stream. Every cell of a text file is read as text and made a number here, so that what is no number
is named with its row instead of being guessed at.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from core.errors import InvalidInput
from experiments import sums
from experiments.tabulating import ROW, Columns, Table, by_unit, counted

MOST: Final = 1e140  # an outcome; the sum of many squares is still a number
MOST_LEVELS: Final = 1_000  # a column with more values is no stratum
MISSING: Final = ("", "NA", "N/A", "NULL", "null", "None", "none", "nan", "NaN")
_TWICE: Final = re.compile(r"(.*)_duplicated_\d+", re.DOTALL)  # what polars calls the second column of a name
_TRUE, _FALSE = ("true", "yes"), ("false", "no")


def read(path: Path, columns: Columns, *, today: dt.date, arms: Sequence[str] = ()) -> Table:
    """The table at `path`. `today`: the day of rows without one; later days are doubtful. `arms`: the variants that
    there should be; others are counted as renamed. Raises InvalidInput for a file that is no table, columns that it
    does not have, cells that are no numbers, fewer than two arms."""
    return of_frame(opened(path), columns, today=today, arms=arms, strict=True)


def opened(path: Path) -> pl.LazyFrame:
    """A file as a frame that is read in a stream. Raises InvalidInput for a file that is no table."""
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}", field="file")
    if path.stat().st_size == 0:
        raise InvalidInput(f"{path} is empty: a table has a line of column names and rows below it", field="file")
    try:
        frame = _scanned(path)
        frame.collect_schema()
        return frame
    except (PolarsError, OSError, ValueError) as error:
        why = str(error).split("\n", 1)[0][:200]
        raise InvalidInput(f"{path} cannot be read as a table: {why}", field="file") from error


def of_frame(
    frame: pl.LazyFrame, columns: Columns, *, today: dt.date, arms: Sequence[str] = (), strict: bool = False
) -> Table:
    """The same of a frame. `strict`: columns that are not asked for are read too, so that lines with too many cells are
    found."""
    _check_columns(columns, frame.collect_schema().names())
    try:
        flags = pl.QueryOptFlags(projection_pushdown=not strict)
        rows = _rows(frame, columns, today).collect(engine="streaming", optimizations=flags)
    except PolarsError as error:
        why = str(error).splitlines()[0][:200]
        hint = "Save it as UTF-8." if "utf-8" in why.lower() else "Has a line more cells than names?"
        said = f"the table cannot be read: {why}. {hint}"
        raise InvalidInput(said, field="file") from error
    if rows.is_empty():
        raise InvalidInput("the table has column names and no row: nothing to analyze", field="file")
    _check_cells(rows, columns)
    rows, notes = _kept(rows, columns)
    tabulate = counted if columns.weights else by_unit
    return tabulate(rows, columns, today, arms, notes)


def _scanned(path: Path) -> pl.LazyFrame:
    with path.open("rb") as file:
        start = file.read(4096)
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if start.startswith(b"PAR1"):
        return pl.scan_parquet(path)
    if suffix in ("jsonl", "ndjson") or start.lstrip().startswith(b"{"):
        return pl.scan_ndjson(path, infer_schema_length=None)
    if not start.startswith(b"\x1f\x8b") and b"\0" in start:
        raise InvalidInput(f"{path} is no table: CSV, TSV, JSON lines and Parquet are read", field="file")
    line = b"" if start.startswith(b"\x1f\x8b") else start.split(b"\n", 1)[0]
    separator = "\t" if suffix in ("tsv", "tab") else ","
    if separator == "," and b"," not in line:  # spreadsheets write what their country writes
        separator = "\t" if b"\t" in line else ";" if b";" in line else ","
    frame = pl.scan_csv(path, separator=separator, infer_schema=False, null_values=list(MISSING))
    names = frame.collect_schema().names()
    twice = [found[1] for name in names if (found := _TWICE.fullmatch(name)) and found[1] in names]
    if twice:
        raise InvalidInput(f"two columns are called {twice[0]!r}: which one is meant? Rename one", field="file")
    return frame


def _check_columns(columns: Columns, there: Sequence[str]) -> None:
    for name in columns.named:
        if name not in there:
            near = get_close_matches(name, there, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            shown = ", ".join(there[:40]) + (f" and {len(there) - 40} more" if len(there) > 40 else "")
            raise InvalidInput(f"there is no column {name!r}{hint} The table has: {shown}", field=name)
    used = [columns.variant, *columns.outcomes]
    if len(set(used)) < len(used):
        raise InvalidInput("one column cannot be the arm and an outcome, or an outcome twice", field="outcome")
    for name in columns.strata:
        if name in used:
            said = f"{name} is the arm or an outcome: a stratum is what units are like before they meet an arm"
            raise InvalidInput(said, field="strata")


def _rows(frame: pl.LazyFrame, columns: Columns, today: dt.date) -> pl.LazyFrame:
    """@unit, @variant, @day; of a stratum its text (=name); of a number its value (#name), or text that is none."""
    numbers = [*columns.outcomes, *([columns.covariate] if columns.covariate else [])]
    numbers += [columns.weights] if columns.weights else []
    kinds = frame.collect_schema()
    made = [
        pl.concat_str([pl.col(one).cast(pl.String()) for one in columns.unit or (ROW,)], separator=sums.JOIN).alias(
            "@unit"
        ),
        pl.col(columns.variant).cast(pl.String()).alias("@variant"),
        (_day(columns.day, kinds[columns.day]) if columns.day else pl.lit(today)).alias("@day"),
        pl.col(ROW),
    ]
    made += [pl.col(name).cast(pl.String()).fill_null(sums.UNKNOWN).alias(f"={name}") for name in columns.strata]
    for name in dict.fromkeys(numbers):
        value = _number(name, kinds[name])
        bad = pl.when(value.is_null() & pl.col(name).is_not_null()).then(pl.col(name).cast(pl.String()))
        made += [value.alias(f"#{name}"), bad.otherwise(None).alias(f"!{name}")]
    return frame.with_row_index(ROW, offset=1).select(made)


def _number(name: str, kind: pl.DataType) -> pl.Expr:
    if kind == pl.String():
        text = pl.col(name).str.strip_chars().str.to_lowercase()
        return (pl.when(text.is_in(_TRUE)).then(1.0).when(text.is_in(_FALSE)).then(0.0)).otherwise(
            text.cast(pl.Float64(), strict=False)
        )
    return pl.col(name).cast(pl.Float64(), strict=False)


def _day(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.String():
        return column.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return column.cast(pl.Date(), strict=False)


def _check_cells(rows: pl.DataFrame, columns: Columns) -> None:
    """Raises InvalidInput for the first cell that is not what its column has to be."""
    for name in [one[1:] for one in rows.columns if one.startswith("!")]:
        bad = rows.filter(pl.col(f"!{name}").is_not_null())
        if not bad.is_empty():
            first = bad.row(0, named=True)
            raise InvalidInput(
                f"{name} is {first[f'!{name}'][:60]!r} in row {first[ROW]}, which is no number ({bad.height:,} such "
                "rows); true and false, yes and no, or numbers; leave unknown ones empty",
                field=name,
            )
        infinite = rows.filter(pl.col(f"#{name}").is_infinite())
        if not infinite.is_empty():
            raise InvalidInput(f"{name} is infinite in row {infinite.row(0, named=True)[ROW]}", field=name)
        huge = rows.filter(pl.col(f"#{name}").abs() > MOST)  # NaN is above every number for polars
        huge = huge.filter(pl.col(f"#{name}").is_not_nan())
        if not huge.is_empty():
            first = huge.row(0, named=True)
            said = f"{name} is {first[f'#{name}']:g} in row {first[ROW]}: above {MOST:g} squares are no numbers"
            raise InvalidInput(said, field=name)
    if rows["@unit"].null_count():
        first = rows.filter(pl.col("@unit").is_null()).row(0, named=True)[ROW]
        raise InvalidInput(f"{'+'.join(columns.unit)} is empty in row {first}: whose outcome is it?", field="unit")
    if columns.day and rows["@day"].null_count():
        first = rows.filter(pl.col("@day").is_null()).row(0, named=True)[ROW]
        raise InvalidInput(f"{columns.day} is no day in row {first}: days are written 2026-11-22", field=columns.day)
    for name in columns.strata:
        n = rows[f"={name}"].n_unique()
        if n > MOST_LEVELS:
            raise InvalidInput(f"{name} has {n:,} values: a stratum has a few, each with many units", field=name)


def _kept(rows: pl.DataFrame, columns: Columns) -> tuple[pl.DataFrame, list[str]]:
    """The rows that have an arm, with NaN as a missing outcome; notes on both."""
    notes = []
    nowhere = rows["@variant"].null_count()
    if nowhere:
        notes.append(f"{nowhere:,} rows have no {columns.variant} and are left out")
        rows = rows.filter(pl.col("@variant").is_not_null())
    for name in columns.outcomes:
        n = int(rows[f"#{name}"].is_nan().sum())
        if n:
            notes.append(f"{name} is NaN in {n:,} rows: they count as missing")
    return rows.with_columns(pl.col("^#.*$").fill_nan(None)), notes
