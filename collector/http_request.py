"""What an OTLP/HTTP request says about itself: path, media type, encoding, credential; pure functions on headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from collector.kinds import Signal
from core.errors import AssayError, Undecodable

PATHS: Final = {"/v1/traces": Signal.SPANS, "/v1/logs": Signal.LOG_RECORDS, "/v1/metrics": Signal.METRIC_POINTS}
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
MAX_KEY: Final = 512


class BadRequestLine(AssayError):
    """An answer with an HTTP status that no error of ours stands for."""

    code = "bad_request_line"

    def __init__(self, http: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.http = http
        self.headers = dict(headers or {})


def signal_of(method: str, target: str) -> Signal:
    """The signal of a request line. Raises BadRequestLine 404 or 405; there is never a redirect."""
    path = target.split("?", 1)[0]
    signal = PATHS.get(path)
    if signal is None:
        raise BadRequestLine(404, f"there is nothing at {path[:100]!r}; POST to {', '.join(PATHS)}")
    if method != "POST":
        raise BadRequestLine(405, f"{method[:20]} is not for {path}; use POST", {"allow": "POST"})
    return signal


def is_json(content_type: str | None) -> bool:
    """Whether the body is OTLP/JSON rather than protobuf; parameters and case do not matter.

    Raises BadRequestLine 415 for any other media type, or none.
    """
    media = (content_type or "").split(";", 1)[0].strip().lower()
    if media == PROTOBUF:
        return False
    if media == JSON:
        return True
    raise BadRequestLine(415, f"Content-Type {media[:100]!r} is not OTLP; use {PROTOBUF} or {JSON}")


def is_gzip(content_encoding: str | None) -> bool:
    """Whether the body is gzip. Raises BadRequestLine 415 for any other encoding than gzip, identity or none."""
    encoding = (content_encoding or "").strip().lower()
    if encoding in ("", "identity", "none"):
        return False
    if encoding == "gzip":
        return True
    message = f"Content-Encoding {encoding[:100]!r} is not supported; use gzip or none"
    raise BadRequestLine(415, message, {"accept-encoding": "gzip, identity"})


def answers_json(content_type: str | None) -> bool:
    """In which encoding to answer a request that may itself be wrong: JSON only if it said JSON."""
    return (content_type or "").split(";", 1)[0].strip().lower() == JSON


def key_of(authorization: str | None, x_api_key: str | None) -> str | None:
    """The API key: of `authorization: Bearer KEY`, else of `x-api-key`; the first header that is there decides."""
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        return key.strip()[: MAX_KEY + 1] if scheme.lower() == "bearer" else authorization.strip()[: MAX_KEY + 1]
    return x_api_key.strip()[: MAX_KEY + 1] if x_api_key is not None else None


def check_looks(body: bytes, as_json: bool) -> None:
    """Raises Undecodable, naming the mistake, when the body is plainly not what its headers say."""
    if body[:2] == b"\x1f\x8b":
        raise Undecodable("the body is gzip; add the header Content-Encoding: gzip", "body")
    if not as_json and body[:1] == b"{":
        raise Undecodable(f"the body looks like JSON; send it with Content-Type: {JSON}", "body")
    if as_json and body[:1] == b"\x0a" and body.lstrip()[:1] not in (b"{", b"["):
        raise Undecodable(f"the body looks like protobuf; send it with Content-Type: {PROTOBUF}", "body")
