// A member's way, in a browser: choose, pay on the payment page, come back, and find that it is hers.

import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, test } from 'node:test';
import { accessible, choose, launch, open, pay, picture } from './browser.mjs';
import { Demo, scratch } from './demo.mjs';

const OK = '4242424242424242';
const DECLINED = '4000000000000002';
const ASKS = '4000002760003184';
const DEBIT = 'AT611904300234573201';

let home;
let demo;
let browser;
let member;

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
});

afterEach(async () => {
  await member.close();
});

/** The badge of a plan in a list of what the member holds. */
function badge(page, plan) {
  return page.locator(`.holding[data-plan="${plan}"] .badge`).first();
}

async function reads(locator, text) {
  await locator.waitFor();
  await locator.page().waitForFunction(
    ([element, wanted]) => element.textContent.includes(wanted),
    [await locator.elementHandle(), text],
  );
}

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
  assert.equal(await page.locator('form[data-plan="membership-annual"] button').isVisible(), false);
  assert.deepEqual(complaints, []);

  const { body } = await demo.call('GET', '/v1/entitlements');
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
  const bought = await demo.call('GET', '/v1/subscriptions?kind=top_up');
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

  const advanced = await fetch(`${demo.sandbox}/_sandbox/clock/advance`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ seconds: 6 * 86_400 }),
  });
  assert.ok(advanced.ok, await advanced.text());
  await reads(page.locator('#title'), 'Your credits are there');
  await reads(badge(page, 'credits-50'), 'Paid');
});

test('a top-up can be bought again and again', async () => {
  const { page, complaints } = member;
  const earlier = await demo.call('GET', '/v1/subscriptions?kind=top_up&status=ACTIVE');
  const held = earlier.body.data.filter((line) => line.plan === 'credits-50').length;
  for (const count of [held + 1, held + 2]) {
    await page.goto(demo.page);
    await choose(page, 'credits-50');
    await pay(page, OK);
    await page.waitForURL(`${demo.page}/success.html?**`);
    await reads(badge(page, 'credits-50'), 'Paid');
    const { body } = await demo.call('GET', '/v1/subscriptions?kind=top_up&status=ACTIVE');
    assert.equal(body.data.filter((line) => line.plan === 'credits-50').length, count);
  }
  assert.deepEqual(complaints, []);
});

test('shares are bought in the number that she chose', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await page.getByLabel('How many').fill('3');
  await page.getByText('= €75').waitFor();
  await choose(page, 'share');
  await pay(page, OK);
  await page.waitForURL(`${demo.page}/success.html?**`);
  await page.getByRole('heading', { name: '3 × Supporter share' }).waitFor();
});

test('a donation is of the amount that she typed', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await page.getByLabel('Amount in EUR').fill('12.5');
  await choose(page, 'donation');
  await page.getByText('12.50').first().waitFor();
  await pay(page, OK);
  await page.waitForURL(`${demo.page}/success.html?**`);
  await reads(page.locator('#title'), 'Thank you, Ada');
});

test('going back from the payment page buys nothing', async () => {
  const { page, complaints } = member;
  await page.goto(demo.page);
  await choose(page, 'membership-monthly');
  await page.getByRole('link', { name: /Back/ }).click();
  await page.waitForURL(`${demo.page}/cancel.html?**`);
  await page.getByRole('heading', { name: 'Nothing was bought' }).waitFor();
  await picture(page, 'cancel');

  const { body } = await demo.call('GET', '/v1/subscriptions?kind=membership&status=ENDED');
  assert.deepEqual(body.data.map((line) => line.status_reason), ['checkout_cancelled']);
  await page.getByRole('link', { name: 'Back to the membership page' }).click();
  await page.getByRole('button', { name: 'Join: Monthly membership' }).waitFor();
  assert.equal(await page.locator('.holding[data-plan="membership-monthly"]').count(), 0);
  assert.deepEqual(complaints, []);
});

test('the browser’s own way back leaves a page that can buy', async () => {
  const { page } = member;
  await page.goto(demo.page);
  await choose(page, 'credits-20');
  await page.goBack();
  await page.locator('form[data-plan="credits-20"] button:enabled').waitFor();
  await choose(page, 'credits-20');
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
  const { body } = await demo.call('GET', '/v1/subscriptions?status=ACTIVE&limit=1');
  const paths = {
    home: '/',
    success: `/success.html?subscription_ids=${body.data[0].id}&status=ACTIVE&code=paid`,
    cancel: '/cancel.html?code=open',
    error: '/error.html?code=invalid_link',
  };
  for (const colorScheme of ['light', 'dark']) {
    for (const [device, viewport] of [['desk', { width: 1180, height: 900 }], ['phone', { width: 390, height: 844 }]]) {
      const { page, complaints, close } = await open(browser, { colorScheme, viewport });
      for (const [name, path] of Object.entries(paths)) {
        await page.goto(demo.page + path, { waitUntil: 'networkidle' });
        await accessible(page);
        await picture(page, `${name}-${device}-${colorScheme}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${name} is ${overflow} px too wide on a ${device}`);
      }
      assert.deepEqual(complaints, []);
      await close();
    }
  }
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
