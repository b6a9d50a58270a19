// An agent on the Vercel AI SDK 6, whose telemetry speaks the `ai.*` dialect.
import { createOpenAI } from '@ai-sdk/openai';
import * as ai from 'ai';
import { z } from 'zod';
import { play } from './scenario.mjs';
import { finish, start } from './tracing.mjs';

const provider = start();
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY });
const metadata = { sessionId: process.env.LIVE_SESSION, userId: 'user-7' };
const options = { experimental_telemetry: { isEnabled: true, functionId: 'seat-agent', metadata } };
await play({ ai, openai, z, options, instructions: { system: 'Sell seats.' } });
await finish(provider);
