// The OpenAI Node library as an application uses it: both endpoints, streams, tools, structured output, its
// error classes, and its own retries.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import OpenAI, { toFile } from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { startGateway, weather } from './gateway.mjs';

const MODEL = 'gpt-5.5';
let gateway;
let client;

before(async () => {
  gateway = await startGateway();
  client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 2 });
});
after(() => gateway?.stop());
beforeEach(() => gateway.mock?.clear());

const responsesTool = { type: 'function', strict: true, ...weather };
const chatTool = { type: 'function', function: weather };
const user = (content) => [{ role: 'user', content }];

// How often the upstream was called while `action` ran, and how long that took.
async function observed(action) {
  const before = await gateway.mock.stats();
  const started = performance.now();
  const result = await action();
  const after = await gateway.mock.stats();
  return { result, calls: after.requests - before.requests, ms: performance.now() - started };
}

function checkUsage(usage) {
  assert.ok(usage.input_tokens > 0 && usage.output_tokens > 0, JSON.stringify(usage));
  assert.equal(usage.total_tokens, usage.input_tokens + usage.output_tokens);
}

describe('models', () => {
  test('are listed', async () => {
    const { data } = await client.models.list();
    const ids = data.map((model) => model.id);
    for (const id of ['gpt-5.2', 'gpt-5.3-codex', 'gpt-5.4', MODEL]) assert.ok(ids.includes(id), ids.join());
  });

  test('are found one by one', async () => {
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  });
});

// Silence of 2.5 seconds: PCM at 8 kHz and 16 bits.
function wav(ms = 2500) {
  const data = Buffer.alloc(ms * 16);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + data.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(8000, 24);
  head.writeUInt32LE(16000, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

describe('audio.transcriptions', () => {
  const HEARD = 'Hello from the sandbox.';
  const asked = async (more = {}) => ({
    model: 'gpt-4o-mini-transcribe',
    file: await toFile(wav(), 'sample.wav', { type: 'audio/wav' }),
    ...more,
  });

  test('json, with usage in tokens', async () => {
    const heard = await client.audio.transcriptions.create(await asked());
    assert.equal(heard.text, HEARD);
    assert.equal(heard.usage.type, 'tokens');
    checkUsage(heard.usage);
  });

  test('what it cost is in the head', async () => {
    const { response } = await client.audio.transcriptions.create(await asked()).withResponse();
    // 26 tokens of audio at 3 USD a million and 6 of text at 5.
    assert.equal(response.headers.get('x-quotaflow-charged-nano-usd'), String(26 * 3000 + 6 * 5000));
  });

  for (const format of ['text', 'srt', 'vtt']) {
    test(`${format} is text`, async () => {
      const { data, response } = await client.audio.transcriptions
        .create(await asked({ response_format: format }))
        .withResponse();
      assert.equal(typeof data, 'string');
      assert.ok(data.includes(HEARD), data);
      assert.match(response.headers.get('content-type'), /^text\/plain/);
    });
  }

  test('verbose_json has the length', async () => {
    const heard = await client.audio.transcriptions.create(
      await asked({ response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] }),
    );
    assert.equal(heard.duration, 2.5);
    assert.deepEqual(heard.usage, { type: 'duration', seconds: 3 });
  });

  test('as a stream', async () => {
    const stream = await client.audio.transcriptions.create(await asked({ stream: true, include: ['logprobs'] }));
    let text = '';
    let done;
    for await (const event of stream) {
      if (event.type === 'transcript.text.delta') text += event.delta;
      if (event.type === 'transcript.text.done') done = event;
    }
    assert.equal(text, HEARD);
    assert.equal(done.text, HEARD);
    checkUsage(done.usage);
  });

  test('a file of 25 MB before its model', async () => {
    const form = new FormData();
    form.append('file', new Blob([wav(1_600_000)]), 'long.wav');
    form.append('model', 'gpt-4o-mini-transcribe');
    const reply = await fetch(`${gateway.baseURL}/audio/transcriptions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.key}` },
      body: form,
    });
    assert.equal(reply.status, 200, await reply.clone().text());
    assert.equal((await reply.json()).usage.input_tokens, 16_001);
  });

  test('a model for text is not found here', async () => {
    await assert.rejects(client.audio.transcriptions.create(await asked({ model: MODEL })), OpenAI.NotFoundError);
  });

  // "Do not assume speech generation or audio translation support from this page."
  test('speech and translations are not served', async () => {
    await assert.rejects(
      client.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Hi' }),
      OpenAI.NotFoundError,
    );
    await assert.rejects(client.audio.translations.create(await asked()), OpenAI.NotFoundError);
  });
});

