"""Datasets: list, show, examples by pages, export, versions compared, contamination. Changes: dataset_changes.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from core.errors import NotFound
from evaluators.datasets import service, tabular
from evaluators.datasets.contamination import Prompt, across_splits, given_away
from evaluators.datasets.likeness import THRESHOLD, alike, same
from evaluators.datasets.records import Example, example_at
from evaluators.datasets.service import MOST_COMPARED
from evaluators.datasets.traced import prompts_of_app
from server.policy import known_parameters_only, names_once
from server.routes.answers import answer
from server.routes.asking import NO_TIME, Reading, ReadingOf, Text, Times
from server.routes.keys import rfc3339
from store.control.datasets import DatasetRecord, VersionRecord
from store.cursor import Position

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"], dependencies=[Depends(known_parameters_only)])

Name = Annotated[str, Path(min_length=1, max_length=200)]
Number = Annotated[int | None, Query(ge=1, le=10**9)]
_MOST_TOLD: Final = 1000
_TYPES: Final = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class Version(BaseModel):
    """A version. `n_erased`: examples that an erasure took out of it since."""

    version: int
    content_hash: str
    n_examples: int
    n_erased: int
    splits: dict[str, int]
    note: str
    made_by: str
    made_at: str


class Dataset(BaseModel):
    """A dataset and its newest version, null when it has none."""

    name: str
    description: str
    created_by: str
    created_at: str
    n_versions: int
    newest: Version | None


class DatasetList(BaseModel):
    """The datasets by name."""

    items: list[Dataset]
    next_cursor: None = None


class DatasetWithVersions(Dataset):
    """A dataset with its versions, newest first."""

    versions: list[Version]


class Examples(BaseModel):
    """A page of the examples of a version, in their order."""

    items: list[dict[str, Any]]
    version: int
    content_hash: str
    next_cursor: str | None


class OneExample(BaseModel):
    """An example and the version it is of."""

    example: dict[str, Any]
    version: int


class Difference(BaseModel):
    """The ids of the examples that were added, removed and changed between two versions."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    n_same: int


class AskedExamples(BaseModel):
    """Which examples: of a version (the newest), of a split, with `q` in what is asked or in the id."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int | None, Field(ge=1, le=10**9)] = None
    split: Text = None
    q: Text = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class GivenPrompt(BaseModel):
    """A prompt to look into, and where it is from."""

    model_config = ConfigDict(extra="forbid")

    place: Annotated[str, Field(min_length=1, max_length=1000)]
    text: Annotated[str, Field(max_length=4 << 20)]


class Check(Times):
    """What to check: prompts, or the system instructions of an app's traces in the window; and the splits."""

    version: Annotated[int | None, Field(ge=1, le=10**9)] = None
    prompts: Annotated[list[GivenPrompt], Field(max_length=1000)] = []
    app: Text = None
    threshold: Annotated[float, Field(ge=0.3, le=1)] = THRESHOLD


class Checked(BaseModel):
    """What was found, at most 1,000 of each, and of how many. `clean`: nothing."""

    version: int
    n_examples: int
    n_prompts: int
    given_away: list[dict[str, Any]]
    across_splits: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]
    n_given_away: int
    n_across_splits: int
    n_duplicates: int
    clean: bool


@router.get("", response_model=DatasetList)
def list_datasets(reading: ReadingOf) -> Response:
    """The tenant's datasets."""
    found = reading.services.control.datasets(reading.caller.tenant)
    return answer({"items": [dataset_told(*one) for one in found], "next_cursor": None})


@router.get("/{name}", response_model=DatasetWithVersions)
def read_dataset(name: Name, reading: ReadingOf) -> Response:
    """One dataset with its versions."""
    record, versions = reading.services.control.dataset(reading.caller.tenant, name)
    return answer({**dataset_told(record, versions), "versions": [version_told(one) for one in versions]})


@router.get("/{name}/examples", response_model=Examples)
def list_examples(name: Name, reading: ReadingOf, asked: Annotated[AskedExamples, Query()]) -> Response:
    """A page of the examples. A list that goes on stays with the version that it began with."""
    position = reading.position(asked.cursor)
    offset, version = (position.order, int(position.row_id)) if position else (0, asked.version)
    chosen = asked.split is not None or asked.q is not None
    window = {} if chosen else {"offset": offset, "limit": asked.limit}
    record, lines = reading.services.control.read_dataset(reading.caller.tenant, name, version, **window)
    items = [json.loads(line) for line in lines]
    total = record.n_examples
    if chosen:
        items = [one for one in items if _passes(one, asked)]
        total = len(items)
        items = items[offset : offset + asked.limit]
    reached = offset + len(items)
    more = None
    if reached < total:
        more = reading.cursor(Position(order=reached, row_id=str(record.version), window=NO_TIME))
    told = {"version": record.version, "content_hash": record.content_hash}
    return answer({"items": items, **told, "next_cursor": more})


