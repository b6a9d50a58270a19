"""Secrets that live in files of `data/secrets/`, mode 0600: made once, whoever of several processes comes first."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.errors import Corrupt, StorageFailed
from store.durable import make_folder, sync_folder
from store.instance import require_absent, require_secret


def read_or_create_secret(path: Path, n_bytes: int = 32) -> bytes:
    """The `n_bytes` random bytes kept in `path` as hexadecimal text; made and fsynced when the file is not there.

    Raises StorageFailed when the file can neither be read nor made, Corrupt when it holds something else,
    AnotherInstance when the data folder has noted another secret of this name, or this one and it is gone.
    """
    try:
        if not path.exists():
            require_absent(path)
            _create(path, secrets.token_hex(n_bytes))
        make_folder(path.parent, below=path.parent.parent.parent, mode=0o700)
        sync_folder(path.parent)
        text = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise StorageFailed(f"the secret {path} cannot be read or made: {error.strerror}") from error
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != n_bytes:
        raise Corrupt(f"the secret {path} does not hold {n_bytes} bytes as hexadecimal text; restore it from a backup")
    require_secret(path, secret)
    return secret


def _create(path: Path, text: str) -> None:
    """Writes a whole file under another name and links it into place, so that nobody reads half of one."""
    make_folder(path.parent, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first; its secret is the one
    finally:
        draft.unlink(missing_ok=True)
