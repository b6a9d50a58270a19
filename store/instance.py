"""What a data folder knows of its instance: where its lake and its control database are, and which secrets are its own.

`instance.json` is written at the first open, durably and once. From then on everything that opens the folder compares
(`require_same`), and a secret that is gone or another is refused where it is read (store/control/secret_file.py): with
another lake an erasure would find nothing, and a start would store acknowledged spans where nobody looks for them.
What lies inside the folder is noted relative to it, so that the folder itself can be moved.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import Corrupt, InvalidInput, StorageFailed
from store.durable import replace_durably, sync_folder, write_durably

if TYPE_CHECKING:
    from store.lake import Lake

FILE: Final = "instance.json"
_KEPT_OF_A_QUERY: Final = ("host", "port", "options")


class AnotherInstance(InvalidInput):
    """The settings name another lake or control database than the data folder's, or a secret is not the folder's own;
    nothing was touched."""

    code = "another_instance"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Lake and control database as `place_of` writes them; `secrets` maps a file of secrets/ to its check value.

    `empty_lake` says that the operator accepted a lake that has nothing of what the ledger counts.
    """

    id: str
    lake: str
    control: str
    secrets: Mapping[str, str]
    empty_lake: bool = False


def instance_of(data: Path) -> Instance | None:
    """What is noted; None for a folder that no release which notes it has opened. Raises Corrupt, StorageFailed."""
    path = data / FILE
    try:
        said = json.loads(path.read_bytes())
        return Instance(
            id=str(said["id"]),
            lake=str(said["lake"]),
            control=str(said["control"]),
            secrets={str(name): str(check) for name, check in said["secrets"].items()},
            empty_lake=said.get("empty_lake") is True,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{path} cannot be read: {error!r}; see docs/operations.md") from error
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error


def require_same(data: Path, *, lake: str, control_url: str) -> None:
    """Compares the places with what is noted, if anything is. Raises AnotherInstance, Corrupt, StorageFailed."""
    known = instance_of(data)
    if known is None:
        return
    pairs = (("lake", known.lake, _lake(data, lake)), ("control database", known.control, _control(data, control_url)))
    for what, noted, given in pairs:
        if noted != given:
            raise AnotherInstance(
                f"the {what} of {data} is {_shown(data, noted)}, the settings say {_shown(data, given)}\n"
                "set ASSAY_LAKE and ASSAY_CONTROL_URL, or --config FILE, as they were\n"
                "moved on purpose: assay restore copies an instance; assay adopt notes that it was moved"
            )


def require_secrets(data: Path) -> None:
    """Compares the secrets with what is noted, if anything is. Raises AnotherInstance, Corrupt, StorageFailed."""
    known = instance_of(data)
    for name in known.secrets if known else ():
        path = data / "secrets" / name
        try:
            require_secret(path, bytes.fromhex(path.read_text(encoding="ascii")))
        except FileNotFoundError:
            require_absent(path)
        except ValueError as error:
            raise AnotherInstance(f"{path} is no key: {_PUT_BACK}") from error
        except OSError as error:
            raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error


def fresh(data: Path, *, lake: str, control_url: str, secrets_: Mapping[str, bytes]) -> Instance:
    """A folder's instance as it is at its first open; writes nothing."""
    return Instance(
        id=secrets.token_hex(16),
        lake=_lake(data, lake),
        control=_control(data, control_url),
        secrets={name: _check(content) for name, content in secrets_.items()},
    )


def note(data: Path, *, lake: str, control_url: str, secrets_: Mapping[str, bytes]) -> Instance:
    """Notes them, unless something is noted already (then only secrets that are not); the first of several processes
    wins. Raises StorageFailed, Corrupt."""
    if known := instance_of(data):
        new_secrets = {name: _check(content) for name, content in secrets_.items() if name not in known.secrets}
        if new_secrets:
            known = replace(known, secrets={**known.secrets, **new_secrets})
            replace_note(data, known)
        return known
    new = fresh(data, lake=lake, control_url=control_url, secrets_=secrets_)
    draft = data / f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        write_durably(draft, _written(new))
        with suppress(FileExistsError):
            os.link(draft, data / FILE)
        draft.unlink()
        sync_folder(data)
    except OSError as error:
        raise StorageFailed(f"{data / FILE} could not be written: {error.strerror}") from error
    return instance_of(data) or new


def moved(known: Instance, data: Path, *, lake: str, control_url: str, empty_lake: bool) -> Instance:
    """The same instance with its lake and its control database elsewhere."""
    return replace(known, lake=_lake(data, lake), control=_control(data, control_url), empty_lake=empty_lake)


def replace_note(data: Path, instance: Instance) -> None:
    """Notes `instance` in place of what was noted, durably. Raises StorageFailed."""
    try:
        replace_durably(data / FILE, _written(instance))
    except OSError as error:
        raise StorageFailed(f"{data / FILE} could not be written: {error.strerror}") from error


def require_reached(data: Path, lake: Lake, watermarks: Mapping[int, int]) -> None:
    """Raises AnotherInstance when the ledger counts entries of journals of which this lake never had any: it is another
    one, or a disk that is not mounted. Call it before the first write to the lake."""
    known = instance_of(data)
    if not is_reached(lake, watermarks) and not (known and known.empty_lake):
        raise AnotherInstance(
            f"the lake at {lake.root} has nothing of what the ledger of {data} counts: it is another one, or empty\n"
            "name the right one in ASSAY_LAKE or --config FILE, mount its disk, or restore a backup\n"
            "to go on with this one: assay adopt --yes"
        )


def is_reached(lake: Lake, watermarks: Mapping[int, int]) -> bool:
    """Whether the lake has anything of what the ledger counts, if it counts anything. A log that cannot be read counts
    as that: what reads it tells."""
    counted = [journal for journal, upto in watermarks.items() if upto > 0]
    if not counted or "spans" in lake.unreadable():
        return True
    return any(lake.txn_version("spans", f"journal-{journal}") is not None for journal in counted)


def require_secret(path: Path, content: bytes) -> None:
    """Raises AnotherInstance when the folder of `path` (secrets/NAME) has noted another secret of that name."""
    known = instance_of(path.parent.parent)
    noted = known.secrets.get(path.name) if known else None
    if noted is not None and not compare_digest(noted, _check(content)):
        raise AnotherInstance(f"{path} is not the secret that this folder was written with: {_PUT_BACK}")


def require_absent(path: Path) -> None:
    """Raises AnotherInstance when a secret that is not there is noted: a new one would open nothing."""
    known = instance_of(path.parent.parent)
    if known and path.name in known.secrets:
        raise AnotherInstance(f"{path} is gone, and the folder was written with it: {_PUT_BACK}")


_PUT_BACK: Final = "put it back from a backup (see docs/backup.md)"


def _check(content: bytes) -> str:
    """Says whether a secret is the one it was, and nothing else of it."""
    return hmac_digest(content, b"assay: check", sha256).hex()


def _written(instance: Instance) -> bytes:
    return (json.dumps(asdict(instance), indent=2) + "\n").encode()


def _lake(data: Path, lake: str) -> str:
    return lake.rstrip("/") if "://" in lake else _path(data, lake)


def _control(data: Path, url: str) -> str:
    """Without user and password, which may change."""
    from store.control.database import checked_url

    parsed = checked_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _path(data, str(parsed.database))
    more = "".join(f" {name}={parsed.query[name]}" for name in _KEPT_OF_A_QUERY if name in parsed.query)
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.get_backend_name()}://{parsed.host or ''}{port}/{parsed.database or ''}{more}"


def _path(data: Path, given: str) -> str:
    """Relative to the data folder when it is inside, else absolute."""
    path = Path(given).absolute()
    for inside, folder in ((path, data.absolute()), (path.resolve(), data.resolve())):
        if inside.is_relative_to(folder):
            return str(inside.relative_to(folder))
    return str(path.resolve())


def _shown(data: Path, noted: str) -> str:
    return noted if "://" in noted else str(data / noted)