@router.get("/{name}/examples/{example_id:path}", response_model=OneExample)
def read_example(name: Name, example_id: str, reading: ReadingOf, version: Number = None) -> Response:
    """One example, whole."""
    record, lines = reading.services.control.read_dataset(reading.caller.tenant, name, version)
    for line in lines:
        said = json.loads(line)
        if said["example_id"] == example_id:
            return answer({"example": said, "version": record.version})
    raise NotFound(f"version {record.version} has no example {example_id[:120]!r}")


@router.get("/{name}/export", response_class=StreamingResponse)
def export(
    name: Name,
    reading: ReadingOf,
    wanted: Annotated[Literal["jsonl", "csv", "parquet"], Query(alias="format")] = "jsonl",
    version: Number = None,
) -> StreamingResponse:
    """A version as a file. Cells of CSV that a spreadsheet would take for a formula stand behind a single quote."""
    record, lines = reading.services.control.read_dataset(reading.caller.tenant, name, version)
    named = f"dataset-v{record.version}.{wanted}"
    headers = {"Content-Disposition": f'attachment; filename="{named}"', "Assay-Dataset-Version": str(record.version)}
    return StreamingResponse(_written(map(example_at, lines), wanted), media_type=_TYPES[wanted], headers=headers)


@router.get("/{name}/diff", response_model=Difference)
def diff(name: Name, reading: ReadingOf, before: Number = None, after: Number = None) -> Response:
    """What changed from version `before` (the one before `after`) to `after` (the newest)."""
    found = service.difference(reading.services.control, reading.caller.tenant, name, before, after)
    return answer(vars(found))


@router.post("/{name}/check", response_model=Checked, dependencies=[Depends(names_once)])
def check(name: Name, wanted: Check, reading: ReadingOf) -> Response:
    """Looks for examples that stand in a prompt, for such that are in two splits, and for duplicates. Changes
    nothing."""
    record, lines = reading.services.control.read_dataset(reading.caller.tenant, name, wanted.version)
    examples = [example_at(line) for line in lines]
    prompts = _prompts(reading, wanted)
    given = given_away(examples, prompts)
    across = across_splits(examples, wanted.threshold) if len(record.splits) > 1 else []
    texts = [one.text for one in examples]
    pairs = alike(texts, wanted.threshold) if len(texts) <= MOST_COMPARED else same(texts)
    told = [
        {
            "example_id": examples[one.second].example_id,
            "of": examples[one.first].example_id,
            "similarity": one.similarity,
        }
        for one in pairs
    ]
    found: dict[str, Sequence[Any]] = {
        "given_away": [vars(one) for one in given],
        "across_splits": [vars(one) for one in across],
        "duplicates": told,
    }
    counts = {f"n_{key}": len(value) for key, value in found.items()}
    about = {"version": record.version, "n_examples": len(examples), "n_prompts": len(prompts)}
    shown = {key: value[:_MOST_TOLD] for key, value in found.items()}
    return answer({**about, **shown, **counts, "clean": not any(found.values())})


def dataset_told(record: DatasetRecord, versions: Sequence[VersionRecord]) -> dict[str, Any]:
    """A dataset in an answer."""
    return {
        "name": record.name,
        "description": record.description,
        "created_by": record.made_by,
        "created_at": rfc3339(record.made_at_ns),
        "n_versions": len(versions),
        "newest": version_told(versions[0]) if versions else None,
    }


def version_told(one: VersionRecord) -> dict[str, Any]:
    """A version in an answer."""
    counts = {"n_examples": one.n_examples, "n_erased": one.n_erased, "splits": dict(one.splits)}
    made = {"note": one.note, "made_by": one.made_by, "made_at": rfc3339(one.made_at_ns)}
    return {"version": one.version, "content_hash": one.content_hash, **counts, **made}


def _prompts(reading: Reading, wanted: Check) -> list[Prompt]:
    found = [Prompt(place=one.place, text=one.text) for one in wanted.prompts]
    if wanted.app is not None:
        times = wanted if wanted.since or wanted.start else wanted.model_copy(update={"since": "30d"})
        found += prompts_of_app(reading.store, reading.window(times), wanted.app)
    return found


def _passes(said: dict[str, Any], asked: AskedExamples) -> bool:
    if asked.split is not None and said["split"] != asked.split:
        return False
    if asked.q is None:
        return True
    text = "\n".join([said["example_id"], *said["input"]["turns"]])
    return asked.q.casefold() in text.casefold()


def _written(examples: Iterator[Example], format_: str) -> Iterator[bytes]:
    match format_:
        case "csv":
            yield from tabular.csv_of(examples)
        case "parquet":
            yield tabular.parquet_of(examples)
        case _:
            yield from tabular.jsonl_of(examples)
