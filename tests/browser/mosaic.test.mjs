// The client of Mosaic's old payment connector, unchanged, against Dues: it calls nothing but the connector's routes, and
// what was bought is to be seen at Mosaic Billing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { badge, everywhere, launch, open, pay, picture, reads } from './browser.mjs';
import { Demo, scratch } from './demo.mjs';

const OK = '4242424242424242';
const ANNUAL = 'Annual membership, by card (1 YEAR), 30.00 EUR';
const MONTHLY = 'Monthly membership, by card (1 MONTH), 3.00 EUR';

let home;
let demo;
let browser;

before(async () => {
  home = await scratch();
  [demo, browser] = await Promise.all([Demo.start(home.directory, '--mosaic'), launch()]);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await home?.remove();
});

/** The client's page with the member's token, and what it calls of Dues. */
async function client() {
  const member = await open(browser);
  const calls = [];
  member.page.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (origin === demo.service) calls.push(`${request.method()} ${pathname}`);
  });
  await member.page.goto(demo.client);
  await member.page.getByLabel('Access token of the member').fill(demo.token);
  return { ...member, calls };
}

/** From the list of plans to the payment page. */
async function subscribe(page, plan) {
  await page.getByRole('button', { name: 'Show plans' }).click();
  const line = page.locator('#plans li').filter({ hasText: plan });
  await line.getByRole('button', { name: 'Subscribe via Stripe' }).click();
  await page.waitForURL(/\/c\/pay\//);
}

/** What Mosaic Billing shows; held still, as it reloads itself every few seconds. */
async function billing(page, text) {
  await page.route(`${demo.mosaic}/`, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace('<meta http-equiv="refresh" content="5">', '');
    await route.fulfill({ response, body });
  });
  const tellings = page.locator('section.card').filter({ hasText: text });
  for (let tries = 0; tries < 100; tries += 1) {
    await page.goto(`${demo.mosaic}/`);
    if (await tellings.count()) return tellings.first();
    await page.waitForTimeout(50);
  }
  return assert.fail(`Mosaic Billing does not show ${text}: ${await page.locator('main').innerText()}`);
}

test('the old client sells, and Mosaic Billing has the subscription with its payment', async () => {
  const { page, complaints, calls, close } = await client();
  await subscribe(page, ANNUAL);
  await pay(page, OK);
  await page.waitForURL(/\/client\/success\.html\?subscription_id=/);
  await picture(page, 'mosaic-success');
  const bought = new URL(page.url()).searchParams.get('subscription_id');
  const { body } = await demo.call('GET', `/v1/subscriptions/${bought}`);
  assert.deepEqual([body.plan, body.status], ['membership-annual', 'ACTIVE']);

  await page.getByRole('link', { name: 'Back to the plans' }).click();
  assert.equal(await page.getByLabel('Access token of the member').inputValue(), demo.token);
  await page.getByRole('button', { name: 'Show my pages' }).click();
  await page.getByRole('link', { name: 'Ada (EUR)' }).waitFor();
  await everywhere(page, 'mosaic-client');
  await page.getByRole('link', { name: 'Ada (EUR)' }).click();
  await page.waitForURL(new RegExp(`^${demo.sandbox}/`));
  assert.deepEqual(calls, ['POST /start-checkout', 'GET /success-checkout', 'GET /customer-overview']);

  const shown = await billing(page, 'PAYMENT');
  await reads(shown.locator('.status'), 'ACTIVE');
  await reads(shown.locator('h2'), 'Annual membership');
  await reads(shown.locator('dd code'), bought);
  await reads(shown.locator('tr').filter({ hasText: 'PAYMENT' }), '30.00');
  await everywhere(page, 'mosaic-billing');

  await page.goto(demo.page);
  await reads(badge(page, 'membership-annual'), 'Active');
  assert.deepEqual(complaints, []);
  await close();
});

test('who goes back has bought nothing, and the client says so', async () => {
  const { page, complaints, calls, close } = await client();
  // She holds the other one of its group: whatever goes wrong, the client has one sentence for it.
  await page.getByRole('button', { name: 'Show plans' }).click();
  const line = page.locator('#plans li').filter({ hasText: MONTHLY });
  await line.getByRole('button').click();
  await reads(page.getByRole('alert'), 'The purchase could not be started.');
  // Chromium tells of every answer that is no success.
  assert.match(complaints.splice(0).join(), /^[^,]*400[^,]*$/);

  const bea = await demo.mosaicMember('Bea');
  await page.getByLabel('Access token of the member').fill(bea);
  await subscribe(page, MONTHLY);
  await page.getByRole('link', { name: 'Back' }).click();
  await page.waitForURL(`${demo.mosaic}/client/cancelled.html`);
  await reads(page.getByRole('heading'), 'Nothing was bought');
  const started = 'POST /start-checkout';
  assert.deepEqual(calls, [started, started, 'GET /cancel-checkout']);
  const shown = await billing(page, 'checkout_cancelled');
  await reads(shown.locator('.status'), 'ENDED');
  assert.deepEqual(complaints, []);
  await close();
});

test('a Mosaic Billing that has forgotten everything is told again what is in force', async () => {
  await demo.stop();
  demo = await Demo.start(home.directory, '--mosaic');
  const { page, close } = await open(browser);
  const shown = await billing(page, 'Annual membership');
  await reads(shown.locator('.status'), 'ACTIVE');
  await close();
});