describe('responses', () => {
  test('the documented example', async () => {
    const response = await client.responses.create({ model: MODEL, input: 'Return only: connected', stream: false });
    assert.equal(response.output_text, 'connected');
    assert.equal(response.status, 'completed');
    checkUsage(response.usage);
  });

  test('request ids and limits are in the headers', async () => {
    const { response, request_id: id } = await client.responses
      .create({ model: MODEL, input: 'Reply with only: ok' })
      .withResponse();
    assert.ok(id && id === response.headers.get('x-request-id'));
    assert.match(response.headers.get('x-ratelimit-limit-requests'), /^\d+$/);
    assert.match(response.headers.get('x-ratelimit-remaining-requests'), /^\d+$/);
  });

  test('events come in order and end with the whole', async () => {
    const stream = await client.responses.create({ model: MODEL, input: 'Count from one to five', stream: true });
    const types = [];
    let said = '';
    let last;
    for await (const event of stream) {
      assert.equal(event.sequence_number, types.length);
      types.push(event.type);
      if (event.type === 'response.output_text.delta') said += event.delta;
      last = event;
    }
    assert.deepEqual(types.slice(0, 2), ['response.created', 'response.in_progress']);
    assert.equal(last.type, 'response.completed');
    assert.ok(types.filter((type) => type === 'response.output_text.delta').length >= 5);
    assert.equal(last.response.output[0].content[0].text, said);
    checkUsage(last.response.usage);
  });

  test('the stream helper gathers the same', async () => {
    const final = await client.responses.stream({ model: MODEL, input: 'ECHO:déjà vu ✓ 漢字' }).finalResponse();
    assert.equal(final.output_text, 'déjà vu ✓ 漢字');
  });

  test('a tool makes its round trip', async () => {
    const input = user('What is the weather? location=Paris');
    const first = await client.responses.create({ model: MODEL, input, tools: [responsesTool] });
    const call = first.output.find((item) => item.type === 'function_call');
    assert.equal(call.name, 'get_weather');
    assert.equal(JSON.parse(call.arguments).location, 'Paris');
    const result = { type: 'function_call_output', call_id: call.call_id, output: '{"degrees":21}' };
    const second = await client.responses.create({
      model: MODEL,
      input: [...input, ...first.output, result],
      tools: [responsesTool],
    });
    assert.ok(second.output_text.includes('21'), second.output_text);
  });

  test('a streamed tool call has whole arguments', async () => {
    const stream = client.responses.stream({
      model: MODEL,
      input: 'weather location=Rome',
      tools: [responsesTool],
      tool_choice: 'required',
    });
    let pieces = '';
    stream.on('response.function_call_arguments.delta', (event) => (pieces += event.delta));
    const final = await stream.finalResponse();
    const call = final.output.find((item) => item.type === 'function_call');
    assert.equal(call.arguments, pieces);
    assert.equal(JSON.parse(pieces).location, 'Rome');
  });

  test('structured output parses', async () => {
    const schema = z.object({ answer: z.string(), score: z.number() });
    const response = await client.responses.parse({
      model: MODEL,
      input: 'any',
      text: { format: zodTextFormat(schema, 'answer') },
    });
    assert.equal(typeof response.output_parsed.answer, 'string');
    assert.equal(typeof response.output_parsed.score, 'number');
  });

  test('input tokens are counted without a reply', async () => {
    const counted = await client.responses.inputTokens.count({ model: MODEL, input: 'how many tokens is this' });
    assert.equal(counted.object, 'response.input_tokens');
    assert.ok(counted.input_tokens > 0);
  });

  test('compaction', async () => {
    const compacted = await client.responses.compact({ model: MODEL, input: user('a long conversation') });
    assert.equal(compacted.object, 'response.compaction');
    assert.ok(compacted.output.some((item) => item.type === 'compaction'));
  });

  test('a request of a megabyte', async () => {
    const response = await client.responses.create({
      model: MODEL,
      input: user('x'.repeat(1 << 20)).concat(user('Reply with only: big')),
    });
    assert.equal(response.output_text, 'big');
  });
});

