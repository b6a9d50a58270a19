# ruff: noqa: N999 - `streamlit run dashboard/Home.py` is the address people know
"""The dashboard's process: `streamlit run dashboard/Home.py`. Adds the guards that Streamlit does not have of itself.

The browser may load scripts, styles, images and data from this server only. Text of a trace that should ever slip
into markup could not run, and could not call home.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)

HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


_VIEWS = "|".join(sorted(path.stem for path in Path(__file__).with_name("views").glob("[a-z]*.py")))
MOUNTED = (
    "<script>window.__streamlit={BACKEND_BASE_URL:location.origin"
    f'+location.pathname.replace(/\\/(?:{_VIEWS})\\/?$/,"/")}}</script>'
).encode()
_OF_THE_FILE = (b"accept-encoding", b"if-none-match", b"if-modified-since", b"range")
_OF_THE_BODY = (b"content-length", b"etag", b"last-modified", b"accept-ranges")


class SecurityHeaders:
    """Puts `HEADERS` on every HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; answers carry the headers."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in HEADERS}
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in names]
                message = {**message, "headers": [*kept, *HEADERS]}
            await send(message)

        await self._app(scope, receive, send_guarded if scope["type"] == "http" else send)


class MountPoint:
    """Tells a page's script where the dashboard is mounted, in the HTML that a browser opens.

    Without it Streamlit's script asks two addresses below the page first, and the console shows their 404s.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; HTML comes back with one script more."""
        if scope["type"] != "http" or b"text/html" not in dict(scope["headers"]).get(b"accept", b""):
            await self._app(scope, receive, send)
            return
        asked = [pair for pair in scope["headers"] if pair[0] not in _OF_THE_FILE]
        begun: list[Message] = []
        body = b""

        async def send_told(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                (start,) = begun
                is_html = any(name == b"content-type" and b"text/html" in value for name, value in start["headers"])
                whole = body.replace(b"<head>", b"<head>" + MOUNTED, 1) if is_html else body
                kept = [pair for pair in start["headers"] if pair[0].lower() not in _OF_THE_BODY]
                length = (b"content-length", str(len(whole)).encode())
                await send({**start, "headers": [*kept, length]})
                await send({**message, "body": whole})

        await self._app({**scope, "headers": asked}, receive, send_told)


app = st.App(Path(__file__).with_name("pages.py"), middleware=[Middleware(SecurityHeaders), Middleware(MountPoint)])
