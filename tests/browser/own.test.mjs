// What is hers, and what she can do with it: cancel, keep, change, pay what is open, read what happened.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { badge, everywhere, focused, launch, open, pay, reads, toggle } from './browser.mjs';
import { Demo, PROJECT, scratch } from './demo.mjs';

const OK = '4242424242424242';
const FAILS_LATER = '4000000000000341';

let home;
let demo;
let browser;
let page;
let complaints;
let close;
let rosa;

async function start(...options) {
  home = await scratch();
  [demo, browser] = await Promise.all([Demo.start(home.directory, ...options), launch()]);
}

async function stop() {
  await browser?.close();
  await demo?.stop();
  await home?.remove();
}

async function visit() {
  ({ page, complaints, close } = await open(browser));
  rosa = await demo.newcomer('Rosa');
  await rosa.signIn(page);
}

const entry = (plan) => page.locator(`.holding[data-plan="${plan}"]`).first();
const name = (plan) => entry(plan).locator('.name');
const act = (plan, verb) => entry(plan).getByRole('button', { name: `${verb}: ` });
const dialog = () => page.getByRole('dialog');
const done = () => page.locator('#done');
const answer = (verb) => dialog().getByRole('button', { name: verb });

async function state(plan) {
  const held = await rosa.held();
  return held.find((one) => one.plan === plan).status;
}

describe('the demo’s plans', () => {
  before(() => start());
  after(stop);
  beforeEach(visit);
  afterEach(() => close());

  test('a membership is cancelled after a question that says until when it lasts, and kept after all', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await page.goto(demo.page);
    await act('membership-annual', 'Cancel').click();
    await reads(dialog(), 'Cancel “Annual membership”?');
    await reads(dialog(), /It stays yours until \d+ \w+ \d{4}, and is not renewed\./);
    await everywhere(page, 'own-cancel');
    // Escape changes nothing, and leads back to where she was.
    await page.keyboard.press('Escape');
    await focused(act('membership-annual', 'Cancel'));
    assert.equal(await state('membership-annual'), 'ACTIVE');

    await act('membership-annual', 'Cancel').click();
    await answer('Cancel it').click();
    await reads(done(), /“Annual membership” is cancelled. It stays yours until \d+ \w+ \d{4}\./);
    await focused(name('membership-annual'));
    await reads(entry('membership-annual'), 'Will not renew.');
    assert.equal(await state('membership-annual'), 'CANCELLED');
    await everywhere(page, 'own-cancelled');

    await act('membership-annual', 'Keep it after all').click();
    await reads(done(), /“Annual membership” stays yours. It renews on \d+ \w+ \d{4}\./);
    await focused(name('membership-annual'));
    await reads(entry('membership-annual'), 'Renews on');
    assert.equal(await state('membership-annual'), 'ACTIVE');
    assert.deepEqual(complaints, []);
  });

  test('what may end at once can, and can be bought again without a reload', async () => {
    await rosa.buy({ plan: 'membership-monthly' });
    await page.goto(demo.page);
    await act('membership-monthly', 'Cancel').click();
    await dialog().getByLabel('At once').check();
    await everywhere(page, 'own-cancel-now');
    await answer('Cancel it').click();
    await reads(done(), '“Monthly membership” has ended.');
    await focused(page.locator('#holdings-title'));
    assert.equal(await state('membership-monthly'), 'ENDED');
    await page.getByRole('button', { name: 'Add to basket: Annual membership' }).waitFor();
    await page.getByText('Earlier').click();
    await reads(page.locator('#earlier-list'), 'Monthly membership');
  });

  test('a change of plan tells its cost before it is made', async () => {
    await rosa.buy({ plan: 'membership-monthly' });
    await page.goto(demo.page);
    // From what is offered, too.
    await page.getByRole('button', { name: 'Change to this: Annual membership' }).click();
    await reads(dialog(), 'Change to “Annual membership”?');
    await reads(dialog(), 'To pay now');
    await reads(dialog(), /Then €30.00 a year, next on \d+ \w+ \d{4}/);
    await answer(/^Change and pay €2\d\.\d\d$/).waitFor();
    assert.equal(await state('membership-monthly'), 'ACTIVE');
    await everywhere(page, 'own-change');
    await answer(/^Change and pay/).click();
    await reads(done(), 'You now have “Annual membership”.');
    await focused(name('membership-annual'));
    const held = await rosa.held();
    assert.deepEqual(held.map(({ plan, status }) => [plan, status]), [['membership-annual', 'ACTIVE']]);
    await reads(page.locator('form[data-plan="membership-annual"]'), 'You are a member.');

    // And back again: what is paid already is not lost.
    await act('membership-annual', 'Change plan').click();
    await reads(dialog(), 'Nothing to pay now');
    await reads(dialog(), 'that you have paid already counts towards what comes next');
    await answer('Leave it as it is').click();
    await focused(act('membership-annual', 'Change plan'));
    await entry('membership-annual').getByText('What happened').click();
    await reads(entry('membership-annual'), 'The plan changed from “Monthly membership” to “Annual membership”.');
    await reads(entry('membership-annual'), 'You began to buy it.');
    await everywhere(page, 'own-story');
    assert.deepEqual(complaints, []);
  });

  test('a change whose payment fails changes nothing, and says why and what to do', async () => {
    await rosa.buy({ plan: 'membership-monthly' });
    await rosa.payWith(FAILS_LATER);
    await page.goto(demo.page);
    await act('membership-monthly', 'Change plan').click();
    await answer(/^Change and pay/).click();
    await reads(dialog().getByRole('alert'), 'The payment failed, so nothing has changed.');
    await reads(dialog().getByRole('alert'), /bank|card/);
    await answer('Payment method and invoices').waitFor();
    await everywhere(page, 'own-change-failed');
    await answer('Leave it as it is').click();
    await reads(badge(page, 'membership-monthly'), 'Active');
    const held = await rosa.held();
    assert.deepEqual(held.map(({ plan }) => plan), ['membership-monthly']);
  });

  test('a renewal that failed says why, and is paid on its page', async () => {
    await rosa.buy({ plan: 'membership-monthly' }, FAILS_LATER);
    await demo.later(32);
    await page.goto(demo.page);
    const owing = entry('membership-monthly').locator('.owing');
    await reads(owing, '€3.00 is open.');
    await reads(owing, /We try again on \d+ \w+ \d{4}/);
    assert.equal(await entry('membership-monthly').getByRole('button', { name: 'Change plan' }).count(), 0);
    await everywhere(page, 'own-owing');
    await owing.getByRole('link', { name: 'Pay €3.00: Monthly membership' }).click();
    await page.waitForURL(`${demo.sandbox}/**`);
    await pay(page, OK);
    await reads(page.locator('body'), /[Pp]aid/);
    await page.goto(demo.page);
    await reads(entry('membership-monthly'), 'Renews on');
    assert.equal(await owing.isVisible(), false);
  });

  test('the payment service’s own page is one press away, and what was done there is seen here', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await page.goto(demo.page);
    await page.getByRole('button', { name: 'Payment method and invoices' }).click();
    await page.waitForURL(`${demo.sandbox}/**`);
    await page.getByRole('button', { name: 'Cancel subscription' }).click();
    await page.getByRole('button', { name: "Don't cancel" }).waitFor();
    await page.getByRole('link', { name: /Return/ }).click();
    await page.waitForURL(`${demo.page}/**`);
    await reads(entry('membership-annual'), 'Will not renew.');
  });

  test('who pays in several currencies has a page for each', async () => {
    await rosa.buy({ plan: 'credits-20' });
    await page.route('**/v1/portal-sessions', (route) => {
      const data = ['eur', 'usd'].map((currency) => ({ currency, url: `${demo.sandbox}/?${currency}` }));
      return route.fulfill({ json: { data }, headers: { 'Access-Control-Allow-Origin': demo.page } });
    });
    await page.goto(demo.page);
    await page.getByRole('button', { name: 'Payment method and invoices' }).click();
    await dialog().getByRole('link', { name: 'What you pay in USD' }).waitFor();
    await everywhere(page, 'own-portals');
    await dialog().getByRole('link', { name: 'What you pay in EUR' }).click();
    await page.waitForURL(`${demo.sandbox}/_sandbox/`);
  });

  test('what was cancelled in another tab is kept after all instead of bought again', async () => {
    await page.goto(demo.page);
    await toggle(page, 'membership-annual');
    const [id] = await rosa.buy({ plan: 'membership-annual' });
    await rosa.call('POST', `/v1/subscriptions/${id}/cancel`, { at: 'period_end' });
    await page.locator('#pay').click();
    await reads(page.locator('#basket-notice'), 'You have “Annual membership” already; it would only not renew.');
    await page.locator('#basket-notice').getByRole('button', { name: 'Keep it after all' }).click();
    await reads(done(), '“Annual membership” stays yours.');
    await focused(name('membership-annual'));
    assert.equal(await state('membership-annual'), 'ACTIVE');
  });

  test('trouble while something is done is told where it was asked for', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await page.goto(demo.page);
    await page.route('**/cancel', (route) => route.abort());
    await act('membership-annual', 'Cancel').click();
    await answer('Cancel it').click();
    await reads(dialog().getByRole('alert'), 'can’t be reached');
    await page.unroute('**/cancel');
    await answer('Cancel it').click();
    await reads(done(), 'is cancelled');
  });
});

