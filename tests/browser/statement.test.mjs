// What a member paid, got back and failed to pay, over a time that she chooses: to read, to print, to keep.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { everywhere, focused, launch, open, picture, reads } from './browser.mjs';
import { Demo, scratch } from './demo.mjs';

const FAILS_LATER = '4000000000000341';

let home;
let demo;
let browser;
let page;
let complaints;
let close;
let mira;

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
  ({ page, complaints, close } = await open(browser));
  mira = await demo.newcomer('Mira');
  await mira.signIn(page);
});

afterEach(() => close());

const BASKET = {
  currency: 'eur',
  lines: [{ plan: 'membership-annual' }, { plan: 'share', quantity: 3 }, { plan: 'donation', amount: 2500 }],
};

const entry = (type) => page.locator(`#entries > li[data-type="${type}"]`).first();

test('each part of a payment is told as what it was for, with its papers and totals', async () => {
  await mira.buy(BASKET);
  await page.goto(demo.page);
  await page.getByRole('link', { name: 'Statement' }).click();
  await page.getByRole('heading', { name: 'Statement for Mira' }).waitFor();
  await reads(page.locator('#range'), /1 entry from 1 January \d{4} to/);
  const paid = entry('payment');
  await reads(paid, '€130.00');
  await reads(paid.locator('.sums li').nth(0), 'Annual membership€30.00');
  await reads(paid.locator('.sums li').nth(1), '3 × Supporter share€75.00');
  await reads(paid.locator('.sums li').nth(2), 'Donation€25.00');
  await paid.getByRole('link', { name: 'Invoice: ' }).waitFor();
  const totals = page.getByRole('table');
  await reads(totals.getByRole('row', { name: 'Memberships' }), '€30.00');
  await reads(totals.getByRole('row', { name: 'Supporter shares' }), '€75.00');
  await reads(page.locator('#shares'), '3 × Supporter share');
  await everywhere(page, 'statement');
  assert.deepEqual(complaints, []);
});

test('the file for a spreadsheet has a row for every line, and comes with the token', async () => {
  await mira.buy(BASKET);
  await page.goto(`${demo.page}/statement.html`);
  await entry('payment').waitFor();
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download for a spreadsheet' }).click(),
  ]);
  assert.match(file.suggestedFilename(), /^statement-\d{4}-01-01-\d{4}-\d\d-\d\d\.csv$/);
  const rows = (await readFile(await file.path(), 'utf8')).trim().split('\r\n');
  assert.equal(rows.length, 4);
  assert.match(rows[0], /^date,type,reference,/);
  for (const amount of ['30.00', '75.00', '25.00']) assert.ok(rows.some((row) => row.includes(`eur,${amount},`)), amount);
  assert.deepEqual(complaints, []);
});

test('money that came back and payments that failed are told with their cause', async () => {
  const [id] = await mira.buy({ plan: 'membership-monthly' }, FAILS_LATER);
  await demo.later(32);
  await mira.until(async () => {
    const { body } = await mira.call('GET', `/v1/subscriptions/${id}`);
    return body.status_reason === 'payment_retrying';
  }, 'the renewal fails');
  await page.goto(`${demo.page}/statement.html?period=months`);
  const failed = entry('payment_failed');
  await reads(failed, 'Payment failed');
  await reads(failed.locator('.sum.void'), '€3.00');
  await reads(failed.locator('.cause'), /\w+\. \w+/);
  await everywhere(page, 'statement-failed');
});

test('she chooses the time, and the choice is kept in the address', async () => {
  await mira.buy({ plan: 'credits-20' });
  await page.goto(`${demo.page}/statement.html`);
  await reads(entry('payment'), 'Top-up 20 €');
  await page.getByLabel('Last year').check();
  await reads(page.locator('#range'), /^No payments from 1 January (\d{4}) to 31 December \1\./);
  assert.equal(await page.locator('#entries > li').count(), 0);
  await page.reload();
  await reads(page.locator('#range'), 'No payments');
  assert.ok(await page.getByLabel('Last year').isChecked());

  await page.getByLabel('12 months').check();
  await reads(entry('payment'), '€20.00');

  await page.getByLabel('Other dates').check();
  await page.getByLabel('From').fill('2021-02-01');
  await page.getByLabel('To, included').fill('2021-01-01');
  await page.getByRole('button', { name: 'Show' }).click();
  await reads(page.locator('#dates-hint'), 'Choose a first day and a last one that is not before it.');
  await focused(page.getByLabel('From'));
  await everywhere(page, 'statement-dates');
  await page.getByLabel('To, included').fill('2021-02-28');
  await page.getByRole('button', { name: 'Show' }).click();
  await reads(page.locator('#range'), 'No payments from 1 February 2021 to 28 February 2021.');
  await page.reload();
  await reads(page.locator('#range'), 'No payments from 1 February 2021 to 28 February 2021.');
});

test('on paper there is the statement and nothing else', async () => {
  await mira.buy(BASKET);
  await page.goto(`${demo.page}/statement.html`);
  await entry('payment').waitFor();
  await page.emulateMedia({ media: 'print' });
  await picture(page, 'statement-print');
  for (const gone of [page.getByRole('button'), page.getByRole('link', { name: 'Back to' }), page.getByRole('radio')]) {
    assert.deepEqual(await gone.filter({ visible: true }).count(), 0);
  }
  assert.ok(await entry('payment').isVisible());
  assert.ok(await page.getByRole('table').isVisible());
});

test('trouble is told in a sentence, and another choice tries again', async () => {
  await page.route('**/v1/statement**', (route) => route.abort(), { times: 1 });
  await page.goto(`${demo.page}/statement.html`);
  await reads(page.locator('#notice'), 'can’t be reached');
  await page.getByLabel('12 months').check();
  await reads(page.locator('#range'), 'No payments');
  assert.equal(await page.locator('#notice').isVisible(), false);
});
