"""Where a client command finds the server and its key, and the small client that talks to it.

The address is the first of: --url, --port-base, ASSAY_URL, the running instance of --data, http://127.0.0.1:8080.
The key is the first of: --key, ASSAY_API_KEY, the key in credentials.json of --data. The last one goes to the
instance of that folder only; see server/cli/local_key.py.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from server.cli.local_key import choose_key
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

DEFAULT_URL: Final = "http://127.0.0.1:8080"
INCOMPLETE: Final = "Assay-Incomplete"  # header of answers that had to do without damaged files
_WARNED: Final[set[str]] = set()
ANSWER_S: Final = 10.0  # how long a server may take for a connection, and for the first byte of a list
_TYPES: Final = frozenset(
    {"application/json", "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"}  # of answers with rows
)
_NOT_OURS: Final = frozenset({400, 404, 405, 415, 501})  # what other servers say of a path they do not know
API_OFFSET: Final = 2  # --port-base N: grpc N, http N+1, api N+2, dashboard N+3, gateway N+4, agent N+5, simulated N+6

Params = Mapping[str, str | int | float | bool | Sequence[str] | None]


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """--url, --port-base, --data and --key, for every command that asks a server."""
    group = parser.add_argument_group("server")
    group.add_argument("--url", help="address of the API, e.g. http://127.0.0.1:8080 (or ASSAY_URL)")
    group.add_argument(
        "--port-base", type=port_base, metavar="N", help="the instance started with this --port-base (its key: --data)"
    )
    group.add_argument("--key", help="API key; safer in ASSAY_API_KEY, where other users cannot see it")
    add_data_argument(group)


def add_data_argument(parser: argparse._ActionsContainer) -> None:
    """--data, the folder where an instance keeps everything."""
    default = Path(os.environ.get("ASSAY_DATA", "data"))
    parser.add_argument("--data", type=Path, default=default, metavar="DIR", help="data folder (default: %(default)s)")


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """--config, for commands that work on lake and control database themselves."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (TOML) of the instance, if it has one"
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """--json, for machine-readable output on standard output."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def port_base(text: str) -> int:
    """A --port-base: leaves room for seven ports. Raises argparse's error otherwise."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 65_529:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65529")
    return number


def client_of(args: argparse.Namespace, timeout_s: float = ANSWER_S) -> ApiClient:
    """The client that the arguments of `add_connection_arguments` describe. Raises CommandFailed."""
    folder = read_json_file(args.data / "credentials.json")
    running = read_json_file(args.data / "run" / "state.json")
    home = (running or folder).get("url")
    url = args.url
    if not url and args.port_base:
        url = f"http://127.0.0.1:{args.port_base + API_OFFSET}"
    if has_no_address(args):
        raise CommandFailed(
            f"{args.data} was restored and never started: it has no server yet\n"
            f"start it with assay up --data {args.data}, or name a server with --url or --port-base",
            ExitCode.UNREACHABLE,
        )
    url = str(url or os.environ.get("ASSAY_URL") or home or DEFAULT_URL).rstrip("/")
    if not _is_address(url):
        raise CommandFailed(f"{url!r} is not an address; write for example {DEFAULT_URL}", ExitCode.USAGE)
    key = choose_key(
        url,
        argument=args.key,
        variable=os.environ.get("ASSAY_API_KEY"),
        data=args.data,
        folder=folder,
        home=home if isinstance(home, str) else None,
    )
    return ApiClient(url=url, key=key.text, timeout_s=timeout_s, key_hint=key.hint, key_is_local=key.local)


def has_no_address(args: argparse.Namespace) -> bool:
    """Whether no server is named and --data is a folder with keys that no server was started on since it was restored:
    what answers at the usual address is another instance, perhaps the original. Raises CommandFailed."""
    if args.url or args.port_base or os.environ.get("ASSAY_URL"):
        return False
    folder = read_json_file(args.data / "credentials.json")
    return bool(folder) and "url" not in folder and not read_json_file(args.data / "run" / "state.json")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        return False


