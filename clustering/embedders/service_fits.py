"""What the embedder tfidf learned, in files below data/clustering/TENANT: one for each app, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import xxhash

from clustering.embedders.protocol import Place
from clustering.embedders.tfidf import Fit, read, written
from core.errors import StorageFailed
from store.durable import make_folder, replace_durably

_WHOLE: Final = ".npz"
_FEW: Final = ".few.npz"  # may keep what one person alone said


def kept_fit(place: Place) -> Fit | None:
    """The app's fit; None where there is none yet. Raises Corrupt, StorageFailed."""
    for path in _paths(place):
        try:
            return read(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error
    return None


def keep_fit(place: Place, fit: Fit) -> None:
    """Puts the fit in the place of the app's earlier one, durably. Raises StorageFailed."""
    whole, few = _paths(place)
    path, other = (few, whole) if fit.of_few else (whole, few)
    try:
        make_folder(place.folder, mode=0o700)
        other.unlink(missing_ok=True)  # first: of two, the older one might be taken
        replace_durably(path, written(fit))
    except OSError as error:
        raise StorageFailed(f"{path} could not be written: {error.strerror}") from error


def forget_fits_of_few(folder: Path) -> int:
    """Deletes a tenant's fits that may keep what one person alone said, as an erasure does; the next full run makes
    them anew. Returns how many. Raises StorageFailed."""
    n = 0
    for path in sorted(folder.glob(f"*{_FEW}")):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"{path} could not be deleted: {error.strerror}") from error
        n += 1
    return n


def _paths(place: Place) -> tuple[Path, Path]:
    """Of an app, whose name may hold anything: (of many, of few users)."""
    name = f"tfidf-{xxhash.xxh3_64_hexdigest(place.app.encode('utf-8', 'surrogatepass'))}"
    return place.folder / f"{name}{_WHOLE}", place.folder / f"{name}{_FEW}"
