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
export async function accessible(page, { except = [] } = {}) {
  // As an expression of the debugger's, which the page's own script policy does not forbid.
  await page.evaluate(axe.source);
  const rules = Object.fromEntries(except.map((rule) => [rule, { enabled: false }]));
  const { violations } = await page.evaluate((options) => globalThis.axe.run(options), { rules });
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(', ')}`);
  assert.deepEqual(found, [], `at ${page.url()}`);
}

/** Keeps a picture for people, where SCREENSHOTS names a directory. */
export async function picture(page, name) {
  if (!SCREENS) return;
  await mkdir(SCREENS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENS, `${name}.png`), fullPage: true });
}

/** Begins to buy a plan at the membership page; ends at the payment page. */
export async function choose(page, plan) {
  await page.locator(`form[data-plan="${plan}"] button`).click();
  await page.waitForURL(/\/c\/pay\//);
}

/** Pays at the payment page with one of the test cards. */
export async function pay(page, card) {
  const instrument = page.locator(`input[name="instrument"][value="${card}"]`);
  // Seldom used cards are folded away.
  if (!(await instrument.isVisible())) await page.locator('details summary').first().click();
  await instrument.check();
  await page.getByRole('button', { name: /^(Pay|Subscribe)/ }).click();
}
