// The same agent on the Vercel AI SDK 7, whose telemetry (@ai-sdk/otel) speaks the OpenTelemetry GenAI conventions.
import { createOpenAI } from '@ai-sdk/openai-v7';
import { OpenTelemetry } from '@ai-sdk/otel';
import * as ai from 'ai-v7';
import { z } from 'zod';
import { play } from './scenario.mjs';
import { finish, start } from './tracing.mjs';

const provider = start();
ai.registerTelemetry(new OpenTelemetry({ runtimeContext: true, usage: true }));
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY });
const telemetry = { functionId: 'seat-agent', includeRuntimeContext: { sessionId: true, userId: true } };
const runtimeContext = { sessionId: process.env.LIVE_SESSION, userId: 'user-7' };
await play({ ai, openai, z, options: { telemetry, runtimeContext }, instructions: { instructions: 'Sell seats.' } });
await finish(provider);
