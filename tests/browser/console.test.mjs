// The operator's console, with a year behind it: find, understand, put right; alone at a keyboard, on a phone, and with a
// colleague at the same row.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Operator, Stripe, orders, tokenOf, until } from './console.mjs';
import { accessible, everywhere, focused, launch, open, reads } from './browser.mjs';
import { Demo, scratch } from './demo.mjs';

const NO_FUNDS = '4000000000009995';
const BASKET = { lines: [{ plan: 'membership-annual' }, { plan: 'share', quantity: 2 }, { plan: 'donation', amount: 1000 }] };

let home;
let demo;
let browser;
let stripe;
let page;
let complaints;
let close;
let grace;
let rosa;

before(async () => {
  home = await scratch();
  browser = await launch();
  demo = await Demo.lived(home.directory);
  stripe = new Stripe(demo);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await home?.remove();
});

beforeEach(async () => {
  ({ page, complaints, close } = await open(browser));
  grace = await Operator.at(page, demo);
  rosa = await demo.newcomer('rosa');
});

afterEach(() => close());

const heading = (name) => page.getByRole('heading', { level: 1, name, exact: true });
const badge = () => page.locator('.state .badge');
const alert = () => grace.form.getByRole('alert');
const preview = () => page.locator('.preview');
/** The only payment of somebody's. */
const chargeOf = async (member) => {
  const { id } = await stripe.customer(member);
  return (await stripe.objects('charge')).find(({ customer }) => customer === id);
};
const statusOf = async (member, plan) => (await member.held()).find((one) => one.plan === plan).status;
/** Answers of the service that the page provokes on purpose are no complaint. */
const odd = () => complaints.filter((one) => !/status of (401|403|404|409|422)/.test(one));

describe('finding', () => {
  test('a payment is found by each of its ids, by the member’s id and by her e-mail, and it is said by which', async () => {
    const email = 'selma.aydin@example.org';
    const selma = await demo.member('member-selma', 'selma');
    const [{ id: ours }] = await selma.held();
    const customer = await stripe.customer(selma);
    const mine = (all) => all.find((one) => one.customer === customer.id);
    const kinds = ['subscription', 'checkout.session', 'invoice', 'charge'];
    const [subscription, session, invoice, charge] = await Promise.all(kinds.map(async (kind) => mine(await stripe.objects(kind))));
    await grace.signIn();
    for (const id of [ours, subscription.id, session.id, invoice.id, charge.payment_intent, charge.id]) {
      await grace.search(id);
      await reads(heading('Annual membership'), 'Annual membership');
      await reads(page.locator('.under'), selma.user);
      assert.notEqual(await page.locator('.found').textContent(), '');
      assert.ok(!page.url().includes(id) || id === ours, 'what was searched for is in no address');
      await page.getByRole('link', { name: 'Today', exact: true }).click();
      await heading('Today').waitFor();
    }
    for (const text of [selma.user, email, customer.id]) {
      await grace.search(text);
      await heading(selma.user).waitFor();
      assert.notEqual(await page.locator('.found').textContent(), '');
      await page.getByRole('link', { name: 'Today', exact: true }).click();
      await heading('Today').waitFor();
    }
    const kept = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, history.state]));
    assert.ok(!kept.includes(email), kept);
    assert.deepEqual(complaints, []);
  });

  test('what is not there is told with what to do next', async () => {
    await grace.signIn();
    await grace.search('in_NeverHeardOf');
    await reads(page.locator('#results'), 'Nothing was found');
    await reads(page.locator('#results'), 'an e-mail must be exactly what she paid with');
    await everywhere(page, 'console-nothing');
    assert.deepEqual(complaints, []);
  });
});

