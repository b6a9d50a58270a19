"""The child process of custom evaluators: a script on the standard library alone. See docs/custom-evaluators.md.

    python -I -B child.py FD PARENT

Over the socket FD it reads a line of JSON that says what to load and the limits, answers with what was declared, then
answers a line for each target. What the evaluator prints goes nowhere. It ends when its parent does.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.abc
import importlib.util
import json
import math
import os
import resource
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_NO_PROCESSES: Final = (
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "os.exec",
    "subprocess.Popen",
    "pty.spawn",
)
_MEGABYTE: Final = 1 << 20
_CALLED: Final = 300  # characters of an error


class _OneFile(importlib.abc.SourceLoader):
    """Loads a module from bytes that were read once, so that what runs is what the hash is of."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        return self._source


def limit(memory_mb: int, file_mb: int = 16) -> None:
    """Takes the limits that hold for the whole process."""
    for what, most in (
        (resource.RLIMIT_AS, memory_mb * _MEGABYTE),
        (resource.RLIMIT_FSIZE, file_mb * _MEGABYTE),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in _NO_PROCESSES:
            raise PermissionError("an evaluator may not start processes")

    sys.addaudithook(refuse)


def allow_cpu(seconds: float) -> None:
    """So many more seconds of CPU time from now on; beyond them the kernel ends the process (SIGXCPU)."""
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def load(path: str) -> tuple[dict[str, Any], dict[str, Callable[..., Any]]]:
    """What a Python file declares in EVALUATORS, and its functions by name. Raises whatever the file raises."""
    source = Path(path).read_bytes()
    loader = _OneFile(path, source)
    spec = importlib.util.spec_from_loader("custom_evaluators", loader)
    if spec is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    loader.exec_module(module)
    table = getattr(module, "EVALUATORS", None)
    if not isinstance(table, list | tuple) or not all(isinstance(one, dict) for one in table):
        raise TypeError("EVALUATORS is missing or no list of dicts")
    functions, told = {}, []
    for one in table:
        score = one.get("score")
        if not callable(score):
            raise TypeError(f"'score' of {str(one.get('name'))[:60]!r} is no function of a target")
        functions[str(one.get("name"))] = score
        told.append({key: value for key, value in one.items() if key != "score"})
    return {"sha256": hashlib.sha256(source).hexdigest(), "evaluators": told}, functions


def endpoint(config: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """A function that asks an HTTP endpoint; follows no redirect and reads no more than `most_bytes`."""
    parts = urlsplit(config["url"])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask(target: dict[str, Any]) -> Any:
        body = json.dumps({"evaluator": config["name"], "version": config["version"], "target": target}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", **config["headers"]}
        host, port, wait = str(parts.hostname), parts.port, float(config["timeout_s"])
        if parts.scheme == "https":
            secure = ssl.create_default_context()
            link: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=wait, context=secure)
        else:
            link = http.client.HTTPConnection(host, port, timeout=wait)
        try:
            link.request("POST", path, body, headers)
            answer = link.getresponse()
            if 300 <= answer.status < 400:
                raise RuntimeError(f"the endpoint answered {answer.status}; redirects are not followed")
            if answer.status != 200:
                raise RuntimeError(f"the endpoint answered {answer.status}, not 200")
            said = answer.read(int(config["most_bytes"]) + 1)
        finally:
            link.close()
        if len(said) > int(config["most_bytes"]):
            raise RuntimeError(f"the endpoint answered more than {config['most_bytes']} bytes")
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            raise RuntimeError("the endpoint answered no JSON") from None

    return ask


def answered(score: Callable[..., Any], target: dict[str, Any]) -> dict[str, Any]:
    """What a function says of a target, or how it failed."""
    try:
        return {"answer": score(target)}
    except MemoryError:
        return {"memory": True}
    except TimeoutError as error:
        return {"timed_out": str(error)[:_CALLED] or "no answer in time"}
    except (OSError, http.client.HTTPException) as error:
        return {"raised": f"{type(error).__name__}: {error}"[:_CALLED]}
    except Exception as error:  # whatever a defect raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = (
            f" (line {place.lineno} of {Path(place.filename).name})"
            if "evaluators/custom" not in place.filename
            else ""
        )
        return {"raised": f"{type(error).__name__}: {str(error)[:_CALLED]}{where}"}


def _plain(value: Any) -> Any:
    """Numbers of numpy and the like as Python's; other things as their text."""
    made = getattr(value, "item", None)
    return made() if callable(made) else str(value)[:_CALLED]


def _line(value: dict[str, Any], most: int) -> bytes:
    try:
        text = json.dumps(value, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        text = json.dumps({"n": value.get("n"), "raised": f"its answer is no JSON: {error}"[:_CALLED]})
    except MemoryError:
        text = json.dumps({"n": value.get("n"), "memory": True})
    if len(text) > most:
        text = json.dumps({"n": value.get("n"), "raised": f"its answer has more than {most} bytes"})
    return text.encode() + b"\n"


def _stay_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def serve(fd: int, parent: int) -> None:
    """Answers until the socket closes."""
    threading.Thread(target=_stay_with, args=(parent,), daemon=True).start()
    reading, writing = os.fdopen(fd, "rb"), os.fdopen(os.dup(fd), "wb", buffering=0)
    config = json.loads(reading.readline())
    most = int(config["most_bytes"])
    limit(int(config["memory_mb"]))
    allow_cpu(float(config["start_s"]))
    functions: dict[str, Callable[..., Any]]
    try:
        if "path" in config:
            hello, functions = load(config["path"])
        else:
            hello, functions = {}, {one["name"]: endpoint(one) for one in config["endpoints"]}
    except BaseException as error:
        writing.write(_line({"problem": _told(error)}, most))
        return
    writing.write(_line({"hello": hello}, most))
    for line in reading:
        asked = json.loads(line)
        allow_cpu(float(config["cpu_s"]))
        score = functions[asked["evaluator"]]
        writing.write(_line({"n": asked["n"], **answered(score, asked["target"])}, most))


def _told(error: BaseException) -> str:
    """An error of loading a file, with its line in that file."""
    if isinstance(error, MemoryError):
        return "it takes more memory than is allowed while it is loaded"
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} (line {error.lineno})"
    places = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename) != Path(__file__)]
    own = [one for one in places if "importlib" not in one.filename]
    where = f" (line {own[-1].lineno} of {Path(own[-1].filename).name})" if own else ""
    return f"{type(error).__name__}: {str(error)[:_CALLED]}{where}"


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
