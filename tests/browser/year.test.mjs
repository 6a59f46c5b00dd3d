// The year behind the demo: it is lived through once, it is what the first page says, and it is all or nothing.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { everywhere, launch, open } from './browser.mjs';
import { Demo, PROGRAM, scratch } from './demo.mjs';

let home;
let demo;
let browser;

before(async () => {
  home = await scratch();
  demo = await Demo.lived(home.directory);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await home.remove();
});

/** What somebody has, as `plan STATUS reason`, newest first. */
async function has(user) {
  const member = await demo.member(`member-${user}`, user);
  return (await member.held()).map(({ plan, status, status_reason: reason }) => `${plan} ${status} ${reason}`);
}

async function unsettled(state) {
  const metrics = await (await fetch(`${demo.service}/metrics`)).text();
  return Number(metrics.match(new RegExp(`^webhook_events_unsettled\\{state="${state}"\\} (\\d+)`, 'm'))?.[1] ?? 0);
}

async function objects(kind) {
  return (await fetch(`${demo.sandbox}/_sandbox/objects/${kind}`)).json();
}

test('a year of members lies behind it, and ends now', async () => {
  assert.match(demo.output, /living through a year: \w+ 20\d\d, \d+ members …/);
  const clock = await (await fetch(`${demo.sandbox}/_sandbox/clock`)).json();
  assert.equal(clock.offset, 0);
  const users = new Set((await objects('customer')).map(({ metadata }) => metadata.dues_user_id).filter(Boolean));
  const counts = {};
  const joined = [];
  for (const user of users) {
    const member = await demo.member(user, user);
    for (const { status, activated_at: at } of await member.held()) {
      counts[status] = (counts[status] ?? 0) + 1;
      if (at) joined.push(at.slice(0, 7));
    }
  }
  assert.equal(users.size, 60);
  // The webhooks of two lines are lost; the service finds them within ten minutes, on a slow machine perhaps before us.
  const found = counts.ACTIVE === 80 ? 2 : 0;
  assert.deepEqual(counts, {
    ACTIVE: 78 + found,
    CANCELLED: 2,
    ENDED: 8,
    ON_HOLD: 4,
    PENDING_ACTIVATION: 4 - found,
    PENDING_COMPLETION: 2,
  });
  // Which months of the calendar they fall into depends on the day.
  assert.ok(new Set(joined).size >= 10, `somebody joins in most months: ${joined}`);
  assert.deepEqual(await demo.call('GET', '/v1/subscriptions').then(({ body }) => body.data), [], 'Ada has bought nothing');
});

test('whoever wrote to support has what the first page says', async () => {
  const wanted = {
    farid: ['membership-annual ON_HOLD unpaid'],
    lena: ['credits-20 ACTIVE paid', 'credits-20 ACTIVE paid', 'membership-annual ACTIVE paid'],
    jana: ['share PENDING_COMPLETION payment_processing', 'membership-annual PENDING_COMPLETION payment_processing'],
    ivo: ['membership-annual ENDED checkout_expired'],
    karim: ['credits-50 ENDED payment_failed'],
    nora: ['credits-50 ENDED refunded'],
    petra: ['credits-50 ON_HOLD disputed'],
    quentin: ['share ENDED dispute_lost'],
    samira: ['credits-50 ON_HOLD disputed'],
    tomas: ['membership-monthly ACTIVE paid'],
    ulla: ['membership-monthly ENDED ended'],
    viktor: ['membership-monthly ON_HOLD unpaid'],
    edda: ['membership-monthly ACTIVE payment_retrying'],
    xenia: ['membership-monthly ENDED ended'],
    zofia: ['membership-annual CANCELLED cancel_scheduled'],
    cleo: ['membership-annual ACTIVE paid'],
    anton: [],
  };
  for (const [user, lines] of Object.entries(wanted)) assert.deepEqual((await has(user)).sort(), [...lines].sort(), user);
  const customers = await objects('customer');
  const subscriptions = await objects('subscription');
  const of = (user) => customers.find(({ email }) => email?.startsWith(user));
  const paid = subscriptions.find(({ customer }) => customer === of('farid').id);
  assert.equal(paid.status, 'active', 'paid at Stripe, and not here');
  assert.deepEqual([of('anton').name, of('anton').metadata], ['Anton Berger', {}], 'to be adopted');
  assert.equal(customers.filter(({ name }) => name === 'Carmen Ortega').length, 2, 'a customer for each currency');
  assert.ok((await unsettled('flagged')) >= 3);
  assert.ok((await unsettled('failed')) >= 1);
});

test('the first page leads everywhere, on every screen', async () => {
  const { page, complaints, close } = await open(browser);
  await page.goto(demo.start);
  await everywhere(page, 'start');
  const places = await page.locator('.places a').evaluateAll((links) => links.map(({ href }) => href));
  assert.ok(places.includes(`${demo.page}/`) && places.includes(`${demo.service}/console/`), places.join());
  assert.equal(await page.locator('.mails > li').count(), 13);
  const ids = await page.locator('.mails .from code').allTextContents();
  const known = new Set((await objects('subscription')).map(({ id }) => id));
  assert.ok(known.has(ids.find((id) => id.startsWith('sub_'))), 'what a mail mentions is there');
  const tokens = page.locator('.token');
  const roles = [];
  for (const token of await tokens.allTextContents()) {
    roles.push(JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).roles?.join() ?? 'none');
  }
  assert.deepEqual(roles, ['dues:operator', 'dues:reader', 'dues:support', 'dues:treasurer', 'none']);
  await page.getByRole('link', { name: 'The shop' }).click();
  await page.getByText('Signed in as Ada').waitFor();
  for (const [name, user, role] of [['Grace', 'operator-grace', 'Operator'], ['Ruth', 'operator-ruth', 'Reader']]) {
    await page.goto(demo.start);
    await page.getByRole('link', { name: `Open the console as ${name}` }).click();
    await page.getByRole('heading', { level: 1, name: 'Today' }).waitFor();
    await page.getByText(`Signed in as ${user}, ${role}.`).waitFor();
    assert.ok(!page.url().includes('token'), 'the address forgets the token');
  }
  assert.deepEqual(complaints, []);
  await close();
});

test('the next start finds it, and what has failed fails still', async () => {
  const before = await has('rosa');
  assert.equal(await demo.stop(), 0);
  demo = await Demo.lived(home.directory);
  assert.doesNotMatch(demo.output, /living through/);
  assert.deepEqual(await has('rosa'), before);
  const member = await demo.member('member-samira', 'samira');
  // Each start gives what has failed another try.
  await member.until(async () => (await unsettled('failed')) >= 1, 'it has failed again');
  assert.deepEqual(await has('samira'), ['credits-50 ON_HOLD disputed']);
});

test('a year that was cut off is begun afresh', async () => {
  const other = await scratch();
  const port = String(20000 + Math.floor(Math.random() * 20000));
  const words = ['--dir', other.directory, '--port', port];
  const cut = spawn(PROGRAM, words, { stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  for await (const chunk of cut.stdout) {
    said += chunk;
    if (/living through a year/.test(said)) break;
  }
  cut.kill('SIGKILL');
  if (cut.exitCode === null && cut.signalCode === null) await once(cut, 'exit');
  const next = await Demo.start(other.directory);
  assert.match(next.output, /cut off in the middle of its year/);
  const customers = await (await fetch(`${next.sandbox}/_sandbox/objects/customer`)).json();
  assert.deepEqual(customers, []);
  assert.equal(await next.stop(), 0);
  await other.remove();
});