describe('understanding', () => {
  test('why a payment failed is told in plain words, with what she can do', async () => {
    const { status } = await orders(rosa, { plan: 'membership-annual' }, { card: NO_FUNDS });
    assert.equal(status, 402);
    await grace.signIn();
    await grace.opens(rosa, 'membership-annual');
    await reads(badge(), 'Not paid yet');
    await reads(page.locator('.story'), 'There was not enough money in the account.');
    await page.locator('.story .advice').first().waitFor();
    await everywhere(page, 'console-declined');
    assert.deepEqual(complaints, []);
  });

  test('whoever has written “I paid but …” is answered from one search, on the first screen', async () => {
    const answers = {
      'farid.haddad@example.org': /€30\.00 were paid\. Ours: no payment/,
      'marek.zawadzki@example.org': /€40\.00 were paid\. Ours: no payment/,
      'lena.fischer@example.org': /The same was paid within a day before/,
      'jana.horakova@example.org': /is under way: the bank has not said yet/,
      'ivo.kralj@example.org': /A payment of €30\.00 from a card .* failed\. The bank declined/,
      'karim.benali@example.org': /failed\. There was not enough money in the account/,
      'tomas.novotny@example.org': /a price that no plan has/,
      'ulla.brinkmann@example.org': /Money came for something that has ended/,
    };
    await page.setViewportSize({ width: 1280, height: 800 });
    await grace.signIn();
    for (const [address, answer] of Object.entries(answers)) {
      await grace.search(address);
      const told = page.locator('.differences li').filter({ hasText: answer }).first();
      await told.waitFor();
      // It is drawn anew when Stripe has answered.
      const { y, height } = await until(() => told.boundingBox(), `${address} is told`);
      assert.ok(y + height <= 800, `${address} is told on the first screen`);
    }
    assert.deepEqual(complaints, []);
  });

  test('a name is shown only when it is asked for, and that is in the log', async () => {
    await grace.signIn();
    await grace.search('member-ines');
    await heading('member-ines').waitFor();
    assert.equal(await page.getByText('Carvalho').count(), 0);
    await page.getByRole('button', { name: 'Show name' }).click();
    await page.getByText('Inês Carvalho').waitFor();
    await page.getByText('ines.carvalho@example.org').waitFor();
    await everywhere(page, 'console-member');
    const { body } = await grace.call('GET', '/actions?user=member-ines');
    assert.deepEqual(body.data.map(({ verb, actor }) => [verb, actor]), [['reveal', grace.user]]);
  });
});

