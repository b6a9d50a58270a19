// The OpenTelemetry JS SDK with its own OTLP exporter: JSON or protobuf as OTEL_EXPORTER_OTLP_PROTOCOL says.
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, detectResources, envDetector } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const retries = (text) => text.startsWith('Scheduling export retry') && console.error(text);
const log = { error: console.error, warn: console.error, info: console.error, debug() {}, verbose: retries };
let ended = 0;
const counter = { onStart() {}, onEnd() { ended += 1; }, async forceFlush() {}, async shutdown() {} };

export function start() {
  diag.setLogger(log, DiagLogLevel.VERBOSE);
  const json = process.env.OTEL_EXPORTER_OTLP_PROTOCOL === 'http/json';
  const exporter = json ? new JsonExporter() : new ProtobufExporter();
  const resource = defaultResource().merge(detectResources({ detectors: [envDetector] })); // OTEL_SERVICE_NAME
  const provider = new NodeTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporter), counter] });
  provider.register();
  return provider;
}

// Flushes, and prints the number of spans as the last line: what the collector has to hold.
export async function finish(provider) {
  await provider.forceFlush();
  await provider.shutdown();
  console.log(JSON.stringify({ spans: ended }));
}
