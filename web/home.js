// The membership page: what is offered, what the member holds, and the way to pay.

import { buy, call } from './api.js';
import { copy, find, frame, holding, notify } from './page.js';
import { KINDS, date, interval, minorUnits, money } from './words.js';

/** Purchases that came to nothing are not what she holds. */
const NEVER_BEGAN = new Set(['checkout_cancelled', 'checkout_expired', 'stripe_error', 'activation_expired']);

async function show() {
  notify(null);
  const [plans, held, entitlements] = await Promise.all([
    call('GET', '/v1/plans', { anonymous: true }),
    call('GET', '/v1/subscriptions?limit=100'),
    call('GET', '/v1/entitlements'),
  ]);
  const names = new Map(plans.data.map((plan) => [plan.code, plan.name]));
  showHoldings(held.data, names);
  showPlans(plans.data, held.data, entitlements);
}

function showHoldings(held, names) {
  const current = held.filter((one) => one.status !== 'ENDED');
  const earlier = held.filter((one) => one.status === 'ENDED' && !NEVER_BEGAN.has(one.status_reason));
  find('holdings').hidden = !current.length && !earlier.length;
  find('holdings-list').replaceChildren(...current.map((one) => holding(one, names)));
  find('earlier').hidden = !earlier.length;
  find('earlier-list').replaceChildren(...earlier.map((one) => holding(one, names)));
}

function showPlans(plans, held, entitlements) {
  const groups = Object.entries(KINDS)
    .map(([kind, words]) => [words, kind, plans.filter((plan) => plan.kind === kind)])
    .filter(([, , offered]) => offered.length);
  const sections = groups.map(([words, kind, offered]) => {
    const section = copy('group');
    section.querySelector('h2').textContent = words.title;
    section.querySelector('.about').textContent = words.about;
    section.querySelector('ul').append(...offered.map((plan) => offer(plan, words, held, entitlements[kind])));
    return section;
  });
  find('plans').replaceChildren(...sections);
  find('plans').removeAttribute('aria-busy');
}

function offer(plan, words, held, entitlement) {
  const entry = copy('plan');
  const form = entry.querySelector('form');
  form.dataset.plan = plan.code;
  entry.querySelector('h3').textContent = plan.name;
  entry.querySelector('.description').textContent = plan.description ?? '';
  entry.querySelector('.price').hidden = plan.price.unit_amount == null;
  if (plan.price.unit_amount != null) {
    entry.querySelector('.amount').textContent = money(plan.price.unit_amount, plan.price.currency);
    entry.querySelector('.interval').textContent = interval(plan.price) || (plan.quantity.max > 1 ? 'each' : '');
  }
  const choice = choose(entry, plan);
  const button = entry.querySelector('button');
  button.textContent = words.verb;
  button.setAttribute('aria-label', `${words.verb}: ${plan.name}`);

  const has = held.some((one) => one.plan === plan.code && one.entitled);
  if (plan.single && has) {
    button.hidden = true;
    const line = entry.querySelector('.held');
    line.hidden = false;
    line.textContent = entitlement?.until ? `${words.held} Paid until ${date(entitlement.until)}.` : words.held;
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    pay(button, choice());
  });
  return entry;
}

/** Sets up the field for a quantity or an amount; returns what gives the order. */
function choose(entry, plan) {
  const { code, quantity: { max: most }, amount: bounds, price } = plan;
  const input = entry.querySelector('input');
  if (!bounds && !(most > 1)) {
    entry.querySelector('.choice').remove();
    return () => ({ plan: code });
  }
  const choice = entry.querySelector('.choice');
  choice.hidden = false;
  input.id = `choice-${code}`;
  input.required = true;
  input.type = 'number';
  const label = choice.querySelector('label');
  label.htmlFor = input.id;
  const total = choice.querySelector('output');
  total.htmlFor = input.id;
  const hint = choice.querySelector('.hint');
  if (bounds) {
    const whole = minorUnits(1, price.currency);
    label.textContent = `Amount in ${price.currency.toUpperCase()}`;
    Object.assign(input, { min: bounds.min / whole, max: bounds.max / whole, step: 1 / whole, inputMode: 'decimal' });
    input.value = Math.min(Math.max(10, bounds.min / whole), bounds.max / whole);
    hint.textContent = `From ${money(bounds.min, price.currency)} to ${money(bounds.max, price.currency)}.`;
    total.remove();
    return () => ({ lines: [{ plan: code, amount: minorUnits(input.valueAsNumber, price.currency) }] });
  }
  label.textContent = 'How many';
  Object.assign(input, { min: 1, max: most, step: 1, value: 1, inputMode: 'numeric' });
  hint.textContent = `At most ${most}.`;
  const add = () => {
    const valid = input.checkValidity();
    total.textContent = valid ? `= ${money(price.unit_amount * input.valueAsNumber, price.currency)}` : '';
  };
  input.addEventListener('input', add);
  add();
  return () => ({ lines: [{ plan: code, quantity: input.valueAsNumber }] });
}

async function pay(button, order) {
  notify(null);
  const label = button.textContent;
  busy(true);
  button.textContent = 'One moment …';
  try {
    location.assign(await buy(order));
  } catch (problem) {
    notify(problem);
    busy(false);
    button.textContent = label;
  }
}

function busy(is) {
  for (const button of document.querySelectorAll('.plan button')) button.disabled = is;
}

function begin() {
  show().catch((problem) => {
    notify(problem);
    find('plans').replaceChildren();
    find('plans').removeAttribute('aria-busy');
  });
}

frame().catch(notify);
begin();
// "Back" from the payment page restores this one as it was left, with its buttons off.
addEventListener('pageshow', (event) => event.persisted && begin());
