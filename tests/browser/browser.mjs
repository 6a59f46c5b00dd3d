// Chromium as a member uses it, and what must hold of every page.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

/** Chromium stays on this machine: none of its own calls home. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const SCREENS = process.env.SCREENSHOTS;

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: QUIET });
}

/** A page of which all complaints are collected: scripts that fail, missing resources, broken rules. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on('console', (message) => {
    const { url } = message.location();
    // Chromium asks every server for an icon by itself.
    if (url.endsWith('/favicon.ico')) return;
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.text()} (${url})`);
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  return { page, complaints, close: () => context.close() };
}

/** Fails on whatever axe finds wrong: labels, contrast, structure, language. */
export async function accessible(page, { except = [], only } = {}) {
  // As an expression of the debugger's, which the page's own script policy does not forbid.
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe.source);
  const rules = Object.fromEntries(except.map((rule) => [rule, { enabled: false }]));
  const options = only ? { runOnly: only } : { rules };
  const { violations } = await page.evaluate((given) => globalThis.axe.run(given), options);
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(', ')}`);
  assert.deepEqual(found, [], `at ${page.url()}`);
}

/** Keeps a picture for people, where SCREENSHOTS names a directory. */
export async function picture(page, name) {
  if (!SCREENS) return;
  await mkdir(SCREENS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENS, `${name}.png`), fullPage: true });
}

/** Puts a plan into the basket, or takes it out again. */
export function toggle(page, plan) {
  return page.locator(`form[data-plan="${plan}"] button[type="submit"]`).click();
}

/** From the basket to the payment page. */
export async function toPayment(page) {
  await page.locator('#pay').click();
  await page.waitForURL(/\/c\/pay\//);
}

/** Buys one plan, as far as the payment page. */
export async function choose(page, plan) {
  await toggle(page, plan);
  await toPayment(page);
}

/** The badge of a plan in a list of what the member holds. */
export function badge(page, plan) {
  return page.locator(`.holding[data-plan="${plan}"] .badge`).first();
}

/** Waits until a text is there. */
export async function reads(locator, text) {
  await locator.filter({ hasText: text }).first().waitFor();
}

/** Waits until something has the focus. */
export async function focused(locator) {
  await locator.waitFor();
  await locator.page().waitForFunction((element) => element === document.activeElement, await locator.elementHandle());
}

/** All that must hold of a state of a page, by day and by night, on a desk and on a phone; with a picture of each. */
export async function everywhere(page, name) {
  for (const [device, viewport] of [['desk', { width: 1180, height: 900 }], ['phone', { width: 390, height: 844 }]]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      // By night only the colours are others.
      await accessible(page, colorScheme === 'dark' ? { only: ['color-contrast'] } : {});
      await picture(page, `${name}-${device}-${colorScheme}`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px too wide on a ${device}`);
    }
  }
  await page.emulateMedia({ colorScheme: null });
}

/** Pays at the payment page with one of the test cards. */
export async function pay(page, card) {
  const instrument = page.locator(`input[name="instrument"][value="${card}"]`);
  // Seldom used cards are folded away.
  if (!(await instrument.isVisible())) await page.locator('details summary').first().click();
  await instrument.check();
  await page.getByRole('button', { name: /^(Pay|Subscribe)/ }).click();
}
