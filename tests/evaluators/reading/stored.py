"""A store with spans in it as the collector would have stored them, without its process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.decode import decode
from collector.json_body import transcode
from collector.leaves import Leaves
from core.clock import system_clock
from server.importers import genai
from server.importers.genai import Conversation
from store import derive
from store.engine import DuckDBEngine
from store.lake import Lake
from store.tenant import Store, TenantStore
from tests.first_start import begun

TENANT = "acme"


def store_of(folder: Path, *requests: bytes) -> TenantStore:
    """The tenant's store after these OTLP requests (protobuf), in one commit each."""
    lake = Lake(begun(folder) / "lake")
    leaves = Leaves()
    for number, request in enumerate(requests, start=1):
        spans = leaves.count(decode([(number, request)], tenant=TENANT, ingested_at_us=1_790_000_000_000_000).rows)
        lake.append("spans", spans)
        for name in derive.DERIVED:
            partial = derive.derived(name, spans)
            if partial.num_rows:
                lake.append(name, partial)
    return Store(lake, DuckDBEngine(lake.root), system_clock).tenant(TENANT)


def of_conversations(conversations: Iterable[Conversation]) -> list[bytes]:
    """The requests that import them."""
    return [request for request, _, _ in genai.requests(conversations, "assay.import.test")]


def of_sample(path: Path, session: str | None = None) -> bytes:
    """A captured OTLP/JSON request, all its spans in this session where one is named."""
    request = ExportTraceServiceRequest.FromString(transcode(path.read_bytes()).protobuf)
    for spans in (scope.spans for group in request.resource_spans for scope in group.scope_spans):
        for span in spans if session else ():
            span.attributes.add(key="session.id").value.string_value = session or ""
    return request.SerializeToString()
