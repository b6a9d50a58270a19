"""The two shapes of a backup, a folder and a tar packed with zstd, written and read in one pass with every hash."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Protocol, cast

import pyarrow as pa
import xxhash

from core.errors import Corrupt
from store.durable import sync_folder
from store.versions import FORMAT, NewerData

SUMMARY: Final = "summary.json"
MANIFEST: Final = "manifest.json"
CHUNK: Final = 1 << 20
Progress = Callable[[str, int, int], None]
Send = Callable[[str, bytes], None]


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a backup holds: rows and files by table, bytes in all, and the format it needs to be opened."""

    format: int
    release: str
    made_at_ns: int
    rows: dict[str, int]
    files: dict[str, int]
    n_files: int
    n_bytes: int
    control: bool  # False: there was no control database yet


def write_archive(
    staging: Path,
    part: Path,
    summary: Summary,
    progress: Progress,
    *,
    packed: bool,
    fetched: Iterable[tuple[str, bytes]] = (),
) -> None:
    """Every file once, hashed on its way, and then those that are `fetched`, by name; a file of the lake that is not
    what its name says ends it."""
    hashes: dict[str, str] = {}
    paths = sorted(path for path in staging.rglob("*") if path.is_file())
    with _packing(part) if packed else _copying(part) as put:
        _put_text(put, SUMMARY, asdict(summary))
        for n, path in enumerate(paths, 1):
            name = path.relative_to(staging).as_posix()
            with path.open("rb") as file:
                reader = _Hashed(file)
                put(name, path.stat().st_size, reader, path.stat().st_mode & 0o700)
            hashes[name] = _checked(name, reader)
            progress("writing", n, summary.n_files)
        for n, (name, content) in enumerate(fetched, len(paths) + 1):
            reader = _Hashed(io.BytesIO(content))
            put(name, len(content), reader, 0o600)
            hashes[name] = _checked(name, reader)
            progress("writing", n, summary.n_files)
        _put_text(put, MANIFEST, {"files": hashes})


def _checked(name: str, reader: _Hashed) -> str:
    found, expected = reader.digest(), _expected(name)
    if expected is not None and expected != found:
        raise Corrupt(f"{name} is damaged: assay doctor --repair --data DIR, then again")
    return found


def _expected(name: str) -> str | None:
    """The hash that a live file of the lake carries in its name."""
    path = PurePosixPath(name)
    if path.parts[0] != "lake" or path.suffix != ".parquet" or not path.name.startswith("part-"):
        return None
    return path.stem.rsplit("-", 1)[-1]


Put = Callable[[str, int, Readable, int], None]


@contextmanager
def _packing(part: Path) -> Iterator[Put]:
    with (
        os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw,
        pa.CompressedOutputStream(raw, "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):

        def put(name: str, size: int, content: Readable, mode: int) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = size, mode
            tar.addfile(entry, cast(IO[bytes], content))

        yield put
    descriptor = os.open(part, os.O_RDONLY)  # the streams close the file with themselves
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _copying(part: Path) -> Iterator[Put]:
    part.mkdir(mode=0o700)

    def put(name: str, size: int, content: Readable, mode: int) -> None:
        _store(part / name, content, mode)

    yield put
    sync_below(part)


def _put_text(put: Put, name: str, value: object) -> None:
    content = (json.dumps(value, indent=1) + "\n").encode()
    put(name, len(content), io.BytesIO(content), 0o600)


# -- reading -------------------------------------------------------------------------------------------------------


def read_archive(source: Path, target: Path | None, progress: Progress, send: Send | None = None) -> Summary:
    """Goes through a backup once; writes below `target` unless that is None, but data files of the lake, by their path
    in it, go to `send` if there is one. Raises Corrupt, NewerData."""
    found: dict[str, str] = {}
    summary: Summary | None = None
    manifest: dict[str, str] | None = None
    try:
        for name, content, mode in _entries(source):
            if name == SUMMARY:
                summary = _summary(content.read())
            elif name == MANIFEST:
                manifest = dict(json.loads(content.read())["files"])
            else:
                reader = _Hashed(content)
                if send is not None and _expected(_safe(name)) is not None:
                    whole = reader.read()
                    if reader.digest() != _expected(name):
                        raise Corrupt(f"{source}: {name} is not what was backed up")
                    send(name.removeprefix("lake/"), whole)
                else:
                    _store(target / _safe(name) if target else None, reader, mode)
                found[name] = reader.digest()
                progress("reading", len(found), summary.n_files if summary else 0)
    except (tarfile.TarError, pa.ArrowException, ValueError, KeyError, TypeError, EOFError) as error:
        raise Corrupt(f"{source} is not a whole backup: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise Corrupt(f"{source} is not a whole backup: {error}") from error  # what pyarrow says of damaged zstd
    if summary is None or manifest is None:
        raise Corrupt(f"{source} is not a whole backup: its end is missing")
    if found != manifest:
        wrong = sorted(name for name in {*found, *manifest} if found.get(name) != manifest.get(name))
        raise Corrupt(f"{source}: {len(wrong)} files are not what was backed up, first {wrong[0]}")
    return summary


def _entries(source: Path) -> Iterator[tuple[str, Readable, int]]:
    if source.is_dir():
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        for name in sorted(names, key=lambda name: (name != SUMMARY, name == MANIFEST)):
            with (source / name).open("rb") as file:
                yield name, file, (source / name).stat().st_mode & 0o700
        return
    with pa.input_stream(str(source), compression="zstd") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isreg() else None
            if content is None:
                raise Corrupt(f"{source}: {entry.name[:200]!r} is not a file; this is no backup of Assay")
            yield entry.name, content, entry.mode & 0o700


def _summary(content: bytes) -> Summary:
    said: dict[str, Any] = json.loads(content)
    if int(said["format"]) > FORMAT:
        raise NewerData(
            f"the backup has format {said['format']}, of Assay {said['release']}; "
            f"this Assay knows formats up to {FORMAT}: restore it with Assay {said['release']} or later"
        )
    return Summary(**said)


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Corrupt(f"{name[:200]!r} leads out of the folder; this is no backup of Assay")
    return name


class _Hashed:
    """Reads through, and knows the XXH3-128 of what went by."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._hasher = xxhash.xxh3_128()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        content = self._source.read(size)
        self._hasher.update(content)
        return content

    def digest(self) -> str:
        """The hash of everything read so far."""
        return self._hasher.hexdigest()


def _store(path: Path | None, content: Readable, mode: int) -> None:
    """Copies to a new file, or nowhere."""
    if path is None:
        while content.read(CHUNK):
            continue
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode | 0o600), "wb") as file:
        while chunk := content.read(CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def sync_below(folder: Path) -> None:
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        sync_folder(path)
    sync_folder(folder)
