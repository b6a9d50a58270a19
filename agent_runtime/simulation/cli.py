"""`python -m agent_runtime simulate`: plays sessions of simulated users against the agent, with planted faults.

Spans go to AGENT_OTLP_ENDPOINT (key: AGENT_OTLP_KEY), the truth about every session to ASSAY_URL (key: ASSAY_API_KEY)
as `outcome` scores; without them it is only counted. The model is the simulated one, on loopback: a provider of this
run's own, or one behind the gateway that --model-url names (key: AGENT_OPENAI_API_KEY), which has to read the same
world for the planted faults of the model. With --door agent and model are those behind a gateway (simulation/door.py).
What the world knows to have been played is not played again: an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agent_runtime.announce import client_of, register
from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.door import USERS, open_door_stage
from agent_runtime.simulation.fast import FastRun, checked
from agent_runtime.simulation.full import Played, open_stage
from agent_runtime.simulation.history import known_span, told
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.tally import Tally
from agent_runtime.simulation.traffic import Run, Traffic
from agent_runtime.simulation.truth import waiting
from agent_runtime.simulation.users import PERSONAS

_USAGE: Final = 2
_INTERRUPTED: Final = 130
_MOST_DELAY_S: Final = 366 * 86_400.0
_MOST_DIGITS: Final = 18  # what SQLite holds
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_WEEK_H: Final = 7 * 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is played, how fast, and where it is told."""
    parser.add_argument("--sessions", default=100, metavar="N", help="0 plays until it is stopped")
    parser.add_argument("--release", default="v1", metavar="NAME", help="the release that has the faults")
    parser.add_argument("--baseline", metavar="NAME", help="a release without faults that plays every other session")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME:RATE", help="may be given several times")
    parser.add_argument("--seed", default=7)
    parser.add_argument("--mark", default="", help="part of the session ids, to play a seed again as other sessions")
    parser.add_argument("--speed", default=None, metavar="max|X", help="X times as fast as a real model")
    parser.add_argument("--at-once", default=8, metavar="N", help="sessions at the same time")
    parser.add_argument("--per-minute", metavar="N", help="sessions that begin in a minute")
    parser.add_argument("--outcome-delay", default=5.0, metavar="S", help="from a session's end to its truth")
    parser.add_argument("--fidelity", metavar="full|trace", default="full", help="trace: copies of recorded sessions")
    parser.add_argument("--weeks", metavar="N", help="of traces, up to now (default: 8)")
    parser.add_argument("--hours", metavar="N", help="of traces, instead of weeks")
    parser.add_argument(
        "--fill", action="store_true", help="traces only where there is no session yet, the newest first"
    )
    parser.add_argument(
        "--personas", default=len(PERSONAS), metavar="N", help="manners of users per task (default: all)"
    )
    parser.add_argument(
        "--reuse", action="store_true", help="play a release that is registered with other content all the same"
    )
    parser.add_argument("--world", type=Path, metavar="FILE", help="default: AGENT_DATA/world.db")
    parser.add_argument("--model-url", metavar="URL", help="the simulated model as a gateway serves it")
    parser.add_argument("--door", metavar="URL", help="a gateway that says which release plays each session")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--called", default="", help=argparse.SUPPRESS)  # what the user called, to name it in an error
    parser.add_argument("--check", action="store_true", help="check these values and end")


def run(given: argparse.Namespace) -> int:
    """Plays; 0 when every session was played to its end and told, 1 when not, 130 when it was stopped before, 2 for
    what cannot be played where it knows what the user called. Raises InvalidInput where it does not."""
    try:
        _read(given)
        return asyncio.run(_run(given))
    except InvalidInput as error:
        if not given.called:
            raise
        sys.stderr.write(f"{given.called}: {error}\n")
        return _USAGE


async def _run(given: argparse.Namespace) -> int:
    traffic, started = _traffic(given), perf_counter()
    tally = Tally(plans=traffic.plans().values())  # an unknown fault is told before anything starts
    if given.check:
        return 0
    async with AsyncExitStack() as opened:
        own = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="assay-agent-")))
        assay = client_of(Settings())
        opening = _fast if given.fidelity == "trace" else _at_door if given.door else _full
        playing = await opening(given, traffic, own, assay, opened)
        if assay is not None:
            await opened.enter_async_context(assay)
            if not given.door:
                await _register(assay, traffic.releases, given.reuse)
        bar = opened.enter_context(_progress())
        task = bar.add_task("sessions", total=given.sessions or None)

        def ended(played: Played) -> None:
            tally.add(played)
            bar.update(task, completed=tally.n + playing.n_known)

        playing.ended = ended
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, playing.interrupt)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.break_off)
        untold = ""
        try:
            await playing.play()
        except BackendUnavailable as error:
            untold = f"{error}\n"
        left = waiting(playing.world) if assay is not None else []
    _print(given, tally, playing, perf_counter() - started)
    if isinstance(playing, FastRun) and not given.json:
        print(told(playing, tally.n))  # noqa: T201
    sys.stderr.write(untold + _remarks(playing, left))
    if playing.stop.is_set() and given.sessions:
        return _INTERRUPTED
    return 1 if playing.n_broken or playing.n_lost or untold else 0