describe('putting right', () => {
  test('a lost message is made up for: what differs is shown, and taken over', async () => {
    const farid = await demo.member('member-farid', 'farid');
    await grace.signIn();
    await grace.opens(farid, 'membership-annual', { by: 'farid.haddad@example.org' });
    await reads(badge(), 'On hold');
    await reads(page.locator('.differences'), /It differs\. Stripe says: .* Ours: /);
    await everywhere(page, 'console-differs');
    await grace.act('sync').click();
    await reads(preview(), 'In force');
    await grace.reason('not_received', 'T-100');
    await everywhere(page, 'console-sync');
    await grace.does.click();
    await grace.done('Take over what Stripe says:');
    await focused(page.locator('#done'));
    await reads(badge(), 'In force');
    assert.equal(await statusOf(farid, 'membership-annual'), 'ACTIVE');
    await reads(page.locator('.story'), 'T-100');
    assert.deepEqual(complaints, []);
  });

  test('a part of a basket is paid back: its preview warns of the capital, and a double press is one refund', async () => {
    await rosa.buy(BASKET);
    await grace.signIn();
    await grace.opens(rosa, 'membership-annual');
    await grace.act('refund').click();
    await grace.form.getByLabel('A part of it').check();
    const share = grace.form.getByLabel('To pay back for Supporter share');
    await share.fill('25,005');
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await reads(grace.form, 'with at most 2 decimals');
    await focused(share);
    await share.fill('25');
    await reads(grace.form, 'Together: €25.00');
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await reads(preview(), 'capital');
    await reads(grace.does, 'Refund €25.00');
    await focused(preview());
    await everywhere(page, 'console-refund');
    await grace.does.click();
    await reads(grace.form, 'Choose a reason.');
    await grace.reason('member_request', 'T-4711');
    await grace.does.dblclick();
    await grace.done('Refund: The money is on its way back.');
    const { id: hers } = await chargeOf(rosa);
    const refunds = (await stripe.objects('refund')).filter(({ charge }) => charge === hers);
    assert.deepEqual(refunds.map(({ amount }) => amount), [2500]);
    await reads(page.locator('.story'), 'T-4711');
    assert.deepEqual(odd(), []);
  });

  test('what was paid back meanwhile is seen before more is', async () => {
    await rosa.buy({ plan: 'credits-20' });
    await grace.signIn();
    await grace.opens(rosa, 'credits-20');
    await grace.act('refund').click();
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await reads(grace.does, 'Refund €20.00');
    await grace.reason('duplicate');
    const charge = await chargeOf(rosa);
    await stripe.call('POST', '/v1/refunds', { charge: charge.id, amount: '500' });
    await grace.does.click();
    await reads(alert(), /(was paid back|has changed) since you looked/);
    await reads(grace.does, 'Refund €15.00');
    await grace.does.click();
    await grace.done('on its way back');
  });

  test('a refund and a cancellation are one form and two acts', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await grace.signIn();
    await grace.opens(rosa, 'membership-annual');
    await grace.act('refund').click();
    await grace.form.getByLabel('End now').check();
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await reads(preview(), 'ends at once');
    await grace.reason('goodwill');
    await grace.does.click();
    await grace.done('on its way back');
    await reads(badge(), 'Ended');
    const { body } = await grace.call('GET', `/actions?user=${rosa.user}`);
    const [second, first] = body.data;
    assert.deepEqual([first.verb, second.verb, second.parent], ['refund', 'cancel', first.id]);
    await page.locator('#done').getByRole('link', { name: 'See it in the log' }).click();
    await heading('Log').waitFor();
    await everywhere(page, 'console-log');
  });

  test('an answer that does not come is asked for again, under the same key', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await grace.signIn();
    await grace.opens(rosa, 'membership-annual');
    const keys = [];
    await page.route('**/cancel', async (route) => {
      const request = route.request();
      if (request.postDataJSON().dry_run) return route.continue();
      keys.push(request.headers()['idempotency-key']);
      if (keys.length > 1) return route.continue();
      // It reaches the service; its answer is lost.
      await route.fetch();
      return route.abort();
    });
    await grace.act('cancel').click();
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await grace.reason('member_request');
    await grace.does.click();
    await reads(alert(), 'We don’t know whether it happened');
    await reads(grace.does, 'Look again');
    await everywhere(page, 'console-unknown');
    await grace.does.click();
    await grace.done('It will not renew.');
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    await reads(badge(), 'will not renew');
    await grace.act('resume').click();
    await grace.reason('mistake');
    await grace.does.click();
    await grace.done('It renews again.');
  });

  test('what was sold by hand at Stripe becomes a member’s', async () => {
    const anton = await demo.member('member-anton', 'anton');
    const [by] = (await stripe.objects('customer')).filter(({ name }) => name === 'Anton Berger');
    const sold = (await stripe.objects('subscription')).find(({ customer }) => customer === by.id);
    await grace.signIn();
    await grace.search(sold.id);
    await reads(page.locator('#results'), 'adopt it');
    await everywhere(page, 'console-not-ours');
    await grace.signIn(`member?id=${anton.user}`);
    await reads(page.locator('main'), 'Nothing is known of this member');
    await everywhere(page, 'console-nobody');
    await page.getByRole('button', { name: 'Adopt a subscription' }).click();
    await grace.form.getByLabel('Subscription at Stripe').fill(sold.id);
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await reads(preview(), 'Monthly membership');
    await grace.reason('mistake');
    await everywhere(page, 'console-adopt');
    await grace.does.click();
    await grace.done('It is hers here, too.');
    await reads(page.locator('.holding'), 'Monthly membership');
    assert.equal(await statusOf(anton, 'membership-monthly'), 'ACTIVE');
  });

  test('a message that failed is replayed, once its cause is gone', async () => {
    const samira = await demo.member('member-samira', 'samira');
    const { body } = await grace.call('GET', '/events?state=failed');
    const failed = body.data.find(({ user_id: user }) => user === samira.user);
    await grace.signIn();
    await page.getByRole('link', { name: 'Messages that failed' }).click();
    await heading('Needs a look').waitFor();
    const card = page.locator(`[data-event="${failed.id}"]`);
    await card.waitFor();
    await everywhere(page, 'console-failed');
    await fetch(`${demo.sandbox}/_sandbox/faults`, { method: 'DELETE' });
    await card.getByRole('button', { name: 'Replay' }).click();
    await grace.reason('mistake');
    await grace.does.click();
    await grace.done('Replay this message:');
    assert.equal(await card.count(), 0);
    await samira.until(async () => (await statusOf(samira, 'credits-50')) === 'ACTIVE', 'it is in force again');
  });

  test('a message that was refused is dismissed, with a reason', async () => {
    const { body } = await grace.call('GET', '/events?state=flagged');
    // A part of his basket went back, and nobody said of which line.
    const flagged = body.data.find(({ user_id: user }) => user === 'member-otto');
    await grace.signIn();
    await page.getByRole('link', { name: 'Messages refused' }).click();
    await heading('Needs a look').waitFor();
    const card = page.locator(`[data-event="${flagged.id}"]`);
    await card.waitFor();
    await everywhere(page, 'console-flagged');
    await card.getByRole('button', { name: 'Dismiss' }).click();
    await grace.reason('other', 'T-5');
    await grace.does.click();
    await grace.done('It is put aside.');
    assert.equal(await card.count(), 0);
  });
});

