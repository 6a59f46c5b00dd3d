// A member's way, in a browser: choose, pay on the payment page, come back, and find that it is hers.

import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, test } from 'node:test';
import { accessible, badge, choose, everywhere, launch, open, pay, picture, reads, toPayment } from './browser.mjs';
import { Demo, scratch } from './demo.mjs';

const OK = '4242424242424242';
const DECLINED = '4000000000000002';
const ASKS = '4000002760003184';
const DEBIT = 'AT611904300234573201';

let home;
let demo;
let browser;
let member;
let ada;

before(async () => {
  home = await scratch();
  [demo, browser] = await Promise.all([Demo.start(home.directory), launch()]);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await home?.remove();
});

beforeEach(async () => {
  member = await open(browser);
  ada = await demo.newcomer('Ada');
  await ada.signIn(member.page);
});

afterEach(async () => {
  await member.close();
});

test('the annual membership is hers when she comes back from paying', async () => {
  const { page, complaints } = member;
  await page.goto(demo.page);
  await page.getByRole('heading', { name: 'Annual membership' }).waitFor();
  await picture(page, 'home-before');
  await choose(page, 'membership-annual');
  await picture(page, 'payment');
  await pay(page, OK);
  await page.waitForURL(`${demo.page}/success.html?**`);
  await reads(page.locator('#title'), 'you are a member');
  await reads(badge(page, 'membership-annual'), 'Active');
  await picture(page, 'success');

  await page.getByRole('link', { name: 'Back to the membership page' }).click();
  await reads(badge(page, 'membership-annual'), 'Active');
  await page.getByText('You are a member.').waitFor();
  assert.equal(await page.locator('form[data-plan="membership-annual"] button:visible').count(), 0);
  assert.deepEqual(complaints, []);

  const { body } = await ada.call('GET', '/v1/entitlements');
  assert.equal(body.membership.entitled, true);
  assert.equal(body.top_up.entitled, false);
});

test('a declined card buys nothing, and the next card does', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await choose(page, 'credits-20');
  await pay(page, DECLINED);
  await page.getByRole('alert').waitFor();
  await picture(page, 'payment-declined');
  const bought = await ada.call('GET', '/v1/subscriptions?kind=top_up');
  assert.deepEqual(bought.body.data.map((line) => line.status), ['PENDING_ACTIVATION']);

  await pay(page, OK);
  await page.waitForURL(`${demo.page}/success.html?**`);
  await reads(page.locator('#title'), 'Your credits are there');
  await reads(badge(page, 'credits-20'), 'Paid');
});

test('her bank asks, she agrees, and it is paid', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await choose(page, 'credits-20');
  await pay(page, ASKS);
  await page.getByRole('button', { name: 'Complete' }).click();
  await page.waitForURL(`${demo.page}/success.html?**`);
  await reads(badge(page, 'credits-20'), 'Paid');
});

test('a bank debit is on its way for days, and the page says so until it has arrived', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await choose(page, 'credits-50');
  await pay(page, DEBIT);
  await page.waitForURL(`${demo.page}/success.html?**`);
  await reads(page.locator('#title'), 'on its way');
  await reads(badge(page, 'credits-50'), 'On its way');
  await picture(page, 'processing');

  await demo.control('clock/advance', { seconds: 6 * 86_400 });
  await reads(page.locator('#title'), 'Your credits are there');
  await reads(badge(page, 'credits-50'), 'Paid');
});

test('a top-up can be bought again and again', async () => {
  const { page, complaints } = member;
  for (const count of [1, 2]) {
    await page.goto(demo.page);
    await choose(page, 'credits-50');
    await pay(page, OK);
    await page.waitForURL(`${demo.page}/success.html?**`);
    await reads(badge(page, 'credits-50'), 'Paid');
    assert.equal((await ada.held('&kind=top_up&status=ACTIVE')).length, count);
  }
  assert.deepEqual(complaints, []);
});

test('going back from the payment page buys nothing', async () => {
  const { page, complaints } = member;
  await page.goto(demo.page);
  await choose(page, 'membership-monthly');
  await page.getByRole('link', { name: /Back/ }).click();
  await page.waitForURL(`${demo.page}/cancel.html?**`);
  await page.getByRole('heading', { name: 'Nothing was bought' }).waitFor();
  await picture(page, 'cancel');

  const { body } = await ada.call('GET', '/v1/subscriptions?kind=membership&status=ENDED');
  assert.deepEqual(body.data.map((line) => line.status_reason), ['checkout_cancelled']);
  await page.getByRole('link', { name: 'Back to the membership page' }).click();
  await page.getByRole('button', { name: 'Take out: Monthly membership' }).first().waitFor();
  assert.equal(await page.locator('.holding[data-plan="membership-monthly"]').count(), 0);
  assert.deepEqual(complaints, []);
});

test('the browser’s own way back leaves a page that can buy', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await choose(page, 'credits-20');
  await page.goBack();
  // What she put in is still in it.
  await reads(page.locator('#basket-lines'), 'Top-up 20 €');
  await toPayment(page);
  await page.getByRole('link', { name: /Back/ }).click();
  await page.waitForURL(`${demo.page}/cancel.html?**`);
});

test('a return that nobody vouches for is told from a purchase', async () => {
  const { page } = member;
  await page.goto(`${demo.service}/checkout/success?session_id=cs_test_invented`);
  await page.waitForURL(`${demo.page}/error.html?**`);
  await page.getByRole('heading', { name: 'We can’t tell what this is about' }).waitFor();
});

test('a token that has grown too old is replaced without a word', async () => {
  const { page } = member;
  await ada.buy({ plan: 'membership-annual' });
  await page.route(`${demo.page}/config.json`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...(await answer.json()), token: 'too.old.now' } });
  }, { times: 1 });
  await page.goto(demo.page);
  await reads(badge(page, 'membership-annual'), 'Active');
});

test('a success page for somebody else’s purchase shows nothing', async () => {
  const { page } = member;
  await page.goto(`${demo.page}/success.html?subscription_ids=019a0000-0000-7000-8000-000000000000&status=ACTIVE&code=paid`);
  await page.getByRole('alert').filter({ hasText: /\S/ }).waitFor();
  assert.equal(await page.locator('.holding').count(), 0);
  assert.doesNotMatch(await page.locator('#title').textContent(), /member|yours/);
});

test('a service that does not answer is told in a sentence', async () => {
  const { page } = member;
  await page.route(`${demo.service}/**`, (route) => route.abort());
  await page.goto(demo.page);
  await reads(page.locator('#notice'), 'can’t be reached');
});

test('every page can be read by everybody, by day and by night, on a desk and on a phone', async () => {
  const [bought] = await ada.buy({ plan: 'credits-20' });
  const paths = {
    home: '/',
    success: `/success.html?subscription_ids=${bought}&status=ACTIVE&code=paid`,
    cancel: '/cancel.html?code=open',
    error: '/error.html?code=invalid_link',
  };
  const { page, complaints } = member;
  for (const [name, path] of Object.entries(paths)) {
    await page.goto(demo.page + path, { waitUntil: 'networkidle' });
    await everywhere(page, name);
  }
  assert.deepEqual(complaints, []);
});

test('the payment page can be read by everybody', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await choose(page, 'credits-20');
  // Its grey is a shade too light and its banner is no landmark: the sandbox is for developers.
  await accessible(page, { except: ['color-contrast', 'region'] });
  await page.getByRole('link', { name: /Back/ }).click();
  await page.waitForURL(`${demo.page}/cancel.html?**`);
});