async def _register(assay: httpx.AsyncClient, releases: Sequence[Release], reuse: bool) -> None:
    for release in releases:
        try:
            await register(assay, [release])
        except InvalidInput as error:
            if not reuse:
                raise InvalidInput(f"{error}, or --reuse to play it all the same") from None
            sys.stderr.write(f"{error}; it is played all the same\n")


def _remarks(playing: Run | FastRun, left: Sequence[str]) -> str:
    """What a user would otherwise have to guess."""
    said = ""
    if playing.n_known:
        said += f"{playing.n_known} sessions were played before and are not played again; --mark makes others of them\n"
    if playing.n_otherwise:
        said += f"{playing.n_otherwise} of them were played with other faults or users than these values give now\n"
    if playing.n_lost:
        said += f"{playing.n_lost} spans were not taken by the collector\n"
    if left:
        own = sum(map(playing.traffic.plays, left))
        whose = f"{own} of this run" + (f" and {len(left) - own} of others in this world" if own < len(left) else "")
        said += f"outcomes still to be posted: {whose}; the next run in this world posts those that are due\n"
    return said


async def _full(
    given: argparse.Namespace, traffic: Traffic, own: Path, assay: httpx.AsyncClient | None, opened: AsyncExitStack
) -> Run:
    """Sessions through the real runtime."""
    settings, url = _settings(own), given.model_url
    if url:
        settings = settings.model_copy(update={"openai_base_url": url, "openai_api_key": Settings().openai_api_key})
    opening = open_stage(settings, _world(given), given.seed, given.speed, own_provider=not url)
    stage = await opened.enter_async_context(opening)
    return Run(stage=stage, traffic=traffic, assay=assay)


async def _at_door(
    given: argparse.Namespace, traffic: Traffic, own: Path, assay: httpx.AsyncClient | None, opened: AsyncExitStack
) -> Run:
    """Sessions of the agent behind a gateway."""
    opening = open_door_stage(given.door, _settings(own), _world(given), given.seed)
    return Run(stage=await opened.enter_async_context(opening), traffic=traffic, assay=assay)


async def _fast(
    given: argparse.Namespace, traffic: Traffic, own: Path, assay: httpx.AsyncClient | None, opened: AsyncExitStack
) -> FastRun:
    """Sessions as traces. They are recorded in a world of their own, and sent here."""
    settings = _settings(own)
    silent = settings.model_copy(update={"otlp_endpoint": ""})
    stage = await opened.enter_async_context(open_stage(silent, own / "world.db", given.seed, None))
    world = open_world(_world(given))
    opened.callback(world.close)
    collector = None
    if settings.otlp_endpoint:
        key = settings.otlp_key
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        headers["content-type"] = "application/x-protobuf"
        collector = httpx.AsyncClient(base_url=settings.otlp_endpoint, headers=headers, timeout=60)
        await opened.enter_async_context(collector)
    end, hours = datetime.now().astimezone(), _hours(given)
    if given.fill:
        traffic = replace(traffic, mark=f"{traffic.mark}{end:%y%m%d%H%M%S}-")
    return FastRun(
        stage=stage,
        world=world,
        traffic=traffic,
        weeks=hours / _WEEK_H,
        end=end,
        collector=collector,
        assay=assay,
        filling=given.fill,
        known=known_span(world, traffic.releases) if given.fill else None,
    )


def _hours(given: argparse.Namespace) -> float:
    if given.weeks is not None and given.hours is not None:
        raise InvalidInput("give --weeks or --hours, not both")
    hours = given.hours if given.hours is not None else _WEEK_H * (8.0 if given.weeks is None else given.weeks)
    if not hours > 0:
        raise InvalidInput("weeks and hours have to be above 0")
    return float(hours)


def _world(given: argparse.Namespace) -> Path:
    path: Path | None = given.world
    return path or Settings().data / "world.db"


def _traffic(given: argparse.Namespace) -> Traffic:
    if given.fidelity == "trace" and given.model_url:
        raise InvalidInput("--model-url goes with full sessions; traces are recorded with a model of their own")
    if given.fidelity == "trace":
        checked(given.sessions, _hours(given) / _WEEK_H)
    elif given.weeks is not None or given.hours is not None or given.fill:
        raise InvalidInput("--weeks, --hours and --fill go with --fidelity trace; full sessions are played now")
    if len(dict(given.fault)) != len(given.fault):
        raise InvalidInput("give each --fault once")
    if given.door and (given.fidelity == "trace" or given.fault or given.baseline or given.model_url or given.speed):
        raise InvalidInput("behind --door releases, faults, model and speed are the agent's that answers there")
    variant, prompt = ("treatment", "2") if given.baseline else ("control", "1")
    faulty = Release(name=given.release, variant=variant, prompt_version=prompt, faults=dict(given.fault))
    return Traffic(
        releases=(Release(name=given.baseline), faulty) if given.baseline else (USERS if given.door else faulty,),
        sessions=given.sessions,
        seed=given.seed,
        mark=given.mark,
        at_once=given.at_once,
        per_minute=given.per_minute,
        outcome_delay=timedelta(seconds=given.outcome_delay),
        personas=given.personas,
    )


