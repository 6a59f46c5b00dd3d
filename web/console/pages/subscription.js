// A subscription: its state and what that means, what comes next, its payments, what can be done, and its story.

import { get, path, planName } from '../api.js';
import { fill, h, newId } from '../dom.js';
import { day } from '../format.js';
import { badge, copyable, empty, facts, fetched, memberLink, next, time, titleOf, waiting } from '../parts.js';
import { may } from '../session.js';
import { MONEY, story } from '../story.js';
import { T } from '../texts.js';
import { actButton, restore } from '../acts/start.js';
import { foundBy } from './find.js';

const S = T.subscription;
/** Payments that stand on top; the story has all of them. */
const PAYMENTS = 6;

async function show(place) {
  const { id } = place.params;
  const found = foundBy('subscriptions', id);
  const under = h('p', { class: 'under', data: { under: 'title' } }, found && h('span', { class: 'found' }, found.why));
  const body = h('div', { class: 'columns' }, waiting());
  place.begin(T.ids.subscription, under, body);
  await fetched(place, body, () => known(place, id), (held) => draw(place, under, body, held));
}

async function known(place, id) {
  try {
    return await get(path('subscriptions', id), place);
  } catch (problem) {
    // An id that is none is not there either.
    if ([400, 404, 422].includes(problem.status)) return null;
    throw problem;
  }
}

function draw(place, under, body, held) {
  if (!held) {
    fill(body, h('div', { class: 'wide' }, empty(S.unknown, S.unknownTodo)));
    return undefined;
  }
  place.title(titleOf(held));
  under.prepend(h('span', {}, `${S.of} `, memberLink(held.user_id)));
  const payments = h('div', {}, waiting());
  const canSync = held.acts.includes('sync') && may('act');
  const told = story(place, path('subscriptions', held.id, 'story'), {
    onLines: (lines) => fill(payments, paymentList(lines)),
    sync: canSync ? () => actButton('sync', { held }) : null,
  });
  const ids = [newId('next'), newId('payments')];
  fill(
    body,
    h(
      'div',
      { class: 'main' },
      h('section', { class: 'state', 'aria-label': T.list.status }, stateOf(held)),
      told.differences,
      h('section', { 'aria-labelledby': ids[0] }, h('h2', { id: ids[0] }, S.next), h('p', { class: 'next' }, next(held, S.nothingNext))),
      h('section', { 'aria-labelledby': ids[1] }, h('h2', { id: ids[1] }, S.payments), payments),
    ),
    h('aside', { 'aria-label': S.acts }, actions(held)),
    h('div', { class: 'main' }, told.element),
    h('aside', { 'aria-label': S.facts }, details(held)),
  );
  restore({ held });
  return told.load();
}

/** On top: is it in force, and what does that mean. */
function stateOf(held) {
  const paid = held.entitled && held.paid_until && !held.cancel_at ? S.entitledUntil(day(held.paid_until)) : '';
  return [
    h('p', { class: 'head' }, badge(held)),
    h('p', { class: 'means' }, held.means),
    h('p', { class: 'meta' }, isUnsaid(held) && h('span', {}, held.entitled ? S.entitled : S.notEntitled), paid && h('span', {}, paid), held.refund_state !== 'none' && h('span', {}, S.refund[held.refund_state])),
  ];
}

/** Whether it must be said that it is in force, or not: its state alone would not tell. */
const isUnsaid = ({ status, entitled }) => entitled !== (status === 'ACTIVE' || status === 'CANCELLED');

/** Of the story, what is about money: newest first. */
function paymentList(lines) {
  const money = lines.filter(({ kind, differs, reference }) => kind === 'transaction' || (differs && MONEY.test(reference ?? '')));
  if (!money.length) return h('p', { class: 'hint' }, S.noPayments);
  return h('ul', { class: 'payments' }, money.slice(0, PAYMENTS).map(({ at, text, differs, reference, cause, actor }) => h(
    'li',
    {},
    h('span', { class: 'said' }, text),
    time(at),
    h('span', { class: 'meta' }, differs && h('strong', {}, S.onlyAtStripe), !T.story.actors[actor] && cause && h('span', {}, cause), reference && h('code', {}, reference)),
  )));
}

function actions(held) {
  const panel = (...content) => h('div', { class: 'panel', id: 'acts' }, h('h2', {}, S.acts), content);
  if (!may('act') && !may('money')) return panel(h('p', { class: 'hint' }, S.reader));
  if (!held.acts.length) return panel(h('p', { class: 'hint' }, S.noActs));
  return panel(h('div', { class: 'acts' }, held.acts.map((verb) => actButton(verb, { held }))));
}

function details(held) {
  const { stripe = {} } = held;
  const at = (moment) => moment && time(moment);
  const id = (value, word) => value && copyable(value, word);
  const F = S.fields;
  return h(
    'div',
    { class: 'panel' },
    h('h2', {}, S.facts),
    facts([
      [F.plan, planName(held.plan) === held.plan ? held.plan : `${planName(held.plan)} (${held.plan})`],
      [F.kind, T.kinds[held.kind] ?? held.kind],
      [F.quantity, held.quantity > 1 ? String(held.quantity) : ''],
      [F.recurring, held.recurring ? T.yes : T.no],
      [F.created_at, at(held.created_at)],
      [F.activated_at, at(held.activated_at)],
      [F.paid_until, at(held.paid_until)],
      [F.current_period_end, at(held.current_period_end)],
      [F.cancel_at, at(held.cancel_at)],
      [F.term_ends_at, at(held.term_ends_at)],
      [F.ended_at, at(held.ended_at)],
      [F.refund_state, S.refund[held.refund_state] ?? held.refund_state],
      [F.provider, T.providers[held.provider] ?? held.provider],
      [F.stripe_status, stripe.status && h('code', {}, stripe.status)],
      [T.ids.subscription, id(held.id, T.ids.subscription)],
      [T.ids.checkout, id(held.checkout_id, T.ids.checkout)],
      [T.ids.stripe_subscription, id(stripe.subscription_id, T.ids.stripe_subscription)],
      [T.ids.customer, id(stripe.customer_id, T.ids.customer)],
      [T.ids.payment_intent, id(stripe.payment_intent_id, T.ids.payment_intent)],
      [T.ids.session, id(stripe.session_id, T.ids.session)],
      [T.ids.price, id(stripe.price_id, T.ids.price)],
    ]),
  );
}

export default { name: 'subscription', show };
