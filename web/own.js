// What is hers, and what she can do with it: cancel, keep, change, pay, and read what happened.

import { call } from './api.js';
import { canChange } from './basket.js';
import { ask, complain, listen, options, picked } from './dialog.js';
import { date, interval, moment, money } from './format.js';
import { button, copy, describe, find, isWorking, leave, link, notify, paragraph, span, tell, title, working } from './page.js';
import { KINDS, byWhom, happened } from './words.js';

/** Purchases that came to nothing are not what she holds. */
const NEVER_BEGAN = new Set(['checkout_cancelled', 'checkout_expired', 'stripe_error', 'activation_expired']);

/** A payment is open in these states. */
export const OWING = new Set(['payment_retrying', 'unpaid']);

/** Of what is bought again and again only the newest few are in sight. */
const IN_SIGHT = 3;

let plans = [];
let held = [];
let changed = () => {};

const named = (code) => plans.find((plan) => plan.code === code);
const nameOf = (code) => named(code)?.name ?? code;

/** Shows what she holds; `onChange` hears of every change that she makes here. */
export function showOwn(catalogue, mine, onChange) {
  plans = catalogue;
  changed = onChange;
  held = mine;
  render();
}

function render() {
  const [current, earlier] = sorted();
  find('holdings').hidden = !current.length && !earlier.length;
  find('holdings-list').replaceChildren(...current.map(entry));
  find('earlier').hidden = !earlier.length;
  find('earlier-list').replaceChildren(...earlier.map(entry));
}

/** What is in force, and what is over or one of many. */
function sorted() {
  const seen = { top_up: 0, donation: 0 };
  const current = [];
  const earlier = [];
  // What renews comes first, and of each kind the newest.
  const kinds = Object.keys(KINDS);
  const rank = (one) => (one.renews ? -1 : kinds.indexOf(one.kind));
  for (const one of held.toSorted((a, b) => rank(a) - rank(b))) {
    const isRepeated = one.status === 'ACTIVE' && !one.renews && one.kind in seen && (seen[one.kind] += 1) > IN_SIGHT;
    if (one.status !== 'ENDED' && !isRepeated) current.push(one);
    else if (!NEVER_BEGAN.has(one.status_reason)) earlier.push(one);
  }
  return [current, earlier];
}

function entry(one) {
  const made = describe(copy('holding'), one, nameOf);
  made.id = `held-${one.id}`;
  const acts = made.querySelector('.actions');
  acts.append(...possible(one).map(([verb, run]) => {
    const act = button(verb, 'plain', run);
    // Which of them all, for who hears one button at a time.
    act.setAttribute('aria-label', `${verb}: ${title(one, nameOf)}`);
    return act;
  }));
  acts.hidden = !acts.children.length;
  if (OWING.has(one.status_reason)) showOpen(made.querySelector('.owing'), one);
  const story = made.querySelector('.story');
  story.querySelector('.unseen').textContent = `: ${title(one, nameOf)}`;
  story.addEventListener('toggle', () => story.open && tellStory(story, one), { once: true });
  return made;
}

/** What she can do with it, from its state. */
function possible(one) {
  if (!one.renews) return [];
  const isOn = one.status === 'ACTIVE' || (one.status === 'ON_HOLD' && ['unpaid', 'paused'].includes(one.status_reason));
  if (one.status === 'CANCELLED') return [['Keep it after all', (event) => resume(one, event.currentTarget)]];
  if (!isOn) return [];
  const acts = [];
  if (canChange(one) && others(one).length) acts.push(['Change plan', () => changePlan(one)]);
  if (canChange(one) && named(one.plan)?.quantity.max > 1) acts.push(['Change number', () => changeNumber(one)]);
  return [...acts, ['Cancel', () => cancel(one)]];
}

/** The plans that she can change to. */
function others(one) {
  const group = named(one.plan)?.upgrade_group;
  return plans.filter((plan) => group && plan.upgrade_group === group && plan.code !== one.plan && plan.price.recurring);
}

/** Does what another part of the page suggests. */
export function act(id, what, code) {
  const one = held.find((line) => line.id === id);
  const at = find(`held-${id}`);
  if (what === 'portal' || !one || !at) {
    openPortal(find('portal'));
    return;
  }
  at.scrollIntoView({ block: 'nearest' });
  if (what === 'change') changePlan(one, code);
  else if (what === 'resume') resume(one, at.querySelector('.actions button'));
  else (at.querySelector('.owing a') ?? at.querySelector('.name')).focus();
}

