// One page, one total, one payment: whatever a member wants at once goes into one basket.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { accessible, everywhere, focused, launch, open, pay, picture, reads, toPayment, toggle } from './browser.mjs';
import { Demo, PROJECT, scratch } from './demo.mjs';

const OK = '4242424242424242';
const ORDERS = '**/v1/subscriptions';

let home;
let demo;
let browser;
let page;
let complaints;
let close;
let grace;

async function start(...options) {
  home = await scratch();
  [demo, browser] = await Promise.all([Demo.start(home.directory, ...options), launch()]);
}

async function stop() {
  await browser?.close();
  await demo?.stop();
  await home?.remove();
}

/** A page at which somebody new is signed in. */
async function visit(options) {
  ({ page, complaints, close } = await open(browser, options));
  grace = await demo.newcomer('Grace');
  await grace.signIn(page);
}

const line = (plan) => page.locator(`#basket-lines li[data-plan="${plan}"]`);
const pays = () => page.locator('#pay');
const field = (plan) => page.locator(`form[data-plan="${plan}"] input`);

/** Answers the next orders in the service's place. */
async function answers(status, problem, { times = 1, headers = {} } = {}) {
  const seen = [];
  await page.route(
    ORDERS,
    async (route) => {
      if (route.request().method() !== 'POST') return route.fallback();
      seen.push(route.request().headers()['idempotency-key']);
      if (seen.length > times) return route.fallback();
      return route.fulfill({
        status,
        headers: {
          'Access-Control-Allow-Origin': demo.page,
          'Access-Control-Expose-Headers': 'retry-after',
          ...headers,
        },
        contentType: 'application/problem+json',
        body: JSON.stringify({ status, ...problem }),
      });
    },
  );
  return seen;
}