describe('a plan of which she can have several', () => {
  const plans = path.join(PROJECT, 'tests/it/cooperative');
  before(() => start('--plans', path.join(plans, 'plans.toml'), '--catalogue', path.join(plans, 'catalogue.toml')));
  after(stop);
  beforeEach(visit);
  afterEach(() => close());

  test('its number is changed, after its cost was told', async () => {
    await rosa.buy({ lines: [{ plan: 'family', quantity: 2 }] });
    await page.goto(demo.page);
    await reads(entry('family'), '2 × Family membership');
    await act('family', 'Change number').click();
    await reads(dialog(), 'Choose another number to see what it costs.');
    await dialog().getByLabel('How many').fill('4');
    await reads(dialog(), /Then €36.00 a month/);
    await answer(/^Change and pay €1\d\.\d\d$/).waitFor();
    await everywhere(page, 'own-number');
    await answer(/^Change and pay/).click();
    await reads(done(), 'You now have 4 × Family membership.');
    await focused(name('family'));
    assert.equal((await rosa.held())[0].quantity, 4);
  });

  test('a trial is cancelled like anything else', async () => {
    await page.goto(demo.page);
    await rosa.buy({ plan: 'monthly' });
    await page.reload();
    await reads(badge(page, 'monthly'), 'Trial');
    await act('monthly', 'Cancel').click();
    await answer('Cancel it').click();
    await reads(done(), 'is cancelled');
  });
});
