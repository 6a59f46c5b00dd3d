// What the tests of the console share: operators with their roles, and what support does at the payment service itself.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { reads } from './browser.mjs';
import { PROJECT } from './demo.mjs';

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token of the demo's login for somebody with these roles, good for so many seconds from now; at most what the demo gives. */
export async function tokenOf(demo, user, roles, { seconds } = {}) {
  const settings = await readFile(path.join(PROJECT, 'config/development.toml'), 'utf8');
  const secret = settings.match(/^hs256_secret = "(.+)"/m)[1];
  const [header, body] = demo.token.split('.');
  const claims = { ...JSON.parse(Buffer.from(body, 'base64url')), sub: user, roles };
  if (seconds !== undefined) claims.exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${header}.${base64(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Somebody at the console's page. */
export class Operator {
  static async at(page, demo, role = 'operator', options = {}) {
    const operator = new Operator();
    const user = options.user ?? `${role}-${Math.random().toString(36).slice(2)}`;
    const token = await tokenOf(demo, user, [`dues:${role}`], options);
    Object.assign(operator, { page, demo, user, token, address: `${demo.service}/console/` });
    return operator;
  }

  /** Opens the console and pastes the token. */
  async signIn(where = '') {
    await this.page.goto(this.address + where);
    await this.page.getByLabel('Development token').fill(this.token);
    await this.page.getByRole('button', { name: 'Use this token' }).click();
    await this.page.locator('#navigation').waitFor();
  }

  /** Searches from wherever she is. */
  async search(text) {
    await this.page.locator('#search').fill(text);
    await this.page.locator('#search').press('Enter');
  }

  /** The page of a member's only purchase of that plan; she is found by her id, or by what she has written. */
  async opens(member, plan, { by = member.user } = {}) {
    await this.search(by);
    await this.page.getByRole('heading', { name: member.user, exact: true }).waitFor();
    await this.page.locator(`.holding[data-plan="${plan}"] a`).first().click();
    await this.page.locator('.state .badge').waitFor();
  }

  act(verb) {
    return this.page.locator(`#acts [data-verb="${verb}"]`);
  }

  get form() {
    return this.page.getByRole('dialog');
  }

  /** The button that does it, once what will happen was shown. */
  get does() {
    return this.page.locator('#act-do');
  }

  async reason(code, reference) {
    await this.form.getByLabel('Reason').selectOption(code);
    if (reference) await this.form.getByLabel('Reference').fill(reference);
  }

  /** The page tells that it was done, and how. */
  done(text) {
    return reads(this.page.locator('#done'), text);
  }

  /** Calls the service as she would. */
  async call(method, address, body, key = crypto.randomUUID()) {
    const answer = await fetch(`${this.demo.service}/v1/operator${address}`, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  }
}

/** What support does at the payment service itself, and looks up there. */
export class Stripe {
  constructor(demo) {
    this.demo = demo;
  }

  async call(method, address, form) {
    const answer = await fetch(this.demo.sandbox + address, {
      method,
      headers: { Authorization: 'Bearer sk_test_sandbox', 'Content-Type': 'application/x-www-form-urlencoded' },
      body: form && new URLSearchParams(form).toString(),
    });
    const body = await answer.json();
    assert.ok(answer.ok, JSON.stringify(body));
    return body;
  }

  /** All objects of a kind. */
  async objects(kind) {
    return (await fetch(`${this.demo.sandbox}/_sandbox/objects/${kind}`)).json();
  }

  /** A member's customer. */
  async customer(member) {
    const all = await this.objects('customer');
    return all.find(({ metadata }) => metadata.dues_user_id === member.user);
  }

  /** What has been told of an object of hers, newest first. */
  async events(type) {
    const { data } = await this.call('GET', `/v1/events?limit=100&type=${type}`);
    return data;
  }
}

/** Orders and pays as somebody with an address and a name, and says what the payment service answers. */
export async function orders(member, order, paying = { card: '4242424242424242' }) {
  const opened = await member.call('POST', '/v1/subscriptions', order);
  assert.equal(opened.status, 201, JSON.stringify(opened.body));
  const session = new URL(opened.body.checkout.url).pathname.split('/').pop();
  const answer = await fetch(`${member.demo.sandbox}/_sandbox/checkout/${session}/pay`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(paying),
  });
  return { session, status: answer.status, ids: opened.body.subscriptions.map(({ id }) => id) };
}

/** Waits until something is so. */
export async function until(isSo, what) {
  for (let tries = 0; tries < 300; tries += 1) {
    const found = await isSo();
    if (found) return found;
    await pause(50);
  }
  return assert.fail(`it did not come to pass that ${what}`);
}
