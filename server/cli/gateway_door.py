"""Where a command finds the gateway and its key, and the exchanges with it.

The address is the first of: --url, --port-base, ASSAY_GATEWAY_URL, the running instance of --data,
http://127.0.0.1:8090. The key is found as for the API; the one of a data folder goes to that folder's gateway only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from server.cli.connection import add_data_argument, port_base, read_json_file
from server.cli.local_key import choose_key
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

DEFAULT_URL: Final = "http://127.0.0.1:8090"
OFFSET: Final = 4  # --port-base N: the gateway is N+4
CONNECT_S: Final = 4.0
LOOK_S: Final = 5.0  # what is only looked at; a status ends in 10 s whatever is at the address
ANSWER_S: Final = 300.0  # a model may take its time
_MOST_BYTES: Final = 64 << 20


def add_door_arguments(parser: argparse.ArgumentParser) -> None:
    """--url, --port-base, --data and --key."""
    group = parser.add_argument_group("gateway")
    group.add_argument("--url", help=f"address of the gateway, e.g. {DEFAULT_URL} (or ASSAY_GATEWAY_URL)")
    group.add_argument("--port-base", type=port_base, metavar="N", help="the instance started with this --port-base")
    group.add_argument("--key", help="API key; safer in ASSAY_API_KEY, where other users cannot see it")
    add_data_argument(group)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer: its head, and its body unless it was streamed."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, kw_only=True)
class Door:
    """Asks one gateway. Methods raise CommandFailed with the fitting exit code."""

    url: str
    key: str | None = field(repr=False)
    key_hint: str = ""

    def get(self, path: str) -> Any:
        """The JSON answer. Raises CommandFailed when it is an error."""
        with self._open("GET", path, answer_s=LOOK_S) as response:
            return self._whole(response).body

    def post(self, path: str, body: object, headers: Mapping[str, str]) -> Answered:
        """The whole answer to a call, an error too unless it concerns the key."""
        with self._open("POST", path, body, headers) as response:
            return self._whole(response, errors=True)

    def stream(self, path: str, body: object, headers: Mapping[str, str]) -> Iterator[str | Answered]:
        """The lines of an event stream; or, in their place, one answer that is an error."""
        with self._open("POST", path, body, headers) as response:
            if response.status != 200:
                yield self._whole(response, errors=True)
                return
            yield Answered(status=200, headers=_lower(response), body=None)
            while line := response.readline(_MOST_BYTES):
                if line.strip():
                    yield line.decode("utf-8", "replace").rstrip("\r\n")

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        answer_s: float = ANSWER_S,
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_S)
        sent = {"Accept": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            sent["Content-Type"] = "application/json"
        try:
            self._connect(connection)
            connection.sock.settimeout(answer_s)
            all_sent = {
                name: value.encode("utf-8", "surrogateescape") for name, value in (sent | dict(headers or {})).items()
            }
            try:
                connection.request(method, parts.path.rstrip("/") + path, body=payload, headers=all_sent)
            except ValueError:
                said = "a key, or the id of an app, user or session, has control characters; write plain text"
                raise CommandFailed(said, ExitCode.USAGE) from None
            yield connection.getresponse()
        except TimeoutError as error:
            said = f"the gateway at {self.url} took the connection and said nothing for {answer_s:g} s"
            hint = "look at its log, run/gateway.log in its data folder"
            raise CommandFailed(f"{said}\n{hint}", ExitCode.UNREACHABLE) from error
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise CommandFailed(f"the gateway at {self.url} broke off: {said}", ExitCode.UNREACHABLE) from error
        finally:
            connection.close()

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except OSError as error:
            raise CommandFailed(
                f"no gateway answers at {self.url} ({error or type(error).__name__})\n"
                "start one with 'assay up', or say where it is with --data, --url or --port-base",
                ExitCode.UNREACHABLE,
            ) from error

    def _whole(self, response: http.client.HTTPResponse, *, errors: bool = False) -> Answered:
        raw = response.read(_MOST_BYTES)
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if response.status in (401, 403) and _code(body) in ("invalid_api_key", "forbidden"):
            said = "\n".join(part for part in (_message(body), self.key_hint) if part)
            raise CommandFailed(said, ExitCode.NOT_ALLOWED)
        elsewhere = response.status in (404, 405) and not errors  # what we GET is there in every gateway
        if elsewhere or not isinstance(body, dict) or (response.status >= 400 and "error" not in body):
            raise CommandFailed(
                f"there is no Assay gateway at {self.url} (it answered {response.status})\n"
                f"it is usually on port 8090 (--port-base N: N+{OFFSET}); say where it is with --url or --port-base",
                ExitCode.UNREACHABLE,
            )
        if response.status >= 400 and not errors:
            raise CommandFailed(_message(body))
        return Answered(status=response.status, headers=_lower(response), body=body)


def door_of(args: argparse.Namespace) -> Door:
    """The gateway that the arguments of `add_door_arguments` name. Raises CommandFailed."""
    folder = read_json_file(args.data / "credentials.json")
    home = read_json_file(args.data / "run" / "state.json").get("gateway")
    home = home if isinstance(home, str) else None
    based = f"http://127.0.0.1:{args.port_base + OFFSET}" if args.port_base else None
    url = str(args.url or based or os.environ.get("ASSAY_GATEWAY_URL") or home or DEFAULT_URL).rstrip("/")
    url = url.removesuffix("/v1")
    if not _is_address(url):
        raise CommandFailed(f"{url!r} is not an address; write for example {DEFAULT_URL}", ExitCode.USAGE)
    key = choose_key(
        url,
        argument=args.key,
        variable=os.environ.get("ASSAY_API_KEY"),
        data=args.data,
        folder=folder,
        home=home,
    )
    return Door(url=url, key=key.text, key_hint=key.hint)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        return False


def failure_of(answer: Answered) -> CommandFailed:
    """How a command ends on an answer that is an error."""
    codes = {400: ExitCode.USAGE, 404: ExitCode.NOT_FOUND}
    return CommandFailed(_message(answer.body), codes.get(answer.status, ExitCode.FAILED))


def _message(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return plain(message or "the gateway refused without saying why", 500)


def _code(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("code")) if isinstance(error, dict) else ""


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
