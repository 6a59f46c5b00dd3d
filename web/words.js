// Statuses, money and dates in words that a member understands.

const LANGUAGE = 'en-IE';

/** `3000, 'eur'` is €30; not every currency has cents. */
export function money(minor, currency) {
  const whole = new Intl.NumberFormat(LANGUAGE, { style: 'currency', currency });
  const digits = whole.resolvedOptions().maximumFractionDigits;
  const format = new Intl.NumberFormat(LANGUAGE, {
    style: 'currency',
    currency,
    minimumFractionDigits: minor % 10 ** digits ? digits : 0,
  });
  return format.format(minor / 10 ** digits);
}

/** How many minor units a number typed in whole units is. */
export function minorUnits(typed, currency) {
  const { maximumFractionDigits } = new Intl.NumberFormat(LANGUAGE, { style: 'currency', currency }).resolvedOptions();
  return Math.round(typed * 10 ** maximumFractionDigits);
}

export function date(text) {
  return new Intl.DateTimeFormat(LANGUAGE, { dateStyle: 'long' }).format(new Date(text));
}

/** `a year`, `every 3 months`; nothing for what is paid once. */
export function interval({ recurring }) {
  if (!recurring) return '';
  const { interval: unit, interval_count: count } = recurring;
  return count > 1 ? `every ${count} ${unit}s` : `a ${unit}`;
}

const until = (when, word) => (when ? `${word} ${date(when)}` : '');

const STATES = {
  ACTIVE: {
    paid: (held) => ['Active', until(held.current_period_end, 'Renews on') || until(held.term_ends_at, 'Yours until')],
    trialing: (held) => ['Trial', until(held.current_period_end, 'Free until')],
    payment_retrying: () => ['Active', 'The last payment failed. We will try again: please check your card.'],
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
  return { badge, detail, tone: TONES[held.status] ?? 'waiting' };
}

/** Which words each kind of plan is sold with. */
export const KINDS = {
  membership: {
    title: 'Membership',
    about: 'A vote at the assembly, the whole catalogue, and no advertising, ever.',
    verb: 'Join',
    held: 'You are a member.',
    thanks: (name) => `Welcome, ${name}: you are a member`,
  },
  top_up: {
    title: 'Credits',
    about: 'You pay for what you hear, and the musicians get it. Credits don’t expire.',
    verb: 'Top up',
    thanks: () => 'Your credits are there',
  },
  share: {
    title: 'Supporter shares',
    about: 'Shares are the cooperative’s own capital: they pay for studios, servers and patience.',
    verb: 'Take shares',
    thanks: (name) => `Thank you, ${name}: the shares are yours`,
  },
  donation: {
    title: 'Donations',
    about: 'For concerts that nobody else would put on.',
    verb: 'Give',
    thanks: (name) => `Thank you, ${name}`,
  },
};
