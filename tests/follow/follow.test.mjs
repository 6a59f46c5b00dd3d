// The examples of docs/FOLLOW.md, as they stand there, against a running service: whoever copies them gets what they say.
// What is sent is verified by the official Standard Webhooks libraries for Python and JavaScript.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import ts from 'typescript';
import { Demo, PROJECT, scratch } from '../browser/demo.mjs';

const TOKEN = 'a-token-of-the-follow-tests-of-32-characters';
const SECRET = 'whsec_YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyBsZW4=';
const OLD_SECRET = 'whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXQ=';
const TOP_UPS = 5;

let home;
let demo;
let blocks;
let receivers;
const running = new Set();

/** Code blocks of a language in the document, in their order. */
function blocksOf(document, language) {
  return [...document.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map((match) => match[1]);
}

/** TypeScript as JavaScript; fails where it is not sound. */
async function compiled(directory, name, source) {
  const file = path.join(directory, `${name}.ts`);
  await writeFile(file, source);
  const options = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    typeRoots: [path.join(import.meta.dirname, 'node_modules/@types')],
    skipLibCheck: true,
  };
  const host = ts.createCompilerHost(options);
  // It lies elsewhere, and takes its libraries from here.
  host.resolveModuleNameLiterals = (names) =>
    names.map(({ text }) => ts.resolveModuleName(text, import.meta.filename, options, host));
  const program = ts.createProgram([file], options, host);
  const wrong = ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  assert.deepEqual(wrong, [], file);
  const emitted = ts.transpileModule(source, { compilerOptions: { ...options, noEmit: false, module: ts.ModuleKind.ESNext } });
  const out = path.join(directory, `${name}.mjs`);
  await writeFile(out, emitted.outputText);
  return out;
}

/** Starts a program; it ends with the tests, if not before. */
function start(program, words, cwd, env = {}) {
  const child = spawn(program, words, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const ended = new Promise((done) => child.once('exit', done));
  ended.then(() => running.delete(child));
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](), ended };
}

async function until(what, ask) {
  for (let tries = 0; tries < 600; tries += 1) {
    const answer = await ask();
    if (answer) return answer;
    await pause(50);
  }
  assert.fail(`it did not come to pass that ${what}`);
}

before(async () => {
  home = await scratch();
  const document = await readFile(path.join(PROJECT, 'docs/FOLLOW.md'), 'utf8');
  blocks = { python: blocksOf(document, 'python'), ts: blocksOf(document, 'ts') };
  assert.deepEqual([blocks.python.length, blocks.ts.length], [2, 2], 'the document has other examples than these tests know');
  const directory = path.join(home.directory, 'receivers');
  await mkdir(directory, { recursive: true });
  receivers = await Promise.all([pythonReceiver(directory), nodeReceiver(directory)]);
  const follower = ({ name, port }, more = '') => `[[follower]]
name = "${name}"
kind = "webhook"
url = "http://127.0.0.1:${port}/hooks"
secret_env = "PLAYER_SECRET"
${more}`;
  const file = path.join(home.directory, 'followers.toml');
  await writeFile(file, follower(receivers[0]) + follower(receivers[1], 'old_secret_env = "PLAYER_OLD_SECRET"\n'));
  Object.assign(process.env, { PLAYER_SECRET: SECRET, PLAYER_OLD_SECRET: OLD_SECRET });
  const settings = ['--set', `FEED__TOKENS=${TOKEN}`, '--set', `FOLLOWERS__FILE=${file}`];
  demo = await Demo.start(path.join(home.directory, 'demo'), ...settings);
});

after(async () => {
  for (const child of running) child.kill('SIGKILL');
  await demo?.stop();
  await home?.remove();
});

/** A server that hands each message to the document's example, and prints what came of it. */
async function pythonReceiver(directory) {
  const server = `
import json, os, http.server
${blocks.python[1]}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            verified, status = receive(body, dict(self.headers)), 204
        except Exception as error:
            verified, status = repr(error), 400
        print(json.dumps({"verified": verified, "signature": self.headers["webhook-signature"]}), flush=True)
        self.send_response(status)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
`;
  const file = path.join(directory, 'receiver.py');
  await writeFile(file, server);
  return listening('python', start('python3', [file], directory, { SECRET }));
}

