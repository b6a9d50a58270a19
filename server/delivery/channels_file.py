"""The file of channels, `channels.yaml` in the data folder: read once, whole or not at all. Secrets in it are
references, `${env:NAME}` or `${file:PATH}`, and are in no message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from core.errors import InvalidInput
from gateway.secrets import Secrets
from gateway.yaml_tree import read_tree
from server.delivery.channels import Channels

MOST_BYTES: Final = 256 << 10
_MOST_PROBLEMS: Final = 20


class BadChannels(InvalidInput):
    """The file cannot be used; each line says where and what."""


def load_channels(path: Path, environ: Mapping[str, str], *, needed: bool = False) -> Channels:
    """The channels of a file; none where there is no file, unless it is `needed`. Raises BadChannels."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        if needed:
            raise BadChannels(f"{path}: is not there") from None
        return Channels()
    except OSError as error:
        raise BadChannels(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise BadChannels(f"{path}: is over {MOST_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadChannels(f"{path}: is not UTF-8 text; the file is YAML") from None
    return _read(path, text, environ)


def _read(path: Path, text: str, environ: Mapping[str, str]) -> Channels:
    tree = read_tree(text)
    secrets = Secrets(folder=path.absolute().parent, environ=environ)
    value = secrets.fill(tree) if not tree.problems else None
    problems = [f"{path}:{one.line}: {'.'.join(map(str, one.path))} {one.message}" for one in tree.problems]
    if not problems:
        try:
            return Channels.model_validate({} if value is None else value)
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False):
                place = _place(found["loc"])
                line = next((tree.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in tree.lines), 1)
                said = str(found["msg"]).removeprefix("Value error, ")
                problems.append(f"{path}:{line}: {'.'.join(map(str, place))}: {said[:1].lower()}{said[1:]}")
    raise BadChannels("\n".join(secrets.hidden(one) for one in problems[:_MOST_PROBLEMS]))


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where in the file a problem is: pydantic puts the kind of a channel between its name and its field."""
    return (*loc[:2], *loc[3:]) if loc[:1] == ("channels",) else loc
