// Starts `weir demo --example quotaflow --json` for a test file and stops it by its process id.
//
// WEIR_BINARY names the program (./dev sets it). With WEIR_SDK_BASE_URL and WEIR_SDK_KEY set the tests run
// against a server that is already there instead; those that steer the mock are then skipped.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const START_MS = 30_000;

function binary() {
  if (process.env.WEIR_BINARY) return path.resolve(process.env.WEIR_BINARY);
  const built = ['debug', 'release'].map((p) => path.join(ROOT, 'build', p, 'weir')).filter(existsSync);
  if (built.length === 0) throw new Error('there is no weir to test; ./dev build, or set WEIR_BINARY');
  return built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

export async function startGateway(example = 'quotaflow') {
  if (process.env.WEIR_SDK_BASE_URL) {
    return {
      baseURL: process.env.WEIR_SDK_BASE_URL,
      key: process.env.WEIR_SDK_KEY ?? 'none',
      keys: {},
      mock: null,
      stop: async () => {},
    };
  }
  const child = spawn(binary(), ['demo', '--example', example, '--json'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (part) => (errors = (errors + part).slice(-8000)));
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  const line = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready in ${START_MS} ms\n${errors}`)), START_MS);
    createInterface({ input: child.stdout }).once('line', (text) => {
      clearTimeout(timer);
      resolve(text);
    });
    ended.then(({ code, signal }) => reject(new Error(`ended with ${code ?? signal}\n${errors}`)));
  });
  const started = JSON.parse(line);
  const root = started.base_url.replace(/\/+$/, '').replace(/\/(openai\/)?v1$/, '');
  return {
    root,
    baseURL: `${root}/openai/v1`,
    adminURL: started.admin_url.replace(/\/+$/, ''),
    adminToken: started.admin_token,
    key: Object.values(started.keys)[0],
    keys: started.keys,
    mock: new Mock(Object.values(started.upstreams)[0]),
    errors: () => errors,
    // Ends the rest of every account: what one test did to them is not the next one's affair.
    rested: async () => {
      const admin = async (method, target) => {
        const reply = await fetch(started.admin_url.replace(/\/+$/, '') + target, {
          method,
          headers: { authorization: `Bearer ${started.admin_token}` },
        });
        if (!reply.ok) throw new Error(`admin ${method} ${target}: ${reply.status} ${await reply.text()}`);
        return reply.json();
      };
      for (const account of (await admin('GET', '/admin/v1/accounts')).data) {
        await admin('POST', `/admin/v1/accounts/${encodeURIComponent(account.id)}/clear`);
      }
    },
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      const end = await ended;
      clearTimeout(timer);
      return end;
    },
  };
}

// `weir serve` with a configuration of the test's own: its `data_dir`, its listeners and a sandbox are added.
export async function serveGateway(config) {
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-sdk-'));
  const file = path.join(folder, 'weir.yaml');
  const data = path.join(folder, 'data');
  writeFileSync(
    file,
    `listen: 127.0.0.1:0\nadmin:\n  listen: 127.0.0.1:0\ndata_dir: ${data}\n` +
      `upstreams: [{name: sandbox, kind: sandbox}]\nmodels: [{id: m1, routes: [sandbox]}]\n${config}`,
  );
  const child = spawn(binary(), ['serve', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (part) => (errors = (errors + part).slice(-8000)));
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  // What is printed ends with how to make a key, once everything listens.
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready in ${START_MS} ms\n${errors}`)), START_MS);
    createInterface({ input: child.stdout }).on('line', (text) => {
      if (!text.includes('weir keys create')) return;
      clearTimeout(timer);
      resolve();
    });
    ended.then(({ code, signal }) => reject(new Error(`ended with ${code ?? signal}\n${errors}`)));
  });
  const adminURL = readFileSync(path.join(data, 'admin-url'), 'utf8').trim();
  const adminToken = readFileSync(path.join(data, 'admin-token'), 'utf8').trim();
  return {
    admin: async (method, target) => {
      const reply = await fetch(`${adminURL}/admin/v1${target}`, {
        method,
        headers: { authorization: `Bearer ${adminToken}` },
      });
      if (!reply.ok) throw new Error(`admin ${method} ${target}: ${reply.status} ${await reply.text()}`);
      return reply.json();
    },
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      const end = await ended;
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
      return end;
    },
  };
}

// The control endpoint of `weir mock-upstream` (docs/guide/mock-upstream.md).
class Mock {
  constructor(url) {
    this.url = url.replace(/\/+$/, '').replace(/\/v1$/, '');
  }

  // The next `times` requests meet `fault`.
  async fault(fault, times = 1) {
    await this.#call('POST', '/_control', { fault, times });
  }

  async clear() {
    await this.#call('DELETE', '/_control');
  }

  // {requests, open_streams, aborted, ...}
  async stats() {
    return (await this.#call('GET', '/_stats')).json();
  }

  async #call(method, target, body) {
    const reply = await fetch(this.url + target, {
      method,
      headers: body ? { 'content-type': 'application/json' } : {},
      body: body && JSON.stringify(body),
    });
    if (!reply.ok) throw new Error(`mock ${method} ${target}: ${reply.status} ${await reply.text()}`);
    return reply;
  }
}

export const weather = {
  name: 'get_weather',
  description: 'The weather in a city.',
  parameters: {
    type: 'object',
    properties: { location: { type: 'string' } },
    required: ['location'],
    additionalProperties: false,
  },
};
