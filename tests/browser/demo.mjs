// Starts and stops the demo, as somebody at a terminal would.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const PROGRAM =
  process.env.DEMO ??
  path.resolve(import.meta.dirname, '../../', process.env.CARGO_TARGET_DIR ?? 'target', 'debug/examples/demo');

/** A directory for the demo's data, and its end. */
export async function scratch() {
  const directory = await mkdtemp(path.join(tmpdir(), 'dues-demo-'));
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
}

/** A running demo: what it printed, where its parts are, and how to stop it. */
export class Demo {
  static async start(directory, ...options) {
    const demo = new Demo();
    // Away from the usual ports, where a developer's own demo may run; a taken one is the demo's own business.
    const port = ['--port', String(20000 + Math.floor(Math.random() * 20000))];
    const words = ['--dir', directory, ...(options.includes('--port') ? [] : port), ...options];
    demo.process = spawn(PROGRAM, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    demo.output = '';
    demo.ended = new Promise((done) => demo.process.once('exit', (code, signal) => done(code ?? signal)));
    const up = new Promise((done) => {
      const read = (chunk) => {
        demo.output += chunk;
        if (demo.output.includes('Ctrl-C stops everything')) done();
      };
      demo.process.stdout.setEncoding('utf8').on('data', read);
      demo.process.stderr.setEncoding('utf8').on('data', read);
    });
    const ended = await Promise.race([up, demo.ended.then((code) => `it ended with ${code}`)]);
    if (ended) throw new Error(`the demo did not start, ${ended}:\n${demo.output}`);
    const address = (label) => demo.output.match(new RegExp(`${label} +(http://127\\.0\\.0\\.1:\\d+)`))[1];
    demo.page = address('Open');
    demo.sandbox = address('Look at');
    demo.service = demo.output.match(/(http:\S+)\/docs/)[1];
    demo.token = demo.output.match(/^(ey\S+)$/m)[1];
    return demo;
  }

  /** Calls the service as the member. */
  async call(method, path, body) {
    const answer = await fetch(this.service + path, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  }

  /** The exit code, once everything has stopped. */
  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    return this.ended;
  }
}
