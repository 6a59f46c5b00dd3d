// A list as a file: read page by page as it is seen, counted before it is saved, made in the page.

import { get, isGone, withQuery } from './api.js';
import { button, fill, h, newId } from './dom.js';
import { clock, count } from './format.js';
import { told } from './parts.js';
import { T } from './texts.js';

const L = T.list;
/** The most that the service gives at once. */
const PAGE = 100;

const COLUMNS = [
  'id', 'user_id', 'checkout_id', 'plan', 'kind', 'quantity', 'recurring', 'provider', 'status', 'status_reason', 'entitled',
  'paid_until', 'current_period_end', 'cancel_at', 'term_ends_at', 'created_at', 'activated_at', 'ended_at', 'refund_state',
];
const AT_STRIPE = ['subscription_id', 'price_id', 'payment_intent_id', 'session_id', 'customer_id', 'status'];

/**
 * A cell. What a spreadsheet would take for a formula gets an apostrophe before it:
 * <https://owasp.org/www-community/attacks/CSV_Injection>
 */
function cell(value) {
  const text = value == null ? '' : String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const line = (cells) => `${cells.map(cell).join(',')}\r\n`;

/** Reads the list with these filters, says how many, and saves it. */
export function openExport(chosen, back) {
  const titleId = newId('export');
  const stop = new AbortController();
  const said = h('p', { role: 'status' }, L.exportCounting(count(0)));
  const notice = h('div', { class: 'notice', role: 'alert', hidden: true });
  const save = button(L.exportSave, () => saveFile(), { hidden: true });
  const leave = button(L.exportStop, () => end(), { class: 'plain' });
  const dialog = h('dialog', { 'aria-labelledby': titleId, on: { cancel: () => stop.abort(), close: () => stop.abort() } }, h('h2', { id: titleId }, L.exportTitle), said, h('p', { class: 'hint' }, L.exportHint), notice, h('p', { class: 'actions' }, save, leave));
  const parts = [line([...COLUMNS, ...AT_STRIPE.map((name) => `stripe_${name}`)])];
  let rows = 0;
  // What operators had done by then: a file that is found later tells whether that record was written anew since.
  let record = null;

  function end() {
    stop.abort();
    dialog.close();
    dialog.remove();
    back.focus();
  }

  function saveFile() {
    const address = URL.createObjectURL(new Blob(parts, { type: 'text/csv;charset=utf-8' }));
    h('a', { href: address, download: L.exportFile(new Date().toISOString().slice(0, 10), record) }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    said.textContent = L.exportSaved(count(rows));
    save.hidden = true;
    leave.focus();
  }

  async function read() {
    let cursor = null;
    record = await get('/actions/last-entry', { signal: stop.signal });
    do {
      const address = withQuery('/subscriptions', { ...chosen, limit: PAGE, cursor });
      const { data, next_cursor: next } = await get(address, { signal: stop.signal });
      parts.push(data.map((held) => line([...COLUMNS.map((name) => held[name]), ...AT_STRIPE.map((name) => held.stripe?.[name] ?? held.stripe?.[name.replace(/_id$/, '')])])).join(''));
      rows += data.length;
      said.textContent = L.exportCounting(count(rows));
      cursor = next;
    } while (cursor);
    said.textContent = rows ? L.exportCounted(count(rows), clock(new Date())) : L.exportNone;
    save.hidden = !rows;
    leave.textContent = T.close;
    if (rows) save.focus();
  }

  addEventListener('console:page', () => dialog.isConnected && end(), { once: true });
  document.body.append(dialog);
  dialog.showModal();
  return read().catch((problem) => {
    if (isGone(problem) || stop.signal.aborted) return;
    said.textContent = L.exportStopped;
    leave.textContent = T.close;
    fill(notice, told(problem)).hidden = false;
  });
}
