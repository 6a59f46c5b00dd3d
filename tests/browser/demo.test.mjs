// The demo as a program: one command starts everything, Ctrl-C ends it, and what was bought is still there.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Demo, scratch } from './demo.mjs';

let home;

before(async () => {
  home = await scratch();
});

after(async () => {
  await home.remove();
});

/** Buys as a program does: without a browser, and without ever coming back from the payment page. */
async function buy(demo, plan) {
  const opened = await demo.call('POST', '/v1/subscriptions', { plan });
  assert.equal(opened.status, 201, JSON.stringify(opened.body));
  const session = new URL(opened.body.checkout.url).pathname.split('/').pop();
  const paid = await fetch(`${demo.sandbox}/_sandbox/checkout/${session}/pay`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ card: '4242424242424242' }),
  });
  assert.ok(paid.ok, await paid.text());
}

async function entitled(demo, kind) {
  const { body } = await demo.call('GET', '/v1/entitlements');
  return body[kind].entitled;
}

/** Webhooks arrive when they arrive. */
async function becomesEntitled(demo, kind) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await entitled(demo, kind)) return;
    await pause(100);
  }
  assert.fail(`${kind} did not become hers`);
}

async function isGone(directory) {
  for (let tries = 0; tries < 100; tries += 1) {
    try {
      await readFile(path.join(directory, 'postgres/data/postmaster.pid'));
    } catch {
      return true;
    }
    await pause(100);
  }
  return false;
}

test('what was bought outlives the demo, until it is reset', async () => {
  let demo = await Demo.start(home.directory);
  assert.equal(await entitled(demo, 'membership'), false);
  await buy(demo, 'membership-annual');
  await becomesEntitled(demo, 'membership');
  assert.equal(await demo.stop('SIGINT'), 0);
  assert.ok(await isGone(home.directory));

  demo = await Demo.start(home.directory);
  assert.equal(await entitled(demo, 'membership'), true);
  await buy(demo, 'credits-20');
  await becomesEntitled(demo, 'top_up');
  assert.equal(await demo.stop('SIGTERM'), 0);

  demo = await Demo.start(home.directory, '--reset');
  assert.equal(await entitled(demo, 'membership'), false);
  assert.equal(await demo.stop('SIGTERM'), 0);
});

test('a second demo in the same directory says where the first one is', async () => {
  const demo = await Demo.start(home.directory);
  await assert.rejects(Demo.start(home.directory), (error) => {
    assert.match(error.message, /already runs/);
    assert.ok(error.message.includes(demo.page), error.message);
    return true;
  });
  assert.equal(await demo.stop(), 0);
});

test('a taken port is left to its owner', async () => {
  const first = await Demo.start(home.directory);
  const other = await scratch();
  const port = new URL(first.page).port;
  const second = await Demo.start(other.directory, '--port', port);
  assert.match(second.output, new RegExp(`port ${port} is taken`));
  assert.notEqual(second.page, first.page);
  assert.deepEqual(await Promise.all([first.stop(), second.stop()]), [0, 0]);
  await other.remove();
});

test('killed without mercy, it leaves no server behind and starts again', async () => {
  let demo = await Demo.start(home.directory);
  await demo.stop('SIGKILL');
  assert.ok(await isGone(home.directory));
  demo = await Demo.start(home.directory);
  assert.equal(await demo.stop(), 0);
});
