// LIVE_SPANS spans through the JS exporter; says how many it started and whether the flush went well.
import { ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import { finish, start } from './tracing.mjs';

const provider = start();
const tracer = provider.getTracer('live.js', '1.2.3');
const count = Number(process.env.LIVE_SPANS);
const root = tracer.startSpan('batch', { attributes: { 'session.id': process.env.LIVE_SESSION } });
const inside = trace.setSpan(ROOT_CONTEXT, root);
for (let position = 0; position < count - 1; position += 1) {
  const span = tracer.startSpan(`span ${position}`, {
    attributes: { position, half: position / 2, even: position % 2 === 0, words: ['a', 'b'], big: Number.MAX_SAFE_INTEGER, text: 'žluťoučký 🐎' },
    links: [{ context: root.spanContext(), attributes: { why: 'sibling' } }],
  }, inside);
  if (position === 0) {
    span.recordException(new TypeError('no such seat'));
    span.setStatus({ code: SpanStatusCode.ERROR, message: 'no such seat' });
  }
  span.addEvent('picked', { seat: '12A' });
  span.end();
  if (position % 400 === 399) await provider.forceFlush(); // in rounds: a flush sends all its batches at once
}
root.end();

await finish(provider);
