// Operators who sign in at a login of their own: in, on when a token is too old, out, and what they are told when it fails.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { everywhere, launch, open, reads } from './browser.mjs';
import { until } from './console.mjs';
import { Demo, scratch } from './demo.mjs';

let home;
let demo;
let browser;
let page;
let complaints;
let close;

before(async () => {
  home = await scratch();
  browser = await launch();
  demo = await Demo.start(home.directory, '--login');
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await home?.remove();
});

beforeEach(async () => {
  ({ page, complaints, close } = await open(browser));
});

afterEach(() => close());

const heading = (name) => page.getByRole('heading', { level: 1, name, exact: true });
/** Tells the login to do something. */
const login = (path, body) => fetch(`${demo.login}/_login/${path}`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});
const given = async () => (await (await fetch(`${demo.login}/_login/state`)).json()).issued;

/** Time goes by until each token that was given so far is too old. */
async function later() {
  const { access_token: token } = await (await login('tokens', { sub: 'operator-grace' })).json();
  await demo.later(0.01);
  // The service learns of it when it asks the sandbox next.
  await until(async () => {
    const answer = await fetch(`${demo.service}/v1/operator/me`, { headers: { Authorization: `Bearer ${token}` } });
    return answer.status === 401;
  }, 'tokens are too old');
}

/** Opens a page of the console, and signs in on the way. */
async function signIn(where = '', name = 'Grace') {
  await page.goto(`${demo.service}/console/${where}`);
  await page.getByRole('button', { name: 'Sign in with your organisation’s login' }).click();
  await page.waitForURL(`${demo.login}/**`);
  await page.getByRole('button', { name }).click();
}

test('she signs in at her login, and is where she wanted to be', async () => {
  await page.goto(demo.start);
  await page.getByRole('link', { name: 'Open the console as Tilda' }).click();
  await heading('Sign in').waitFor();
  await everywhere(page, 'console-login');
  await signIn('look/failed');
  await heading('Needs a look').waitFor();
  await reads(page.locator('#colophon'), 'Signed in as operator-grace, Operator.');
  assert.equal(new URL(page.url()).pathname, '/console/look/failed');
  assert.equal(new URL(page.url()).search, '', 'the code is in no address');
  const kept = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]));
  assert.doesNotMatch(kept, /eyJ/, 'no token is kept');
  // Tokens were in memory alone: the login knows her, and asks nothing.
  await page.reload();
  await heading('Needs a look').waitFor();
  assert.deepEqual(complaints, []);
});

test('a token that is too old is renewed, and nobody notices', async () => {
  await signIn();
  await heading('Today').waitFor();
  const before = await given();
  await later();
  await page.getByRole('link', { name: 'Log', exact: true }).click();
  await reads(page.locator('#results, main'), 'Nothing was done like this');
  assert.equal((await given()).access_tokens, before.access_tokens + 1);
  assert.deepEqual(complaints.filter((one) => !/status of 401/.test(one)), []);
});

test('a session that is over at the login too is told, and taken up again in place', async () => {
  await signIn('log', 'Sami');
  await heading('Log').waitFor();
  await login('faults', { kind: 'refuse', path: '/token' });
  await later();
  await page.getByRole('link', { name: 'Needs a look' }).click();
  await page.getByRole('heading', { name: 'Your sign-in has expired' }).waitFor();
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await heading('Needs a look').waitFor();
  await reads(page.locator('#colophon'), 'operator-sami');
});

test('she signs out, and is out at her login too', async () => {
  await signIn();
  await heading('Today').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await reads(page.getByRole('status'), 'You are signed out here.');
  await everywhere(page, 'console-signed-out');
  await page.getByRole('link', { name: 'Sign out there too' }).click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  await page.goto(`${demo.service}/console/`);
  await page.getByRole('button', { name: 'Sign in with your organisation’s login' }).click();
  await page.getByRole('heading', { name: 'Who are you?' }).waitFor();
});

test('who breaks it off, and whom the login does not reach, is told what to do', async () => {
  await signIn('', 'Cancel');
  await reads(page.getByRole('alert'), 'the sign-in was broken off there');
  await page.route(`${demo.login}/**`, (route) => route.abort());
  await page.goto(`${demo.service}/console/`);
  await page.getByRole('button', { name: 'Sign in with your organisation’s login' }).click();
  await reads(page.getByRole('alert'), 'The login can’t be reached.');
});

test('a code that nobody here has asked for is not taken', async () => {
  await page.goto(`${demo.service}/console/?code=stolen&state=unheard&iss=${encodeURIComponent(demo.login)}`);
  await reads(page.getByRole('alert'), 'This sign-in was not begun in this tab');
  assert.ok(!page.url().includes('code'));
});

test('a role that was taken away is gone with the next token', async () => {
  await signIn('', 'Ruth');
  await heading('Today').waitFor();
  await login('people', { sub: 'operator-ruth', name: 'Ruth', roles: [] });
  await later();
  await page.getByRole('link', { name: 'Log', exact: true }).click();
  await reads(page.getByRole('alert'), 'Your role does not allow this.');
});
