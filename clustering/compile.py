"""`python -m clustering.compile`: compiles once what EVoC and UMAP run on, so that no run pays for it: three minutes of
processor time, and 15 seconds when it is there. Part of `make setup`.

numba keeps most of it beside the packages, or in the user's cache folder where these may not be written to; what it
keeps is found again by each process that imports the packages from the same place.
"""

from __future__ import annotations

import numpy as np


def main() -> int:
    """Clusters a few random rows by each method; what is compiled is kept."""
    from clustering.density import cluster
    from clustering.records import Method, Params
    from clustering.reduction import map_of
    from clustering.sizes import FAST_NEEDS
    from clustering.stages import quiet

    rows = np.random.default_rng(0).normal(size=(2 * FAST_NEEDS, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for method in (Method.EVOC, Method.UMAP_HDBSCAN):
        cluster(rows, Params(method=method), quiet)
    map_of(rows, seed=0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
