"""Changes of datasets: made, added to, imported, deleted. Every change is a new version and an audit record."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput
from core.records import Principal, Role
from evaluators.datasets.filtering import parse_filter
from evaluators.datasets.likeness import THRESHOLD
from evaluators.datasets.reading import read_examples
from evaluators.datasets.records import DEFAULT_SPLIT, Example, checked_split, example_at, line_of
from evaluators.datasets.service import Change, Options, add_examples, remove_examples
from evaluators.datasets.shapes import example_from
from evaluators.datasets.splitting import parse_split, split
from evaluators.datasets.traced import MOST_SESSIONS, chosen_sessions, examples_of
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf, Text, Times
from server.routes.datasets import Dataset, Name, dataset_told

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"], dependencies=[Depends(known_parameters_only)])

User = Annotated[Principal, Depends(needs(Role.USER))]
Id = Annotated[str, Field(min_length=1, max_length=1000)]
_JSON = [Depends(names_once)]


class NewDataset(BaseModel):
    """A dataset to be made, without examples."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Annotated[str, Field(max_length=2000)] = ""


class How(BaseModel):
    """How a change is made. `if_version`: only if the newest version is that (0: none). `create`: make the dataset if
    there is none. `replace`: an example takes the place of one with its id. `near`: also tell near duplicates from
    `threshold` on; `dedupe`: leave duplicates out. `splits`: shares by hash of the id, as test=0.2. `dry_run`: change
    nothing."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=2000)] = ""
    if_version: Annotated[int | None, Field(ge=0, le=10**9)] = None
    create: bool = False
    description: Annotated[str, Field(max_length=2000)] = ""
    replace: bool = False
    near: bool = False
    threshold: Annotated[float, Field(ge=0.3, le=1)] = THRESHOLD
    dedupe: bool = False
    splits: Annotated[list[str], Field(max_length=20)] = []
    dry_run: bool = False

    def options(self) -> Options:
        """As the datasets' own record."""
        said = self.model_dump(exclude={"splits"})
        return Options(**{name: said[name] for name in Options.__dataclass_fields__})

    def split(self, examples: Sequence[Example]) -> list[Example]:
        """The examples in the splits that are wanted. Raises InvalidInput."""
        return split(examples, dict(map(parse_split, self.splits))) if self.splits else list(examples)


class Where(Times):
    """Which stored sessions: of an app, that pass a filter, the latest `limit` of the window (7 days)."""

    app: Text = None
    filter: Annotated[str | None, Field(max_length=2000)] = None
    limit: Annotated[int, Field(ge=1, le=MOST_SESSIONS)] = 1000


class NewExamples(How):
    """Examples to add: given, named by pieces that were sent before, or made of stored sessions and traces.

    `with_answer`: what the agent said is expected. `split`: of examples from sessions and traces.
    """

    examples: Annotated[list[Any], Field(max_length=10_000)] = []
    pieces: Annotated[list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]], Field(max_length=1000)] = []
    sessions: Annotated[list[Id], Field(max_length=1000)] = []
    traces: Annotated[list[Id], Field(max_length=1000)] = []
    where: Where | None = None
    with_answer: bool = False
    split_name: Annotated[str, Field(max_length=60)] = DEFAULT_SPLIT


class Removal(BaseModel):
    """Examples to take out, by id."""

    model_config = ConfigDict(extra="forbid")

    example_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]
    note: Annotated[str, Field(max_length=2000)] = ""
    if_version: Annotated[int | None, Field(ge=0, le=10**9)] = None
    dry_run: bool = False


class ImportFile(How):
    """How the file in the body is read. `skip_bad`: leave bad lines out and list them."""

    format: Literal["jsonl", "csv", "parquet"] = "jsonl"
    skip_bad: bool = False


class Changed(BaseModel):
    """What became of a change. `version` is the newest now; not `changed`: it held all of that before. `n_same` were
    there already; the first 200 duplicates are listed. `n_examples` and `splits` are what the newest version holds, or
    with `dry_run` would."""

    name: str
    version: int
    content_hash: str | None
    n_examples: int
    splits: dict[str, int]
    n_added: int
    n_replaced: int
    n_same: int
    n_removed: int
    n_duplicates: int
    duplicates: list[dict[str, Any]]
    changed: bool
    dry_run: bool


class ImportedFile(Changed):
    """As a change, and the lines that were left out."""

    n_skipped: int
    skipped: list[dict[str, Any]]


class Piece(BaseModel):
    """Examples that wait, for a day, to be named by a change."""

    piece: str
    n_examples: int


class Deleted(BaseModel):
    """What went, or with `dry_run` would: examples of the newest version, and versions."""

    name: str
    n_versions: int
    n_examples: int
    dry_run: bool


async def body_of(request: Request) -> bytes:
    """The body as it came."""
    return await request.body()


Body = Annotated[bytes, Depends(body_of)]