describe('the demo’s plans', () => {
  before(() => start());
  after(stop);
  beforeEach(() => visit());
  afterEach(() => close());

  test('a membership, shares and a donation are one payment, and each is recorded as what it is', async () => {
    await page.goto(demo.page);
    await toggle(page, 'membership-annual');
    await field('share').fill('3');
    await reads(page.locator('form[data-plan="share"] output'), '= €75.00');
    await toggle(page, 'share');
    await page.getByRole('button', { name: '€25.00', exact: true }).click();
    await toggle(page, 'donation');
    await reads(page.locator('#now'), '€130.00');
    await reads(page.locator('#later'), /Then €30.00 a year from \d+ \w+ \d{4}, until you cancel/);
    await everywhere(page, 'basket-full');
    await page.setViewportSize({ width: 1180, height: 900 });
    await page.getByRole('button', { name: 'Pay €130.00' }).click();
    await page.waitForURL(/\/c\/pay\//);
    await reads(page.locator('body'), '130.00');
    await pay(page, OK);
    await page.waitForURL(`${demo.page}/success.html?**`);
    await reads(page.locator('#title'), 'Welcome, Grace: you are a member');
    await reads(page.locator('#sentence'), 'All of it is paid and yours.');
    await picture(page, 'basket-bought');

    const held = await grace.held();
    const kinds = held.map(({ kind, quantity, status }) => `${quantity} ${kind} ${status}`).sort();
    assert.deepEqual(kinds, ['1 donation ACTIVE', '1 membership ACTIVE', '3 share ACTIVE']);

    await page.getByRole('link', { name: 'Back to the membership page' }).click();
    await reads(page.locator('#basket-empty'), 'Nothing yet');
    assert.equal(await page.locator('#basket-lines li').count(), 0);
    assert.deepEqual(complaints, []);
  });

  test('a basket has one plan that renews: another takes its place, and that is said', async () => {
    await page.goto(demo.page);
    await toggle(page, 'share');
    await toggle(page, 'membership-annual');
    await reads(page.locator('form[data-plan="membership-monthly"]'), 'Takes the place of “Annual membership”');
    await toggle(page, 'membership-monthly');
    await reads(page.getByRole('status'), '“Monthly membership” took the place of “Annual membership”');
    await reads(page.locator('#now'), '€28.00');
    assert.equal(await line('membership-annual').count(), 0);
    await everywhere(page, 'basket-replaced');
  });

  test('a basket outlives a reload, and what is taken out is out', async () => {
    await page.goto(demo.page);
    await field('donation').fill('12,5');
    await toggle(page, 'donation');
    await field('share').fill('2');
    await toggle(page, 'share');
    await page.reload();
    await reads(line('donation'), '€12.50');
    await reads(line('share'), '2 × Supporter share');
    assert.equal(await field('share').inputValue(), '2');
    // A number that is changed meanwhile changes the basket.
    await field('share').fill('4');
    await reads(pays(), 'Pay €112.50');
    await field('share').press('Enter');
    await reads(line('share'), '4 × Supporter share');
    await line('donation').getByRole('button').click();
    await focused(line('share').getByRole('button'));
    await reads(pays(), 'Pay €100.00');
    await line('share').getByRole('button').click();
    await focused(page.locator('#basket-title'));
    await page.reload();
    await reads(page.locator('#basket-empty'), 'Nothing yet');
  });

  test('an amount that can’t be given is explained where it was typed, and nothing is sent', async () => {
    const orders = [];
    page.on('request', (request) => request.method() === 'POST' && orders.push(request.url()));
    await page.goto(demo.page);
    for (const wrong of ['1', '500.01', '12.345', 'five', '']) {
      await field('donation').fill(wrong);
      await toggle(page, 'donation');
      await reads(page.locator('#hint-donation'), 'That can’t be bought: from €2.00 to €500.00.');
      await focused(field('donation'));
      assert.equal(await line('donation').count(), 0);
    }
    await everywhere(page, 'basket-wrong');
    await field('donation').fill('500');
    await toggle(page, 'donation');
    // And if it becomes wrong later, paying leads to it.
    await field('donation').fill('1');
    await pays().click();
    await focused(field('donation'));
    await field('share').fill('41');
    await toggle(page, 'share');
    await reads(page.locator('#hint-share'), 'That can’t be bought: at most 40.');
    assert.deepEqual(orders, []);
  });

  test('suggested amounts are there for one press', async () => {
    await page.goto(demo.page);
    const ten = page.getByRole('button', { name: '€10.00', exact: true });
    await ten.click();
    assert.equal(await ten.getAttribute('aria-pressed'), 'true');
    assert.equal(await field('donation').inputValue(), '10.00');
    await toggle(page, 'donation');
    await page.getByRole('button', { name: '€5.00', exact: true }).click();
    await reads(pays(), 'Pay €5.00');
  });

  test('everything can be done with the keyboard alone', async () => {
    await page.goto(demo.page);
    await reads(page.locator('#plans'), 'Donation');
    const press = async (locator) => {
      for (let tabs = 0; tabs < 80; tabs += 1) {
        if (await locator.evaluate((element) => element === document.activeElement)) {
          await page.keyboard.press('Enter');
          return;
        }
        await page.keyboard.press('Tab');
      }
      assert.fail('the keyboard does not lead there');
    };
    const adds = page.getByRole('button', { name: 'Add to basket: Annual membership' });
    const takes = page.locator('form[data-plan="membership-annual"] button[type="submit"]');
    await press(adds);
    await reads(page.getByRole('status'), '“Annual membership” is in your basket. To pay now: €30.00.');
    // The button that was pressed still has the focus.
    await focused(takes);
    await press(pays());
    await page.waitForURL(/\/c\/pay\//);
    await reads(page.locator('body'), '30.00');
  });

  test('what she has can’t be put in again, and its sister is a change', async () => {
    await grace.buy({ plan: 'membership-annual' });
    await page.goto(demo.page);
    const annual = page.locator('form[data-plan="membership-annual"]');
    await reads(annual, 'You are a member.');
    assert.equal(await annual.locator('button:visible').count(), 0);
    const monthly = page.locator('form[data-plan="membership-monthly"]');
    await reads(monthly, 'You have “Annual membership”.');
    await monthly.getByRole('button', { name: 'Change to this: Monthly membership' }).waitFor();
    assert.equal(await monthly.locator('button:visible').count(), 1);
  });

  test('what was bought in another tab meanwhile leaves the basket, with what to do instead', async () => {
    await page.goto(demo.page);
    await toggle(page, 'membership-annual');
    await toggle(page, 'share');
    await grace.buy({ plan: 'membership-annual' });
    await pays().click();
    await reads(page.locator('#basket-notice'), 'You have “Annual membership” already.');
    await page.locator('#basket-notice').getByRole('button', { name: 'Payment method and invoices' }).waitFor();
    await reads(page.locator('.holding[data-plan="membership-annual"]'), 'Active');
    assert.equal(await line('membership-annual').count(), 0);
    await reads(pays(), 'Pay €25.00');
    await everywhere(page, 'basket-held');
    await toPayment(page);
  });

  test('the other membership that she has is changed rather than bought twice', async () => {
    await page.goto(demo.page);
    await toggle(page, 'membership-monthly');
    await grace.buy({ plan: 'membership-annual' });
    await pays().click();
    await reads(page.locator('#basket-notice'), 'You can change from it instead of buying twice.');
    await page.locator('#basket-notice').getByRole('button', { name: 'Change plan' }).waitFor();
  });

  test('an order that is being worked on is asked for again by itself, with the same key', async () => {
    await page.goto(demo.page);
    const keys = await answers(409, { code: 'in_progress' }, { times: 2, headers: { 'Retry-After': '1' } });
    await toggle(page, 'credits-20');
    await toPayment(page);
    assert.equal(keys.length, 3);
    assert.equal(new Set(keys).size, 1);
    assert.match(keys[0], /./);
  });

  test('trouble is told in plain words; trying again can’t buy twice', async () => {
    await page.goto(demo.page);
    await toggle(page, 'credits-20');
    const keys = await answers(503, { code: 'database_unavailable', title: 'The database does not answer' });
    await pays().click();
    await reads(page.locator('#basket-notice'), 'Something went wrong on our side. Try again in a minute.');
    await reads(pays(), 'Pay €20.00');
    await everywhere(page, 'basket-trouble');
    await toPayment(page);
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
  });

  for (const [code, status, words] of [
    ['currency_locked', 409, 'You already pay for something in another currency'],
    ['too_many_open_checkouts', 429, 'You have several unfinished purchases'],
    ['stripe_unavailable', 502, 'The payment service does not answer'],
    ['stripe_timeout', 504, 'nothing is paid twice'],
  ]) {
    test(`${code} is told in plain words`, async () => {
      await page.goto(demo.page);
      await toggle(page, 'credits-20');
      await answers(status, { code });
      await pays().click();
      await reads(page.locator('#basket-notice'), words);
    });
  }

  test('prices that could not be read again say of when they are', async () => {
    await page.route('**/v1/plans', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), stale: true } });
    });
    await page.goto(demo.page);
    await reads(page.locator('#prices'), /Prices as of \d+ \w+ \d{4} at \d\d:\d\d\./);
    await accessible(page);
  });

  test('what is hers is shown while nothing can be sold', async () => {
    await grace.buy({ plan: 'credits-20' });
    await page.route('**/v1/plans', (route) => route.abort());
    await page.goto(demo.page);
    await reads(page.locator('.holding[data-plan="credits-20"]'), 'Paid');
    await reads(page.locator('#notice'), 'can’t be reached');
  });

  test('amounts are exact in every currency, and a month after the 31st ends with its month', async () => {
    await page.goto(demo.page);
    const told = await page.evaluate(async () => {
      const { decimal, minorUnits, money, periodEnd } = await import('/format.js');
      const typed = [['12.5', 'eur'], ['12,05', 'eur'], ['500', 'jpy'], ['5.1', 'jpy'], ['5.12', 'kwd'], ['0.29', 'usd'], ['-1', 'eur'], ['1e3', 'eur']];
      const after = (day, interval, interval_count = 1) => periodEnd(`${day}T10:00:00Z`, { interval, interval_count }).toISOString().slice(0, 10);
      return {
        typed: typed.map(([text, currency]) => minorUnits(text, currency)),
        written: [decimal(1250, 'eur'), decimal(5, 'eur'), decimal(500, 'jpy'), decimal(5120, 'kwd'), decimal(-5, 'eur')],
        read: [money(123456789, 'eur'), money(-300, 'eur'), money(500, 'jpy')],
        ends: [after('2026-01-31', 'month'), after('2024-02-29', 'year'), after('2026-11-30', 'month', 3), after('2026-12-31', 'week', 2)],
      };
    });
    assert.deepEqual(told, {
      typed: [1250, 1205, 500, null, 5120, 29, null, null],
      written: ['12.50', '0.05', '500', '5.120', '-0.05'],
      read: ['€1,234,567.89', '-€3.00', '¥500'],
      ends: ['2026-02-28', '2025-02-28', '2027-02-28', '2027-01-14'],
    });
  });

  test('prices and totals are written in the reader’s language', async () => {
    await close();
    await visit({ locale: 'de-DE' });
    await page.goto(demo.page);
    await reads(page.locator('form[data-plan="membership-annual"] .amount'), /^30,00\s€$/);
    await toggle(page, 'membership-annual');
    await toggle(page, 'share');
    await reads(pays(), /^Pay 55,00\s€$/);
  });
});