async function nodeReceiver(directory) {
  const example = await compiled(directory, 'receive', `${blocks.ts[1]}\nexport { receive };\n`);
  const library = createRequire(import.meta.url).resolve('standardwebhooks');
  await writeFile(example, (await readFile(example, 'utf8')).replace("'standardwebhooks'", JSON.stringify(library)));
  const server = `
import { createServer } from 'node:http';
import { receive } from './receive.mjs';
const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  let verified;
  try {
    verified = receive(body, request.headers);
    response.statusCode = 204;
  } catch (error) {
    verified = String(error);
    response.statusCode = 400;
  }
  console.log(JSON.stringify({ verified, signature: request.headers['webhook-signature'] }));
  response.end();
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify(server.address())));
`;
  const file = path.join(directory, 'receiver.mjs');
  await writeFile(file, server);
  // It holds the old secret still: both sign.
  return listening('node', start(process.execPath, [file], directory, { SECRET: OLD_SECRET }));
}

async function listening(name, { lines }) {
  const { value } = await lines.next();
  const receiver = { name, port: JSON.parse(value).port, got: [] };
  (async () => {
    for await (const line of lines) receiver.got.push(JSON.parse(line));
  })();
  return receiver;
}

/** The transactions of a member's payments, as she sees them. */
async function paymentsOf(member) {
  const payments = [];
  for (const { id } of await member.held()) {
    const { body } = await member.call('GET', `/v1/subscriptions/${id}/transactions`);
    payments.push(...body.data.filter(({ kind, type }) => (kind ?? type) === 'payment').map((payment) => payment.id));
  }
  return payments.sort();
}

test('every top-up is credited once, however often the examples are killed', async () => {
  const member = await demo.newcomer('Ada');
  const directory = path.join(home.directory, 'credits');
  await mkdir(directory, { recursive: true });
  const python = path.join(directory, 'credits.py');
  await writeFile(python, blocks.python[0]);
  const node = await compiled(directory, 'credits', blocks.ts[0]);
  const env = { DUES: demo.service, FEED_TOKEN: TOKEN };
  const examples = [
    () => start('python3', [python], directory, env),
    () => start(process.execPath, [node], directory, env),
  ];
  let following = examples.map((example) => example());
  for (let count = 0; count < TOP_UPS; count += 1) {
    await member.buy({ plan: 'credits-20' });
    // In the middle of whatever they are doing.
    const { child, ended } = following[count % 2];
    child.kill('SIGKILL');
    await ended;
    following[count % 2] = examples[count % 2]();
  }
  await member.buy({ plan: 'share' });
  const bought = await until('all are paid', async () => {
    const payments = await paymentsOf(member);
    return payments.length === TOP_UPS + 1 && payments;
  });
  const credited = {
    python: () => {
      const query = 'import sqlite3; print(*[row[0] for row in sqlite3.connect("credits.db").execute("SELECT payment FROM credits")])';
      const { stdout } = spawnSync('python3', ['-c', query], { cwd: directory, encoding: 'utf8' });
      return stdout.split(/\s+/).filter(Boolean);
    },
    node: async () => {
      const book = await readFile(path.join(directory, 'book.json'), 'utf8').catch(() => '{"credits":{}}');
      return Object.keys(JSON.parse(book).credits);
    },
  };
  for (const [name, read] of Object.entries(credited)) {
    const all = await until(`${name} has credited all`, async () => {
      const found = await read();
      return found.length >= TOP_UPS && found.sort();
    });
    assert.equal(all.length, TOP_UPS, name);
    assert.deepEqual(all.filter((payment) => !bought.includes(payment)), [], name);
  }
});

test('what is sent is verified by the official libraries, by either secret while they rotate', async () => {
  const member = await demo.newcomer('Bea');
  const [id] = await member.buy({ plan: 'membership-monthly' });
  for (const receiver of receivers) {
    await until(`${receiver.name} is told that it is active`, () =>
      receiver.got.some(({ verified }) => verified.subscription_id === id && verified.data.status === 'ACTIVE'),
    );
    const wrong = receiver.got.filter(({ verified }) => typeof verified === 'string');
    assert.deepEqual(wrong, [], receiver.name);
  }
  const signatures = receivers.map(({ got }) => got[0].signature.split(' ').length);
  assert.deepEqual(signatures, [1, 2]);
});
