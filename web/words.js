// Kinds, statuses, history and problems in words that a member understands.

import { date } from './format.js';

const until = (when, word) => (when ? `${word} ${date(when)}.` : '');

const STATES = {
  ACTIVE: {
    paid: (held) => ['Active', until(held.current_period_end, 'Renews on') || until(held.term_ends_at, 'Yours until')],
    trialing: (held) => ['Trial', until(held.current_period_end, 'Free until')],
    payment_retrying: (held) => [
      'Payment open',
      `The last payment failed. ${until(held.paid_until, 'It is paid until') || 'It stays yours meanwhile.'}`,
    ],
    collection_paused: () => ['Active', 'Payments are paused.'],
  },
  CANCELLED: {
    cancel_scheduled: (held) => ['Active', `Will not renew. ${until(held.cancel_at ?? held.current_period_end, 'Yours until')}`],
  },
  PENDING_ACTIVATION: {
    awaiting_payment: () => ['Not paid yet', 'You have not finished paying. You can begin again below.'],
  },
  PENDING_COMPLETION: {
    payment_processing: () => ['On its way', 'Your bank is still moving the money. There is nothing left for you to do.'],
  },
  ON_HOLD: {
    unpaid: () => ['On hold', 'The last renewal was not paid.'],
    overdue: (held) => ['On hold', `Nothing was paid for long. ${until(held.paid_until, 'It was paid until')}`],
    collection_void: (held) => ['On hold', `It rests, and costs nothing. ${until(held.paid_until, 'It was paid until')}`],
    paused: () => ['On hold', 'It is paused.'],
    disputed: () => ['On hold', 'Your bank is looking into the payment.'],
    dispute_lost: () => ['On hold', 'Your bank has taken the payment back.'],
    first_payment_failed: () => ['Payment failed', 'Nothing was charged. You can buy it again in a moment.'],
  },
  ENDED: {
    refunded: () => ['Refunded', 'You got your money back.'],
    term_over: () => ['Ended', 'Its time is over.'],
    dispute_lost: () => ['Ended', 'Your bank has taken the payment back.'],
    payment_failed: () => ['Payment failed', 'The payment did not arrive. Nothing was charged.'],
    activation_expired: () => ['Not bought', 'It was not paid in time.'],
    checkout_expired: () => ['Not bought', 'The payment page expired. Nothing was charged.'],
    checkout_cancelled: () => ['Not bought', 'You changed your mind. Nothing was charged.'],
    stripe_error: () => ['Not bought', 'The payment page could not be opened. Nothing was charged.'],
  },
};

const WITHOUT_REASON = {
  ACTIVE: 'Active',
  CANCELLED: 'Active',
  PENDING_ACTIVATION: 'Not paid yet',
  PENDING_COMPLETION: 'On its way',
  ON_HOLD: 'On hold',
  ENDED: 'Ended',
};

const TONES = { ACTIVE: 'good', CANCELLED: 'good', ON_HOLD: 'bad', ENDED: 'quiet' };

/** What is bought once does not renew: it was given, or it is there. */
const ONCE = {
  top_up: ['Paid', 'Bought on'],
  share: ['Yours', 'Since'],
  donation: ['Given', 'On'],
};

/** A subscription's badge, its tone, and a sentence about it. */
export function state(held) {
  const words = STATES[held.status]?.[held.status_reason]?.(held);
  let [badge, detail] = words ?? [WITHOUT_REASON[held.status] ?? held.status, ''];
  if (held.status === 'ACTIVE' && !held.current_period_end) {
    const [once, since] = ONCE[held.kind] ?? ['Yours', 'Since'];
    badge = once;
    detail ||= until(held.activated_at, since);
  }
  const isOwed = held.status_reason === 'payment_retrying';
  return { badge, detail, tone: isOwed ? 'waiting' : (TONES[held.status] ?? 'waiting') };
}

/** Which words each kind of plan is sold with. */
export const KINDS = {
  membership: {
    word: 'membership',
    one: 'a membership',
    many: 'Memberships',
    title: 'Membership',
    about: 'A vote at the assembly, the whole catalogue, and no advertising, ever.',
    held: 'You are a member.',
    thanks: (name) => `Welcome, ${name}: you are a member`,
  },
  top_up: {
    word: 'credits',
    one: 'credits',
    many: 'Credits',
    title: 'Credits',
    about: 'You pay for what you hear, and the musicians get it. Credits don’t expire.',
    thanks: () => 'Your credits are there',
  },
  share: {
    word: 'share',
    one: 'a share',
    many: 'Supporter shares',
    title: 'Supporter shares',
    about: 'Shares are the cooperative’s own capital: they pay for studios, servers and patience.',
    thanks: (name) => `Thank you, ${name}: the shares are yours`,
  },
  donation: {
    word: 'donation',
    one: 'a donation',
    many: 'Donations',
    title: 'Donations',
    about: 'For concerts that nobody else would put on.',
    thanks: (name) => `Thank you, ${name}`,
  },
};

