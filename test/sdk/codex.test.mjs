// The Codex command line tool doing one tool call and an answer through the gateway.
//
// Its binary is large, so it is installed once under the user's cache, outside the tree, and the tests are
// skipped, with the reason printed, where the registry cannot be reached.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startGateway } from './gateway.mjs';

const VERSION = '0.169.0';
const CACHE = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'weir');
const FOLDER = path.join(CACHE, `codex-${VERSION}`);
const CODEX = path.join(FOLDER, 'node_modules', '.bin', 'codex');
const PROMPT = 'Use the shell tool to run a command, then say what it printed.';

// Runs a program to its end; never rejects.
function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = execFile(program, args, { maxBuffer: 64 << 20, ...options }, (error, stdout, stderr) =>
      resolve({ code: error ? (error.code ?? 1) : 0, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

async function install() {
  if (existsSync(CODEX)) return null;
  await mkdir(FOLDER, { recursive: true });
  await writeFile(path.join(FOLDER, 'package.json'), '{"private":true}\n');
  const done = await run('npm', ['install', '--no-audit', '--no-fund', '--no-save', `@openai/codex@${VERSION}`], {
    cwd: FOLDER,
    timeout: 300_000,
  });
  return done.code === 0 && existsSync(CODEX) ? null : `cannot install @openai/codex: ${done.stderr.slice(-300)}`;
}

describe('codex exec', { timeout: 420_000 }, () => {
  let gateway;
  let home;
  let missing;

  before(async () => {
    missing = await install();
    if (missing) return;
    gateway = await startGateway();
    // Codex warns about a home below the system's temporary folder.
    await mkdir(CACHE, { recursive: true });
    home = await mkdtemp(path.join(CACHE, 'codex-home-'));
  });
  after(async () => {
    await gateway?.stop();
    if (home) await rm(home, { recursive: true, force: true });
  });

  // One turn: what it said, as the events of --json, and how many calls the upstream saw.
  async function turn(config, env, args = []) {
    await writeFile(path.join(home, 'config.toml'), `check_for_update_on_startup = false\n${config}`);
    const workspace = await mkdtemp(path.join(home, 'work-'));
    const before = gateway.mock ? await gateway.mock.stats() : { requests: 0 };
    const started = performance.now();
    const done = await run(
      CODEX,
      ['exec', '--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', ...args, PROMPT],
      { cwd: workspace, timeout: 60_000, env: { PATH: process.env.PATH, HOME: home, CODEX_HOME: home, ...env } },
    );
    const ms = performance.now() - started;
    const after = gateway.mock ? await gateway.mock.stats() : { requests: 2 };
    const events = done.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    return { ...done, ms, events, calls: after.requests - before.requests };
  }

  function checkTurn({ code, events, calls, stderr, stdout }) {
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    const items = events.filter((event) => event.type === 'item.completed').map((event) => event.item);
    const command = items.find((item) => item.type === 'command_execution');
    assert.ok(command, stdout);
    assert.equal(command.exit_code, 0);
    assert.ok(command.aggregated_output.trim().length > 0, JSON.stringify(command));
    const answer = items.findLast((item) => item.type === 'agent_message');
    assert.ok(answer.text.includes(command.aggregated_output.trim()), answer.text);
    const end = events.findLast((event) => event.type === 'turn.completed');
    assert.ok(end.usage.input_tokens > 0 && end.usage.output_tokens > 0, JSON.stringify(end));
    assert.equal(calls, 2, 'one call for the tool, one for the answer');
  }

  test('with a provider of its own', async (t) => {
    if (missing) return t.skip(missing);
    const config = `
model = "gpt-5.5"
model_provider = "weir"
[model_providers.weir]
name = "weir"
base_url = "${gateway.baseURL}"
env_key = "QUOTAFLOW_API_KEY"
wire_api = "responses"
http_headers = { "x-session-id" = "workspace-1" }
`;
    checkTurn(await turn(config, { QUOTAFLOW_API_KEY: gateway.key }));
  });

  // The built-in provider asks for a WebSocket first. Only 426 sends it to POST at once; any other refusal
  // costs it seven tries and six seconds.
  test('with the built-in provider', async (t) => {
    if (missing) return t.skip(missing);
    const config = `model = "gpt-5.5"\nopenai_base_url = "${gateway.baseURL}"\n`;
    const result = await turn(config, { CODEX_API_KEY: gateway.key });
    checkTurn(result);
    assert.ok(!/Falling back from WebSockets/i.test(result.stderr + result.stdout), result.stderr);
    assert.ok(result.ms < 15_000, `${result.ms} ms`);
  });

  test('with a wrong key it ends with our message', async (t) => {
    if (missing) return t.skip(missing);
    const config = `
model = "gpt-5.5"
model_provider = "weir"
[model_providers.weir]
name = "weir"
base_url = "${gateway.baseURL}"
env_key = "QUOTAFLOW_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`;
    const result = await turn(config, { QUOTAFLOW_API_KEY: 'qf_wrong' });
    assert.notEqual(result.code, 0);
    assert.match(result.stdout + result.stderr, /401/);
    assert.equal(result.calls, 0);
  });
});
