"""An object store as the lake needs it: whole objects, put, put if absent, get, list, delete. S3 and what speaks it.

A PUT that was answered is durable and seen by every later GET and LIST; a PUT with `If-None-Match: *` is made by one of
several writers only (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). The credentials,
region and endpoint are the AWS_ variables of the environment, or the machine's role.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from core.errors import InvalidInput, StorageFailed

SCHEMES: Final = ("s3://", "s3a://")
_RETRIES: Final = 5
_PATIENCE: Final = timedelta(seconds=20)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One object: its path below the store's root, its size in bytes, when it was written (ms since the epoch)."""

    path: str
    size: int
    written_ms: int


def is_object_url(root: str) -> bool:
    """Whether a lake's root names an object store rather than a folder. Raises InvalidInput for one not supported."""
    if "://" not in root:
        return False
    if not root.startswith(SCHEMES):
        raise InvalidInput(f"a lake is a folder or an s3:// URL, not {root.split('://')[0]}://", field="lake")
    return True


class Objects:
    """The objects below one URL. Thread-safe; every method raises StorageFailed when the store does not answer."""

    def __init__(self, url: str) -> None:
        """Talks to nobody yet. Raises InvalidInput for a URL that cannot be read, or without the package."""
        try:
            from obstore.store import S3Store
        except ModuleNotFoundError as error:
            raise InvalidInput(
                "a lake in an object store needs the package obstore, which is not installed; run `make setup`, or "
                "pip install obstore",
                field="lake",
            ) from error
        self.url = url.rstrip("/")
        try:
            self._store: Any = S3Store.from_url(
                self.url,
                client_options={
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": _PATIENCE,
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": _PATIENCE},
            )
        except Exception as error:  # obstore's own kinds have no common base
            raise InvalidInput(f"the lake's URL {url} cannot be used: {str(error)[:200]}", field="lake") from error

    def get(self, path: str) -> bytes | None:
        """The object's bytes, None where there is none."""
        try:
            with self._answered("read", path):
                return bytes(self._store.get(path).bytes())
        except FileNotFoundError:
            return None

    def put(self, path: str, content: bytes) -> None:
        """Writes an object, over the one that may be there."""
        with self._answered("write", path):
            self._store.put(path, content)

    def put_new(self, path: str, content: bytes) -> bool:
        """Writes an object unless there is one; False when there is one with other content.

        An answer that got lost makes the client ask again and be told that the object is there: it is its own.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self._answered("write", path):
                self._store.put(path, content, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return self.get(path) == content
        return True

    def list(self, prefix: str) -> list[Listed]:
        """All objects below a folder."""
        with self._answered("list", prefix):
            return [
                Listed(
                    path=found["path"], size=found["size"], written_ms=int(found["last_modified"].timestamp() * 1000)
                )
                for page in self._store.list(prefix)
                for found in page
            ]

    def delete(self, path: str) -> None:
        """Deletes an object; one that is not there is no error."""
        with self._answered("delete", path):
            self._store.delete(path)

    @contextmanager
    def _answered(self, verb: str, path: str) -> Iterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise
        except (BaseError, OSError) as error:
            raise StorageFailed(f"{self.url}: cannot {verb} {path}: {str(error)[:300]}") from error
