// A refund: which payment, how much of it or of which lines, and whether the subscription ends with it.

import { path, planName, post } from '../api.js';
import { choices, field, fill, h, picked } from '../dom.js';
import { day, digits, minorUnits, money, shown } from '../format.js';
import { facts, table, waiting } from '../parts.js';
import { may } from '../session.js';
import { ACTS } from '../texts.js';

const R = ACTS.refundForm;

/** What is left of a payment. */
const left = ({ amount, refunded, refundable }) => refundable ?? amount - refunded;

export const refund = {
  needs: 'money',
  isGrave: true,
  isWide: true,
  fields: (form) => new RefundFields(form),
  fromPreview: ({ already_refunded: already }) => ({ already_refunded: already }),
  verb: (body, preview) => ACTS.refund.verb(preview.refund_display ?? money(preview.refund, preview.payment.currency)),
  preview({ payment, refund: sum, lines, ...preview }) {
    const total = preview.refund_display ?? money(sum, payment.currency);
    const touched = lines.filter(({ refund: part }) => part);
    const rows = touched.map((line) => [planName(line.plan), line.amount == null ? R.unpriced : shown(line, 'amount', payment.currency), shown(line, 'refund', payment.currency)]);
    return [
      facts([[R.take, h('strong', {}, total)], [R.of, R.paymentLine(shown(payment, 'amount'), day(payment.paid_at))]]),
      touched.length > 1 && table(R.lines, [R.line, R.paid, R.take], rows),
    ];
  },
};

class RefundFields {
  constructor(form) {
    this.form = form;
    this.element = h('div', {}, waiting(R.payments));
    this.payments = new Map();
  }

  /** Reads the payments of this subscription, and of the chosen one what is left. */
  async prepare(payment = this.payment?.reference) {
    const { subject } = this.form;
    const body = { dry_run: true, ...(payment && { payment }) };
    const typed = this.payment ? this.values() : null;
    const { preview } = await post(path('subscriptions', subject.held.id, 'refund'), body);
    Object.assign(this, { payment: preview.payment, lines: preview.lines });
    // Amounts are known of those that were looked at.
    for (const other of preview.payments) if (!this.payments.has(other.reference)) this.payments.set(other.reference, other);
    this.payments.set(preview.payment.reference, preview.payment);
    this.draw();
    if (typed && typed.payment === this.payment.reference) this.take(typed);
  }

  draw() {
    const { payment, lines, payments } = this;
    const { currency } = payment;
    const isBasket = lines.length > 1;
    const whole = R.all(money(left(payment), currency));
    const newest = [...payments.values()].sort((one, other) => other.paid_at.localeCompare(one.paid_at));
    const which = choices(R.payment, 'payment', newest.map((one) => ({
      value: one.reference,
      words: one.currency ? R.paymentLine(shown(one, 'amount'), day(one.paid_at)) : R.paymentOn(day(one.paid_at)),
      hint: one.currency ? R.paymentHint(shown(one, 'refunded'), money(left(one), one.currency), one.reference) : one.reference,
    })), payment.reference);
    which.addEventListener('change', (event) => {
      event.stopPropagation();
      this.prepare(picked(which, 'payment')).then(() => this.element.querySelector('[name="payment"]:checked').focus(), (problem) => this.form.complain(problem));
    });
    const how = choices(R.what, 'what', [{ value: 'all', words: whole }, { value: 'part', words: R.part }], 'all');
    this.amount = field(R.amount(currency), h('input', { name: 'amount', inputmode: 'decimal', autocomplete: 'off', class: 'amount' }), { hint: R.amountHint(money(left(payment), currency)) });
    this.inputs = lines.map((line) => h('input', { inputmode: 'decimal', autocomplete: 'off', class: 'amount', 'aria-label': R.takeFor(planName(line.plan)), 'aria-describedby': 'refund-wrong' }));
    this.wrong = h('p', { class: 'wrong', id: 'refund-wrong', hidden: true });
    this.sum = h('p', { class: 'sum-line', role: 'status' });
    const numbers = (made) => {
      made.classList.add('numbers');
      return made;
    };
    const rows = lines.map((line, at) => [
      [planName(line.plan), line.subscription_id === this.form.subject.held.id && h('span', { class: 'hint' }, ` ${R.this}`)],
      line.amount == null ? R.unpriced : shown(line, 'amount', currency),
      shown(line, 'refunded', currency),
      this.inputs[at],
    ]);
    this.part = h('div', { hidden: true }, isBasket ? [numbers(table(R.lines, [R.line, R.paid, R.back, R.take], rows)), this.wrong, this.sum] : this.amount.element);
    fill(this.element, which, how, this.part, this.also());
    this.changed();
  }