describe('chat completions', () => {
  test('the documented example', async () => {
    const completion = await client.chat.completions.create({ model: MODEL, messages: user('Return only: ready') });
    assert.equal(completion.choices[0]?.message?.content, 'ready');
    assert.equal(completion.choices[0].finish_reason, 'stop');
    assert.equal(
      completion.usage.total_tokens,
      completion.usage.prompt_tokens + completion.usage.completion_tokens,
    );
  });

  // Libraries index choices[0] of every chunk, so the chunk that only carries usage may not show up unasked.
  test('a stream without include_usage has no sign of usage', async () => {
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages: user('Count from one to five'),
      stream: true,
    });
    let said = '';
    for await (const chunk of stream) {
      assert.equal(chunk.choices.length, 1, JSON.stringify(chunk));
      assert.ok(!('usage' in chunk), JSON.stringify(chunk));
      said += chunk.choices[0].delta.content ?? '';
    }
    assert.ok(said.length > 0);
  });

  test('a stream with include_usage has it in the last chunk and null before', async () => {
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages: user('Count from one to five'),
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
    for (const chunk of chunks) assert.equal(chunk.usage, null);
  });

  test('a tool makes its round trip, streamed', async () => {
    const messages = user('What is the weather? location=Oslo');
    const stream = client.chat.completions.stream({ model: MODEL, messages, tools: [chatTool] });
    const { message, finish_reason: reason } = (await stream.finalChatCompletion()).choices[0];
    assert.equal(reason, 'tool_calls');
    const [call] = message.tool_calls;
    assert.equal(call.function.name, 'get_weather');
    assert.equal(JSON.parse(call.function.arguments).location, 'Oslo');
    const second = await client.chat.completions.create({
      model: MODEL,
      messages: [...messages, message, { role: 'tool', tool_call_id: call.id, content: 'minus 4 degrees' }],
      tools: [chatTool],
    });
    assert.ok(second.choices[0].message.content.includes('minus 4 degrees'));
  });

  test('structured output parses', async () => {
    const completion = await client.chat.completions.parse({
      model: MODEL,
      messages: user('any'),
      response_format: zodResponseFormat(z.object({ answer: z.string() }), 'answer'),
    });
    assert.equal(typeof completion.choices[0].message.parsed.answer, 'string');
  });

  test('two choices', async () => {
    const completion = await client.chat.completions.create({ model: MODEL, messages: user('hello'), n: 2 });
    assert.deepEqual(completion.choices.map((choice) => choice.index), [0, 1]);
  });
});

