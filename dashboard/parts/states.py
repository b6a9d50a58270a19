"""What a page shows when there is nothing to show: no server, no permission, no such thing, no data yet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any, Final

import streamlit as st

from dashboard.api import Api, ApiFailure, NotAllowed, NotFound, TooSlow, Unreachable
from dashboard.parts import frame
from dashboard.parts.window import ALL_TIME
from dashboard.text import inert

_LOG: Final = logging.getLogger(__name__)
_WAITING: Final = ContextVar("waiting", default=False)


@st.cache_resource(show_spinner=False)
def api() -> Api:
    """The client of this process."""
    return Api.of_environment()


def guarded(show: Callable[..., Any]) -> Callable[..., Any]:
    """A page or fragment whose API failures become a state of the page instead of a traceback."""

    @wraps(show)
    def shown(*args: Any, **kwargs: Any) -> Any:
        try:
            with waiting():
                return show(*args, **kwargs)
        except ApiFailure as failure:
            failed(failure)
        except Exception:
            _LOG.exception("a page broke")
            _broken()
        return None

    return shown


def refreshed(show: Callable[..., Any]) -> Callable[..., Any]:
    """As `guarded`, for a fragment that draws itself anew every few seconds: no line comes and goes while it reads."""
    fragment = guarded(show)

    @wraps(show)
    def shown(*args: Any, **kwargs: Any) -> Any:
        token = _WAITING.set(True)
        try:
            return fragment(*args, **kwargs)
        finally:
            _WAITING.reset(token)

    return shown


@contextmanager
def waiting() -> Iterator[None]:
    """A line that says so where a page takes more than half a second, which is the server's doing. The outermost of
    nested ones speaks."""
    if _WAITING.get():
        yield
        return
    token = _WAITING.set(True)
    try:
        with st.spinner("Waiting for the server…"):
            yield
    finally:
        _WAITING.reset(token)


@contextmanager
def skeleton() -> Iterator[None]:
    """Grey bars where the page will be, while what is inside reads it for the first time."""
    place = st.empty()
    with place.container():
        for bar in range(3):
            with st.container(key=f"assay-skeleton-{bar}"):
                st.text("\u00a0")
    try:
        yield
    finally:
        place.empty()


def _broken() -> None:
    with st.container(border=True, key="assay-failure"):
        st.subheader("This page broke", anchor=False, icon=":material/heart_broken:")
        st.caption("The fault is ours. What happened is in run/dashboard.log of the data folder.")
        if st.button("Try again", icon=":material/refresh:", key="assay-retry"):
            st.rerun()


def failed(failure: ApiFailure) -> None:
    """Says what happened, the likely cause, and what to do; offers to try again."""
    icon, title, advice = _explained(failure)
    with st.container(border=True, key="assay-failure"):
        st.subheader(title, anchor=False, icon=icon)
        st.text(inert(failure.detail, 600))
        for sentence, command in advice:
            st.caption(sentence)
            if command:
                st.code(command, language=None, wrap_lines=True)
        if st.button("Try again", icon=":material/refresh:", key="assay-retry"):
            st.rerun()


def _explained(failure: ApiFailure) -> tuple[str, str, list[tuple[str, str]]]:
    match failure:
        case TooSlow():
            why = "It may be busy, or much is asked for at once. Try again in a moment, or ask for less."
            return ":material/hourglass_top:", "The Assay server takes too long", [(why, "")]
        case Unreachable():
            advice = [
                ("Is Assay running? Start all of it with", "assay up"),
                (
                    "or tell this dashboard where the server is, and start it again:",
                    "export ASSAY_URL=http://127.0.0.1:8080",
                ),
            ]
            return ":material/cloud_off:", "The Assay server does not answer", advice
        case NotAllowed(status=403):
            why = "Reading needs a key of role viewer or higher. An admin can issue one:"
            return (
                ":material/lock:",
                "This key may not see this",
                [(why, "assay keys create --role viewer --name dashboard")],
            )
        case NotAllowed():
            why = (
                "The dashboard sends the key of ASSAY_API_KEY. Start it again with a key that is valid for this server:"
            )
            return ":material/key_off:", "The API key was not accepted", [(why, "export ASSAY_API_KEY=ask_…")]
        case NotFound():
            why = (
                "It may belong to another tenant, be older than the retention allows, or not have arrived yet: "
                "a trace is readable about two seconds after it was sent."
            )
            return ":material/search_off:", "Nothing is stored under this id", [(why, "")]
        case _:
            return (
                ":material/error:",
                "The server could not answer this",
                [("The answer is shown above. `assay doctor` checks the installation:", "assay doctor")],
            )


def no_match(what: str, hint: str, *, app: object = None) -> None:
    """Nothing is in the window: says so, what to loosen, and when something (of the app) was last seen."""
    with st.container(border=True, key=f"assay-empty-{what}"):
        st.subheader(f"No {what} here", anchor=False, icon=":material/filter_alt_off:")
        seen = last_seen(app if isinstance(app, str) else None)
        if seen is None and isinstance(app, str):
            st.text(f"No app named {inert(app, 80)} has ever sent anything.")
            return
        st.caption(hint)
        if seen is None:
            return
        which = f"The app {inert(app, 80)}" if isinstance(app, str) else "The last span"
        st.text(f"{which} was last seen on {frame.started(seen)}.")
        if st.button("Show all time", icon=":material/history:", on_click=frame.choose, args=(ALL_TIME,)):
            st.rerun()


@st.cache_data(ttl=10, max_entries=32, show_spinner=False)
def last_seen(app: str | None) -> int | None:
    """When a span of the app (of any app for None) started last, in ns since 1970; None when none is stored."""
    rows = api().page("/apps", {"since": ALL_TIME}).items
    told = [row.get("last_seen_at") for row in rows if app is None or row.get("app") == app]
    moments = [datetime.fromisoformat(at) for at in told if isinstance(at, str)]
    return max((int(at.timestamp() * 1e6) * 1000 for at in moments), default=None)


@st.cache_data(ttl=10, max_entries=1, show_spinner=False)
def anything_stored() -> bool:
    """Whether this tenant has ever stored a span."""
    ledger = api().get("/ledger").get("items", [])
    return any(row.get("signal") == "spans" and row.get("stored") for row in ledger)


def first_steps() -> None:
    """Nothing was ever received: how to send the first trace, ready to copy."""
    endpoint = api().otlp_endpoint()
    with st.container(border=True, key="assay-first-steps"):
        st.subheader("Waiting for the first trace", anchor=False, icon=":material/satellite_alt:")
        st.text(
            "Point any OpenTelemetry exporter at Assay. Traces appear here about two seconds after they are sent.\n"
            "The key was printed at the first start and is kept in credentials.json of the data directory."
        )
        by_environment, by_python, by_demo = st.tabs(["Environment", "Python", "No agent at hand?"])
        with by_environment:
            st.caption("Works with every OpenTelemetry SDK, in any language:")
            st.code(_ENVIRONMENT.format(endpoint=endpoint), language="bash", wrap_lines=True)
        with by_python:
            st.caption("pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http")
            st.code(_PYTHON.format(endpoint=endpoint), language="python", wrap_lines=True)
        with by_demo:
            st.caption("Import recorded conversations, or start the demonstration with its own traffic:")
            st.code("assay import tau2 FILE.jsonl.gz\nmake demo", language="bash")


_ENVIRONMENT = """export OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20$ASSAY_API_KEY"
export OTEL_SERVICE_NAME=my-agent"""

_PYTHON = """import os
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource.create({{"service.name": "my-agent"}}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(
    endpoint="{endpoint}/v1/traces",
    headers={{"authorization": "Bearer " + os.environ["ASSAY_API_KEY"]}},
)))
trace.set_tracer_provider(provider)

with trace.get_tracer("my-agent").start_as_current_span("first turn") as span:
    span.set_attribute("input.value", "Hello")
    span.set_attribute("output.value", "Hello, Assay")
provider.shutdown()"""