  /** Whether what renews ends with it, in the same form. */
  also() {
    if (!this.form.subject.held.acts.includes('cancel')) return null;
    const isAllowed = may('act');
    const all = Object.entries(R.alsos).map(([value, [words, hint]]) => ({ value, words, hint, disabled: value && !isAllowed }));
    return h('div', {}, choices(R.also, 'also_cancel', all, ''), h('p', { class: 'hint' }, isAllowed ? R.alsoTwo : R.alsoLacks));
  }

  get isBasket() {
    return this.lines.length > 1;
  }

  changed() {
    if (!this.part) return;
    this.part.hidden = picked(this.element, 'what') !== 'part';
    if (!this.isBasket) return;
    const { currency } = this.payment;
    const sums = this.inputs.map(({ value }) => (value.trim() ? minorUnits(value, currency) : 0));
    this.sum.textContent = sums.includes(null) ? '' : `${R.sum}: ${money(sums.reduce((one, other) => one + other, 0), currency)}`;
  }

  read() {
    if (!this.payment) return null;
    const base = { payment: this.payment.reference };
    const also = picked(this.element, 'also_cancel');
    if (also) base.also_cancel = also;
    if (picked(this.element, 'what') === 'all') return base;
    const part = this.isBasket ? this.readLines() : this.readAmount();
    return part && { ...base, ...part };
  }

  readAmount() {
    const { currency } = this.payment;
    const amount = minorUnits(this.amount.input.value, currency);
    const most = left(this.payment);
    const complaint = amount ? (amount > most && R.tooMuch(money(most, currency))) : R.amountWrong(currency, digits(currency));
    this.amount.told(complaint || '');
    return complaint ? null : { amount };
  }

  readLines() {
    const { currency } = this.payment;
    const lines = [];
    let complaint = '';
    this.inputs.forEach((input, at) => {
      const line = this.lines[at];
      const most = line.amount == null ? left(this.payment) : line.amount - line.refunded;
      const amount = input.value.trim() ? minorUnits(input.value, currency) : 0;
      let wrong = '';
      if (amount === null) wrong = R.amountWrong(currency, digits(currency));
      else if (amount > most) wrong = `${planName(line.plan)}: ${R.tooMuch(money(most, currency))}`;
      input.ariaInvalid = wrong ? 'true' : null;
      complaint ||= wrong;
      if (amount) lines.push({ subscription_id: line.subscription_id, amount });
    });
    if (!complaint && !lines.length) {
      complaint = R.nothing;
      this.inputs[0].ariaInvalid = 'true';
    }
    this.wrong.textContent = complaint;
    this.wrong.hidden = !complaint;
    return complaint ? null : { lines };
  }

  values() {
    return {
      payment: this.payment?.reference,
      what: picked(this.element, 'what'),
      also_cancel: picked(this.element, 'also_cancel'),
      amount: this.amount?.input.value,
      parts: this.inputs?.map(({ value }) => value),
    };
  }

  /** Puts in what was typed before. */
  take({ what, also_cancel: also, amount = '', parts = [] }) {
    const pick = (name, value) => {
      const radio = this.element.querySelector(`input[name="${name}"][value="${value ?? ''}"]`);
      if (radio && !radio.disabled) radio.checked = true;
    };
    pick('what', what);
    pick('also_cancel', also);
    this.amount.input.value = amount;
    this.inputs.forEach((input, at) => {
      input.value = parts[at] ?? '';
    });
    this.changed();
  }

  async restore(values) {
    if (values.payment && values.payment !== this.payment.reference) await this.prepare(values.payment);
    this.take(values);
  }

  complain(problem) {
    const wrong = problem.answer?.errors?.find(({ field }) => /^(amount|lines)/.test(field));
    if (!wrong || !this.amount) return;
    if (!this.isBasket) {
      this.amount.told(wrong.detail);
      return;
    }
    this.wrong.textContent = wrong.detail;
    this.wrong.hidden = false;
  }
}
