"""The shop's policies and help articles, with the versions that are no longer valid, from documents.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from agent_runtime.records import Document

_FILE: Final = Path(__file__).with_name("documents.toml")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A version of a document. `kind` is policy or help; the newest version of an id is the valid one."""

    document: Document
    kind: str
    valid_from: str
    valid_until: str | None


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """Every version of every document, ids and versions ascending."""
    written = tomllib.loads(_FILE.read_text(encoding="utf-8"))["documents"]
    found: list[Published] = []
    for each in written:
        for number, version in enumerate(each["versions"], start=1):
            later = each["versions"][number : number + 1]
            document = Document(doc_id=each["id"], title=each["title"], text=version["text"], version=number)
            until = later[0]["from"] if later else None
            kind = each["id"].partition("-")[0]
            found.append(Published(document=document, kind=kind, valid_from=version["from"], valid_until=until))
    return tuple(sorted(found, key=lambda each: (each.document.doc_id, each.document.version)))


def current() -> list[Document]:
    """The valid version of every document."""
    return [each.document for each in published() if each.valid_until is None]


def every_version() -> list[Document]:
    """All versions, the outdated ones too."""
    return [each.document for each in published()]


@lru_cache(maxsize=1)
def versioned_ids() -> frozenset[str]:
    """The documents that have an outdated version."""
    return frozenset(each.document.doc_id for each in published() if each.valid_until is not None)
