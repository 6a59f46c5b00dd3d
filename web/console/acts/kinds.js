// What each act needs, asks and shows.

import { path, planCodes, planName } from '../api.js';
import { choices, field, h, newId, picked } from '../dom.js';
import { day, shown } from '../format.js';
import { badge, copyable, facts, memberLink, table, titleOf } from '../parts.js';
import { ACTS, T } from '../texts.js';
import { refund } from './refund.js';

const F = ACTS.form;

/** An act without questions of its own. */
const noFields = () => ({ element: null, read: () => ({}), values: () => ({}), restore: () => {} });

const onRow = {
  path: ({ held }, verb) => path('subscriptions', held.id, verb),
  inLog: ({ held }) => ({ subject: held.id }),
};

const onEvent = {
  needs: 'act',
  path: ({ event }, verb) => path('events', event.id, verb),
  inLog: ({ event }) => ({ subject: event.id }),
  fields: noFields,
  preview: () => null,
};

const sync = {
  ...onRow,
  needs: 'act',
  fields: noFields,
  verb: () => ACTS.sync.verb,
  preview({ changes = [], text = [] }) {
    if (!changes.length) return text.length ? null : h('p', {}, F.previewNone);
    const rows = changes.map(({ plan, ours, stripe, differs }) => [
      planName(plan),
      T.statuses[ours] ?? ours,
      T.statuses[stripe] ?? stripe,
      differs.map((word) => ACTS.sync.differs[word] ?? word).join(', '),
    ]);
    return table(F.whatChanges, [T.list.plan, F.ours, F.theirs, F.whatChanges], rows);
  },
};

const cancel = {
  ...onRow,
  needs: 'act',
  isGrave: true,
  fields() {
    const all = Object.entries(ACTS.cancel.ats).map(([value, [words, hint]]) => ({ value, words, hint }));
    const element = choices(ACTS.cancel.at, 'at', all, 'period_end');
    return {
      element,
      read: () => ({ at: picked(element, 'at') }),
      values: () => ({ at: picked(element, 'at') }),
      restore: ({ at }) => {
        element.querySelector(`[value="${at}"]`).checked = true;
      },
    };
  },
  verb: ({ at }) => ACTS.cancel.verb[at],
  preview: () => null,
};

const resume = { ...onRow, needs: 'act', fields: noFields, verb: () => ACTS.resume.verb, preview: () => null };

const settle = {
  ...onRow,
  needs: 'money',
  isGrave: true,
  fields() {
    const invoice = idField(ACTS.settle.invoice, 'invoice', ACTS.settle.invoiceHint);
    return {
      element: invoice.element,
      read: () => invoice.read(/^(in_\w+)?$/, ACTS.settle.invoiceWrong, (given) => (given ? { invoice: given } : {})),
      values: () => ({ invoice: invoice.input.value }),
      restore: (values) => {
        invoice.input.value = values.invoice;
      },
    };
  },
  // What is settled is what was shown, though a newer invoice may have come.
  fromPreview: ({ invoice }) => ({ invoice: invoice.id }),
  verb: () => ACTS.settle.verb,
  preview: ({ invoice }) => facts([
    [ACTS.settle.invoice, copyable(invoice.id, ACTS.settle.invoice)],
    [ACTS.settle.open, ACTS.settle.due(shown(invoice, 'amount_due'), invoice.next_attempt_at && day(invoice.next_attempt_at))],
  ]),
};

const adopt = {
  needs: 'act',
  isWide: true,
  path: () => path('adoptions'),
  inLog: ({ user }) => ({ user }),
  fields({ subject }) {
    const id = idField(ACTS.adopt.id, 'stripe_subscription_id', ACTS.adopt.idHint);
    const codes = newId('plans');
    const plan = idField(ACTS.adopt.plan, 'plan', ACTS.adopt.planHint, { list: codes });
    return {
      element: h('div', {}, id.element, plan.element, h('datalist', { id: codes }, planCodes().map((code) => h('option', { value: code }, planName(code))))),
      read: () => id.read(/^sub_\w+$/, ACTS.adopt.idWrong, (given) => ({
        stripe_subscription_id: given,
        user_id: subject.user,
        ...(plan.input.value.trim() && { plan: plan.input.value.trim() }),
      })),
      values: () => ({ id: id.input.value, plan: plan.input.value }),
      restore: (values) => {
        id.input.value = values.id;
        plan.input.value = values.plan;
      },
      complain: (problem) => {
        id.told(problem.field?.('stripe_subscription_id'));
        plan.told(problem.field?.('plan'));
      },
    };
  },
  verb: () => ACTS.adopt.verb,
  preview(found) {
    const words = ACTS.adopt.found;
    const holds = found.holds ?? [];
    return facts([
      [ACTS.adopt.id, copyable(found.stripe_subscription_id, ACTS.adopt.id)],
      [words.status, h('code', {}, found.status)],
      [words.price, found.price_display ?? found.price],
      [words.plan, found.plan && planName(found.plan)],
      [words.quantity, found.quantity > 1 ? String(found.quantity) : ''],
      [words.customer, found.customer && copyable(found.customer, words.customer)],
      [words.customer_is, found.customer_is ? memberLink(found.customer_is) : words.nobody],
      [words.holds, holds.length ? h('ul', { class: 'inline' }, holds.map((held) => h('li', {}, titleOf(held), ' ', badge(held)))) : words.nothing],
    ]);
  },
};

/** A field for an id; `read` gives what is made of it, or null after it was marked as wrong. */
function idField(label, name, hint, more = {}) {
  const made = field(label, h('input', { name, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', maxlength: 255, ...more }), { hint });
  const read = (pattern, complaint, give) => {
    const given = made.input.value.trim();
    const isGood = pattern.test(given);
    made.told(isGood ? '' : complaint);
    return isGood ? give(given) : null;
  };
  return { ...made, read };
}

export const KINDS = {
  sync,
  refund: { ...onRow, ...refund },
  cancel,
  resume,
  settle,
  adopt,
  replay: { ...onEvent, verb: () => ACTS.replay.verb },
  dismiss: { ...onEvent, verb: () => ACTS.dismiss.verb },
};