/** What to do instead of buying what she holds: a sentence, and the button that does it (none for "wait"). */
export const ADVICE = {
  wait: (name) => [`You have “${name}” already, and something about it is still being settled. Look at it above.`],
  resume: (name) => [`You have “${name}” already; it would only not renew.`, 'Keep it after all'],
  pay: (name) => [`You have “${name}” already, and a payment for it is open.`, 'Pay what is open'],
  change_plan: (name) => [`You have “${name}” already. You can change from it instead of buying twice.`, 'Change plan'],
  portal: (name) => [`You have “${name}” already.`, 'Payment method and invoices'],
};

/** Problems by the service's code. */
export const PROBLEMS = {
  unauthorized: 'Your sign-in has expired. Sign in again.',
  invalid_token: 'Your sign-in has expired. Sign in again.',
  already_held: 'You have this already.',
  requirement_unmet: 'Something in the basket needs what you don’t have yet.',
  currency_locked: 'You already pay for something in another currency, and the payment service allows only one. Nothing was charged.',
  too_many_open_checkouts: 'You have several unfinished purchases. Finish one of them, or try again in an hour.',
  in_progress: 'Your order is still being worked on. Try again in a moment: it will not be bought twice.',
  idempotency_key_reused: 'This order got mixed up with another one. Nothing was charged; try again.',
  stripe_unavailable: 'The payment service does not answer. Try again in a minute: nothing is paid twice.',
  stripe_timeout: 'The payment service is slow to answer. Try again in a minute: nothing is paid twice.',
  stripe_refused: 'The payment service refused. Write to us if it goes on.',
  managed_by_schedule: 'How it goes on is planned already. Ask us, and we change it for you.',
  plan_unavailable: 'This can’t be bought just now. Everything else can.',
  not_cancellable: 'There is nothing to cancel: it was paid once and does not renew.',
  cancel_now_not_allowed: 'It can’t end at once, only with the time that you have paid for.',
  not_resumable: 'There is nothing to keep: it was paid once and does not renew.',
  not_changeable: 'This can’t be changed here. Write to us.',
  awaiting_payment: 'It is not paid yet.',
  payment_processing: 'The payment is still on its way. Come back when it has arrived.',
  already_ended: 'It has ended meanwhile. You can buy it again.',
  on_hold: 'It is on hold. Look at what is open, or cancel it.',
  cancelled: 'It is cancelled. Keep it first, then change it.',
  payment_retrying: 'A payment is open. Pay that first, then change it.',
  payment_failed: 'The payment failed, so nothing has changed.',
  no_customer: 'You have not paid anything yet, so the payment service has nothing to show.',
  range_too_large: 'That is more than fits one statement. Choose a shorter time.',
};

/** What happened to a subscription, by the reason of the change. */
const HAPPENED = {
  awaiting_payment: 'You began to buy it.',
  payment_processing: 'The payment was on its way.',
  paid: 'It was paid.',
  trialing: 'The trial began.',
  payment_retrying: 'A payment failed; it is tried again.',
  collection_paused: 'Payments were paused.',
  cancel_scheduled: 'It was cancelled: it will not renew.',
  cancel_withdrawn: 'The cancellation was taken back.',
  unpaid: 'A renewal stayed unpaid.',
  paused: 'It was paused.',
  disputed: 'The bank began to look into a payment.',
  dispute_lost: 'The bank took the payment back.',
  first_payment_failed: 'The first payment failed.',
  payment_failed: 'The payment failed.',
  refunded: 'The money was paid back.',
  term_over: 'Its time was over.',
  ended: 'It ended.',
  activation_expired: 'It was not paid in time.',
  checkout_expired: 'The payment page expired.',
  checkout_cancelled: 'You went back without paying.',
  stripe_error: 'The payment page could not be opened.',
};

/** One change as a sentence; `name` gives a plan's name. */
export function happened(change, name) {
  if (change.to_plan) return `The plan changed from “${name(change.from_plan)}” to “${name(change.to_plan)}”.`;
  if (change.to_quantity != null) return `The number changed from ${change.from_quantity} to ${change.to_quantity}.`;
  if (change.reason === 'paid' && change.from === 'ON_HOLD') return 'It was paid, and is in force again.';
  return HAPPENED[change.reason] ?? 'Its state changed.';
}

/** By whom, where it was not the member or her payment. */
export function byWhom({ cause }) {
  if (cause === 'operator') return 'Done by our office.';
  return '';
}

/** What a statement's entry is called. */
export const ENTRIES = {
  payment: { title: 'Paid', none: '' },
  payment_failed: { title: 'Payment failed' },
  refund: { title: 'Paid back', pending: 'On its way to you', failed: 'Did not arrive' },
  dispute: { title: 'Disputed', open: 'Your bank is looking into it', won: 'Decided: the payment stands', lost: 'Decided: taken back' },
};