/** Takes over a subscription's new state, says it, and leads to its entry. */
function took(now, words) {
  held = held.map((one) => (one.id === now.id ? { ...one, ...now } : one));
  changed(held);
  render();
  find('done').textContent = words;
  const at = find(`held-${now.id}`);
  const isInSight = at && find('holdings-list').contains(at);
  (isInSight ? at.querySelector('.name') : find('holdings-title')).focus();
}

// Cancelling, and keeping it after all

function cancel(one) {
  const name = title(one, nameOf);
  const end = one.current_period_end && date(one.current_period_end);
  const last = end ? `It stays yours until ${end}, and is not renewed.` : 'It is not renewed.';
  const isOnHold = one.status === 'ON_HOLD';
  let body = [paragraph(isOnHold ? 'It ends at once, and nothing more is charged for it.' : last)];
  if (named(one.plan)?.cancel_now && !isOnHold) {
    body = options('When', [
      ['period_end', 'With the time that you have paid for', last],
      ['now', 'At once', 'It is over in a moment. Nothing is paid back for the time that is left.'],
    ]);
  }
  const at = () => (isOnHold ? 'now' : (picked('When') ?? 'period_end'));
  ask({
    title: `Cancel “${name}”?`,
    body,
    verb: 'Cancel it',
    back: 'Keep it',
    run: () => call('POST', `/v1/subscriptions/${one.id}/cancel`, { body: { at: at() } }),
    done: (now) => took(now, cancelled(now, name)),
  });
}

function cancelled(now, name) {
  if (now.status === 'ENDED') return `“${name}” has ended.`;
  const end = now.cancel_at ?? now.current_period_end;
  return end ? `“${name}” is cancelled. It stays yours until ${date(end)}.` : `“${name}” is cancelled.`;
}

async function resume(one, pressed) {
  if (isWorking(pressed)) return;
  notify(null);
  try {
    const now = await working(pressed, () => call('POST', `/v1/subscriptions/${one.id}/resume`));
    const next = now.current_period_end ? ` It renews on ${date(now.current_period_end)}.` : '';
    took(now, `“${title(one, nameOf)}” stays yours.${next}`);
  } catch (problem) {
    notify(problem);
  }
}

// Changing the plan or the number: never without its cost

function changePlan(one, wanted) {
  const choices = others(one);
  const first = choices.find((plan) => plan.code === wanted) ?? choices[0];
  const price = (plan) => `${plan.price.formatted ?? ''} ${interval(plan.price)}`;
  const only = choices.length === 1;
  const body = only
    ? [paragraph(`“${first.name}” is ${price(first)}. ${first.description ?? ''}`)]
    : options('Plan', choices.map((plan) => [plan.code, plan.name, price(plan)]), first.code);
  const name = title(one, nameOf);
  change(one, {
    title: only ? `Change to “${first.name}”?` : `Change “${name}”`,
    body,
    order: () => ({ plan: only ? first.code : picked('Plan') }),
    done: (now) => `You now have “${nameOf(now.plan)}”.`,
  });
}

function changeNumber(one) {
  const { quantity } = named(one.plan);
  const label = document.createElement('label');
  const input = document.createElement('input');
  const { min, max, step } = quantity;
  Object.assign(input, { id: 'number', type: 'number', inputMode: 'numeric', required: true, min, max, step, value: one.quantity });
  label.htmlFor = input.id;
  label.textContent = 'How many';
  change(one, {
    title: `Change the number of “${nameOf(one.plan)}”`,
    body: [label, input, paragraph(`You have ${one.quantity}. From ${min} to ${max}.`, 'hint')],
    order: () => (input.checkValidity() && input.valueAsNumber !== one.quantity ? { quantity: input.valueAsNumber } : null),
    done: (now) => `You now have ${title(now, nameOf)}.`,
  });
}

/** Asks what a change costs whenever the choice changes; confirms exactly that. */
function change(one, { title: heading, body, order, done }) {
  const cost = document.createElement('div');
  cost.className = 'cost';
  cost.role = 'status';
  let shown = null;
  let asked = 0;
  const path = `/v1/subscriptions/${one.id}/change`;
  const question = ask({
    title: heading,
    body: [...body, cost],
    verb: 'Change it',
    back: 'Leave it as it is',
    onInput: look,
    run: () => call('POST', path, { body: shown }),
    done: (now) => took(now, done(now)),
    explain,
  });
  look();

  async function look() {
    const mine = (asked += 1);
    const wanted = order();
    shown = null;
    question.offer('Change it', false);
    question.complain('');
    if (!wanted) {
      cost.replaceChildren(paragraph('Choose another number to see what it costs.'));
      return;
    }
    cost.replaceChildren(paragraph('Asking what it costs …', 'waiting'));
    try {
      const preview = await call('POST', `${path}/preview`, { body: wanted });
      if (mine !== asked) return;
      shown = { ...wanted, proration_date: preview.proration_date };
      cost.replaceChildren(...costs(preview, wanted, one));
      question.offer(preview.due_now > 0 ? `Change and pay ${money(preview.due_now, preview.currency)}` : 'Change it', true);
    } catch (problem) {
      if (mine !== asked) return;
      cost.replaceChildren();
      question.complain(...explain(problem));
    }
  }
}