describe('refusals', () => {
  test('a wrong key is an AuthenticationError without a hint', async () => {
    const wrong = new OpenAI({ baseURL: gateway.baseURL, apiKey: 'qf_wrong', maxRetries: 0 });
    await assert.rejects(wrong.responses.create({ model: MODEL, input: 'x' }), (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.equal(error.status, 401);
      assert.deepEqual(error.error, { message: 'Invalid API key', type: 'authentication_error' });
      return true;
    });
  });

  test('no key is a 401 whose body is the documented one', async () => {
    const reply = await fetch(`${gateway.baseURL}/models`);
    assert.equal(reply.status, 401);
    assert.deepEqual(await reply.json(), {
      error: 'Missing API key',
      message: 'Please provide an API key in the x-api-key, x-goog-api-key, or Authorization header',
    });
  });

  test('a key without the permission may list models and do nothing else', async (t) => {
    const [, secret] = Object.entries(gateway.keys).find(([name]) => /permission|no.?openai/.test(name)) ?? [];
    if (!secret) return t.skip('the example has no such key');
    const limited = new OpenAI({ baseURL: gateway.baseURL, apiKey: secret, maxRetries: 0 });
    await limited.models.list();
    await assert.rejects(limited.responses.create({ model: MODEL, input: 'x' }), (error) => {
      assert.ok(error instanceof OpenAI.PermissionDeniedError);
      assert.deepEqual(error.error, {
        message: 'This API key does not have permission to access OpenAI',
        type: 'permission_denied',
        code: 'permission_denied',
      });
      return true;
    });
  });

  test('an unknown model is a NotFoundError', async () => {
    await assert.rejects(client.responses.create({ model: 'no-such-model', input: 'x' }), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, 'model_not_found');
      for (const name of ['code', 'message', 'param', 'type']) assert.ok(name in error.error, name);
      return true;
    });
  });

  test('what is no JSON is a 400, and an unknown path a 404, in the same shape', async () => {
    const headers = { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' };
    for (const [path, body, status] of [['/responses', '{"model":', 400], ['/nothing', '{}', 404]]) {
      const reply = await fetch(gateway.baseURL + path, { method: 'POST', headers, body });
      assert.equal(reply.status, status);
      const { error } = await reply.json();
      assert.equal(error.type, 'invalid_request_error');
      assert.equal(typeof error.message, 'string');
      assert.ok('code' in error && 'param' in error);
    }
  });
});

const noMock = process.env.WEIR_SDK_BASE_URL ? 'no mock to steer' : false;

