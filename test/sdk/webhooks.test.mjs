// What the gateway sends, judged by the reference library of Standard Webhooks: a receiver that uses it must take
// a delivery as it comes, and must not take one that was changed, is another endpoint's, or is signed by nobody.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { Webhook, WebhookVerificationError } from 'standardwebhooks';

import { serveGateway } from './gateway.mjs';

const secret = (byte) => `whsec_${Buffer.alloc(32, byte).toString('base64')}`;
const FIRST = secret(1);
const SECOND = secret(2);
const skip = process.env.WEIR_SDK_BASE_URL ? 'needs a configuration of its own' : false;

describe('standardwebhooks', { skip }, () => {
  let gateway;
  let receiver;
  const waiting = [];

  before(async () => {
    receiver = createServer((request, response) => {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => {
        response.writeHead(204).end();
        waiting.shift()?.({ headers: request.headers, body: Buffer.concat(parts).toString('utf8') });
      });
    });
    receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const url = `http://127.0.0.1:${receiver.address().port}/in`;
    gateway = await serveGateway(`webhooks:
  - {name: one, url: "${url}", secret: "${FIRST}", allow_private: true}
  - {name: both, url: "${url}", secret: "${SECOND} ${FIRST}", allow_private: true}
`);
  });
  after(async () => {
    await gateway?.stop();
    receiver?.close();
  });

  // The delivery of a test event to an endpoint.
  async function delivered(name) {
    const arrived = new Promise((resolve) => waiting.push(resolve));
    const { event_id } = await gateway.admin('POST', `/webhooks/${name}/test`);
    const delivery = await arrived;
    assert.equal(delivery.headers['webhook-id'], event_id);
    return delivery;
  }

  test('accepts a delivery', async () => {
    const { headers, body } = await delivered('one');
    const event = new Webhook(FIRST).verify(body, headers);
    assert.equal(event.type, 'webhook.test');
    assert.equal(event.data.endpoint, 'one');
    assert.ok(Math.abs(Date.parse(event.timestamp) - Date.now()) < 60_000, event.timestamp);
    assert.equal(headers['content-type'], 'application/json');
  });

  test('accepts it by either secret while they change', async () => {
    const { headers, body } = await delivered('both');
    for (const key of [FIRST, SECOND]) assert.equal(new Webhook(key).verify(body, headers).data.endpoint, 'both');
  });

  test('takes no delivery that is not as it was signed', async () => {
    const { headers, body } = await delivered('one');
    const webhook = new Webhook(FIRST);
    const refused = (given, text, by = webhook) =>
      assert.throws(() => by.verify(text, given), WebhookVerificationError);
    refused(headers, body, new Webhook(SECOND));
    refused(headers, body.replace('webhook.test', 'webhook.tess'));
    refused({ ...headers, 'webhook-id': `${headers['webhook-id'].slice(0, -1)}!` }, body);
    refused({ ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) }, body);
    refused({ ...headers, 'webhook-signature': 'v1,' }, body);
    const without = { ...headers };
    delete without['webhook-signature'];
    refused(without, body);
    webhook.verify(body, headers);
  });

  test('makes the signature that we make', async () => {
    const { headers, body } = await delivered('one');
    const at = new Date(Number(headers['webhook-timestamp']) * 1000);
    assert.equal(new Webhook(FIRST).sign(headers['webhook-id'], at, body), headers['webhook-signature']);
  });
});