describe('who may', () => {
  test('a reader sees everything but names, and no button', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    const ruth = await Operator.at(page, demo, 'reader');
    await ruth.signIn();
    await ruth.opens(rosa, 'membership-annual');
    await reads(page.locator('#acts'), 'You may look, but not act.');
    assert.equal(await page.locator('[data-verb]').count(), 0);
    await ruth.search('Rosa Lind');
    await reads(page.locator('#results [role=alert]'), 'Your role does not allow this.');
    await page.getByRole('link', { name: 'Needs a look' }).click();
    await heading('Needs a look').waitFor();
    assert.equal(await page.locator('[data-verb]').count(), 0);
  });

  test('who lacks a role sees which', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    const sami = await Operator.at(page, demo, 'support');
    await sami.signIn();
    await sami.opens(rosa, 'membership-annual');
    assert.equal(await sami.act('refund').getAttribute('aria-disabled'), 'true');
    await reads(page.locator('#acts'), 'Needs the role treasurer or operator.');
    await accessible(page);
    await sami.act('cancel').click();
    await sami.form.waitFor();
  });

  test('nobody acts on her own', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    const self = await Operator.at(page, demo, 'support', { user: rosa.user });
    await self.signIn();
    await self.opens(rosa, 'membership-annual');
    await self.act('cancel').click();
    await self.form.getByRole('button', { name: 'See what will happen' }).click();
    await self.reason('member_request');
    await self.does.click();
    await reads(alert(), 'This is your own subscription.');
  });

  test('without a role there is nothing to see', async () => {
    const nobody = await Operator.at(page, demo, 'nothing');
    await page.goto(nobody.address);
    await everywhere(page, 'console-sign-in');
    await page.getByLabel('Development token').fill(nobody.token);
    await page.getByRole('button', { name: 'Use this token' }).click();
    await reads(page.getByRole('alert'), 'you have no role here');
    await accessible(page);
  });

  test('a session that ends in the middle of a form loses nothing', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await grace.signIn();
    await grace.opens(rosa, 'membership-annual');
    await grace.act('cancel').click();
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await grace.reason('member_request', 'T-77');
    // Time goes by: from here on her token is one that is too old.
    const old = `Bearer ${await tokenOf(demo, grace.user, ['dues:operator'], { seconds: -60 })}`;
    const hers = `Bearer ${grace.token}`;
    const next = await tokenOf(demo, grace.user, ['dues:operator'], { seconds: 600 });
    await page.route('**/v1/operator/**', (route) => {
      const headers = route.request().headers();
      return route.continue({ headers: { ...headers, authorization: headers.authorization === hers ? old : headers.authorization } });
    });
    await grace.does.click();
    await page.getByRole('heading', { name: 'Your sign-in has expired' }).waitFor();
    await everywhere(page, 'console-expired');
    await page.getByLabel('Development token').fill(next);
    await page.getByRole('button', { name: 'Use this token' }).click();
    await grace.done('It will not renew.');
    await reads(page.locator('.story'), 'T-77');
    assert.deepEqual(odd(), []);
  });

  test('two at one row: the second one sees what the first has done', async () => {
    await rosa.buy({ plan: 'membership-annual' });
    await grace.signIn();
    await grace.opens(rosa, 'membership-annual');
    await grace.act('cancel').click();
    await grace.form.getByRole('button', { name: 'See what will happen' }).click();
    await grace.reason('member_request');
    const { page: other, close: closeOther } = await open(browser);
    const sami = await Operator.at(other, demo, 'support');
    await sami.signIn();
    await sami.opens(rosa, 'membership-annual');
    await sami.act('cancel').click();
    await sami.form.getByRole('button', { name: 'See what will happen' }).click();
    await sami.reason('goodwill');
    await sami.does.click();
    await sami.done('It will not renew.');
    await closeOther();
    await grace.does.click();
    await reads(alert(), 'It has changed since you looked');
    await page.keyboard.press('Escape');
    await reads(badge(), 'will not renew');
  });
});