describe('retries of the library, driven by what the upstream does', { skip: noMock }, () => {
  const hello = { model: MODEL, input: 'Reply with only: ok' };

  beforeEach(async () => {
    await gateway.mock.clear();
    await gateway.rested();
  });

  test('429 of one account is served by another at once', async () => {
    await gateway.mock.fault({ status: 429, retry_after: '30' });
    const { result, calls } = await observed(() => client.responses.create(hello, { maxRetries: 0 }));
    assert.equal(result.output_text, 'ok');
    assert.equal(calls, 2);
  });

  test('429 of every account, with retry-after, is waited for and then served', async () => {
    await gateway.mock.fault({ status: 429, retry_after: '1' }, 2);
    const { result, calls, ms } = await observed(() => client.responses.create(hello));
    assert.equal(result.output_text, 'ok');
    assert.equal(calls, 3);
    assert.ok(ms >= 900 && ms < 4000, `${ms} ms`);
  });

  test('429 that stays is a RateLimitError with retry-after', async () => {
    await gateway.mock.fault({ status: 429, retry_after: '1' }, 100);
    await assert.rejects(client.responses.create(hello, { maxRetries: 0 }), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      const seconds = Number(error.headers.get('retry-after'));
      assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60, String(seconds));
      return true;
    });
  });

  test('usage_limit_reached keeps its shape and its reset', async () => {
    await gateway.mock.fault({ status: 429, body: 'usage_limit_reached', resets_in_seconds: 3600 }, 100);
    await assert.rejects(client.responses.create(hello, { maxRetries: 0 }), (error) => {
      assert.equal(error.status, 429);
      assert.equal(error.error.type, 'usage_limit_reached');
      assert.equal(error.error.message, 'The usage limit has been reached');
      assert.ok(error.error.resets_in_seconds > 3500 && error.error.resets_in_seconds <= 3600);
      return true;
    });
  });

  test('503 is retried by the library and then served', async () => {
    await gateway.mock.fault({ status: 503 });
    const { result } = await observed(() => client.responses.create(hello));
    assert.equal(result.output_text, 'ok');
  });

  test('500 that stays is an InternalServerError', async () => {
    await gateway.mock.fault({ status: 500 }, 100);
    await assert.rejects(client.responses.create(hello, { maxRetries: 0 }), OpenAI.InternalServerError);
  });

  test('400 of the upstream reaches the caller once, as it is', async () => {
    await gateway.mock.fault({ status: 400 }, 100);
    const { calls } = await observed(() => assert.rejects(client.responses.create(hello), OpenAI.BadRequestError));
    assert.equal(calls, 1);
  });

  for (const stream of ['responses', 'chat']) {
    test(`a cut mid-stream is an error, never a short success (${stream})`, async () => {
      await gateway.mock.fault({ reset_at_byte: 3000 });
      const request = { model: MODEL, stream: true };
      const events =
        stream === 'responses'
          ? await client.responses.create({ ...request, input: 'Count from 1 to 50' })
          : await client.chat.completions.create({ ...request, messages: user('Count from 1 to 50') });
      let error;
      let finished = false;
      let deltas = 0;
      try {
        for await (const event of events) {
          ++deltas;
          // The library hands on the error event of this API; that of chat it throws.
          if (event.type === 'error') error = event;
          finished ||= event.type === 'response.completed' || event.choices?.[0]?.finish_reason != null;
        }
      } catch (thrown) {
        error = thrown;
      }
      assert.ok(deltas > 0, 'nothing came before the cut');
      assert.ok(!finished, 'the cut stream claimed to be whole');
      assert.ok(error, 'the cut stream ended without an error');
    });
  }

  test('an abort by the caller reaches the upstream', async () => {
    const before = await gateway.mock.stats();
    const controller = new AbortController();
    const stream = await client.responses.create(
      { model: MODEL, input: 'Count from 1 to 1000 slowly', stream: true },
      { signal: controller.signal },
    );
    let seen = 0;
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta' && ++seen === 2) controller.abort();
    }
    const end = performance.now() + 5000;
    let stats;
    do {
      stats = await gateway.mock.stats();
    } while (stats.aborted <= before.aborted && performance.now() < end);
    assert.equal(stats.aborted, before.aborted + 1, JSON.stringify(stats));
  });
});

describe('Idempotency-Key', { skip: noMock }, () => {
  const body = { model: MODEL, input: 'Reply with only: once', max_output_tokens: 64 };
  const named = (key) => ({ headers: { 'Idempotency-Key': key } });

  test('asked again with the same key, the first reply comes again and the upstream is not asked', async () => {
    const first = await client.responses.create(body, named('sdk-json-1'));
    const { result, calls } = await observed(() => client.responses.create(body, named('sdk-json-1')));
    assert.equal(calls, 0);
    assert.deepEqual(result, first);
    const { response } = await client.responses.create(body, named('sdk-json-1')).withResponse();
    assert.equal(response.headers.get('idempotent-replayed'), 'true');
  });

  test('a stream comes again event by event', async () => {
    const events = async () => {
      const all = [];
      for await (const event of await client.responses.create({ ...body, stream: true }, named('sdk-stream-1'))) {
        all.push(event);
      }
      return all;
    };
    const first = await events();
    const { result, calls } = await observed(events);
    assert.equal(calls, 0);
    assert.deepEqual(result, first);
    assert.equal(first.at(-1).type, 'response.completed');
  });

  test('another body with the key is 422, which the library does not retry', async () => {
    await client.responses.create(body, named('sdk-other-1'));
    const { result, calls } = await observed(() =>
      client.responses.create({ ...body, input: 'something else' }, named('sdk-other-1')).catch((error) => error));
    assert.ok(result instanceof OpenAI.UnprocessableEntityError, String(result));
    assert.equal(result.code, 'idempotency_key_reused');
    assert.equal(calls, 0);
  });
});
