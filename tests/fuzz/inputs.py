"""One input of the fuzzer, the seeds it starts from, and the folder of inputs that once showed something new."""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics

from tests.collector.messages_at_random import attributes, request
from tests.collector.otlp import json_span, json_traces, log_record, logs

CORPUS: Final = Path(__file__).parent / "corpus"
MAX_BYTES: Final = 16 << 10


@dataclass(frozen=True, kw_only=True)
class Input:
    """What is sent: to `/v1/{signal}`, as JSON or protobuf, with Content-Encoding gzip or none."""

    signal: str  # traces, logs, metrics
    is_json: bool
    is_gzip: bool
    body: bytes

    @property
    def name(self) -> str:
        """The file name that says everything but the body."""
        encoding = ("json" if self.is_json else "pb") + ("-gz" if self.is_gzip else "")
        return f"{self.signal}-{encoding}-{hashlib.sha256(self.body).hexdigest()[:12]}.bin"


def read(path: Path) -> Input:
    """An input from its file."""
    signal, *encoding, _ = path.stem.split("-")
    return Input(signal=signal, is_json="json" in encoding, is_gzip="gz" in encoding, body=path.read_bytes())


def kept() -> list[Input]:
    """The committed corpus, in the order of its names."""
    return [read(path) for path in sorted(CORPUS.glob("*.bin"))]


def seeds(n: int = 40) -> list[Input]:
    """Sound requests of every signal and encoding, small, with attributes of every dialect."""
    found = []
    for seed in range(n):
        rng = random.Random(seed)
        found += [_protobuf("traces", request(seed, n_spans=3).SerializeToString()), _json_traces(rng)]
        if seed % 4 == 0:
            found += [_protobuf("logs", _logs(rng)), _protobuf("metrics", _metrics(rng))]
            text = MessageToJson(ExportLogsServiceRequest.FromString(_logs(rng)), indent=None)
            found.append(Input(signal="logs", is_json=True, is_gzip=False, body=text.encode()))
            found.append(Input(signal="traces", is_json=False, is_gzip=True, body=gzip.compress(found[-4].body, 6)))
    return [each for each in found if len(each.body) <= MAX_BYTES]


def _protobuf(signal: str, body: bytes) -> Input:
    return Input(signal=signal, is_json=False, is_gzip=False, body=body)


def _logs(rng: random.Random) -> bytes:
    evaluation = {
        "gen_ai.evaluation.name": "tone",
        "gen_ai.evaluation.score.value": rng.choice([0.5, 1, "0.25", "high", float("nan"), 1e308]),
        "gen_ai.evaluation.score.label": "good",
    }
    names = ["gen_ai.evaluation.result", "app.start", "gen_ai.client.inference.operation.details", ""]
    records = [log_record(name, evaluation, body=rng.choice([None, "x", {"a": [1, 2]}])) for name in names]
    for record in records:
        record.attributes.extend(attributes(rng, rng.randrange(4)))
    return logs(*records)


def _metrics(rng: random.Random) -> bytes:
    point = NumberDataPoint(time_unix_nano=1, as_double=rng.random(), attributes=[KeyValue(key="k")])
    metric = Metric(name="m", gauge=Gauge(data_points=[point] * rng.randrange(3)))
    groups = [ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=[metric])])]
    return ExportMetricsServiceRequest(resource_metrics=groups).SerializeToString()


def _json_traces(rng: random.Random) -> Input:
    values = [
        {"stringValue": "gpt-4o"},
        {"intValue": "12"},
        {"intValue": 12},
        {"doubleValue": rng.choice([0.5, "NaN", "Infinity", 1e22])},
        {"boolValue": True},
        {"bytesValue": "AAEC"},
        {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "-1"}, {}]}},
        {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": False}}]}},
        {},
    ]
    keys = ["gen_ai.request.model", "gen_ai.usage.input_tokens", "llm.input_messages.0.message.content", "session.id"]
    spans = []
    for _ in range(rng.randrange(1, 4)):
        pairs = [{"key": rng.choice(keys), "value": rng.choice(values)} for _ in range(rng.randrange(6))]
        ids = {"traceId": f"{rng.getrandbits(128) | 1:032x}", "spanId": f"{rng.getrandbits(64) | 1:016x}"}
        event = {"name": "e", "timeUnixNano": "1", "attributes": pairs[:2]}
        link = {"traceId": ids["traceId"], "spanId": ids["spanId"]}
        spans.append(json_span(**ids, attributes=pairs, events=[event], links=[link], status={"code": 2}))
    return Input(signal="traces", is_json=True, is_gzip=False, body=json_traces(*spans))
