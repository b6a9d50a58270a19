"""What one table of the lake held at one version: an immutable list of files."""

from __future__ import annotations

from dataclasses import dataclass

from core.windows import Window
from store.delta_log import LakeFile


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What one table held at one version."""

    table: str
    version: int
    files: tuple[LakeFile, ...]

    def select(self, tenant: str, window: Window | None = None) -> list[LakeFile]:
        """The tenant's files that can hold rows of `window`, those with the newest rows first."""
        found = [f for f in self.files if f.tenant == tenant and (window is None or _overlaps(f, window))]
        return sorted(found, key=lambda f: (f.max_ns is None, f.max_ns or 0), reverse=True)


def _overlaps(file: LakeFile, window: Window) -> bool:
    if file.min_ns is None or file.max_ns is None:
        return True
    return file.min_ns < window.end_ns and file.max_ns >= window.start_ns
