// The Vercel AI library through both of its OpenAI providers, and the one for compatible servers.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { startGateway } from './gateway.mjs';

const MODEL = 'gpt-5.5';
let gateway;
const providers = {};

before(async () => {
  gateway = await startGateway();
  const settings = { baseURL: gateway.baseURL, apiKey: gateway.key };
  const openai = createOpenAI(settings);
  const compatible = createOpenAICompatible({ name: 'weir', includeUsage: true, supportsStructuredOutputs: true, ...settings });
  Object.assign(providers, { responses: openai.responses, chat: openai.chat, compatible });
});
after(() => gateway?.stop());
beforeEach(() => gateway.mock?.clear());

const weather = tool({
  description: 'The weather in a city.',
  inputSchema: z.object({ location: z.string() }),
  execute: async ({ location }) => ({ location, degrees: 21 }),
});

function checkUsage(usage) {
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0, JSON.stringify(usage));
}

for (const name of ['responses', 'chat', 'compatible']) {
  describe(`provider ${name}`, () => {
    const model = () => providers[name](MODEL);

    test('generateText', async () => {
      const { text, usage, finishReason } = await generateText({ model: model(), prompt: 'Reply with only: ready' });
      assert.equal(text, 'ready');
      assert.equal(finishReason, 'stop');
      checkUsage(usage);
    });

    test('streamText', async () => {
      const result = streamText({ model: model(), prompt: 'ECHO:one two three' });
      let said = '';
      for await (const part of result.textStream) said += part;
      assert.equal(said, 'one two three');
      checkUsage(await result.usage);
    });

    test('streamText calls a tool and goes on with its result', async () => {
      const result = streamText({
        model: model(),
        prompt: 'What is the weather? location=Lima',
        tools: { get_weather: weather },
        stopWhen: stepCountIs(3),
      });
      await result.consumeStream();
      const steps = await result.steps;
      assert.equal(steps.length, 2);
      assert.deepEqual(steps[0].toolCalls.map((call) => [call.toolName, call.input]), [
        ['get_weather', { location: 'Lima' }],
      ]);
      assert.ok(steps[1].text.includes('21'), steps[1].text);
    });

    test('generateObject', async () => {
      const { object } = await generateObject({
        model: model(),
        schema: z.object({ city: z.string(), sunny: z.boolean() }),
        prompt: 'any',
      });
      assert.equal(typeof object.city, 'string');
      assert.equal(typeof object.sunny, 'boolean');
    });

    test('a 503 is retried', async (t) => {
      if (!gateway.mock) return t.skip('no mock to steer');
      await gateway.mock.fault({ status: 503 });
      const { text } = await generateText({ model: model(), prompt: 'Reply with only: again' });
      assert.equal(text, 'again');
    });

    test('an unknown model is not retried', async () => {
      await assert.rejects(generateText({ model: providers[name]('no-such-model'), prompt: 'x' }), (error) => {
        assert.ok(APICallError.isInstance(error), String(error));
        assert.equal(error.statusCode, 404);
        assert.equal(error.isRetryable, false);
        return true;
      });
    });
  });
}
