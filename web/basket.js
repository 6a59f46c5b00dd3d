// The basket: what she wants to pay in one go. Pure but for where it is kept, which outlives a reload of this tab.

import { periodEnd } from './format.js';

const KEPT = 'basket';

/** States in which a purchase counts as had; what was never paid for can be begun again. */
const LIVE = new Set(['PENDING_COMPLETION', 'ACTIVE', 'CANCELLED', 'ON_HOLD']);

export const isLive = (held) => LIVE.has(held.status);
/** Whether its plan or number may change: what is owed comes first. */
export const canChange = (held) => held.renews && held.status === 'ACTIVE' && held.status_reason !== 'payment_retrying';

export const renews = (plan) => Boolean(plan.price.recurring);

/** The lines that were kept, as far as the catalogue still sells them so: `{ plan, quantity, amount }`. */
export function kept(plans) {
  let lines;
  try {
    lines = JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    lines = [];
  }
  return lines
    .map(({ code, quantity, amount }) => ({ plan: plans.find((plan) => plan.code === code), quantity, amount }))
    .filter((line) => line.plan);
}

export function keep(lines) {
  const short = lines.map(({ plan, quantity, amount }) => ({ code: plan.code, quantity, amount }));
  sessionStorage.setItem(KEPT, JSON.stringify(short));
}

/** Once it is paid, it is empty. */
export function empty() {
  sessionStorage.removeItem(KEPT);
}

export function allowsQuantity({ quantity: { min, max, step } }, quantity) {
  return Number.isInteger(quantity) && quantity >= min && quantity <= max && (quantity - min) % step === 0;
}

export function allowsAmount({ amount: { min, max } }, amount) {
  return Number.isInteger(amount) && amount >= min && amount <= max;
}

export function isComplete({ plan, quantity, amount }) {
  return plan.amount ? allowsAmount(plan, amount) : allowsQuantity(plan, quantity);
}

/** What she holds that keeps her from buying a plan: the same one, or another of its group. */
export function obstacle(plan, held) {
  if (!plan.single) return undefined;
  const excludes = ({ plan: code, group }) => code === plan.code || (group && group === plan.upgrade_group);
  return held.find((one) => isLive(one) && one.single && excludes(one));
}

/** The kind that a plan requires and that is neither hers nor in the basket; undefined if nothing is missing. */
export function missing(plan, lines, held) {
  const kind = plan.requires;
  if (!kind || held.some((one) => isLive(one) && one.kind === kind)) return undefined;
  return lines.some((line) => line.plan.code !== plan.code && line.plan.kind === kind) ? undefined : kind;
}

/** Days before the first payment: for members who never had the plan or another of its group. */
export function trial(plan, held) {
  const had = (one) => one.plan === plan.code || (one.group && one.group === plan.upgrade_group);
  return plan.trial_days && !held.some((one) => one.activated_at && had(one)) ? plan.trial_days : 0;
}

/** What a line costs each time it is charged, in minor units; null while its number or amount is not a valid one. */
export function price(line) {
  if (!isComplete(line)) return null;
  return line.plan.amount ? line.amount : line.plan.price.unit_amount * line.quantity;
}

/** What is paid now and what renews when; `now` is null while a line is incomplete. */
export function total(lines, held, today) {
  const prices = lines.map((line) => (trial(line.plan, held) ? 0 : price(line)));
  const now = prices.includes(null) ? null : prices.reduce((sum, one) => sum + one, 0);
  const renewing = lines.find((line) => renews(line.plan));
  const currency = lines[0]?.plan.price.currency;
  if (!renewing) return { currency, now };
  const days = trial(renewing.plan, held);
  const { recurring } = renewing.plan.price;
  const from = days ? new Date(Date.parse(today) + days * 86_400_000) : periodEnd(today, recurring);
  return { currency, now, later: { amount: price(renewing), recurring, from, days } };
}

/** Puts a plan in; returns the lines and what had to make room: a payment holds one plan that renews, one currency. */
export function put(lines, line) {
  const apart = (one) =>
    one.plan.code === line.plan.code ||
    one.plan.price.currency !== line.plan.price.currency ||
    (renews(one.plan) && renews(line.plan));
  const out = lines.filter((one) => apart(one) && one.plan.code !== line.plan.code);
  return { lines: [...lines.filter((one) => !apart(one)), line], out };
}

/** What the service is asked for: exactly what the page shows, in the currency in which it shows it. */
export function order(lines) {
  return {
    currency: lines[0].plan.price.currency,
    lines: lines.map(({ plan, quantity, amount }) =>
      plan.amount ? { plan: plan.code, amount } : { plan: plan.code, quantity },
    ),
  };
}
