// What both AI SDK programs do: two turns of one session (the second streamed), one refused, one embedding.
export async function play({ ai, openai, z, options, instructions }) {
  const { embed, generateText, stepCountIs, streamText, tool } = ai;
  const tools = {
    seat_price: tool({
      description: 'The price of a seat on a flight, in dollars.',
      inputSchema: z.object({ flight: z.string() }),
      execute: async ({ flight }) => `${flight}: 129`,
    }),
  };
  const name = process.env.LIVE_MODEL;
  const model = process.env.LIVE_API === 'responses' ? openai.responses(name) : openai.chat(name);
  const asking = { ...options, model, tools, stopWhen: stepCountIs(3), maxRetries: 0 };

  const first = await generateText({ ...asking, ...instructions, prompt: 'What does a seat on AS12 cost?' });
  console.log(first.text);
  const second = streamText({ ...asking, prompt: 'And with a window?' });
  await second.consumeStream();
  console.log(await second.text);
  try {
    await generateText({ ...asking, prompt: 'Please refuse this request.' });
  } catch (error) {
    console.log(error.name);
  }
  const { embedding } = await embed({ ...options, model: openai.embedding('text-embedding-3-small'), value: 'a seat' });
  console.log(embedding.length);
}