describe('plans that use everything', () => {
  const plans = path.join(PROJECT, 'tests/it/cooperative');
  before(() => start('--plans', path.join(plans, 'plans.toml'), '--catalogue', path.join(plans, 'catalogue.toml')));
  after(stop);
  beforeEach(() => visit());
  afterEach(() => close());

  test('a trial says what comes when', async () => {
    await page.goto(demo.page);
    await reads(page.locator('form[data-plan="monthly"] .trial'), 'The first 14 days are free.');
    await toggle(page, 'monthly');
    await reads(page.locator('#now'), '€0.00');
    await reads(pays(), 'Begin 14 days free');
    await reads(page.locator('#later'), /^14 days free, then €5.00 a month from \d+ \w+ \d{4}, until you cancel\.$/);
    await field('gift').fill('7');
    await toggle(page, 'gift');
    await reads(pays(), 'Pay €7.00');
    await everywhere(page, 'basket-trial');
    await toPayment(page);
    await pay(page, OK);
    await page.waitForURL(`${demo.page}/success.html?**`);
    await page.goto(demo.page);
    await reads(page.locator('.holding[data-plan="monthly"]'), /Trial/);
  });

  test('what a plan requires is said before the order, and again if it is sent all the same', async () => {
    await page.goto(demo.page);
    await reads(page.locator('form[data-plan="share"] .condition'), 'For those who have a membership, or put one into the same basket.');
    await toggle(page, 'share');
    await reads(page.locator('#unmet'), '“Supporter share” needs a membership: add one, or pay for the rest alone.');
    await pays().click();
    await reads(page.locator('#basket-notice'), '“Supporter share” needs a membership');
    await everywhere(page, 'basket-unmet');
    await toggle(page, 'yearly');
    await page.locator('#unmet').waitFor({ state: 'hidden' });
    await toPayment(page);
    await reads(page.locator('body'), '75.00');
  });

  test('a number goes in the steps that the plan wants', async () => {
    await page.goto(demo.page);
    await reads(page.locator('#hint-credits'), 'From 10 to 100, in steps of 10.');
    await field('credits').fill('15');
    await toggle(page, 'credits');
    await reads(page.locator('#hint-credits'), 'That can’t be bought');
    await field('credits').fill('30');
    await toggle(page, 'credits');
    await reads(pays(), 'Pay €30.00');
    await toPayment(page);
    await reads(page.locator('body'), '30.00');
  });
});