describe('pages', () => {
  test('a list keeps its filters in the address, and is exported as it is seen', async () => {
    await rosa.buy({ plan: 'credits-50' });
    await grace.signIn('subscriptions?plan=credits-50');
    const table = page.getByRole('table');
    await reads(table, rosa.user);
    await everywhere(page, 'console-list');
    await page.getByRole('button', { name: 'Export this list' }).click();
    await reads(page.getByRole('dialog'), /subscriptions?, as of/);
    await accessible(page);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save as CSV' }).click()]);
    assert.match(download.suggestedFilename(), /^subscriptions-\d{4}-\d\d-\d\d-record-\d+-[0-9a-f]{64}\.csv$/);
    const lines = await readFile(await download.path(), 'utf8');
    const listed = (await grace.call('GET', '/subscriptions?plan=credits-50&limit=100')).body.data;
    assert.equal(lines.trim().split('\r\n').length, listed.length + 1);
    assert.ok(lines.includes(rosa.user));
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByLabel('State').selectOption('PENDING_COMPLETION');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.waitForURL(/status=PENDING_COMPLETION/);
    await reads(page.locator('#results'), 'No subscription is like this');
    await page.goBack();
    await reads(table, rosa.user);
    assert.deepEqual(complaints, []);
  });

  test('every page is without fault by day and by night, on a desk and on a phone', async () => {
    await grace.signIn();
    await page.locator('.zeros').first().waitFor();
    await everywhere(page, 'console-today');
    for (const [name, link] of [['look', 'Needs a look'], ['subscriptions', 'Subscriptions'], ['log', 'Log']]) {
      await page.getByRole('link', { name: link, exact: true }).click();
      await heading(link).waitFor();
      await everywhere(page, `console-${name}`);
    }
    for (const tab of ['Failed', 'Waiting', 'Not told on', 'Acts unknown']) {
      await page.getByRole('link', { name: 'Needs a look', exact: true }).click();
      await page.locator('.tabs').getByRole('link', { name: tab }).click();
      await page.getByRole('heading', { level: 2, name: tab }).waitFor();
      await everywhere(page, `console-look-${tab.toLowerCase().replaceAll(' ', '-')}`);
    }
    await page.locator('#search').press('Enter');
    await heading('Find').waitFor();
    await everywhere(page, 'console-find');
    await grace.signIn('there/is/no/such/page');
    await heading('There is no such page').waitFor();
    await everywhere(page, 'console-no-page');
    assert.deepEqual(complaints, []);
  });

  test('with the keyboard alone she finds, reads and puts right', async () => {
    await demo.control('chaos', { drop: 1 });
    await orders(rosa, { plan: 'membership-annual' });
    await demo.control('chaos', {});
    await page.goto(grace.address);
    const keyboard = page.keyboard;
    const tabTo = async (target) => {
      for (let presses = 0; presses < 60; presses += 1) {
        if (await target.evaluate((element) => element === document.activeElement)) return;
        await keyboard.press('Tab');
      }
      assert.fail(`the keyboard never comes to ${target}`);
    };
    const token = page.getByLabel('Development token');
    await token.waitFor();
    await tabTo(token);
    await keyboard.insertText(grace.token);
    await keyboard.press('Tab');
    await keyboard.press('Enter');
    await heading('Today').waitFor();
    await keyboard.press('/');
    await focused(page.locator('#search'));
    await keyboard.type(rosa.user);
    await keyboard.press('Enter');
    await focused(heading(rosa.user));
    const link = page.locator('.holding a').first();
    await link.waitFor();
    await tabTo(link);
    await keyboard.press('Enter');
    await badge().waitFor();
    await tabTo(grace.act('sync'));
    await keyboard.press('Enter');
    await focused(preview());
    await tabTo(grace.form.getByLabel('Reason'));
    await keyboard.type('Not');
    await tabTo(grace.does);
    await keyboard.press('Enter');
    await grace.done('Take over what Stripe says:');
    await focused(page.locator('#done'));
    await reads(badge(), 'In force');
    assert.deepEqual(complaints, []);
  });
});
