"""What `assay import` does between its arguments and its exit code."""

from __future__ import annotations

import argparse
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from core.errors import Forbidden, InvalidInput, Unauthenticated
from server.cli.connection import ApiClient, client_of, read_json_file
from server.cli.import_report import Outcomes, print_report, report_of
from server.cli.local_key import same_address
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.rendering import counted
from server.cli.terminal import plain
from server.importers import otlp, service, tau2, tau_bench
from server.importers.delivery import OtlpDoor, Signal, Unreachable
from server.importers.genai import Conversation
from server.importers.outcomes import record_outcomes
from server.importers.reading import BadLine
from server.importers.service import Delivery, FileSurvey, Read

DEFAULT_API_PORT = 8080
DEFAULT_OTLP_PORT = 4318
IMPORT_ANSWER_S = 60.0  # a server that takes in much may answer late


@dataclass(frozen=True, kw_only=True)
class Importer:
    """How one kind of file is read, and the instrumentation scope its spans are sent under."""

    read: Read
    scope: str


def run_import(args: argparse.Namespace) -> int:
    """Surveys the files, sends them and records their outcomes; returns the exit code. Raises CommandFailed."""
    importer = _importer(args)
    _need_files(args.files)
    with progress_of(args, "reading") as advance:
        surveys = service.survey(args.files, importer.read, advance)
    _refuse_bad(surveys, skip_bad=args.skip_bad)
    if args.dry_run:
        print_report(report_of(surveys, None, None), as_json=args.json, dry_run=True)
        return ExitCode.OK
    api = client_of(args, timeout_s=IMPORT_ANSWER_S)
    _keep_local_key(args, api)
    _check_tenant(api, args.tenant)
    before = _ledger(api)
    delivery = _deliver(args, importer, api, sum(one.n_records for one in surveys))
    outcomes = _record(api, delivery.delivered)
    report = report_of(surveys, delivery, outcomes, ledger=(before, _settled(api, before, delivery)))
    print_report(report, as_json=args.json, dry_run=False, app=args.app)
    return ExitCode.FAILED if delivery.rejected else ExitCode.OK


def otlp_address(args: argparse.Namespace, api: ApiClient) -> str:
    """The collector's HTTP door: --otlp-url, else the port of --port-base, else what the running instance wrote down,
    else the port beside the API's (one below it; 4318 for the default 8080)."""
    if args.otlp_url:
        return str(args.otlp_url).removesuffix("/v1/traces").rstrip("/")
    parts = urlsplit(api.url)
    running = read_json_file(args.data / "run" / "state.json")
    if same_address(str(running.get("url")), api.url) and running.get("otlp_http"):
        return str(running["otlp_http"])
    port = parts.port or (443 if parts.scheme == "https" else 80)
    door = DEFAULT_OTLP_PORT if port == DEFAULT_API_PORT else port - 1
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{door}"


def _keep_local_key(args: argparse.Namespace, api: ApiClient) -> None:
    """Raises CommandFailed where the key of a data folder would go to a door that is not that instance's."""
    if not api.key_is_local or not args.otlp_url:
        return
    own = otlp_address(argparse.Namespace(otlp_url=None, data=args.data), api)
    if not same_address(otlp_address(args, api), own):
        raise CommandFailed(
            f"the key of {args.data} is not sent to {plain(args.otlp_url, 200)}, it belongs to {own}: "
            "nothing was sent\n"
            "give the key of that collector with --key or in ASSAY_API_KEY",
            ExitCode.NOT_ALLOWED,
        )


def _importer(args: argparse.Namespace) -> Importer:
    match args.kind:
        case "tau2":
            return Importer(read=_with(tau2.conversations, app=args.app, release=args.release), scope=tau2.SCOPE)
        case "tau-bench":
            read = _with(tau_bench.conversations, app=args.app, release=args.release)
            return Importer(read=read, scope=tau_bench.SCOPE)
        case _:
            signal = Signal(args.signal) if args.signal else None
            return Importer(read=_with(otlp.shipments, app=args.app, signal=signal), scope="")


def _with(read: Any, **options: object) -> Read:
    def with_options(path: Path) -> Iterator[service.Found]:
        yield from read(path, **options)

    return with_options