/** Why a change came to nothing; where her money was refused, also what she can do about it. */
function explain(problem) {
  if (problem.code !== 'payment_failed') return [problem.message];
  const portal = button('Payment method and invoices', 'plain', (event) => openPortal(event.currentTarget));
  return [[problem.message, problem.answer.detail].filter(Boolean).join(' '), portal];
}

function sum(words, amount, currency) {
  const line = document.createElement('li');
  line.append(span(words), span(money(amount, currency), 'sum'));
  return line;
}

function costs({ currency, due_now: due, lines, next_period_end: next }, wanted, one) {
  const list = document.createElement('ul');
  list.className = 'sums';
  list.append(...lines.map((line) => sum(line.description, line.amount, currency)));
  const all = lines.reduce((whole, line) => whole + line.amount, 0);
  const now = document.createElement('p');
  now.className = 'now';
  if (due) now.append(span('To pay now'), span(money(due, currency), 'sum'));
  else now.append('Nothing to pay now');
  const words = [];
  if (all < 0) words.push(`${money(-all, currency)} that you have paid already counts towards what comes next.`);
  if (all > 0 && due === 0) words.push('It is added to what you pay next.');
  const plan = named(wanted.plan ?? one.plan);
  const each = plan?.price.unit_amount;
  const many = wanted.quantity ?? one.quantity;
  const then = each == null ? '' : `${money(each * many, currency)} ${interval(plan.price)}`;
  if (then) words.push(`Then ${then}${next ? `, next on ${date(next)}` : ''}.`);
  return [list, now, paragraph(words.join(' '), 'hint')];
}

// What is open

async function showOpen(part, one) {
  try {
    const { data } = await call('GET', `/v1/subscriptions/${one.id}/open-invoices`);
    part.replaceChildren(...data.flatMap((invoice) => open(invoice, one)));
  } catch (problem) {
    part.replaceChildren(paragraph(`What is open can’t be shown just now. ${problem.message}`));
  }
  part.hidden = !part.children.length;
}

function open({ amount_due: amount, currency, pay_url: url, next_attempt_at: next, cause }, one) {
  const due = money(amount, currency);
  const why = cause ? `${cause.message} ${cause.advice}` : '';
  const again = next ? `We try again on ${date(next)}; you need not wait.` : '';
  const words = paragraph([`${due} is open.`, why, again].filter(Boolean).join(' '));
  if (!url) return [words];
  const pays = link(`Pay ${due}`, url, 'button');
  pays.setAttribute('aria-label', `Pay ${due}: ${title(one, nameOf)}`);
  return [words, pays];
}

// The portal

async function openPortal(pressed) {
  if (isWorking(pressed)) return;
  notify(null);
  try {
    await working(pressed, async () => {
      const { data } = await call('POST', '/v1/portal-sessions', { body: {} });
      if (data.length === 1) await leave(data[0].url);
      choosePortal(data);
    });
  } catch (problem) {
    if (!complain(problem.message)) notify(problem);
  }
}

function choosePortal(portals) {
  const pages = portals.map(({ currency, url }) => {
    const line = document.createElement('p');
    line.append(link(`What you pay in ${currency.toUpperCase()}`, url));
    return line;
  });
  const about = paragraph('You pay in several currencies, and each has a page of its own.');
  ask({ title: 'Payment method and invoices', body: [about, ...pages], back: 'Back' });
}

// What happened

async function tellStory(story, one) {
  const list = story.querySelector('ol');
  try {
    const { data } = await call('GET', `/v1/subscriptions/${one.id}/changes?limit=100`);
    list.replaceChildren(...data.map((change) => {
      const line = document.createElement('li');
      const at = document.createElement('time');
      at.dateTime = change.at;
      at.textContent = moment(change.at);
      line.append(at, ' ', [happened(change, nameOf), byWhom(change)].filter(Boolean).join(' '));
      return line;
    }));
    tell(story.querySelector('.waiting'), '');
  } catch (problem) {
    tell(story.querySelector('.waiting'), problem.message);
    story.addEventListener('toggle', () => story.open && tellStory(story, one), { once: true });
  }
}

/** Listens to what is on the page from the beginning. */
export function begin() {
  find('portal').addEventListener('click', (event) => openPortal(event.currentTarget));
  listen();
}