def _settings(folder: Path) -> Settings:
    """The environment's, with a folder of this run alone: what an earlier run answered is not answered again."""
    return Settings().model_copy(update={"data": folder, "openai_api_key": None})


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print(given: argparse.Namespace, tally: Tally, playing: Run | FastRun, seconds: float) -> None:
    found = tally.as_json()
    if given.json:
        more = {"seed": given.seed, "broken": playing.n_broken, "played_before": playing.n_known}
        more["played_otherwise"] = playing.n_otherwise
        told = {"outcomes_posted": playing.n_posted, "spans_lost": playing.n_lost}
        sys.stdout.write(json.dumps({**found, **more, **told, "seconds": round(seconds, 3)}, indent=2) + "\n")
        return
    if not tally.n:
        sys.stdout.write("no session was played\n")
        return
    table = Table(
        "release",
        "fault",
        "sessions",
        "passed",
        "95 % interval",
        "pass^k of tasks played k times",
        box=None,
        pad_edge=False,
    )
    for row in (*({**each, "fault": "all"} for each in found["releases"]), *found["faults"]):
        of_tasks = ", ".join(f"{k}: {value:.3f}" for k, value in row.get("pass_hat_k", {}).items())
        rate = f"{row['pass_rate']:.1%}"
        table.add_row(row["release"], row["fault"], str(row["sessions"]), rate, _interval(row, ""), of_tasks)
    Console().print(table)
    for row in found["planted"]:
        if not row["could_show"]:
            Console().print(f"{row['fault']}:{row['rate']:g} can show in none of these sessions")
            continue
        share = f"{row['planted']} of the {row['could_show']} sessions in which it could show"
        Console().print(f"{row['fault']}:{row['rate']:g} was planted in {share} ({_interval(row, 'planted_')})")


def _interval(row: dict[str, Any], prefix: str) -> str:
    return f"{row[f'{prefix}low']:.1%} to {row[f'{prefix}high']:.1%}"


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise InvalidInput(f"has to be a whole number from 0 on, not {text!r}")
    return int(text)


def _seed(text: str) -> int:
    return -_whole(text.removeprefix("-")) if text.startswith("-") else _whole(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"has to be a number, not {text!r}") from None


def _above_zero(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise InvalidInput(f"has to be above 0, not {text!r}")
    return value


def _delay(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= _MOST_DELAY_S:
        raise InvalidInput(f"lies between 0 and 366 days, in seconds, and is not {text!r}")
    return value


def _name(text: str) -> str:
    """Part of session ids, which stand in addresses and in baggage."""
    if not _NAME.fullmatch(text):
        raise InvalidInput("has 1 to 100 letters, digits, and . _ : - only")
    return text


def _mark(text: str) -> str:
    return text and _name(text)


def _speed(text: str) -> float | None:
    return None if text == "max" else _above_zero(text)


def _fault(text: str) -> tuple[str, float]:
    name, mark, rate = text.partition(":")
    if not mark:
        raise InvalidInput("is written as NAME:RATE, e.g. drop_confirmation:0.2")
    return name, _number(rate)


def _fidelity(text: str) -> str:
    if text not in ("full", "trace"):
        raise InvalidInput(f"is full or trace, not {text!r}")
    return text


_VALUES: Final[Mapping[str, Callable[[str], Any]]] = {
    "sessions": _whole,
    "release": _name,
    "baseline": _name,
    "fault": _fault,
    "seed": _seed,
    "mark": _mark,
    "speed": _speed,
    "at_once": _whole,
    "per_minute": _above_zero,
    "outcome_delay": _delay,
    "fidelity": _fidelity,
    "weeks": _above_zero,
    "hours": _above_zero,
    "personas": _whole,
}


def _read(given: argparse.Namespace) -> None:
    """Puts values in the place of the words that were given. Raises InvalidInput, with the option's name: argparse
    would print all the others with it."""
    for name, value in _VALUES.items():
        words = getattr(given, name)
        try:
            if isinstance(words, str):
                setattr(given, name, value(words))
            elif isinstance(words, list):
                setattr(given, name, [value(each) for each in words])
        except InvalidInput as error:
            raise InvalidInput(f"--{name.replace('_', '-')} {error}") from None