def _need_files(files: list[Path]) -> None:
    """Raises CommandFailed, naming them, where files are not there or are folders: wrong arguments, not bad lines."""
    complaints = [_complaint(path) for path in files]
    for complaint in filter(None, complaints):
        wrong = [plain(path, 200) for path, said in zip(files, complaints, strict=True) if said == complaint]
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CommandFailed(f"{', '.join(wrong[:5])}{more}: {complaint}\nnothing was imported", ExitCode.USAGE)


def _complaint(path: Path) -> str | None:
    try:
        return "is a folder; name the files in it" if stat.S_ISDIR(path.stat().st_mode) else None
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError):
        return None  # reading it says what is wrong


def _refuse_bad(surveys: list[FileSurvey], *, skip_bad: bool) -> None:
    bad = [one for survey in surveys for one in survey.bad]
    if not bad:
        return
    n_good = sum(one.n_records for one in surveys)
    if skip_bad and n_good:
        for one in bad[:20]:
            print(f"assay: skipped {plain(one, 500)}", file=sys.stderr)
        if len(bad) > 20:
            print(f"assay: skipped {len(bad) - 20} more", file=sys.stderr)
        return
    more = f" (and {counted(len(bad) - 1, 'more problem')})" if len(bad) > 1 else ""
    advice = "nothing was imported; --skip-bad imports the rest" if n_good else "there is nothing to import"
    raise CommandFailed(f"{plain(bad[0], 500)}{more}\n{advice}", ExitCode.FAILED)


def _check_tenant(api: ApiClient, wanted: str | None) -> None:
    """Asks who the key is. The key decides the tenant, and no key reaches another tenant's."""
    me = api.get("/api/v1/me")
    if wanted and me["tenant"] != wanted:
        raise CommandFailed(
            f"the key belongs to tenant {plain(me['tenant'])!r}, not {plain(wanted)!r}: nothing was sent\n"
            f"a key writes to its own tenant only; use a key of {plain(wanted)!r}",
            ExitCode.NOT_ALLOWED,
        )


def _deliver(args: argparse.Namespace, importer: Importer, api: ApiClient, n_records: int) -> Delivery:
    door = OtlpDoor(otlp_address(args, api), api.key)
    try:
        with progress_of(args, "sending", n_records) as advance:
            return service.deliver(
                args.files, importer.read, door, scope=importer.scope, skip_bad=args.skip_bad, on_progress=advance
            )
    except (Unauthenticated, Forbidden) as error:
        raise CommandFailed(plain(error, 500), ExitCode.NOT_ALLOWED) from error
    except Unreachable as error:
        raise CommandFailed(plain(error, 500), ExitCode.UNREACHABLE) from error
    except (InvalidInput, BadLine) as error:
        advice = "what was sent before it is kept; --skip-bad goes on without it"
        raise CommandFailed(f"{plain(error, 700)}\n{advice}", ExitCode.FAILED) from error
    finally:
        door.close()


def _record(api: ApiClient, delivered: list[Conversation]) -> Outcomes | None:
    if not delivered:
        return None
    try:
        written, known = record_outcomes(api, delivered)
    except CommandFailed as error:
        late = "all spans were accepted, but not all outcomes were recorded: run the same import again"
        raise CommandFailed(f"{error}\n{late}", error.code) from error
    return Outcomes(written=written, known=known)


def _ledger(api: ApiClient) -> Mapping[str, int] | None:
    """The tenant's counts of spans and log records so far; None where the key may not see them."""
    try:
        rows = api.get("/api/v1/ledger")["items"]
    except CommandFailed:
        return None
    counted = [row for row in rows if row["signal"] in ("spans", "log_records")]
    return {name: sum(row[name] for row in counted) for name in ("received", "stored", "duplicate")}


def _settled(api: ApiClient, before: Mapping[str, int] | None, delivery: Delivery) -> Mapping[str, int] | None:
    """The ledger once it has counted what was sent, or as far as it has come after 15 s."""
    import threading
    import time

    if before is None:
        return None
    deadline, pause = time.monotonic() + 15, threading.Event()
    while True:
        now = _ledger(api)
        arrived = (now or {}).get("received", 0) - before.get("received", 0)
        if now is None or arrived >= delivery.settling or time.monotonic() > deadline:
            return now
        pause.wait(0.2)


@contextmanager
def progress_of(args: argparse.Namespace, what: str, total: int | None = None) -> Iterator[Any]:
    """A bar on standard error while a person watches; the value is a function that advances it."""
    from rich.console import Console

    console = Console(stderr=True)
    shown = console.is_terminal and not args.json
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not shown, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)