@router.post("", response_model=Dataset, status_code=201, dependencies=_JSON)
def create_dataset(wanted: NewDataset, caller: User, services: ServicesOf) -> Response:
    """Makes a dataset without a version. Raises Conflict when the name is taken."""
    made = services.control.create_dataset(caller.tenant, wanted.name, wanted.description, by=caller)
    return answer(dataset_told(made, []), status=201)


@router.post("/{name}/examples", response_model=Changed, dependencies=_JSON)
def add(name: Name, wanted: NewExamples, caller: User, reading: ReadingOf) -> Response:
    """Adds examples as one new version. Raises InvalidInput, NotFound, Conflict."""
    found = [*_given(wanted), *_of_pieces(wanted, caller, reading), *_of_traces(wanted, reading)]
    if not found:
        raise InvalidInput(f"no examples: {_why_none(wanted)}")
    done = add_examples(reading.services.control, caller.tenant, name, wanted.split(found), wanted.options(), by=caller)
    return answer(change_told(done))


@router.post("/{name}/import", response_model=ImportedFile)
def import_file(
    name: Name, body: Body, asked: Annotated[ImportFile, Query()], caller: User, services: ServicesOf
) -> Response:
    """Adds the examples of the file in the body as one new version, or none of them."""
    read = read_examples(io.BytesIO(body), asked.format, skip_bad=asked.skip_bad)
    done = add_examples(services.control, caller.tenant, name, asked.split(read.examples), asked.options(), by=caller)
    skipped = [asdict(one) for one in read.skipped]
    return answer({**change_told(done), "n_skipped": read.n_skipped, "skipped": skipped})


@router.post("/{name}/pieces", response_model=Piece)
def keep_piece(name: Name, body: Body, caller: User, services: ServicesOf) -> Response:
    """Keeps the examples of a JSONL body for a change that names them: for files over the limit of one request."""
    read = read_examples(io.BytesIO(body), "jsonl")
    piece = services.control.keep_piece(caller.tenant, [line_of(one) for one in read.examples])
    return answer({"piece": piece, "n_examples": len(read.examples)})


@router.post("/{name}/removals", response_model=Changed, dependencies=_JSON)
def remove(name: Name, wanted: Removal, caller: User, services: ServicesOf) -> Response:
    """Takes examples out; the versions before keep them."""
    options = Options(note=wanted.note, if_version=wanted.if_version, dry_run=wanted.dry_run)
    done = remove_examples(services.control, caller.tenant, name, wanted.example_ids, options, by=caller)
    return answer(change_told(done))


@router.delete("/{name}", response_model=Deleted)
def delete(
    name: Name,
    caller: Annotated[Principal, Depends(needs(Role.POWER_USER))],
    services: ServicesOf,
    dry_run: bool = False,
) -> Response:
    """Deletes a dataset with all its versions."""
    _, versions = services.control.dataset(caller.tenant, name)
    if not dry_run:
        services.control.delete_dataset(caller.tenant, name, by=caller)
    n_examples = versions[0].n_examples if versions else 0
    return answer({"name": name, "n_versions": len(versions), "n_examples": n_examples, "dry_run": dry_run})


def change_told(done: Change) -> dict[str, Any]:
    """A change in an answer."""
    return asdict(done)


def _given(wanted: NewExamples) -> list[Example]:
    found = []
    for number, said in enumerate(wanted.examples, 1):
        try:
            found.append(example_from(said))
        except InvalidInput as error:
            raise type(error)(f"example {number:,}: {error}", error.field) from error
    return found


def _of_pieces(wanted: NewExamples, caller: Principal, reading: Reading) -> list[Example]:
    lines = reading.services.control.pieces(caller.tenant, wanted.pieces) if wanted.pieces else []
    return [example_at(line) for line in lines]


def _why_none(wanted: NewExamples) -> str:
    where = wanted.where
    if where is None:
        return "nothing was given, or a user said nothing in the sessions or traces that were"
    of = "" if where.app is None else f" of app {where.app[:80]!r}"
    passes = "" if where.filter is None else " passes the filter"
    window = f"within {where.since}" if where.since else "in the window"
    return f"no session{of} {window} in which a user said something{passes}"


def _of_traces(wanted: NewExamples, reading: Reading) -> list[Example]:
    name = checked_split(wanted.split_name)
    found: list[Example] = []
    if wanted.where is not None:
        where = wanted.where
        within = reading.window(where if where.since or where.start else where.model_copy(update={"since": "7d"}))
        parsed = None if where.filter is None else parse_filter(where.filter)
        ids = chosen_sessions(reading.store, within, app=where.app, where=parsed, limit=where.limit)
        found += examples_of(reading.store, session_ids=ids, with_answer=wanted.with_answer, split=name)
    if wanted.sessions or wanted.traces:
        ids, traces = list(dict.fromkeys(wanted.sessions)), list(dict.fromkeys(wanted.traces))
        made = examples_of(reading.store, session_ids=ids, trace_ids=traces, with_answer=wanted.with_answer, split=name)
        found += [one for one in made if one.example_id not in {other.example_id for other in found}]
    return found