def read_json_file(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty when there is none. Raises CommandFailed when it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        return {}
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}", ExitCode.USAGE) from error
    except ValueError:
        raise CommandFailed(f"{path} is not JSON; remove it and start Assay again", ExitCode.USAGE) from None
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A successful HTTP answer."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, kw_only=True)
class ApiClient:
    """Asks one server. Every method raises CommandFailed with the fitting exit code unless the answer is a success."""

    url: str
    key: str | None = field(repr=False)
    timeout_s: float = ANSWER_S  # until the first byte of an answer, and between two
    key_hint: str = ""  # where the key came from or why there is none, for when the server refuses
    key_is_local: bool = False  # the key of a data folder, which goes to that folder's own instance only

    def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON answer to GET `path` (such as /api/v1/traces); a parameter that is a list is repeated."""
        return self.request("GET", path, params=params).json()

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer to POST `path` with `body` as JSON."""
        return self.request("POST", path, body=body, headers=headers).json()

    def put(self, path: str, body: object) -> Any:
        """The JSON answer to PUT `path` with `body` as JSON."""
        return self.request("PUT", path, body=body).json()

    def delete(self, path: str) -> Any:
        """The JSON answer to DELETE `path`."""
        return self.request("DELETE", path).json()

    def items(self, path: str, params: Params | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The items of a list, following its cursor, up to `limit`."""
        page = dict(params or {})
        left = limit
        while left is None or left > 0:
            page["limit"] = 1000 if left is None else min(left, 1000)
            answer = self.get(path, page)
            yield from answer["items"]
            left = None if left is None else left - len(answer["items"])
            if not answer.get("next_cursor"):
                return
            page["cursor"] = answer["next_cursor"]

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange. `body` is sent as JSON unless it is bytes (then name its Content-Type in `headers`)."""
        sent = {"Accept": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        payload = body if isinstance(body, bytes) else None
        if body is not None and payload is None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        target = path + (f"?{urlencode(_given(params), doseq=True)}" if params else "")
        answer, problem = self._exchange(method, target, payload, {**sent, **(headers or {})})
        if not _is_of_the_api(answer, problem):
            raise _elsewhere(answer, self.url)
        if answer.status >= 400:
            raise _refused(answer, self, problem)
        return answer

    def _exchange(
        self, method: str, target: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[Answer, dict[str, Any]]:
        parts = urlsplit(self.url)
        connected = False
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=min(ANSWER_S, self.timeout_s))
        try:
            connection.connect()
            connection.sock.settimeout(self.timeout_s)
            connected = True
            connection.request(method, parts.path + target, body=payload, headers=headers)
            response = connection.getresponse()
            content_type = response.headers.get_content_type()
            answer = Answer(status=response.status, content_type=content_type, body=response.read())
            _warn_of(response.headers.get(INCOMPLETE))
        except (TimeoutError, socket.gaierror, ConnectionError, http.client.HTTPException, OSError) as error:
            late = connected and isinstance(error, TimeoutError)
            raise (self._late() if late else self._nobody(error)) from error
        finally:
            connection.close()
        return answer, _problem_of(answer)

    def _nobody(self, error: Exception) -> CommandFailed:
        return CommandFailed(
            f"no Assay server answers at {self.url} ({error or type(error).__name__})\n"
            "start one with 'assay up', or say where it is with --data, --url or --port-base",
            ExitCode.UNREACHABLE,
        )

    def _late(self) -> CommandFailed:
        return CommandFailed(
            f"{self.url} takes connections but gave no answer for {self.timeout_s:g} s\n"
            "it is overloaded, stopped, or no Assay server: see run/server.log of its data folder, or try again",
            ExitCode.UNREACHABLE,
        )


def _is_of_the_api(answer: Answer, problem: Mapping[str, Any]) -> bool:
    """Whether the answer is in the API's shapes. Errors of a proxy before it pass; a page or OTLP's do not."""
    if answer.status in _NOT_OURS:
        return bool(problem)
    return answer.status >= 400 or not answer.body or answer.content_type in _TYPES


def _elsewhere(answer: Answer, url: str) -> CommandFailed:
    return CommandFailed(
        f"there is no Assay API at {url} (it answered {answer.status}, {plain(answer.content_type, 60)})\n"
        f"the API is usually on port 8080 (--port-base N: N+{API_OFFSET}); say where it is with --url or --port-base",
        ExitCode.UNREACHABLE,
    )


def _warn_of(incomplete: str | None) -> None:
    """One line on standard error per process: what is printed may lack rows of damaged files."""
    if incomplete and incomplete not in _WARNED:
        _WARNED.add(incomplete)
        print(
            f"warning: incomplete answer, files of the lake are damaged ({incomplete}): assay doctor", file=sys.stderr
        )


def _given(params: Params | None) -> dict[str, object]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _problem_of(answer: Answer) -> dict[str, Any]:
    if answer.content_type != "application/problem+json":
        return {}
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(answer: Answer, client: ApiClient, problem: dict[str, Any]) -> CommandFailed:
    detail = str(problem.get("detail") or f"the server answered {answer.status}")
    match answer.status:
        case 401:
            said = (detail, client.key_hint) if client.key else (client.key_hint, detail)  # no key: why, first
            return CommandFailed("\n".join(part for part in said if part), ExitCode.NOT_ALLOWED)
        case 403:
            return CommandFailed(detail, ExitCode.NOT_ALLOWED)
        case 404:
            return CommandFailed(detail, ExitCode.NOT_FOUND)
        case 400 | 422:
            return CommandFailed(detail, ExitCode.USAGE)
        case _:
            return CommandFailed(detail, ExitCode.FAILED)
