// Starts and stops the demo, as somebody at a terminal would.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export const PROJECT = path.resolve(import.meta.dirname, '../..');

export const PROGRAM =
  process.env.DEMO ??
  path.resolve(import.meta.dirname, '../../', process.env.CARGO_TARGET_DIR ?? 'target', 'debug/examples/demo');

/** A directory for the demo's data, and its end. */
export async function scratch() {
  const directory = await mkdtemp(path.join(tmpdir(), 'dues-demo-'));
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
}

/** A running demo: what it printed, where its parts are, and how to stop it. */
export class Demo {
  /** One in which nothing has happened: a year behind it takes its time, and most tests want to know all that is there. */
  static start(directory, ...options) {
    return Demo.lived(directory, '--empty', ...options);
  }

  /** One as somebody at a terminal starts it, with a year behind it. */
  static async lived(directory, ...options) {
    const demo = new Demo();
    // Away from the usual ports, where a developer's own demo may run; a taken one is the demo's own business.
    const port = ['--port', String(20000 + Math.floor(Math.random() * 20000))];
    const words = ['--dir', directory, ...(options.includes('--port') ? [] : port), ...options];
    demo.process = spawn(PROGRAM, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    demo.output = '';
    demo.ended = new Promise((done) => {
      demo.process.once('exit', (code, signal) => done(code ?? signal));
      // It is not built, or built elsewhere.
      demo.process.once('error', ({ message }) => done(message));
    });
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
    demo.start = demo.output.match(/^Open +(http:\S+)/m)[1];
    demo.page = new URL(demo.start).origin;
    const config = await (await fetch(`${demo.page}/config.json`)).json();
    demo.service = config.api_base;
    demo.sandbox = new URL(config.links.find(({ text }) => text === 'Payments sandbox').href).origin;
    demo.token = config.token;
    // With --login alone.
    demo.login = demo.output.match(/^Login +(http:\S+)\/ /m)?.[1];
    // With --mosaic alone.
    demo.mosaic = demo.output.match(/^Mosaic +(http:\S+)\/ /m)?.[1];
    demo.client = demo.output.match(/(http:\S+\/client\/\S+)/)?.[1];
    return demo;
  }

  /** Calls the service as the member who is signed in at the page. */
  call(method, path, body) {
    return new Member(this, this.token).call(method, path, body);
  }

  /** Tells the sandbox to do something. */
  async control(path, body) {
    const answer = await fetch(`${this.sandbox}/_sandbox/${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, await answer.clone().text());
    return answer.json();
  }

  /** Time goes by, here and at the payment service, and what falls due on the way is done. */
  async later(days) {
    await this.control('clock/advance', { seconds: Math.round(days * 86_400) });
    await this.control('deliveries/settle', { timeout_ms: 20_000 });
  }

  /** The token of somebody whom Mosaic's user service knows, and who has not bought anything yet. */
  async mosaicMember(name) {
    const answer = await fetch(`${this.mosaic}/_neighbour/end-user-token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ sub: crypto.randomUUID(), name, email: 'member@example.org' }),
    });
    return (await answer.json()).accessToken;
  }

  /** Somebody who has not bought anything yet. */
  newcomer(name) {
    return this.member(`${name}-${Math.random().toString(36).slice(2)}`, name);
  }

  /** Somebody of this id. */
  async member(user, name) {
    const settings = await readFile(path.join(PROJECT, 'config/development.toml'), 'utf8');
    const secret = settings.match(/^hs256_secret = "(.+)"/m)[1];
    const [header, body] = this.token.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    const signed = `${header}.${Buffer.from(JSON.stringify({ ...claims, sub: user })).toString('base64url')}`;
    const signature = createHmac('sha256', secret).update(signed).digest('base64url');
    return new Member(this, `${signed}.${signature}`, name, user);
  }

  /** The exit code, once everything has stopped. */
  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    return this.ended;
  }
}

/** Somebody with a token: calls the service, buys as a program does, signs in at the page. */
class Member {
  constructor(demo, token, name, user) {
    Object.assign(this, { demo, token, name, user });
  }

  async call(method, path, body) {
    const answer = await fetch(this.demo.service + path, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  }

  /** What she has, newest first. */
  async held(query = '') {
    const { body } = await this.call('GET', `/v1/subscriptions?limit=100${query}`);
    return body.data;
  }

  /** Orders, pays without a browser, and waits until it is hers. */
  async buy(order, card = '4242424242424242') {
    const opened = await this.call('POST', '/v1/subscriptions', order);
    assert.equal(opened.status, 201, JSON.stringify(opened.body));
    const session = new URL(opened.body.checkout.url).pathname.split('/').pop();
    await this.demo.control(`checkout/${session}/pay`, { card });
    const bought = opened.body.subscriptions.map(({ id }) => id);
    await this.until(async () => {
      const held = await this.held();
      return held.filter(({ id }) => bought.includes(id)).every(({ status }) => status === 'ACTIVE');
    }, 'it is hers');
    return bought;
  }

  /** From now on she pays with another card. */
  async payWith(card) {
    const customers = await (await fetch(`${this.demo.sandbox}/_sandbox/objects/customer`)).json();
    const customer = customers.find(({ metadata }) => metadata.dues_user_id === this.user);
    await this.demo.control(`customers/${customer.id}/card`, { card });
  }

  /** Webhooks arrive when they arrive. */
  async until(isSo, what) {
    for (let tries = 0; tries < 200; tries += 1) {
      if (await isSo()) return;
      await pause(50);
    }
    assert.fail(`it did not come to pass that ${what}`);
  }

  /** From now on she is the one who is signed in on that page. */
  async signIn(page) {
    const address = `${this.demo.page}/config.json`;
    const config = await (await fetch(address)).json();
    const hers = { ...config, token: this.token, member: { name: this.name } };
    await page.route(address, (route) => route.fulfill({ json: hers }));
  }
}
