"""The heavy part of clusters, in a process that ends: `python -m server.clustering_child run TENANT RUN`, or `new`.

`run` works on one run that the server has taken. `new` places sessions that ended, and looks for what emerges, until
nothing came for a while. Both end when they are told to, or when the server is gone.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import AssayError, Conflict, StorageFailed
from core.ids import TenantId
from server.process_name import is_gone, this_process
from server.settings import Settings, load_settings
from server.wiring import Services, build_services
from store.control.cluster_records import Scope
from store.control.run_records import RunStatus

if TYPE_CHECKING:
    from clustering.embedders.protocol import Place
    from clustering.model import ModelAccess
    from clustering.service_assign import Assigner
    from clustering.service_run import Means

LINGER_S: Final = 90.0  # an embedder that was loaded is kept for so long behind the last session
MOST_S: Final = 900.0  # then its memory is given back all the same
NICE: Final = 5
_LOG: Final = logging.getLogger("assay.clusters")


def main(words: list[str]) -> int:
    """0 when it is done or was told to stop, 1 when it failed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run")
    run.add_argument("tenant")
    run.add_argument("run_id")
    actions.add_parser("new")
    args = parser.parse_args(words)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with, args=(os.getppid(), stop), name="parent", daemon=True).start()
    os.nice(NICE)
    try:
        services = build_services(load_settings())
    except AssayError as error:
        _LOG.error("%s", error)
        return 1
    try:
        if args.action == "new":
            return place_new(services, stop)
        return work_on(services, TenantId(args.tenant), args.run_id, stop)
    finally:
        services.control.close()


def work_on(services: Services, tenant: TenantId, run_id: str, stop: threading.Event) -> int:
    """Carries a run out. What cannot be mended by trying again ends it, with the reason."""
    from clustering.embedders.protocol import EmbedderFailed
    from clustering.records import Cancelled
    from clustering.service_emerging import look_now
    from clustering.service_run import carry_out

    run = services.control.cluster_run(tenant, run_id)
    if run.status.ended:
        return 0
    try:
        done = carry_out(run, means_of(services, tenant, run.app, stop))
        look_now(
            services.control, services.store.tenant(tenant), run.app, services.clock(),
            nightly=done.scope is Scope.WINDOW,
        )  # fmt: skip
    except Cancelled as error:
        _LOG.info("run %s: %s", run_id, error)
        return 0
    except EmbedderFailed as error:
        return _failed(services, tenant, run_id, str(error))
    except Conflict as error:
        if services.control.cluster_run(tenant, run_id).n_tries != run.n_tries:
            _LOG.info("run %s: %s", run_id, error)
            return 0
        return _failed(services, tenant, run_id, str(error))
    except StorageFailed as error:
        _LOG.error("run %s is begun anew: %s", run_id, error)
        return 1
    except AssayError as error:
        return _failed(services, tenant, run_id, str(error))
    except MemoryError:
        return _failed(services, tenant, run_id, "there was not memory enough; take a shorter window")
    except Exception as error:
        _LOG.exception("run %s ended in a defect", run_id)
        return _failed(services, tenant, run_id, f"a defect: {type(error).__name__}: {str(error)[:200]}")
    return 0


def place_new(services: Services, stop: threading.Event) -> int:
    """Places what has ended, again and again, until nothing came for LINGER_S or it has lived for MOST_S."""
    from clustering.service_assign import Assigner

    assigner = Assigner(services.control, services.clock, this_process(), is_gone)
    began = last = time.monotonic()
    between = services.settings.clusters_interval_s or 20.0
    left: set[tuple[TenantId, str]] = set()
    while not stop.is_set() and time.monotonic() - began < MOST_S:
        n, n_open = place_all(services, assigner, left)
        last = time.monotonic() if n else last
        if time.monotonic() - last > LINGER_S and not n_open:
            break
        stop.wait(between / 4)
    return 1 if left else 0


def place_all(services: Services, assigner: Assigner, left: set[tuple[TenantId, str]]) -> tuple[int, int]:
    """One pass over all apps: how many sessions were placed, and how many are still open. An app whose sessions cannot
    be placed joins those that are `left` to the next process, and keeps no other one waiting."""
    from clustering.service_emerging import look_if_due

    n = n_open = 0
    for line in services.control.cluster_apps(None):
        if (line.tenant, line.app) in left:
            continue
        store = services.store.tenant(line.tenant)
        try:
            done = assigner.work(store, place_of(services.settings, line.tenant, line.app), line.app)
            look_if_due(services.control, store, line.app, services.clock())
        except Conflict as error:
            _LOG.info("%s", error)
            continue
        except AssayError as error:
            _LOG.error("new sessions of %s cannot be placed now, and are tried again: %s", line.app, error)
            left.add((line.tenant, line.app))
            continue
        n, n_open = n + done.n, n_open + done.n_open
        if done.n:
            _LOG.info("%s: %d sessions joined a cluster, %d wait", line.app, done.n_joined, done.n_waiting)
    return n, n_open


def means_of(services: Services, tenant: TenantId, app: str, stop: threading.Event) -> Means:
    """What a run works with in this process."""
    from clustering.service_run import Means
    from server.clustering_judges import judges_of

    settings = services.settings
    return Means(
        control=services.control,
        store=services.store.tenant(tenant),
        place=place_of(settings, tenant, app),
        model=model_of(settings),
        judges=judges_of(services, tenant),
        clock=services.clock,
        monotonic=time.monotonic,
        stopping=stop.is_set,
    )


def model_of(settings: Settings) -> ModelAccess | None:
    """The model that may be asked; None where none is set. Raises InvalidInput."""
    from clustering.model import model_access

    return model_access(
        settings.clusters_model,
        url=settings.clusters_model_url,
        key=None if settings.clusters_model_key is None else settings.clusters_model_key.get_secret_value(),
        environment=os.environ,
        simulated_url=f"http://127.0.0.1:{settings.simulated_port}/v1",
    )


def place_of(settings: Settings, tenant: TenantId, app: str) -> Place:
    """Where the embedders of an app are."""
    from clustering.embedders.protocol import Endpoint, Place

    endpoint = None
    if settings.embeddings_url is not None and settings.embeddings_model is not None:
        key = settings.embeddings_key
        endpoint = Endpoint(
            url=settings.embeddings_url,
            model=settings.embeddings_model,
            key=None if key is None else key.get_secret_value(),
        )
    retelling = model_of(settings) if settings.clusters_facets == "model" else None
    folder = Path(settings.clusters_dir) / str(tenant)
    return Place(folder=folder, app=app, endpoint=endpoint, retelling=retelling)


def _failed(services: Services, tenant: TenantId, run_id: str, error: str) -> int:
    _LOG.error("run %s failed: %s", run_id, error)
    services.control.end_cluster_run(tenant, run_id, RunStatus.FAILED, error=error)
    return 0


def _end_with(parent: int, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
